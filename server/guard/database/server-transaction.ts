/**
 * One transaction on a server: Drizzle's own, on a connection that is lent for it. It knows how far it came, so that a
 * connection that breaks during COMMIT is told apart from one that broke before, and it ends where Drizzle would wait.
 */
import { classify } from "../../../shared/classify.js";
import { neverLeft } from "../../../shared/database-errors.js";
import { factsOf, readProperty } from "../../../shared/error-facts.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import { withDeadline } from "../deadline.js";
import type { LentConnection } from "./database-driver.js";
import { DatabaseError } from "./database-error.js";
import { isContention, losesConnection, mayHaveReached, spoilsConnection } from "./repeat-rule.js";
import {
  type DrizzleSession,
  type DrizzleTransaction,
  noConnection,
  type ServerDatabase,
  statementTimeout,
} from "./server-session.js";
import { ignore, replace, replaceExecuting } from "./shape.js";
import { beginAll } from "./statement-guard.js";
import { TransactionError } from "./transaction-error.js";

export interface TransactionTerms {
  readonly clock: Clock;
  readonly service: string;
  /** Drizzle's: isolation level, access mode. */
  readonly config: unknown;
  /** Its caller leaves it so little time that not to get a connection says nothing of the database. */
  readonly isHurried: boolean;
  /** Ends it, unless its COMMIT is on its way. */
  readonly signal?: AbortSignal | undefined;
  /** Whoever repeats it as a whole tells of contention, and wants to know when the server rolled back by itself. */
  readonly isRepeated?: boolean;
}

/** How long a rollback may take once the caller has left; then the connection is given up, and the server rolls back. */
const ROLLBACK_WITHIN_MS = SECOND_MS;

export class ServerTransaction {
  readonly #database: ServerDatabase;
  readonly #terms: TransactionTerms;
  readonly #isReadOnly: boolean;
  readonly #adopted = new WeakSet<object>();
  /** Aborts when the connection is given up: some drivers never answer what was still under way on it. */
  readonly #givenUp = new AbortController();
  #connection: LentConnection | undefined = undefined;
  /** Its body has ended well, and COMMIT may be on its way. */
  #isCommitting = false;
  /** Its handle may not be used any more. */
  #isOver = false;
  /** The connection has gone back: not even a rollback may use it. */
  #isClosed = false;
  /** The server has rolled back, whatever the body did next. */
  #isRolledBack = false;
  #isSpoilt = false;
  /** The connection is gone, and with it everything that was done on it. */
  #isLost = false;
  /** Why it is rolled back, or what its COMMIT met; what the rollback meets is only a consequence. */
  #first: { readonly error: unknown } | undefined = undefined;
  #failedPart: { readonly error: unknown } | undefined = undefined;

  constructor(database: ServerDatabase, terms: TransactionTerms) {
    this.#database = database;
    this.#terms = terms;
    this.#isReadOnly = readProperty(terms.config, "accessMode") === "read only";
  }

  /** Rejects with what `work` threw, with what the database said, or with a TransactionError. */
  async run<T>(work: (tx: DrizzleTransaction) => T | Promise<T>): Promise<T> {
    const { clock, isHurried, signal, isRepeated = false } = this.#terms;
    const { guards } = this.#database;
    const watch = beginAll(guards, { kind: "transaction", sql: "TRANSACTION", isGated: true, isRepeated });
    let connection: LentConnection;
    try {
      connection = await this.#lend();
    } catch (error) {
      if (signal?.aborted && error === signal.reason) watch.ignored();
      else watch.failed(error, isHurried && error instanceof DatabaseError);
      throw error;
    }
    this.#connection = connection;
    if (this.#database.driver.hasQueue) watch.connected();
    const running = this.#runOn(connection, work);
    try {
      const value = await withDeadline(clock, running, { ...FOREVER, signal });
      watch.succeeded();
      return value;
    } catch (thrown) {
      const isAbandoned = signal?.aborted === true && thrown === signal.reason;
      const error = this.#errorOf(thrown, isAbandoned);
      if (isAbandoned) this.#endLater(running);
      // What the body threw is its own, and its statements have told of theirs.
      if (this.#isCommitting || (this.#first === undefined && !isAbandoned)) watch.failed(error);
      else watch.ignored();
      throw error;
    }
  }

  async #lend(): Promise<LentConnection> {
    const { clock, service, signal } = this.#terms;
    signal?.throwIfAborted();
    const startedAt = clock.monotonic();
    const deadlineAt = this.#database.guards[0]?.deadlineAt() ?? Number.POSITIVE_INFINITY;
    try {
      return await this.#database.lend(clock, service, deadlineAt, signal);
    } catch (error) {
      // Its time went by in the queue for a connection: that is worth more words than that it is over.
      if (!(error instanceof TransactionError)) throw error;
      throw noConnection(service, clock.monotonic() - startedAt);
    }
  }

  async #runOn<T>(connection: LentConnection, work: (tx: DrizzleTransaction) => T | Promise<T>): Promise<T> {
    const { config, isRepeated } = this.#terms;
    const session = this.#database.sessionOn(connection);
    this.#adoptSession(session);
    let value: { readonly of: T } | undefined;
    const body = async (tx: DrizzleTransaction) => {
      this.#adopt(tx);
      value = { of: await this.#body(work, tx) };
    };
    try {
      await session.transaction(body, ...(config === undefined ? [] : [config]));
      if (value === undefined || (isRepeated && this.#isRolledBack)) throw this.#rolledBack();
      return value.of;
    } finally {
      this.#isOver = true;
      this.#isClosed = true;
      if (this.#isSpoilt) connection.destroy();
      else connection.giveBack();
    }
  }

  async #body<T>(work: (tx: DrizzleTransaction) => T | Promise<T>, tx: DrizzleTransaction): Promise<T> {
    const { clock, signal, isRepeated } = this.#terms;
    try {
      const running = (async () => work(tx))();
      const value = await withDeadline(clock, running, { ...FOREVER, signal });
      if (this.#isLost || (isRepeated && this.#isRolledBack)) throw this.#rolledBack();
      this.#isCommitting = true;
      return value;
    } catch (error) {
      this.#isOver = true;
      this.#first ??= { error };
      throw error;
    }
  }

  /** Takes the sessions and savepoints of a handle under this transaction. */
  #adopt(tx: DrizzleTransaction): void {
    this.#adoptSession(tx.session);
    const native = tx.transaction;
    replace(tx, "transaction", (work: (inner: DrizzleTransaction) => Promise<unknown>) =>
      Reflect.apply(native, tx, [
        (inner: DrizzleTransaction) => {
          this.#adopt(inner);
          return work(inner);
        },
      ]),
    );
  }

  #adoptSession(session: DrizzleSession): void {
    if (this.#adopted.has(session)) return;
    this.#adopted.add(session);
    const { prepareQuery } = session;
    replace(session, "prepareQuery", (query: { readonly sql: string }, ...more: unknown[]) => {
      const prepared: object = Reflect.apply(prepareQuery, session, [query, ...more]);
      return replaceExecuting(prepared, {
        execute: (run) => this.#part(query.sql, () => run(prepared)),
        iterate: (run) => this.#partIterated(query.sql, () => run(prepared)),
      });
    });
  }

  async #part<T>(sql: string, execute: () => Promise<T>): Promise<T> {
    const { clock, service } = this.#terms;
    const { guards } = this.#database;
    const isRollback = /^rollback\b/i.test(sql);
    const watch = this.#beginPart(sql, isRollback);
    const timeoutMs = guards[0]?.policy.timeoutMs ?? Number.POSITIVE_INFINITY;
    try {
      const onTimeout = () => statementTimeout(service, timeoutMs);
      const value = await withDeadline(clock, execute(), { timeoutMs, onTimeout, signal: this.#givenUp.signal });
      watch.succeeded();
      // PostgreSQL answers the COMMIT of a transaction in which something failed with ROLLBACK, and calls that a success.
      if (/^commit\b/i.test(sql) && readProperty(value, "command") === "ROLLBACK") this.#isRolledBack = true;
      return value;
    } catch (error) {
      // What a COMMIT met is told of the transaction as a whole; a rollback that fails only follows from what came before.
      if (this.#isCommitting || isRollback) watch.ignored();
      else watch.failed(error);
      this.#partFailed(error);
      throw error;
    }
  }

  async *#partIterated<T>(sql: string, iterate: () => AsyncIterable<T>): AsyncGenerator<T> {
    const watch = this.#beginPart(sql, false);
    try {
      yield* iterate();
      watch.succeeded();
    } catch (error) {
      watch.failed(error);
      this.#partFailed(error);
      throw error;
    } finally {
      watch.ignored();
    }
  }

  #beginPart(sql: string, isRollback: boolean) {
    if (this.#isClosed || (this.#isOver && !isRollback)) throw new TransactionError("over");
    const { isRepeated = false } = this.#terms;
    if ((this.#isLost || (isRepeated && this.#isRolledBack)) && !isRollback) throw this.#rolledBack();
    return beginAll(this.#database.guards, {
      kind: "part",
      sql,
      isGated: false,
      isRepeated,
      isReadOnly: this.#isReadOnly,
    });
  }

  #partFailed(error: unknown): void {
    const found = classify(error, this.#terms.service);
    this.#failedPart ??= { error };
    if (typeof error === "object" && error !== null) this.#database.raised.add(error);
    if (this.#isCommitting) this.#first ??= { error };
    if (spoilsConnection(found)) this.#isSpoilt = true;
    if (losesConnection(found)) this.#isLost = true;
    // What follows on a connection that hangs would wait for it for ever.
    if (error instanceof DatabaseError) this.#giveUp(error);
    // MySQL has ended the transaction: what came next would be committed statement by statement.
    if (this.#database.driver.system === "mysql" && found.failureType === "database_conflict")
      this.#isRolledBack = true;
  }

  #errorOf(thrown: unknown, isAbandoned: boolean): unknown {
    if (isAbandoned) {
      this.#isOver = true;
      return this.#isCommitting ? new TransactionError("outcome_unknown", { cause: thrown }) : thrown;
    }
    const error = this.#first === undefined ? thrown : this.#first.error;
    if (!this.#isCommitting || !mayHaveReached(classify(error, this.#terms.service))) return error;
    return factsOf(error).some(neverLeft) ? error : new TransactionError("outcome_unknown", { cause: error });
  }

  /** Contention and a lost connection ask for another try; anything else was the body's to see. */
  #rolledBack(): unknown {
    const error = this.#failedPart?.error;
    if (this.#isLost || (error !== undefined && isContention(classify(error, this.#terms.service)))) return error;
    return new TransactionError("rolled_back", { cause: error });
  }

  #giveUp(why: unknown): void {
    this.#connection?.destroy();
    this.#givenUp.abort(why);
  }

  #endLater(running: Promise<unknown>): void {
    const onTimeout = () => this.#giveUp(new TransactionError("deadline"));
    withDeadline(this.#terms.clock, running, { timeoutMs: ROLLBACK_WITHIN_MS, onTimeout }).catch(ignore);
  }
}

const FOREVER = { timeoutMs: Number.POSITIVE_INFINITY, onTimeout: ignore };
