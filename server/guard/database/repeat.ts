/** Does work on a database again as long as its failures ask for it and there is time, and writes down the story in one row. */
import { classify } from "../../../shared/classify.js";
import { readProperty } from "../../../shared/error-facts.js";
import type { Failure } from "../../../shared/failure.js";
import { permitsOf } from "../../../shared/mode.js";
import { isRejection } from "../../../shared/rejection.js";
import { type Clock, delayInCall } from "../../ports/clock.js";
import type { Journal, RescueRecord } from "../../ports/journal.js";
import type { Random } from "../../ports/random.js";
import type { Settings } from "../../ports/settings.js";
import { withDeadline } from "../deadline.js";
import type { RetryBudget } from "../retry-budget.js";
import { RETRY_COST } from "../retry-budget.js";
import type { DatabaseFailures } from "./database-failures.js";
import type { DatabaseSystem } from "./query-name.js";
import { type FailedWork, isContention, type Repetition, repetitionOf } from "./repeat-rule.js";
import { TransactionError } from "./transaction-error.js";

export interface RepeatDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly journal: Journal;
  readonly settings: Settings;
  readonly failures: DatabaseFailures;
  /** Off: one attempt. */
  readonly flags: { readonly enabled: boolean; readonly autoRecovery: boolean; readonly retry: boolean };
  /** What mode `limited` may touch. @default ["llm:*"] */
  readonly limitedServices?: readonly string[] | undefined;
}

export interface RepeatedWork<T> {
  readonly service: string;
  /** The name under which its retries stand in `recovery_actions`. */
  readonly strategy: "transaction_retry" | "statement_retry";
  readonly system: DatabaseSystem;
  /** The text of the statement that failed, for the failure event. */
  sqlOf(error: unknown): string;
  /** Monotonic milliseconds. */
  readonly deadlineAt: number;
  /** Ends a wait; its reason is thrown, or the last error where the reason is that the time is up. */
  readonly signal: AbortSignal | undefined;
  /** Of retries on a database that may not be well. */
  readonly budget: RetryBudget | undefined;
  once(): Promise<T>;
  /** Resolves when it is known whether the database takes writes, on connections made now. @default it is not found out */
  readonly checked?: (() => Promise<void>) | undefined;
  /** What a failure of `once` left behind. */
  failed(error: unknown): FailedWork;
}

/** Locks last milliseconds, restarts seconds; full jitter keeps two waiters apart. */
const BACKOFF = {
  contention: { baseMs: 5, maxMs: 200 },
  fresh_connection: { baseMs: 100, maxMs: 2_000 },
  redirected: { baseMs: 100, maxMs: 2_000 },
} as const satisfies Record<Repetition["why"], { baseMs: number; maxMs: number }>;

/** Flags and mode let work on this database be repeated. */
export function mayRepeat({ flags, settings, limitedServices }: RepeatDeps, service: string): boolean {
  const switchedOn = flags.enabled && flags.autoRecovery && flags.retry;
  return switchedOn && permitsOf(settings.mode(), service, limitedServices).rescues;
}

/** Resolves with what `once` gives in the end; rejects with the error that it may not, or need not, be repeated for. */
export async function repeat<T>(deps: RepeatDeps, work: RepeatedWork<T>): Promise<T> {
  const { clock, random } = deps;
  const { signal, deadlineAt, budget, service } = work;
  const startedAt = clock.monotonic();
  let story: Story | undefined;
  let last: { readonly error: unknown } | undefined;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const value = await work.once();
      story?.ended("succeeded", attempt);
      return value;
    } catch (error) {
      // The circuit opened meanwhile: what opened it says more.
      if (last !== undefined && isRejection(error) && readProperty(error, "circuitName") !== undefined) {
        story?.ended("failed", attempt - 1);
        throw last.error;
      }
      const found = classify(error, service);
      const failed = work.failed(error);
      const repetition = repetitionOf(found, failed);
      if (repetition !== undefined) story ??= createStory(deps, work, error, startedAt);
      else if (isContention(found) && failed.isForeign !== true) observe(deps, work, error);
      const may = repetition !== undefined && attempt <= repetition.most && mayRepeat(deps, service);
      if (signal?.aborted || !may) {
        story?.ended(signal?.aborted ? endOf(signal) : "failed", attempt);
        throw error;
      }
      last = { error };
      const { baseMs, maxMs } = BACKOFF[repetition.why];
      const waitMs = random() * Math.min(maxMs, baseMs * 2 ** attempt);
      const now = clock.monotonic();
      const fits = now + waitMs < deadlineAt;
      if (!fits || (repetition.costs && budget !== undefined && !budget.take(RETRY_COST, now))) {
        story?.ended(fits ? "failed" : "timed_out", attempt);
        throw error;
      }
      try {
        await delayInCall(clock, waitMs, signal);
        if (repetition.why !== "redirected" || work.checked === undefined) continue;
        const timeoutMs = deadlineAt - clock.monotonic();
        await withDeadline(clock, work.checked(), { timeoutMs, onTimeout: () => error, signal });
      } catch {
        const isLate = !signal?.aborted;
        story?.ended(isLate ? "timed_out" : endOf(signal), attempt);
        // What kept it from its work says more than that its time is up.
        throw isLate || signal.reason instanceof TransactionError ? error : signal.reason;
      }
    }
  }
}

/** What is told of work that did not succeed at once. */
interface Story {
  ended(status: RescueRecord["status"], attempts: number): void;
}

/** One event for all the waiting, however often it was tried. */
function createStory(deps: RepeatDeps, work: RepeatedWork<unknown>, error: unknown, startedAt: number): Story {
  const { clock, journal, flags } = deps;
  const { service, strategy } = work;
  const what = strategy === "transaction_retry" ? "transaction" : "statement";
  const first: Failure | undefined = observe(deps, work, error);
  const permitted = mayRepeat(deps, service);

  return {
    ended(status, attempts) {
      if (first === undefined || !(flags.enabled && flags.autoRecovery && flags.retry)) return;
      journal.append({
        type: "rescue.ended",
        rescue: {
          failureEventId: first.eventId,
          timestamp: clock.now(),
          actionType: "retry",
          actionStrategy: strategy,
          status: permitted ? status : "skipped",
          target: service,
          durationMs: clock.monotonic() - startedAt,
          message: permitted
            ? `the ${what} ${status} at attempt ${attempts}`
            : `the ${what} would be tried again; the mode only records it`,
          metadata: { attempts },
          dryRun: !permitted,
        },
      });
    },
  };
}

function observe({ failures }: RepeatDeps, work: RepeatedWork<unknown>, error: unknown): Failure | undefined {
  const { service, system } = work;
  return failures.observe(error, { service, system, sql: work.sqlOf(error) }).failure;
}

function endOf(signal: AbortSignal): "timed_out" | "cancelled" {
  return signal.reason instanceof TransactionError ? "timed_out" : "cancelled";
}
