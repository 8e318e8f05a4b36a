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
  /** Tries after the first attempt, for one failure, of each target that takes turns; whole, 0 to 100. @default 3 */
  readonly maxAttempts?: number;
  /** The longest wait before a target's first try; doubled with each. 0 to 2^31-1 ms. @default 1_000 */
  readonly baseDelayMs?: number;
  /** No wait is longer, unless the target asks for it. 0 to 2^31-1 ms. @default 30_000 */
  readonly maxDelayMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

const DEFAULTS = { maxAttempts: 3, baseDelayMs: SECOND_MS, maxDelayMs: 30 * SECOND_MS } as const;

/** While another target waits, the same one gets one try, at most this late: the next target is the better hope. */
const QUICK_RETRY_DELAY_MS = 100;

/** A wait that would take too much of the caller's time is cut to this share of it, so that the target has time to answer. */
const WAIT_SHARE = 0.5;
/** Where that share is less, the time is too short for another try to be worth its cost. */
const LEAST_SHARE_MS = 100;

/** Callers who were all told to come back at the same moment come back spread over this share of the wait. */
const HOLD_SPREAD = 0.1;

/**
 * Runs the operation again until it succeeds, the tries are used up, or the operation refuses: for its deadline, its safety,
 * the retry budget, an open circuit or the caller's abort. Once every target was asked they take turns: each has its tries and
 * its backoff, and the caller waits no longer in all than for one.
 *
 * A wait that the failure's `context.holdMs` gives (Retry-After and its kin) wins over the backoff; it is not begun when it does
 * not fit the deadline, nor when it is of more than a minute and there is no deadline. The backoff takes at most half of the
 * time that is left. A retry whose error says that another try cannot help, such as a refused credential, is the last.
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
    const { clock, maxAttempts } = this.#options;
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
    const turns = quick ? 1 : (operation.targetsInTurn ?? 1);
    const tries = quick ? 1 : maxAttempts * turns;
    // Where others take turns, whoever asked to be left alone is left alone by the guard.
    let holdMs = turns > 1 ? undefined : holdOf(failure);
    for (let attempt = 0; attempt < tries; attempt += 1) {
      if (operation.signal.aborted) return ended({ success: false, message: "the caller is gone", error });
      const remainingMs = operation.remainingMs();
      const delayMs = this.#delayMs(Math.floor(attempt / turns), { holdMs, quick, turns, remainingMs });
      if (delayMs >= remainingMs || !isHoldBearable(holdMs ?? 0, remainingMs)) {
        return ended({
          success: false,
          message: `a wait of ${delayMs} ms is more than the caller has time for`,
          error,
        });
      }
      const attemptsBefore = operation.attempts;
      try {
        const value = await operation.again({ delayMs, inTurn: !quick });
        delaysMs.push(delayMs);
        return ended({ success: true, message: `succeeded on try ${attempt + 1}`, value });
      } catch (thrown) {
        if (operation.attempts === attemptsBefore || isRejection(thrown)) {
          return ended({ success: false, message: `no more tries: ${describeError(thrown).message}`, error });
        }
        delaysMs.push(delayMs);
        error = thrown;
        const means = classify(thrown, operation.target ?? failure.affectedService, clock.now());
        const isAlone = (operation.targetsInTurn ?? 1) === 1;
        if (means.failureType !== "unknown" && !means.retryable && (isAlone || !means.failover)) {
          return ended({ success: false, message: `another try cannot help: ${means.reason}`, error });
        }
        holdMs = isAlone ? means.holdMs : undefined;
      }
    }
    return ended({ success: false, message: `failed ${tries === 1 ? "once" : `${tries} times`} more`, error });
  }

  #delayMs(
    round: number,
    given: {
      readonly holdMs: number | undefined;
      readonly quick: boolean;
      readonly turns: number;
      readonly remainingMs: number;
    },
  ): number {
    const { holdMs, quick, turns, remainingMs } = given;
    const { baseDelayMs, maxDelayMs, random } = this.#options;
    if (holdMs !== undefined) return Math.ceil(holdMs * (1 + random() * HOLD_SPREAD));
    if (quick) return Math.round(random() * Math.min(QUICK_RETRY_DELAY_MS, baseDelayMs));
    const shareMs = remainingMs * WAIT_SHARE;
    const longestMs = Math.min(maxDelayMs / turns, shareMs < LEAST_SHARE_MS ? maxDelayMs : shareMs);
    return backoffDelayMs(round, { baseDelayMs: baseDelayMs / turns, maxDelayMs: longestMs }, random);
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
