/** How a call ended, decided by the tRPC code key: never by the message or by the JSON-RPC number, which all 5xx share. */

export const OUTCOMES = ["success", "client_error", "server_error", "timeout", "rejected", "aborted"] as const;
export type Outcome = (typeof OUTCOMES)[number];

export const PROCEDURE_TYPES = ["query", "mutation", "subscription"] as const;
export type ProcedureType = (typeof PROCEDURE_TYPES)[number];

/** The path under which calls to procedures that do not exist are counted: the real one is chosen by whoever calls. */
export const UNKNOWN_PATH = "_OTHER";

/**
 * The outcome of a failed call by its tRPC code key. Unknown keys are server errors: a failure nobody can name is a failure.
 * `rejected` is what a guard refused before the service was asked; it is told by the guard, not by the code.
 *
 * @example outcomeOfCode("NOT_FOUND") // "client_error"
 */
export function outcomeOfCode(code: string): Exclude<Outcome, "success" | "rejected"> {
  return OUTCOME_BY_CODE.get(code) ?? "server_error";
}

const OUTCOME_BY_CODE: ReadonlyMap<string, Exclude<Outcome, "success" | "rejected">> = new Map([
  ["PARSE_ERROR", "client_error"],
  ["BAD_REQUEST", "client_error"],
  ["UNAUTHORIZED", "client_error"],
  ["PAYMENT_REQUIRED", "client_error"],
  ["FORBIDDEN", "client_error"],
  ["NOT_FOUND", "client_error"],
  ["METHOD_NOT_SUPPORTED", "client_error"],
  ["CONFLICT", "client_error"],
  ["PRECONDITION_FAILED", "client_error"],
  ["PAYLOAD_TOO_LARGE", "client_error"],
  ["UNSUPPORTED_MEDIA_TYPE", "client_error"],
  ["UNPROCESSABLE_CONTENT", "client_error"],
  ["PRECONDITION_REQUIRED", "client_error"],
  ["TOO_MANY_REQUESTS", "client_error"],
  ["CLIENT_CLOSED_REQUEST", "aborted"],
  ["TIMEOUT", "timeout"],
  ["GATEWAY_TIMEOUT", "timeout"],
] as const);

/** Law 3: neither a client's error nor an abort, nor what a guard refused, is a failure of the service. */
export function isServiceFailure(outcome: Outcome): boolean {
  return outcome === "server_error" || outcome === "timeout";
}
