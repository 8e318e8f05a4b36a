/** Reads of a request that Node's channels tell about where it goes, and whether it is one of ours: never its path or query. */
import { OWN_USER_AGENT } from "../../../shared/coverage.js";
import { readProperty } from "../../../shared/error-facts.js";

export interface SeenRequest {
  /** Protocol, host and port; `unknown` where they cannot be read. */
  readonly origin: string;
  /** Paramedic itself sent it. */
  readonly isOwn: boolean;
}

/** A message of `undici:request:create`: Node's `fetch`, and the `undici` package. */
export function readUndiciRequest(message: unknown): SeenRequest {
  const request = readProperty(message, "request");
  const headers = readProperty(request, "headers");
  return {
    origin: originOf(String(readProperty(request, "origin"))),
    isOwn: isOwnAgent(Array.isArray(headers) ? valueIn(headers, "user-agent") : agentIn(String(headers ?? ""))),
  };
}

/** A message of `http.client.request.start`: `node:http`, `node:https` and what is built on them. */
export function readHttpRequest(message: unknown): SeenRequest {
  const request = readProperty(message, "request");
  const isOwn = isOwnAgent(headerOf(request, "user-agent"));
  // A name in the file system says more than where.
  if (typeof readProperty(request, "socketPath") === "string") return { origin: "http+unix:", isOwn };
  const host = String(readProperty(request, "host"));
  const name = host.includes(":") ? `[${host}]` : host;
  // Only the header keeps the port, unless the app wrote the header itself.
  const named = headerOf(request, "host") ?? "";
  const port = named.startsWith(name) ? named.slice(name.length) : "";
  return { origin: originOf(`${String(readProperty(request, "protocol"))}//${name}${port}`), isOwn };
}

/** As a browser would name it: without a user, and without a port that the protocol has anyway. */
function originOf(address: string): string {
  try {
    const { origin } = new URL(address);
    return origin === "null" ? UNKNOWN : origin;
  } catch {
    return UNKNOWN;
  }
}

const UNKNOWN = "unknown";

function headerOf(request: unknown, name: string): string | undefined {
  const getHeader = readProperty(request, "getHeader");
  const value: unknown = typeof getHeader === "function" ? Reflect.apply(getHeader, request, [name]) : undefined;
  return typeof value === "string" ? value : undefined;
}

/** In a flat list of names and values. */
function valueIn(headers: readonly unknown[], name: string): string | undefined {
  const at = headers.findIndex((header, index) => index % 2 === 0 && String(header).toLowerCase() === name);
  return at < 0 ? undefined : String(headers[at + 1]);
}

/** In lines, as older versions keep them. */
function agentIn(headers: string): string | undefined {
  return /^user-agent: *(.*)$/im.exec(headers)?.[1];
}

function isOwnAgent(agent: string | undefined): boolean {
  return agent === OWN_USER_AGENT || agent?.startsWith(`${OWN_USER_AGENT}/`) === true;
}
