/** `paramedic.transaction`: a transaction on any supported driver, done again as a whole when the database asks for it. */
import { linksOf, readProperty } from "../../../shared/error-facts.js";
import { ParamedicError } from "../../../shared/errors.js";
import { MAX_TIMER_MS } from "../../../shared/units.js";
import type { CallContext } from "../../ports/call-context.js";
import type { Clock } from "../../ports/clock.js";
import { isTooShortToTell } from "../attempt-time.js";
import { GUARD_POLICY_DEFAULTS } from "../guard-policy.js";
import { databaseOf, type KnownDatabase } from "./known-database.js";
import type { DatabaseSystem } from "./query-name.js";
import { mayRepeat, type RepeatDeps, repeat } from "./repeat.js";
import { ServerSeam } from "./server-seam.js";
import type { TransactionTerms } from "./server-transaction.js";
import { ignore } from "./shape.js";
import { letQueriesWait, makeHandle } from "./sqlite-drizzle.js";
import { SqliteSeam } from "./sqlite-seam.js";
import { runSqliteTransaction, type SqliteTransactionTerms } from "./sqlite-transaction.js";
import type { StatementGuard } from "./statement-guard.js";
import { TransactionError } from "./transaction-error.js";

export interface TransactionDeps extends RepeatDeps {
  readonly callContext: CallContext;
  /** Told of faults of our own; must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface TransactionOptions<Config = unknown> {
  /** Bounds everything, waiting and retries too; 1 to 2^31-1 ms. @default the database guard's `timeoutMs`, 30_000 */
  readonly timeoutMs?: number | undefined;
  /** The caller's own signal, beside the one of the tRPC call. An abort rolls back. */
  readonly signal?: AbortSignal | undefined;
  /** Names a database that is not guarded. @default "db:unguarded" */
  readonly service?: string | undefined;
  /**
   * What the database's own `transaction()` takes: isolation level and access mode; for SQLite its behavior.
   *
   * @default the server's; `{ behavior: "immediate" }` for SQLite
   */
  readonly config?: Config | undefined;
}

/** A Drizzle database. */
export interface Transactional {
  transaction(work: never, config?: never): unknown;
}

/** The handle that a database's own `transaction()` gives. */
export type TransactionOf<Db> = Db extends { transaction(work: (tx: infer Tx) => never, config?: never): unknown }
  ? Tx
  : never;

/** What a database's own `transaction()` can be told. */
export type TransactionConfigOf<Db> = Db extends { transaction(work: never, config?: infer Config): unknown }
  ? Config
  : never;

/**
 * Runs `work` in one transaction, and again from the start when the database is busy, finds a deadlock or a conflict, or
 * loses the connection before COMMIT was sent. So it must do nothing outside of the database that may not be done twice.
 * Resolves with its value once it is committed. An error of `work` rolls back and is thrown by the same reference; it is
 * done again only for what a statement of `tx` failed with, as it came or as a `cause`.
 *
 * A connection that is lost while COMMIT is on its way is another matter: it may have happened. Then it is not done again,
 * and `TransactionError` says `outcome_unknown`.
 *
 * On SQLite it begins with BEGIN IMMEDIATE, its body may await, and waiting for a lock does not block the event loop.
 * Transactions of one connection run one after the other. While one is open, awaited queries of other calls wait for their
 * turn; queries that are executed synchronously fail with `TransactionError` (`transaction_open`), because they would
 * silently become a part of it. So do nothing slow inside.
 *
 * @throws TransactionError, `CircuitBreakerError` while the circuit is open, `DatabaseError`, or the database's own error
 * @throws ParamedicError `OPERATION_INVALID` for another driver
 * @example
 * const order = await transaction(db, async (tx) => {
 *   const [made] = await tx.insert(orders).values({ customer }).returning();
 *   await tx.update(stock).set({ left: sql`${stock.left} - 1` }).where(eq(stock.item, item));
 *   return made;
 * });
 */
export type Transaction = <Db extends Transactional, T>(
  db: Db,
  work: (tx: TransactionOf<Db>) => T | Promise<T>,
  options?: TransactionOptions<TransactionConfigOf<Db>>,
) => Promise<T>;

const UNGUARDED = "db:unguarded";

export function createTransaction(deps: TransactionDeps): Transaction {
  return async (db, work, options = {}) => {
    requireTimeout(options.timeoutMs);
    const known = databaseOf(db, "transaction");
    const run = known.kind === "sqlite" ? onSqlite(deps, db, known.client) : onServer(deps, known);
    const { clock, callContext } = deps;
    const call = callContext.current();
    const { guard } = run;
    const timeoutMs = options.timeoutMs ?? guard?.policy.timeoutMs ?? GUARD_POLICY_DEFAULTS.timeoutMs;
    const now = clock.monotonic();
    const leftMs = Math.min(timeoutMs, (call?.deadlineAt ?? Number.POSITIVE_INFINITY) - now);
    const stop = makeStop(clock, leftMs, [call?.signal, options.signal]);
    const isHurried = guard !== undefined && isTooShortToTell(leftMs, guard.policy.timeoutMs);
    const service = guard?.service ?? options.service ?? UNGUARDED;
    const { signal } = stop;
    guard?.deps.budget.earn();
    /** Of the present attempt. */
    let body: { thrown?: { readonly error: unknown } } = {};
    const once = () => {
      const attempt: typeof body = {};
      body = attempt;
      const noting = async (tx: unknown) => {
        try {
          return await work(asHandle(tx));
        } catch (error) {
          attempt.thrown = { error };
          throw error;
        }
      };
      return run.once(noting, { service, signal, config: options.config, isHurried });
    };
    const isForeign = (error: unknown) =>
      body.thrown !== undefined && body.thrown.error === error && !linksOf(error).some(run.hasRaised);
    try {
      return await run.inTurn(signal, () =>
        repeat(deps, {
          service,
          strategy: "transaction_retry",
          system: run.system,
          sqlOf: () => "TRANSACTION",
          deadlineAt: now + leftMs,
          signal,
          budget: run.guard?.deps.budget,
          once,
          checked: guard?.deps.writes.checked,
          // Of one whose COMMIT was sent the outcome is unknown, and its error says so.
          failed: (error) => ({ isPooled: run.isPooled, isHarmless: true, isForeign: isForeign(error) }),
        }),
      );
    } finally {
      stop.dispose();
    }
  };
}

interface Terms extends Pick<TransactionTerms, "service" | "config" | "isHurried"> {
  readonly signal: AbortSignal;
}

/** How one kind of database runs a transaction. */
interface Runner {
  readonly system: DatabaseSystem;
  readonly isPooled: boolean;
  readonly guard: StatementGuard | undefined;
  /** Runs `all`, attempts and waits, when its turn has come. */
  inTurn<T>(signal: AbortSignal, all: () => Promise<T>): Promise<T>;
  once<T>(work: (tx: unknown) => T | Promise<T>, terms: Terms): Promise<T>;
  /** It is what one of the transaction's own statements failed with. */
  readonly hasRaised: (error: unknown) => boolean;
}

function onServer({ clock }: TransactionDeps, known: Extract<KnownDatabase, { kind: "server" }>): Runner {
  const seam = ServerSeam.of(known.session, known.driver);
  const { system, isPool } = seam.driver;
  return {
    system,
    isPooled: isPool,
    guard: seam.guards[0],
    inTurn: (_signal, all) => all(),
    once: (work, terms) => seam.transaction(work, { ...terms, clock, isRepeated: true }),
    hasRaised: (error) => typeof error === "object" && error !== null && seam.raised.has(error),
  };
}

function onSqlite(
  deps: TransactionDeps,
  db: object,
  client: Extract<KnownDatabase, { kind: "sqlite" }>["client"],
): Runner {
  const { clock, onFault } = deps;
  const seam = SqliteSeam.of(client);
  letQueriesWait(db);
  if (seam.isInside) throw new TransactionError("use_tx");
  return {
    system: "sqlite",
    isPooled: false,
    guard: seam.guards[0],
    async inTurn(signal, all) {
      const endTurn = await seam.turnWithin(clock, {
        timeoutMs: Number.POSITIVE_INFINITY,
        onTimeout: ignore,
        signal,
      });
      try {
        return await all();
      } finally {
        endTurn();
      }
    },
    once: (work, { service, signal, config }) =>
      runSqliteTransaction(
        seam,
        { clock, behavior: behaviorOf(config, seam), signal, isPatient: mayRepeat(deps, service), onFault },
        (prepare) => work(makeHandle(db, prepare)),
      ),
    hasRaised: (error) => seam.hasRaised(error),
  };
}

function behaviorOf(config: unknown, { guards }: SqliteSeam): SqliteTransactionTerms["behavior"] {
  const behavior = readProperty(config, "behavior");
  if (behavior === "deferred" || behavior === "immediate" || behavior === "exclusive") return behavior;
  // To begin as a writer is a write itself: while none is taken, a transaction may still read.
  return guards.some(({ deps }) => deps.writes.readOnly !== undefined) ? "deferred" : "immediate";
}

/** It was made by the database's own copy of Drizzle, for its own schema: exactly what its type says. */
function asHandle<Tx>(handle: unknown): Tx {
  return handle as Tx;
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

function requireTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || (typeof timeoutMs === "number" && timeoutMs >= 1 && timeoutMs <= MAX_TIMER_MS)) return;
  throw new ParamedicError(
    "OPERATION_INVALID",
    `transaction: timeoutMs got ${String(timeoutMs)}; legal: [1, ${MAX_TIMER_MS}]`,
  );
}
