/** What a Redis error means for us: wait until it passes, or tell the operator what to change. */
import { ParamedicError } from "../../shared/errors.js";

/** Replies that no retry heals, with what to do about each. */
const MISCONFIGURED: ReadonlyMap<string, string> = new Map([
  ["NOAUTH", "Redis asks for a password; put it into the URL"],
  ["WRONGPASS", "Redis refuses the user or the password; correct the URL"],
  ["NOPERM", "the Redis user lacks a permission; allow it the stream commands on this key"],
  ["WRONGTYPE", "the key holds something other than a stream; delete it or choose another METRICS_REDIS_STREAM_KEY"],
]);

/**
 * @param doing what was attempted, as "append to metrics:stream"
 * @returns STREAM_MISCONFIGURED where somebody has to act, STREAM_UNAVAILABLE for everything that may pass by itself:
 * a lost connection, OOM, READONLY, LOADING, MISCONF, MASTERDOWN, NOREPLICAS, BUSY, too many clients
 */
export function redisFailure(error: unknown, doing: string): ParamedicError {
  if (error instanceof ParamedicError) return error;
  const message = messageOf(error);
  const remedy =
    MISCONFIGURED.get(replyCode(message)) ??
    (isTooOld(message) ? TOO_OLD : undefined) ??
    (isDistrust(error) ? DISTRUSTED : undefined);
  if (remedy !== undefined) {
    return new ParamedicError("STREAM_MISCONFIGURED", `cannot ${doing}: ${remedy} (${brief(message)})`, {
      cause: error,
    });
  }
  return new ParamedicError("STREAM_UNAVAILABLE", `cannot ${doing}: ${brief(message)}`, { cause: error });
}

/** The word that begins an error reply: `WRONGTYPE`, `NOGROUP`, `ERR`. Empty when it is no reply. */
export function replyCode(message: string): string {
  return /^-?([A-Z]+)\b/.exec(message)?.[1] ?? "";
}

const TOO_OLD = "this Redis does not understand the command; 6.2 or newer is needed";

const DISTRUSTED =
  "nobody here trusts the certificate of this Redis; name its authority in NODE_EXTRA_CA_CERTS, or give a client with tls.ca";

/** What Node says of a certificate that it does not accept. */
function isDistrust(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(ERR_TLS_CERT|UNABLE_TO_|CERT_|[A-Z_]*SELF_SIGNED_CERT)/.test(code);
}

/** The client's own words for being between two connections tell an operator nothing. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.startsWith("Stream isn't writeable") ? "there is no connection that is ready at present" : message;
}

/** Our commands are well formed: what Redis cannot parse is an option that it does not know, which it may take for an id. */
function isTooOld(message: string): boolean {
  return /^ERR (unknown (sub)?command|syntax error|Invalid stream ID)/i.test(message);
}

function brief(message: string): string {
  const line = message.split("\n", 1)[0] ?? "";
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}
