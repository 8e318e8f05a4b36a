/** Decides how a failed call ended and under which tags it is counted. */
import { classify } from "../../shared/classify.js";
import { readSafely, trpcCodeOf } from "../../shared/describe-error.js";
import type { ErrorCategory } from "../../shared/failure.js";
import { type Outcome, outcomeOfCode } from "../../shared/outcome.js";
import { isRejection } from "../../shared/rejection.js";

export interface FailedOutcome {
  readonly status: Exclude<Outcome, "success">;
  /** A failure type where the service failed, else the tRPC code, `rejected` or `aborted`: a bounded set in each case. */
  readonly errorType: string;
  readonly errorCategory: ErrorCategory;
}

export const ABORTED: FailedOutcome = Object.freeze({
  status: "aborted",
  errorType: "aborted",
  errorCategory: "unknown",
});

/** A resolver may have wrapped what a guard refused, and tRPC wraps what is no error of its own. */
const MOST_WRAPS = 2;

/**
 * A call whose client has left is `aborted`, whatever it failed with: the error is as likely the abort's echo. What a guard
 * refused is `rejected`, also when a resolver wrapped it once. Else the tRPC code decides, and what has none is a server
 * error. Never throws, whatever was thrown.
 *
 * @param service `trpc.<path>`
 * @example outcomeOfFailure(new TRPCError({ code: "NOT_FOUND" }), "trpc.users.get", undefined).status // "client_error"
 */
export function outcomeOfFailure(error: unknown, service: string, signal: AbortSignal | undefined): FailedOutcome {
  if (readSafely(signal, "aborted") === true) return ABORTED;
  if (isRefusedByGuard(error)) {
    return { status: "rejected", errorType: "rejected", errorCategory: "trpc_error" };
  }
  const code = trpcCodeOf(error);
  const status = outcomeOfCode(code ?? "INTERNAL_SERVER_ERROR");
  switch (status) {
    case "aborted":
      return ABORTED;
    case "client_error":
      return { status, errorType: code ?? "unknown", errorCategory: "trpc_error" };
    case "timeout":
    case "server_error": {
      const { failureType, errorCategory } = classify(error, service);
      const spoken = code !== undefined && code !== "INTERNAL_SERVER_ERROR";
      const otherwise = status === "timeout" ? "timeout" : spoken ? "trpc_error" : "unknown";
      return {
        status,
        errorType: failureType === "unknown" ? procedureFailureType(status) : failureType,
        errorCategory: errorCategory === "unknown" ? otherwise : errorCategory,
      };
    }
  }
}

function isRefusedByGuard(error: unknown): boolean {
  let link = error;
  for (let wraps = 0; wraps <= MOST_WRAPS; wraps += 1) {
    if (isRejection(link)) return true;
    link = readSafely(link, "cause");
  }
  return false;
}

/** The failure type of a procedure that failed, whatever made it fail. */
export function procedureFailureType(status: "server_error" | "timeout"): "procedure_error" | "procedure_timeout" {
  return status === "timeout" ? "procedure_timeout" : "procedure_error";
}
