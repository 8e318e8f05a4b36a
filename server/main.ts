/** The standalone backend: Paramedic's API and probes over HTTP, with access by bearer token (law 24). */
import type { Server } from "node:http";
import { initTRPC } from "@trpc/server";
import { createExpressMiddleware } from "@trpc/server/adapters/express";
import express from "express";
import type { Role } from "../shared/access.js";
import { ParamedicError } from "../shared/errors.js";
import { isLoopback, roleOfRequest } from "./api/access.js";
import { accessRequestOf } from "./api/http-handler.js";
import type { Paramedic } from "./door.js";
import { readBackendEnvironment } from "./env.js";
import { createParamedic } from "./paramedic.js";
import { delay, systemClock } from "./ports/clock.js";
import type { Readiness } from "./store-opening.js";

export interface BackendContext {
  readonly role: Role | undefined;
  /** Who it is for the audit: the token's role, never the token. */
  readonly actor: string;
}

export interface Backend {
  readonly url: string;
  readonly paramedic: Paramedic<BackendContext>;
  /** Stops taking requests, flushes, closes. */
  stop(): Promise<void>;
}

/** A batch beyond this is no dashboard's. */
const MOST_CALLS_IN_A_BATCH = 50;

/** The first answer should find the store open; probes must not wait for as long as somebody else holds its lock. */
const OPENING_PATIENCE_MS = 5_000;

/**
 * Starts the backend by the environment and stops it on SIGTERM and SIGINT; a second signal ends it at once.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID`, also when it would listen beyond loopback without both tokens;
 *   `STORE_SCHEMA_NEWER` when a newer version has migrated the database
 */
export async function startBackend(environment = readBackendEnvironment()): Promise<Backend> {
  const { host, port, readToken, operatorToken } = environment;
  if (!isLoopback(host) && (readToken === undefined || operatorToken === undefined)) {
    throw new ParamedicError(
      "CONFIGURATION_INVALID",
      `HOST is ${host}, which other machines can reach: set PARAMEDIC_READ_TOKEN and PARAMEDIC_OPERATOR_TOKEN (32 characters or more), or HOST=127.0.0.1`,
    );
  }
  const paramedic = createParamedic<BackendContext>({
    authorize: ({ ctx }) => ctx.role,
    identify: ({ ctx }) => ({ userId: ctx.actor }),
    overrides: { environment },
  });
  // Whoever asks sees what went wrong, never where in the code: stacks are in the log.
  const t = initTRPC.context<BackendContext>().create({ isDev: false });
  const router = t.router({ health: paramedic.healthProcedure, paramedic: paramedic.router });

  const tried = firstOpening(paramedic);
  const app = express();
  app.disable("x-powered-by");
  // The first requests wait for the store's first attempt, as long as that may take.
  app.use((_request, _response, next) => void tried.then(() => next()));
  app.use(
    "/trpc",
    createExpressMiddleware({
      router,
      maxBatchSize: MOST_CALLS_IN_A_BATCH,
      maxBodySize: 64 * 1_024,
      createContext: ({ req }): BackendContext => {
        const role = roleOfRequest(accessRequestOf(req), environment);
        return { role, actor: role === undefined ? "anonymous" : `token:${role}` };
      },
      onError: paramedic.onError,
    }),
  );
  app.use(paramedic.express({ metricsFor: "loopback" }));
  app.use((_request, response) => void response.status(404).json({ error: "not found" }));

  const server = await listen(app, port, host).catch(async (error: unknown) => {
    await paramedic.shutdown();
    throw error;
  });
  // From here on the server keeps the process alive: nothing else of ours does.
  const readiness = await tried;
  if (readiness?.store === "unavailable" && readiness.code === "STORE_SCHEMA_NEWER") {
    await paramedic.shutdown();
    server.close();
    throw new ParamedicError(readiness.code, readiness.message);
  }
  const address = server.address();
  const boundPort = typeof address === "object" && address !== null ? address.port : port;

  let stopping: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      server.close();
      server.closeIdleConnections();
      await paramedic.shutdown();
      server.closeAllConnections();
    })();
    return stopping;
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      if (stopping !== undefined) process.exit(1);
      void stop();
    });
  }
  return { url: originOf(host, boundPort), paramedic, stop };
}

/** @example originOf("::1", 3000) // "http://[::1]:3000" */
export function originOf(host: string, port: number): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** What came of opening the store; undefined when that takes longer than anybody waits for. */
async function firstOpening({ ready }: Pick<Paramedic, "ready">): Promise<Readiness | undefined> {
  const waiting = new AbortController();
  const patience = delay(systemClock, OPENING_PATIENCE_MS, waiting.signal).catch(() => undefined);
  const readiness = await Promise.race([ready, patience.then(() => undefined)]);
  waiting.abort();
  return readiness;
}

function listen(app: express.Express, port: number, host: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = app.listen(port, host);
    server.once("listening", () => resolve(server));
    server.once("error", (cause) =>
      reject(
        new ParamedicError(
          "CONFIGURATION_INVALID",
          `cannot listen on ${host}:${port}: set HOST and PORT to a free address`,
          {
            cause,
          },
        ),
      ),
    );
  });
}
