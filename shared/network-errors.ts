/** Names the class of an error that Node's sockets, undici or an SDK's transport raised: by code first, by words last. */
import type { ErrorClass } from "./error-classes.js";
import { type ErrorFacts, readProperty } from "./error-facts.js";

const CLASS_BY_CODE: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["ECONNREFUSED", "connection_refused"],
  ["EHOSTUNREACH", "connection_refused"],
  ["ENETUNREACH", "connection_refused"],
  ["EHOSTDOWN", "connection_refused"],
  ["EADDRNOTAVAIL", "connection_refused"],
  ["ECONNRESET", "connection_reset"],
  ["ECONNABORTED", "connection_reset"],
  ["EPIPE", "connection_reset"],
  ["ENETDOWN", "connection_reset"],
  ["UND_ERR_SOCKET", "connection_reset"],
  ["UND_ERR_CLOSED", "connection_reset"],
  ["UND_ERR_DESTROYED", "connection_reset"],
  ["ENOTFOUND", "dns_error"],
  ["EAI_AGAIN", "dns_error"],
  ["EAI_FAIL", "dns_error"],
  ["ENODATA", "dns_error"],
  ["UND_ERR_CONNECT_TIMEOUT", "connect_timeout"],
  ["UND_ERR_HEADERS_TIMEOUT", "timeout"],
  ["UND_ERR_BODY_TIMEOUT", "timeout"],
  ["ESOCKETTIMEDOUT", "timeout"],
  ["UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "stream_broken"],
  ["UND_ERR_RES_EXCEEDED_MAX_SIZE", "malformed_response"],
  ["HPE_INVALID_CONSTANT", "malformed_response"],
  ["UND_ERR_ABORTED", "aborted"],
  ["ABORT_ERR", "aborted"],
  ["ERR_CANCELED", "aborted"],
  ["CERT_HAS_EXPIRED", "tls_certificate"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "tls_certificate"],
  ["SELF_SIGNED_CERT_IN_CHAIN", "tls_certificate"],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "tls_certificate"],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "tls_certificate"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "tls_certificate"],
]);

export function networkClassByCode(facts: ErrorFacts): ErrorClass | undefined {
  if (isCutAnswer(facts)) return "stream_broken";
  if (facts.code === undefined) return undefined;
  // A connection that timed out while it was made carried nothing; one that timed out later may have.
  // Axios and superagent give a slow request up under the code of a connection that was cut.
  if (facts.code === "ECONNABORTED" && /\btimeout of \d/i.test(facts.message)) return "timeout";
  if (facts.code === "ETIMEDOUT") return facts.read("syscall") === "connect" ? "connect_timeout" : "timeout";
  return CLASS_BY_CODE.get(facts.code);
}

/** The connection went down once the answer had begun, as `fetch` and as `node:http` say it: the service was reached, and acted. */
function isCutAnswer({ message, code, read }: ErrorFacts): boolean {
  if (message === "aborted") return code === "ECONNRESET";
  return (
    message === "terminated" && CLASS_BY_CODE.get(String(readProperty(read("cause"), "code"))) === "connection_reset"
  );
}

/** An abort or a timeout is told by its name: neither has a code of its own everywhere. */
export function networkClassByName(facts: ErrorFacts): ErrorClass | undefined {
  if (facts.names.some((name) => name === "AbortError" || name === "APIUserAbortError" || name === "CanceledError")) {
    return "aborted";
  }
  if (facts.names.some((name) => name === "TimeoutError" || name === "APIConnectionTimeoutError")) return "timeout";
  return undefined;
}

/** Only what transports say word for word; a bare number in a text may be anything that a body echoes. */
export function networkClassByWords(facts: ErrorFacts): ErrorClass | undefined {
  const { message } = facts;
  if (message === "terminated") return "stream_broken";
  if (/^(socket hang up|other side closed|premature close|read ECONNRESET)/i.test(message)) return "connection_reset";
  if (/\bECONNREFUSED\b/.test(message)) return "connection_refused";
  if (/\b(ENOTFOUND|EAI_AGAIN)\b/.test(message)) return "dns_error";
  if (/\bETIMEDOUT\b|\btimed[ -]?out\b|\btimeout (exceeded|of \d+ ?ms)|\bdeadline exceeded\b/i.test(message))
    return "timeout";
  if (message === "fetch failed" || facts.names.includes("APIConnectionError")) return "network";
  return undefined;
}
