/**
 * A tRPC server on express, as a process of its own: alone, with everything that Paramedic has, or with a peer. Started with
 * a variant and, where it needs one, a Redis; tells its port, then its CPU time whenever it is asked. Ends with its parent.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from "@opentelemetry/sdk-trace-base";
import { initTRPC } from "@trpc/server";
import { createExpressMiddleware } from "@trpc/server/adapters/express";
import express from "express";
import { Redis } from "ioredis";
import { z } from "zod";
import { createParamedic } from "../server/index.js";

const VARIANTS = ["none", "paramedic", "unguarded", "context", "spans", "xadd"] as const;
export type Variant = (typeof VARIANTS)[number];

/** What the parent asks and is told. */
export type ServerMessage = { readonly port: number } | { readonly cpuMicros: number };

const t = initTRPC.create();
const input = z.object({ name: z.string().max(100) });
/** The work of the procedure: an await, as a query to a database or a provider is. */
const greet = async (name: string) => ({ greeting: `Hello, ${name}`, length: name.length });

interface Served {
  readonly app: express.Express;
  readonly stop: () => Promise<void>;
}

function none(): Served {
  const router = t.router({ greet: t.procedure.input(input).query((opts) => greet(opts.input.name)) });
  return { app: express().use("/trpc", createExpressMiddleware({ router })), stop: async () => {} };
}

/** Middleware, call linking, a guard with deadline, circuit and rescues, probes, health, recovery, SQLite and Redis. */
function paramedic(redisUrl: string, isGuarded: boolean): Served {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-bench-"));
  const all = createParamedic({ database: `file:${join(folder, "bench.db")}`, redis: redisUrl, logger: false });
  const service = isGuarded
    ? all.guard("http:greetings")
    : { execute: (work: () => ReturnType<typeof greet>) => work() };
  const procedure = t.procedure.use(all.middleware()).input(input);
  const router = t.router({ greet: procedure.query((opts) => service.execute(() => greet(opts.input.name))) });
  const app = express();
  app.use("/trpc", createExpressMiddleware({ router, onError: all.onError }));
  app.use(all.express());
  return {
    app,
    async stop() {
      await all.shutdown();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** An AsyncLocalStorage around each call and nothing else: what Node takes for knowing which call it is in. */
function context(): Served {
  const storage = new AsyncLocalStorage<object>();
  const procedure = t.procedure.use(({ next }) => storage.run({}, () => next())).input(input);
  const router = t.router({ greet: procedure.query((opts) => greet(opts.input.name)) });
  return { app: express().use("/trpc", createExpressMiddleware({ router })), stop: async () => {} };
}

/** A span a call, batched, for an exporter that has nowhere to send it. */
function spans(): Served {
  const exporter: SpanExporter = { export: (_, done) => done({ code: 0 }), shutdown: async () => {} };
  const provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
  const tracer = provider.getTracer("bench");
  const procedure = t.procedure
    .use(async ({ path, type, next }) => {
      const attributes = { "rpc.system": "trpc", "rpc.method": path, "trpc.type": type };
      const span = tracer.startSpan(`trpc ${path}`, { kind: SpanKind.SERVER, attributes });
      const result = await next();
      span.setStatus({ code: result.ok ? SpanStatusCode.OK : SpanStatusCode.ERROR });
      span.end();
      return result;
    })
    .input(input);
  const router = t.router({ greet: procedure.query((opts) => greet(opts.input.name)) });
  return {
    app: express().use("/trpc", createExpressMiddleware({ router })),
    stop: () => provider.shutdown(),
  };
}

/** Two points a call, each an entry of its own, sent in a pipeline every second. */
function xadd(redisUrl: string): Served {
  const redis = new Redis(redisUrl);
  let points: string[] = [];
  const timer = setInterval(() => {
    const pipeline = redis.pipeline();
    for (const point of points) pipeline.xadd("bench:points", "MAXLEN", "~", 10_000, "*", "data", point);
    points = [];
    void pipeline.exec();
  }, 1_000);
  const procedure = t.procedure
    .use(async ({ path, next }) => {
      const startedAt = performance.now();
      const result = await next();
      const tags = { status: result.ok ? "success" : "error" };
      const timestamp = Date.now();
      const metric = { metricType: "operation", source: `trpc.${path}`, tags, timestamp };
      const value = performance.now() - startedAt;
      points.push(JSON.stringify({ ...metric, metricName: `trpc.${path}.duration`, value, unit: "ms" }));
      points.push(JSON.stringify({ ...metric, metricName: `trpc.${path}.success_count`, value: 1, unit: "1" }));
      return result;
    })
    .input(input);
  const router = t.router({ greet: procedure.query((opts) => greet(opts.input.name)) });
  return {
    app: express().use("/trpc", createExpressMiddleware({ router })),
    async stop() {
      clearInterval(timer);
      await redis.quit();
    },
  };
}

function serve(variant: Variant, redisUrl: string): Served {
  switch (variant) {
    case "none":
      return none();
    case "paramedic":
      return paramedic(redisUrl, true);
    case "unguarded":
      return paramedic(redisUrl, false);
    case "context":
      return context();
    case "spans":
      return spans();
    case "xadd":
      return xadd(redisUrl);
  }
}

function isVariant(text: string | undefined): text is Variant {
  return VARIANTS.some((variant) => variant === text);
}

function main([variant, redisUrl = ""]: readonly string[]): void {
  if (!isVariant(variant)) throw new Error(`a server is one of ${VARIANTS.join(", ")}, got ${variant}`);
  const tell = (message: ServerMessage) => process.send?.(message);
  const { app, stop } = serve(variant, redisUrl);
  const server = app.listen(0, "127.0.0.1", () => {
    // An address of a TCP server is no path of a pipe.
    tell({ port: (server.address() as AddressInfo).port });
  });
  // Connections wait for their turn while the other servers are measured.
  Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 });
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    tell({ cpuMicros: user + system });
  });
  process.once("disconnect", () => {
    server.close();
    server.closeAllConnections();
    void stop().finally(() => process.exit());
  });
}

main(process.argv.slice(2));
