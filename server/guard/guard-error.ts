/** The errors that a guard itself raises inside a call: tRPC errors, so that clients see the right status. */
import { TRPCError } from "@trpc/server";
import { REJECTION } from "../../shared/rejection.js";

/**
 * Why a guard ended or refused an attempt.
 *
 * attempt_timeout  it was given its time and did not end
 * deadline         no time was left to begin it, or to wait as long as it had to
 * bulkhead_full    as many attempts as the service may have are running, and no more may wait
 * cooldown         the service asked to be left alone, and that time is not over
 * network_down     the network reaches no service of this kind, and it is not time yet to try again
 * retry_budget     retries of this service are spent
 * rescue_budget    what rescues may cost in attempts, tokens or money is spent
 * unsafe           running the work again might do it twice
 * delivered        a part of the result has reached the caller
 * no_target        no other target is left
 * no_fallback      there is no fallback
 * settled          the strategy that holds the operation has already answered
 */
export const GUARD_ERROR_REASONS = [
  "attempt_timeout",
  "deadline",
  "bulkhead_full",
  "cooldown",
  "network_down",
  "retry_budget",
  "rescue_budget",
  "unsafe",
  "delivered",
  "no_target",
  "no_fallback",
  "settled",
] as const;
export type GuardErrorReason = (typeof GUARD_ERROR_REASONS)[number];

const CODE_BY_REASON = {
  attempt_timeout: "GATEWAY_TIMEOUT",
  deadline: "GATEWAY_TIMEOUT",
  bulkhead_full: "TOO_MANY_REQUESTS",
  cooldown: "TOO_MANY_REQUESTS",
  network_down: "SERVICE_UNAVAILABLE",
  retry_budget: "SERVICE_UNAVAILABLE",
  rescue_budget: "SERVICE_UNAVAILABLE",
  unsafe: "SERVICE_UNAVAILABLE",
  delivered: "SERVICE_UNAVAILABLE",
  no_target: "SERVICE_UNAVAILABLE",
  no_fallback: "SERVICE_UNAVAILABLE",
  settled: "SERVICE_UNAVAILABLE",
} as const satisfies Record<GuardErrorReason, TRPCError["code"]>;

/**
 * An attempt that a guard ended (`attempt_timeout`) or refused (every other reason, branded as a rejection: nothing was
 * sent).
 *
 * `name` stays `TRPCError`: by it a second copy of `@trpc/server` knows the error and sends its status.
 *
 * @example if (error instanceof GuardError && error.reason === "bulkhead_full") shedLoad();
 */
export class GuardError extends TRPCError {
  readonly reason: GuardErrorReason;
  /** The guarded service. */
  readonly service: string;
  /** When asking again may make sense; undefined when time alone does not help. */
  readonly retryAfterMs: number | undefined;
  /** True when the service was not asked. */
  readonly [REJECTION]: boolean;

  constructor(
    reason: GuardErrorReason,
    service: string,
    message: string,
    options: { readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super({ code: CODE_BY_REASON[reason], message, cause: options.cause });
    this.reason = reason;
    this.service = service;
    this.retryAfterMs = options.retryAfterMs;
    this[REJECTION] = reason !== "attempt_timeout";
  }
}
