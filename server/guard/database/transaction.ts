/**
 * Transactions on better-sqlite3 whose body may await, retried as a whole when the database says so. While one is open it
 * owns the connection; waiting for a lock never blocks the event loop.
 */
import type { RunResult } from "better-sqlite3";
import type { TablesRelationalConfig } from "drizzle-orm";
import type { BaseSQLiteDatabase, SQLiteTransaction } from "drizzle-orm/sqlite-core";
import { classify } from "../../../shared/classify.js";
import { ParamedicError } from "../../../shared/errors.js";
import type { Failure } from "../../../shared/failure.js";
import { permitsOf } from "../../../shared/mode.js";
import { MAX_TIMER_MS } from "../../../shared/units.js";
import type { CallContext } from "../../ports/call-context.js";
import { type Clock, delayInCall } from "../../ports/clock.js";
import type { Journal, RescueRecord } from "../../ports/journal.js";
import type { Random } from "../../ports/random.js";
import type { Settings } from "../../ports/settings.js";
import { withDeadline } from "../deadline.js";
import { GUARD_POLICY_DEFAULTS } from "../guard-policy.js";
import { type DatabaseFailures, isContention } from "./database-failures.js";
import { letQueriesWait, makeHandle, requireClient } from "./sqlite-drizzle.js";
import { DatabaseSeam, type Hold } from "./sqlite-seam.js";
import { TransactionError } from "./transaction-error.js";

export interface TransactionDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly journal: Journal;
  readonly callContext: CallContext;
  readonly settings: Settings;
  readonly failures: DatabaseFailures;
  /** Off: one attempt, waiting as long as the connection itself does. */
  readonly flags: { readonly enabled: boolean; readonly autoRecovery: boolean; readonly retry: boolean };
  /** Told of faults of our own; must not throw. */
  readonly onFault: (error: unknown) => void;
  /** What mode `limited` may touch. @default ["llm:*"] */
  readonly limitedServices?: readonly string[] | undefined;
}

export interface TransactionOptions {
  /** Bounds everything, waiting and retries too; 1 to 2^31-1 ms. @default the database guard's `timeoutMs`, 30_000 */
  readonly timeoutMs?: number | undefined;
  /** The caller's own signal, beside the one of the tRPC call. An abort rolls back. */
  readonly signal?: AbortSignal | undefined;
  /** Names a database that is not guarded. @default "db:unguarded" */
  readonly service?: string | undefined;
}

/**
 * Runs `work` in one transaction (`BEGIN IMMEDIATE`), and again from the start when the database is busy or in conflict, so
 * it must do nothing outside of the database that may not be done twice. Resolves with its value. An error of `work` rolls
 * back and is thrown by the same reference.
 *
 * Transactions of one connection run one after the other. While one is open, awaited queries of other calls wait for their
 * turn; queries that are executed synchronously fail with `TransactionError` (`transaction_open`), because they would
 * silently become a part of it. So do nothing slow inside.
 *
 * @throws TransactionError, `CircuitBreakerError` while the circuit is open, or the database's own error once the time is up
 * @throws ParamedicError `OPERATION_INVALID` for another driver
 * @example
 * const order = await transaction(db, async (tx) => {
 *   const [made] = await tx.insert(orders).values({ customer }).returning();
 *   await tx.update(stock).set({ left: sql`${stock.left} - 1` }).where(eq(stock.item, item));
 *   return made;
 * });
 */
export type Transaction = <TFullSchema extends Record<string, unknown>, TSchema extends TablesRelationalConfig, T>(
  db: BaseSQLiteDatabase<"sync", RunResult, TFullSchema, TSchema>,
  work: (tx: SQLiteTransaction<"sync", RunResult, TFullSchema, TSchema>) => T | Promise<T>,
  options?: TransactionOptions,
) => Promise<T>;

/** The name under which its retries stand in `recovery_actions`. */
export const TRANSACTION_RETRY = "transaction_retry";

const UNGUARDED = "db:unguarded";

/** Waiting for the lock to begin costs nothing and is left to the event loop; a commit has work to lose. */
const BEGIN_BUSY_MS = 0;
const COMMIT_BUSY_MS = 50;

/** Locks of other processes last milliseconds: the first wait is short, and full jitter keeps two waiters apart. */
const BACKOFF = { baseMs: 5, maxMs: 200 } as const;

export function createTransaction(deps: TransactionDeps): Transaction {
  const { clock, callContext } = deps;

  return async (db, work, options = {}) => {
    requireTimeout(options.timeoutMs);
    const seam = DatabaseSeam.of(requireClient(db, "transaction"));
    letQueriesWait(db);
    if (seam.isInside) throw new TransactionError("use_tx");
    const guard = seam.guards[0];
    const call = callContext.current();
    const timeoutMs = options.timeoutMs ?? guard?.timeoutMs ?? GUARD_POLICY_DEFAULTS.timeoutMs;
    const remainingMs = Math.min(timeoutMs, (call?.deadlineAt ?? Number.POSITIVE_INFINITY) - clock.monotonic());
    const stop = makeStop(clock, remainingMs, [call?.signal, options.signal]);
    const turn = seam.turn();
    try {
      const endTurn = await withDeadline(clock, turn, { ...FOREVER, signal: stop.signal }).catch((error: unknown) => {
        void turn.then((end) => end());
        throw error;
      });
      try {
        const story = createStory(deps, guard?.service ?? options.service ?? UNGUARDED);
        const once = () =>
          runOnce(deps, seam, stop.signal, story.rescues, (prepare) => work(asHandle(makeHandle(db, prepare))));
        return await runUntilDone(deps, story, stop.signal, once);
      } finally {
        endTurn();
      }
    } finally {
      stop.dispose();
    }
  };
}

/** `makeHandle` has it made by the database's own copy of Drizzle, for its own schema: exactly what its type says. */
function asHandle<Tx>(handle: unknown): Tx {
  return handle as Tx;
}

const FOREVER = { timeoutMs: Number.POSITIVE_INFINITY, onTimeout: () => undefined };

type Work<T> = (prepare: (sql: string) => unknown) => T | Promise<T>;

async function runUntilDone<T>(
  { clock, random }: TransactionDeps,
  story: Story,
  signal: AbortSignal,
  once: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const value = await once();
      story.ended("succeeded", attempt);
      return value;
    } catch (error) {
      const again = story.met(error) && story.rescues;
      if (signal.aborted || !again) {
        story.ended(signal.aborted ? endOf(signal) : "failed", attempt);
        throw error;
      }
      const waited = await delayInCall(clock, backoffMs(attempt, random), signal).then(
        () => true,
        () => false,
      );
      if (waited) continue;
      story.ended(endOf(signal), attempt);
      // What kept it from its work says more than that its time is up.
      throw signal.reason instanceof TransactionError ? error : signal.reason;
    }
  }
}

async function runOnce<T>(
  { clock, onFault }: TransactionDeps,
  seam: DatabaseSeam,
  signal: AbortSignal,
  patient: boolean,
  work: Work<T>,
): Promise<T> {
  signal.throwIfAborted();
  const { client } = seam;
  const begin = () => seam.control("BEGIN IMMEDIATE", true);
  if (patient) seam.withBusyTimeout(BEGIN_BUSY_MS, begin);
  else begin();
  const hold: Hold & { isOver: boolean } = { isOver: false };
  seam.hold(hold);
  const admit = () => {
    if (hold.isOver) throw new TransactionError("over");
    if (!client.inTransaction) throw new TransactionError("rolled_back");
  };
  try {
    const running = seam.within(hold, async () => work((sql) => seam.prepareOwn(sql, admit)));
    const value = await withDeadline(clock, running, { ...FOREVER, signal });
    admit();
    seam.withBusyTimeout(COMMIT_BUSY_MS, () => seam.control("COMMIT", false));
    return value;
  } catch (error) {
    try {
      if (client.open && client.inTransaction) seam.control("ROLLBACK", false);
    } catch (fault) {
      onFault(fault);
    }
    throw error;
  } finally {
    hold.isOver = true;
    seam.release();
  }
}

/** What is told of one transaction that did not succeed at once. */
interface Story {
  /** Flags and mode allow to try again. */
  readonly rescues: boolean;
  /** Takes note of an error; says whether the database asks to try again. */
  met(error: unknown): boolean;
  ended(status: RescueRecord["status"], attempts: number): void;
}

function createStory(
  { clock, journal, settings, failures, flags, limitedServices }: TransactionDeps,
  service: string,
): Story {
  const switchedOn = flags.enabled && flags.autoRecovery && flags.retry;
  const permitted = permitsOf(settings.mode(), service, limitedServices).rescues;
  const startedAt = clock.monotonic();
  let first: Failure | undefined;

  return {
    rescues: switchedOn && permitted,
    met(error) {
      if (!isContention(classify(error, service))) return false;
      // One event for all the waiting, however often it was tried.
      first ??= failures.observe(error, service, "BEGIN IMMEDIATE").failure;
      return true;
    },
    ended(status, attempts) {
      if (first === undefined || !switchedOn) return;
      journal.append({
        type: "rescue.ended",
        rescue: {
          failureEventId: first.eventId,
          timestamp: clock.now(),
          actionType: "retry",
          actionStrategy: TRANSACTION_RETRY,
          status: permitted ? status : "skipped",
          target: service,
          durationMs: clock.monotonic() - startedAt,
          message: permitted
            ? `the transaction ${status} at attempt ${attempts}`
            : "the transaction would be tried again; the mode only records it",
          metadata: { attempts },
          dryRun: !permitted,
        },
      });
    },
  };
}

interface Stop {
  readonly signal: AbortSignal;
  dispose(): void;
}

/** Aborts when the time is up or one of the callers' signals does. */
function makeStop(clock: Clock, timeoutMs: number, signals: readonly (AbortSignal | undefined)[]): Stop {
  const controller = new AbortController();
  const expire = () => controller.abort(new TransactionError("deadline"));
  const timer = clock.setTimer(expire, Math.max(timeoutMs, 0));
  if (timeoutMs <= 0) expire();
  const listened = signals.flatMap((signal) => {
    if (signal === undefined) return [];
    const onAbort = () => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    return [{ signal, onAbort }];
  });
  return {
    signal: controller.signal,
    dispose() {
      timer.cancel();
      for (const { signal, onAbort } of listened) signal.removeEventListener("abort", onAbort);
    },
  };
}

function endOf(signal: AbortSignal): "timed_out" | "cancelled" {
  return signal.reason instanceof TransactionError ? "timed_out" : "cancelled";
}

function backoffMs(attempt: number, random: Random): number {
  return random() * Math.min(BACKOFF.maxMs, BACKOFF.baseMs * 2 ** attempt);
}

function requireTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || (typeof timeoutMs === "number" && timeoutMs >= 1 && timeoutMs <= MAX_TIMER_MS)) return;
  throw new ParamedicError(
    "OPERATION_INVALID",
    `transaction: timeoutMs got ${String(timeoutMs)}; legal: [1, ${MAX_TIMER_MS}]`,
  );
}
