/** Who may do what (law 24): denied unless a rule says otherwise. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Role } from "../../shared/access.js";

/** Decides by the host app's own context. Anything but a role, a throw included, is a refusal. */
export type Authorize<Context> = (opts: { readonly ctx: Context }) => Role | undefined | Promise<Role | undefined>;

export interface AccessTokens {
  readonly readToken: string | undefined;
  readonly operatorToken: string | undefined;
}

/** What is known of one HTTP request. */
export interface AccessRequest {
  /** The `Authorization` header. */
  readonly authorization: string | undefined;
  readonly remoteAddress: string | undefined;
  /** The `Host` header: a page that rebound its name to loopback still sends its own. */
  readonly host: string | undefined;
  /** Any header that a proxy adds: the request did not begin on this machine. */
  readonly forwarded: boolean;
}

/**
 * The role of a request to the standalone backend: by bearer token; without one, loopback may read when no read token is
 * set. Operating always needs the operator's token.
 *
 * @example roleOfRequest(request, { readToken: undefined, operatorToken: undefined }) // "read" from loopback
 */
export function roleOfRequest(request: AccessRequest, tokens: AccessTokens): Role | undefined {
  const presented = bearerOf(request.authorization);
  if (presented !== undefined) {
    if (tokens.operatorToken !== undefined && equal(presented, tokens.operatorToken)) return "operate";
    if (tokens.readToken !== undefined && equal(presented, tokens.readToken)) return "read";
    return undefined;
  }
  if (request.authorization !== undefined || tokens.readToken !== undefined) return undefined;
  const local = isLoopback(request.remoteAddress) && !request.forwarded && isLoopbackHost(request.host);
  return local ? "read" : undefined;
}

/** Tells whether an address stays on this machine. */
export function isLoopback(address: string | undefined): boolean {
  return (
    address !== undefined &&
    /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1|::ffff:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost)$/.test(address)
  );
}

function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i.test(host);
}

function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer ([\x21-\x7e]{1,512})$/i.exec(authorization ?? "")?.[1];
}

/** Hashed first, because `timingSafeEqual` throws on different lengths and a length is a hint too. */
function equal(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
