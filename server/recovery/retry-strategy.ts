/** Rescue number one: runs the same target again, after a wait that the target asked for or that grows with each try. */
import { classify } from "../../shared/classify.js";
import { describeError } from "../../shared/describe-error.js";
import { ParamedicError } from "../../shared/errors.js";
import type { Failure, FailureType } from "../../shared/failure.js";
import { isHoldBearable } from "../../shared/plan.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import { isRejection } from "../../shared/rejection.js";
import { MAX_TIMER_MS, SECOND_MS } from "../../shared/units.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type Random, systemRandom } from "../ports/random.js";
import { backoffDelayMs } from "./backoff.js";
import { needsOperation } from "./strategy-result.js";

export interface RetryStrategyOptions {
  /** Tries after the first attempt, for one failure; whole, 0 to 100. @default 3 */
  readonly maxAttempts?: number;
  /** The longest wait before the first try; doubled with each. 0 to 2^31-1 ms. @default 1_000 */
  readonly baseDelayMs?: number;
  /** No wait is longer, unless the target asks for it. 0 to 2^31-1 ms. @default 30_000 */
  readonly maxDelayMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

const DEFAULTS = { maxAttempts: 3, baseDelayMs: SECOND_MS, maxDelayMs: 30 * SECOND_MS } as const;

/** While another target waits, the same one gets one try, at most this late: the next target is the better hope. */
const QUICK_RETRY_DELAY_MS = 100;

/** Callers who were all told to come back at the same moment come back spread over this share of the wait. */
const HOLD_SPREAD = 0.1;

/**
 * Runs the operation again until it succeeds, the tries are used up, or the operation refuses: for its deadline, its safety,
 * the retry budget, an open circuit or the caller's abort. A wait that the failure's `context.holdMs` gives (Retry-After and
 * its kin) wins over the backoff; a wait that does not fit the deadline is not begun, nor one of more than a minute that was
 * asked for where there is no deadline. A retry whose error says that another
 * try cannot help, such as a refused credential, is the last.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` for an option outside its range
 * @example
 * engine.registerStrategy(new RetryStrategy({ maxAttempts: 5 }));
 * @example
 * const { success, value } = await new RetryStrategy().execute(failure, operation);
 */
export class RetryStrategy implements RecoveryStrategy {
  readonly name = "exponential_backoff_retry";
  readonly scope = "call";
  readonly actionType = "retry";
  readonly priority = 1;
  readonly applicableFailureTypes: readonly FailureType[] = [
    "api_timeout",
    "connection_refused",
    "dns_error",
    "service_unavailable",
    "server_error",
    "rate_limit",
    "malformed_response",
    "stream_broken",
  ];
  readonly #options: Required<RetryStrategyOptions>;

  constructor(options: RetryStrategyOptions = {}) {
    const { maxAttempts = DEFAULTS.maxAttempts, clock = systemClock, random = systemRandom } = options;
    const baseDelayMs = options.baseDelayMs ?? DEFAULTS.baseDelayMs;
    const maxDelayMs = options.maxDelayMs ?? DEFAULTS.maxDelayMs;
    checkRange("maxAttempts", maxAttempts, 100, Number.isInteger(maxAttempts));
    checkRange("baseDelayMs", baseDelayMs, MAX_TIMER_MS);
    checkRange("maxDelayMs", maxDelayMs, MAX_TIMER_MS);
    this.#options = { maxAttempts, baseDelayMs, maxDelayMs, clock, random };
  }

  async execute(failure: Failure, operation?: RescueOperation): Promise<StrategyResult> {
    const { clock, random, maxAttempts } = this.#options;
    const startedAt = clock.monotonic();
    const delaysMs: number[] = [];
    let error: unknown;
    const ended = (outcome: Pick<StrategyResult, "success" | "message" | "value" | "error">): StrategyResult => ({
      ...outcome,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: clock.monotonic() - startedAt,
      metadata: { target: operation?.target ?? failure.affectedService, delaysMs },
    });

    if (!operation) return ended({ success: false, message: needsOperation("retry") });
    const quick = operation.targetsLeft > 0;
    const tries = quick ? 1 : maxAttempts;
    let holdMs = holdOf(failure);
    for (let attempt = 0; attempt < tries; attempt += 1) {
      const delayMs = this.#delayMs(attempt, holdMs, quick, random);
      if (operation.signal.aborted) return ended({ success: false, message: "the caller is gone", error });
      const remainingMs = operation.remainingMs();
      if (delayMs >= remainingMs || !isHoldBearable(holdMs ?? 0, remainingMs)) {
        return ended({
          success: false,
          message: `a wait of ${delayMs} ms is more than the caller has time for`,
          error,
        });
      }
      const attemptsBefore = operation.attempts;
      try {
        const value = await operation.again({ delayMs });
        delaysMs.push(delayMs);
        return ended({ success: true, message: `succeeded on try ${attempt + 1}`, value });
      } catch (thrown) {
        if (operation.attempts === attemptsBefore || isRejection(thrown)) {
          return ended({ success: false, message: `no more tries: ${describeError(thrown).message}`, error });
        }
        delaysMs.push(delayMs);
        error = thrown;
        const means = classify(thrown, operation.target ?? failure.affectedService, clock.now());
        if (means.failureType !== "unknown" && !means.retryable) {
          return ended({ success: false, message: `another try cannot help: ${means.reason}`, error });
        }
        holdMs = means.holdMs;
      }
    }
    return ended({ success: false, message: `failed ${tries === 1 ? "once" : `${tries} times`} more`, error });
  }

  #delayMs(attempt: number, holdMs: number | undefined, quick: boolean, random: Random): number {
    if (holdMs !== undefined) return Math.ceil(holdMs * (1 + random() * HOLD_SPREAD));
    const { baseDelayMs, maxDelayMs } = this.#options;
    if (quick) return Math.round(random() * Math.min(QUICK_RETRY_DELAY_MS, baseDelayMs));
    return backoffDelayMs(attempt, { baseDelayMs, maxDelayMs }, random);
  }
}

function holdOf(failure: Failure): number | undefined {
  const hold = failure.context?.holdMs;
  return typeof hold === "number" && hold >= 0 ? hold : undefined;
}

function checkRange(option: string, value: number, max: number, wellFormed = true): void {
  if (wellFormed && value >= 0 && value <= max) return;
  throw new ParamedicError("CONFIGURATION_INVALID", `RetryStrategy: ${option} is ${value}; legal is [0, ${max}]`);
}
