/** What a caller gets when a circuit refuses or ends its call. Both are cheap: a storm of them must not cost a storm of stacks. */
import { TRPCError } from "@trpc/server";
import { REJECTION } from "../../shared/rejection.js";
import type { RefusalReason } from "./circuit-reading.js";

const STANDING: Readonly<Record<RefusalReason, string>> = {
  open: "is open",
  half_open: "is half open and has as many probes in flight as it may",
  ramp: "has just closed and admits a growing share of the calls",
  forced_open: "is held open by hand",
};

/**
 * The circuit refused the call: the service was not asked. Clients see SERVICE_UNAVAILABLE (503).
 *
 * `name` stays `TRPCError`: by it a second copy of `@trpc/server` (a CommonJS app beside this module) knows the error and
 * sends its status.
 *
 * @example
 * try { await circuit.execute(ask); } catch (error) {
 *   if (error instanceof CircuitBreakerError) reply.header("Retry-After", Math.ceil((error.retryAfterMs ?? 60_000) / 1_000));
 * }
 */
export class CircuitBreakerError extends TRPCError {
  readonly [REJECTION] = true;
  readonly circuitName: string;
  /** What stood in the way. */
  readonly reason: RefusalReason;
  /** When a call may be admitted again, in milliseconds from now; undefined while it is held open until somebody releases it. */
  readonly retryAfterMs: number | undefined;

  /** `cause` is the error that was counted last; `stack` asks for a stack trace, which costs several microseconds. */
  constructor(options: {
    circuitName: string;
    retryAfterMs: number | undefined;
    /** @default "open" */
    reason?: RefusalReason | undefined;
    cause?: Error | undefined;
    stack?: boolean | undefined;
  }) {
    const { circuitName, retryAfterMs, cause } = options;
    const reason = options.reason ?? "open";
    const limit = options.stack === true ? undefined : withoutStack();
    const again = retryAfterMs === undefined ? "until somebody releases it" : `try again in ${retryAfterMs} ms`;
    super({ code: "SERVICE_UNAVAILABLE", message: `circuit "${circuitName}" ${STANDING[reason]}: ${again}`, cause });
    if (limit !== undefined) Error.stackTraceLimit = limit;
    this.circuitName = circuitName;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * The call took longer than the circuit's `timeoutMs`: the service was asked and may still be at work. Clients see
 * GATEWAY_TIMEOUT (504).
 */
export class CircuitTimeoutError extends TRPCError {
  readonly circuitName: string;
  readonly timeoutMs: number;

  constructor(options: { circuitName: string; timeoutMs: number; stack?: boolean | undefined }) {
    const { circuitName, timeoutMs } = options;
    const limit = options.stack === true ? undefined : withoutStack();
    super({ code: "GATEWAY_TIMEOUT", message: `circuit "${circuitName}": the call took longer than ${timeoutMs} ms` });
    if (limit !== undefined) Error.stackTraceLimit = limit;
    this.circuitName = circuitName;
    this.timeoutMs = timeoutMs;
  }
}

/**
 * Turns stack traces off for the constructor that follows, and gives the limit to put back. Undefined where there is none or
 * it cannot be set (frozen intrinsics): then the stack is captured as usual.
 */
function withoutStack(): number | undefined {
  const limit: unknown = Error.stackTraceLimit;
  if (typeof limit !== "number") return undefined;
  try {
    Error.stackTraceLimit = 0;
  } catch {
    return undefined;
  }
  return limit;
}
