/** Runs user code of a strategy so that nothing it does harms the engine: it may throw, hang or return rubbish. */
import { describeError } from "../../shared/describe-error.js";
import type { Failure } from "../../shared/failure.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import { safeText } from "../../shared/redaction.js";
import type { Clock } from "../ports/clock.js";

export interface AttemptedStrategy {
  readonly status: "succeeded" | "failed" | "timed_out";
  /** In the strategy's name; its duration is measured, not taken on trust. */
  readonly result: StrategyResult;
}

/** Never rejects. What a strategy does after its time is up is not waited for and changes nothing. */
export async function attemptStrategy(
  strategy: RecoveryStrategy,
  failure: Failure,
  operation: RescueOperation | undefined,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<AttemptedStrategy> {
  const startedAt = clock.monotonic();
  const actionType = strategy.actionType ?? "custom";
  const ended = (status: AttemptedStrategy["status"], message: string, rest: Partial<StrategyResult> = {}) => ({
    status,
    result: {
      ...rest,
      success: status === "succeeded",
      actionType,
      actionStrategy: strategy.name,
      durationMs: clock.monotonic() - startedAt,
      message,
    },
  });
  try {
    const within = await settleWithin(clock, timeoutMs, () => strategy.execute(failure, operation));
    if (within.timedOut) return ended("timed_out", `did not end within ${timeoutMs} ms`);
    const { value: result } = within;
    if (typeof result !== "object" || result === null || typeof result.success !== "boolean") {
      return ended("failed", "the strategy returned no result: { success, message, … } is expected");
    }
    const { metadata, value, error, handsOver } = result;
    const said: unknown = result.message;
    const message = typeof said === "string" ? safeText(said, MESSAGE_LENGTH) : "";
    return ended(result.success ? "succeeded" : "failed", message, { metadata, value, error, handsOver });
  } catch (error) {
    const { name, message } = describeError(error);
    return ended("failed", `the strategy threw ${name}: ${message}`, { error });
  }
}

const MESSAGE_LENGTH = 500;

/** Why a check of a strategy did not confirm what was done; undefined when it did. Never rejects. */
export async function doubtOf(
  clock: Clock,
  timeoutMs: number,
  check: () => Promise<unknown>,
): Promise<string | undefined> {
  try {
    const within = await settleWithin(clock, timeoutMs, check);
    if (within.timedOut) return `not confirmed within ${timeoutMs} ms`;
    return within.value === true ? undefined : "not confirmed";
  } catch (error) {
    return `not confirmed: ${describeError(error).message}`;
  }
}

/** What `run` resolves with, or that it did not settle in time. Rejects as `run` does. */
export function settleWithin<T>(
  clock: Clock,
  timeoutMs: number,
  run: () => Promise<T>,
): Promise<{ readonly timedOut: false; readonly value: T } | { readonly timedOut: true }> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => resolve({ timedOut: true }), timeoutMs);
    const settled = (settle: () => void) => {
      timer.cancel();
      settle();
    };
    (async () => run())().then(
      (value) => settled(() => resolve({ timedOut: false, value })),
      (error: unknown) => settled(() => reject(error)),
    );
  });
}
