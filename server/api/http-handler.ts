/** `app.use(paramedic.express())`: the probes over plain HTTP. Whatever it does not know goes to the next handler. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Role } from "../../shared/access.js";
import type { HealthReport } from "../../shared/health.js";
import type { AccessRequest } from "./access.js";
import { withoutDetails } from "./health-procedure.js";

/** Fits Express 4 and 5, and any server that passes requests on the same way. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void;

export interface HttpHandlerDeps {
  readonly health: () => HealthReport;
  /** Whether anything is checked at all: without checks, readiness says only that the process takes calls. */
  readonly monitored: boolean;
  /** Set while shutting down: readiness fails first, so that no new traffic comes. */
  readonly draining: () => boolean;
  readonly roleOf: (request: AccessRequest) => Role | undefined;
}

interface Answer {
  readonly status: 200 | 503;
  readonly body: unknown;
}

/**
 * - `/livez`: 200 as long as the process answers; never depends on a dependency.
 * - `/readyz`: 503 while draining, and while monitored health is unhealthy or unknown.
 * - `/health`: the report; 503 when unhealthy or unknown; messages and metadata only for those who may read.
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
    const body = JSON.stringify(answer.body);
    response.writeHead(answer.status, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(body),
      // An ETag or a cache would turn a probe's answer into 304.
      "cache-control": "no-cache, no-store, must-revalidate",
      "x-content-type-options": "nosniff",
    });
    response.end(request.method === "HEAD" ? undefined : body);
  };
}

function answerOf(deps: HttpHandlerDeps, request: IncomingMessage): Answer | undefined {
  const path = (request.url ?? "").split("?", 1)[0];
  switch (path) {
    case "/livez":
      return { status: 200, body: { status: "ok" } };
    case "/readyz": {
      const { overall } = deps.health();
      const ready = !deps.draining() && (!deps.monitored || serves(overall));
      return { status: ready ? 200 : 503, body: { status: deps.draining() ? "draining" : overall } };
    }
    case "/health": {
      const report = deps.health();
      const role = deps.roleOf(accessRequestOf(request));
      return { status: serves(report.overall) ? 200 : 503, body: role === undefined ? withoutDetails(report) : report };
    }
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
    forwarded: FORWARDING_HEADERS.some((header) => request.headers[header] !== undefined),
  };
}

const FORWARDING_HEADERS = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"] as const;

function serves(overall: HealthReport["overall"]): boolean {
  return overall === "healthy" || overall === "degraded";
}
