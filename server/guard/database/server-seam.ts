/**
 * The one place where a Drizzle database on a server is taken hold of. Two methods of its session are replaced, once, whoever
 * asks: the one that prepares statements and the one that runs transactions. Each statement and each transaction gets its
 * connection here, so that one that hangs or breaks can be given up.
 */
import { classify } from "../../../shared/classify.js";
import type { Clock } from "../../ports/clock.js";
import { withDeadline } from "../deadline.js";
import { refusedByDeadline } from "../refusal.js";
import type { DatabaseDriver, LentConnection } from "./database-driver.js";
import { DatabaseError } from "./database-error.js";
import { spoilsConnection } from "./repeat-rule.js";
import {
  type DrizzleSession,
  type DrizzleTransaction,
  noConnection,
  type ServerDatabase,
  statementTimeout,
} from "./server-session.js";
import { ServerTransaction, type TransactionTerms } from "./server-transaction.js";
import { ignore, replace, replaceExecuting } from "./shape.js";
import { beginAll, type StatementGuard } from "./statement-guard.js";

const SEAM = Symbol.for("paramedic.server_seam");

export class ServerSeam implements ServerDatabase {
  readonly driver: DatabaseDriver;
  readonly guards: StatementGuard[] = [];
  readonly raised = new WeakSet<object>();
  readonly #session: DrizzleSession;
  readonly #native: Pick<DrizzleSession, "prepareQuery" | "transaction">;
  #isGuarded = false;

  private constructor(session: DrizzleSession, driver: DatabaseDriver) {
    this.driver = driver;
    this.#session = session;
    const { prepareQuery, transaction } = session;
    this.#native = { prepareQuery, transaction };
  }

  /** The seam of a session, made on first use. */
  static of(session: object, driver: DatabaseDriver): ServerSeam {
    const known: unknown = Reflect.get(session, SEAM);
    if (known !== undefined) return asSeam(known);
    const seam = new ServerSeam(asSession(session), driver);
    Object.defineProperty(session, SEAM, { value: seam });
    return seam;
  }

  guard(guard: StatementGuard): void {
    this.guards.push(guard);
    this.driver.onIdleError((error) => guard.idleFailed(error));
    if (this.#isGuarded) return;
    this.#isGuarded = true;
    const seam = this;
    replace(this.#session, "prepareQuery", function (this: DrizzleSession, query: { sql: string }, ...more: unknown[]) {
      const prepared: object = Reflect.apply(seam.#native.prepareQuery, this, [query, ...more]);
      return seam.#watched(prepared, query.sql);
    });
    replace(this.#session, "transaction", (work: (tx: DrizzleTransaction) => Promise<unknown>, config?: unknown) =>
      this.transaction(work, {
        clock: guard.deps.clock,
        service: guard.service,
        config,
        isHurried: guard.isHurried(guard.deps.clock.monotonic(), guard.deadlineAt()),
      }),
    );
  }

  /** Runs `work` in a transaction on a connection of its own, as Drizzle does, under every guard. */
  transaction<T>(work: (tx: DrizzleTransaction) => T | Promise<T>, terms: TransactionTerms): Promise<T> {
    return new ServerTransaction(this, terms).run(work);
  }

  sessionOn(connection: LentConnection): DrizzleSession {
    const { prepareQuery, transaction } = this.#native;
    return Object.create(this.#session, {
      client: { value: connection.client },
      prepareQuery: { value: prepareQuery, writable: true, configurable: true },
      transaction: { value: transaction, writable: true, configurable: true },
    });
  }

  async lend(clock: Clock, service: string, deadlineAt: number, signal?: AbortSignal): Promise<LentConnection> {
    const timeoutMs = deadlineAt - clock.monotonic();
    // What would be given up as soon as it is sent is not sent, and costs nobody a connection.
    if (timeoutMs <= 0) throw refusedByDeadline(service).error;
    const lending = this.driver.lend(clock);
    const onTimeout = () => noConnection(service, timeoutMs);
    try {
      return await withDeadline(clock, lending, { timeoutMs, onTimeout, signal });
    } catch (error) {
      lending.then((late) => late.giveBack(), ignore);
      throw error;
    }
  }

  #watched(prepared: object, sql: string): object {
    return replaceExecuting(prepared, {
      execute: (run) => this.#repeated(sql, (client) => run(withClient(prepared, client))),
      iterate: (run) => this.#iterated(sql, (client) => run(withClient(prepared, client))),
    });
  }

  #repeated<T>(sql: string, execute: (client: object) => Promise<T>): Promise<T> {
    const [guard] = this.guards;
    // Only a guard replaces what leads here.
    if (guard === undefined) return execute(this.#session.client);
    return guard.repeated(
      () => sql,
      this.driver.isPool,
      (deadlineAt) => this.#once(guard, sql, deadlineAt, execute),
    );
  }

  async #once<T>(
    guard: StatementGuard,
    sql: string,
    deadlineAt: number,
    execute: (client: object) => Promise<T>,
  ): Promise<T> {
    const {
      deps: { clock },
      service,
    } = guard;
    const startedAt = clock.monotonic();
    const watch = beginAll(this.guards, { kind: "statement", sql, isGated: true, isRepeated: true });
    let connection: LentConnection | undefined;
    try {
      connection = await this.lend(clock, service, deadlineAt);
      if (this.driver.hasQueue) watch.connected();
      const timeoutMs = deadlineAt - clock.monotonic();
      const onTimeout = () => statementTimeout(service, timeoutMs);
      const value = await withDeadline(clock, execute(connection.client), { timeoutMs, onTimeout });
      watch.succeeded();
      connection.giveBack();
      return value;
    } catch (error) {
      watch.failed(error, isOurs(error) && guard.isHurried(startedAt, deadlineAt));
      if (spoilsConnection(classify(error, service))) connection?.destroy();
      else connection?.giveBack();
      throw error;
    }
  }

  /**
   * Rows one by one, on one connection until the last one, each within the statement's time. Not repeated: rows have reached
   * the caller.
   */
  async *#iterated<T>(sql: string, iterate: (client: object) => AsyncIterable<T>): AsyncGenerator<T> {
    const [guard] = this.guards;
    if (guard === undefined) {
      yield* iterate(this.#session.client);
      return;
    }
    const {
      deps: { clock },
      service,
    } = guard;
    const watch = beginAll(this.guards, { kind: "statement", sql, isGated: true });
    let connection: LentConnection | undefined;
    let isReusable = false;
    let startedAt = clock.monotonic();
    let deadlineAt = guard.deadlineAt();
    try {
      connection = await this.lend(clock, service, deadlineAt);
      if (this.driver.hasQueue) watch.connected();
      const rows = iterate(connection.client)[Symbol.asyncIterator]();
      for (;;) {
        startedAt = clock.monotonic();
        deadlineAt = guard.deadlineAt();
        const timeoutMs = deadlineAt - startedAt;
        const onTimeout = () => statementTimeout(service, timeoutMs);
        const row = await withDeadline(clock, rows.next(), { timeoutMs, onTimeout });
        if (row.done === true) break;
        yield row.value;
      }
      isReusable = true;
      watch.succeeded();
    } catch (error) {
      watch.failed(error, isOurs(error) && guard.isHurried(startedAt, deadlineAt));
      isReusable = !spoilsConnection(classify(error, service));
      throw error;
    } finally {
      // Nothing to a statement that has ended. A caller who left early leaves rows on the connection that nobody reads.
      watch.ignored();
      if (isReusable) connection?.giveBack();
      else connection?.destroy();
    }
  }
}

/** The time was up here; the database has said nothing. */
function isOurs(error: unknown): boolean {
  return error instanceof DatabaseError;
}

/** The same statement, executed on another client. */
function withClient(prepared: object, client: object): object {
  return Object.create(prepared, { client: { value: client } });
}

/** Only `ServerSeam.of` writes under the symbol; another copy of the package writes an object with the same methods. */
function asSeam(value: unknown): ServerSeam {
  return value as ServerSeam;
}

/** `databaseOf` has looked at it. */
function asSession(session: object): DrizzleSession {
  return session as DrizzleSession;
}
