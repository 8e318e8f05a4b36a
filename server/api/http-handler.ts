/** `app.use(paramedic.express())`: probes and metrics over plain HTTP. What it does not know goes to the next handler. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Role } from "../../shared/access.js";
import type { HealthReport } from "../../shared/health.js";
import type { AccessRequest } from "./access.js";
import { withoutDetails } from "./health-procedure.js";
import { type MetricsPageDeps, metricsPage } from "./metrics-page.js";

/** Fits Express 4 and 5, and any server that passes requests on the same way. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

export interface HttpHandlerDeps {
  readonly health: () => HealthReport;
  /** Whether anything is checked at all: without checks, readiness says only that the process takes calls. */
  readonly monitored: boolean;
  /** Set while shutting down: readiness fails first, so that no new traffic comes. */
  readonly draining: () => boolean;
  readonly roleOf: (request: AccessRequest) => Role | undefined;
  /** Without it `/metrics` is left to the app, which may have one of its own. */
  readonly metrics?: MetricsPageDeps | undefined;
  /** Told of every fault of our own. Must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** An ETag or a cache would turn a probe's answer into 304. */
const ALWAYS = { "cache-control": "no-cache, no-store, must-revalidate", "x-content-type-options": "nosniff" } as const;

/**
 * - `/livez`: 200 as long as the process answers; never depends on a dependency.
 * - `/readyz`: 503 while draining, and while monitored health is unhealthy or unknown.
 * - `/health`: the report; 503 when unhealthy or unknown; messages and metadata only for those who may read.
 * - `/metrics`: for scrapers that may read, in the format they ask for.
 */
export function createHttpHandler(deps: HttpHandlerDeps): HttpHandler {
  return (request, response, next) => {
    const answer = answerOf(deps, request);
    if (answer === undefined) {
      next();
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD", "cache-control": "no-store" }).end();
      return;
    }
    const settle = async () => {
      try {
        send(request, response, await answer());
      } catch (error) {
        deps.onFault?.(error);
        if (!response.headersSent) send(request, response, json(500, { error: "internal error" }));
      }
    };
    void settle();
  };
}

function send(request: IncomingMessage, response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, { ...headers, ...ALWAYS, "content-length": Buffer.byteLength(body) });
  response.end(request.method === "HEAD" ? undefined : body);
}

function json(status: number, body: unknown): Answer {
  return { status, headers: { "content-type": "application/json; charset=utf-8" }, body: JSON.stringify(body) };
}

function answerOf(deps: HttpHandlerDeps, request: IncomingMessage): (() => Answer | Promise<Answer>) | undefined {
  const path = (request.url ?? "").split("?", 1)[0];
  const { metrics } = deps;
  switch (path) {
    case "/livez":
      return () => json(200, { status: "ok" });
    case "/readyz":
      return () => {
        const { overall } = deps.health();
        const ready = !deps.draining() && (!deps.monitored || serves(overall));
        return json(ready ? 200 : 503, { status: deps.draining() ? "draining" : overall });
      };
    case "/health":
      return () => {
        const report = deps.health();
        const role = deps.roleOf(accessRequestOf(request));
        return json(serves(report.overall) ? 200 : 503, role === undefined ? withoutDetails(report) : report);
      };
    case "/metrics":
      return metrics && (() => metricsPage(metrics, request));
    default:
      return undefined;
  }
}

/** What an access rule needs to know of a request. */
export function accessRequestOf(request: IncomingMessage): AccessRequest {
  return {
    authorization: request.headers.authorization,
    remoteAddress: request.socket.remoteAddress,
    host: request.headers.host,
    forwarded: Object.keys(request.headers).some((header) => FORWARDING_HEADER.test(header)),
  };
}

/** One is enough: many a proxy is told to pass on the scheme and not the address. */
const FORWARDING_HEADER = /^(forwarded|x-forwarded-.*|x-real-ip|via)$/;

function serves(overall: HealthReport["overall"]): boolean {
  return overall === "healthy" || overall === "degraded";
}
