/** Turns what ended an attempt badly into a failure that may leave the call: identified, described, redacted, bounded. */

import type { Classification } from "../../shared/classification.js";
import { severityOf } from "../../shared/classify.js";
import { describeError } from "../../shared/describe-error.js";
import type { Failure, Json } from "../../shared/failure.js";
import type { Outcome } from "../../shared/outcome.js";
import { isRejection } from "../../shared/rejection.js";
import type { CallInfo } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { GuardedService } from "./guarded-service.js";

/** One attempt, or refusal, that did not give the caller a value. */
export interface Sighting {
  /** What was thrown, by reference. */
  readonly error: unknown;
  readonly service: GuardedService;
  readonly classification: Classification;
  /** The circuit that counted it, where that is not the service's own. */
  readonly circuit?: string | undefined;
  /** Undefined for what is the caller's own fault: it is no failure of the service, and nothing can be rescued. */
  readonly failure: Failure | undefined;
}

/** @param operation name of the operation, if the work has one */
export function failureOf(
  { error, service, classification, circuit }: Omit<Sighting, "failure">,
  where: { readonly operation: string | undefined; readonly attempt: number; readonly call: CallInfo | undefined },
  { clock, ids }: { readonly clock: Clock; readonly ids: Ids },
): Failure {
  const { name, message, stack, code } = describeError(error);
  const context: Record<string, Json> = {
    target: service.name,
    reason: classification.reason,
    attempt: where.attempt,
    error: name,
  };
  if (circuit !== undefined) context.circuit = circuit;
  if (where.call !== undefined) context.path = where.call.path;
  if (where.operation !== undefined) context.operation = where.operation;
  if (code !== undefined) context.code = code;
  if (classification.holdMs !== undefined) context.holdMs = classification.holdMs;
  if (classification.holdSource !== undefined) context.holdSource = classification.holdSource;
  return {
    eventId: ids(),
    timestamp: clock.now(),
    failureCategory: classification.failureCategory,
    failureType: classification.failureType,
    severity: severityOf(classification),
    affectedService: service.name,
    errorMessage: message,
    errorStack: stack,
    context,
    detectionMethod: "exception",
    userId: where.call?.userId,
    requestId: where.call?.requestId,
  };
}

/** Neither the service nor the way to it is at fault, and no other way would help. */
export function isCallersOwn({ blame, retryable, failover }: Classification): boolean {
  return blame === "caller" && !retryable && !failover;
}

/** The outcome under which an attempt that threw is measured. */
export function outcomeOf(error: unknown, { reason, blame, failureType }: Classification): Outcome {
  if (isRejection(error)) return "rejected";
  if (reason === "aborted") return "aborted";
  if (failureType === "api_timeout" || failureType === "procedure_timeout") return "timeout";
  return blame === "caller" ? "client_error" : "server_error";
}
