/**
 * The one place where a better-sqlite3 connection is taken hold of: its statements pass through guards, and while an
 * asynchronous transaction holds the connection nobody else's statement becomes a part of it. The methods of the instance
 * are replaced, once, whoever asks; statements that were prepared before are kept out by an open cursor, because the driver
 * itself refuses to write while one is open. It is one object because all of it guards one thing, the connection.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type BetterSqlite3 from "better-sqlite3";
import type { Clock } from "../../ports/clock.js";
import { type Bounds, withDeadline } from "../deadline.js";
import { beginAll, type StatementGuard, type StatementWork } from "./statement-guard.js";
import { TransactionError } from "./transaction-error.js";

type Client = BetterSqlite3.Database;
type Statement = BetterSqlite3.Statement<unknown[]>;

/** A transaction that holds the connection. */
export interface Hold {
  readonly isOver: boolean;
}

const SEAM = Symbol.for("paramedic.sqlite_seam");
const EXECUTING = ["run", "get", "all", "iterate"] as const;
const VARIANTS = ["default", "deferred", "immediate", "exclusive"] as const;

/** Waiting inside of the driver blocks the event loop; what is awaited waits outside. */
const AWAITED_BUSY_MS = 0;

export class SqliteSeam {
  readonly client: Client;
  readonly guards: StatementGuard[] = [];
  /** How long a synchronous statement may wait for a lock while guards may do something about it. */
  syncBusyMs = Number.POSITIVE_INFINITY;
  readonly #native: Pick<Client, "prepare" | "exec" | "transaction" | "close">;
  readonly #inside = new AsyncLocalStorage<Hold>();
  /** The statements that failed, by their errors. */
  readonly #failed = new WeakMap<object, string>();
  /** The busy timeout that the app gave the connection, and the one that it has now. */
  readonly #ownBusyMs: number;
  #busyMs: number;
  #cursor: Statement | undefined = undefined;
  #openCursor: IterableIterator<unknown> | undefined = undefined;
  #hold: Hold | undefined = undefined;
  #turns: Promise<void> = Promise.resolve();
  /** Synchronous transactions under way: their statements were admitted with them. */
  #depth = 0;
  /** The statement that runs now is awaited, and repeated when it meets a lock. */
  #isAwaited = false;

  private constructor(client: Client) {
    this.client = client;
    const { prepare, exec, transaction, close } = client;
    this.#native = {
      prepare: prepare.bind(client),
      exec: exec.bind(client),
      transaction: transaction.bind(client),
      close: close.bind(client),
    };
    this.#ownBusyMs = Number(client.pragma("busy_timeout", { simple: true }));
    this.#busyMs = this.#ownBusyMs;
    replace(client, "prepare", (sql: string) => this.#prepareShared(sql));
    replace(client, "exec", (sql: string) => this.#shared("statement", sql, () => this.#native.exec(sql)));
    replace(client, "transaction", (fn: (...args: unknown[]) => unknown) => this.#transactionShared(fn));
    replace(client, "close", () => {
      this.#closeCursor();
      return this.#native.close();
    });
  }

  /** The seam of a connection, made on first use. */
  static of(client: Client): SqliteSeam {
    const known: unknown = Reflect.get(client, SEAM);
    if (known !== undefined) return asSeam(known);
    const seam = new SqliteSeam(client);
    Object.defineProperty(client, SEAM, { value: seam });
    return seam;
  }

  /** The seam that a connection already has. */
  static find(client: object): SqliteSeam | undefined {
    const known: unknown = Reflect.get(client, SEAM);
    return known === undefined ? undefined : asSeam(known);
  }

  /** An asynchronous transaction holds the connection now. */
  get isHeld(): boolean {
    return this.#hold !== undefined;
  }

  /** The present code runs inside the transaction that holds the connection. */
  get isInside(): boolean {
    return this.#hold !== undefined && this.#inside.getStore() === this.#hold;
  }

  /** Resolves when everybody who asked before has had a turn; what it resolves with ends this one. */
  turn(): Promise<() => void> {
    const before = this.#turns;
    return new Promise((admit) => {
      this.#turns = new Promise((end) => {
        void before.then(() => admit(end));
      });
    });
  }

  /** As `turn`, for as long as somebody waits for it; one that comes too late is passed on. */
  async turnWithin(clock: Clock, bounds: Bounds): Promise<() => void> {
    const turn = this.turn();
    try {
      return await withDeadline(clock, turn, bounds);
    } catch (error) {
      void turn.then((end) => end());
      throw error;
    }
  }

  /** @throws TransactionError `transaction_open` where it does not come in time, or the reason of the call's signal */
  async inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const [guard] = this.guards;
    const end = await (guard === undefined ? this.turn() : this.turnWithin(guard.deps.clock, this.#patienceOf(guard)));
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** Runs an awaited query, which executes its statement at once, and again while a lock keeps it from its work. */
  awaited<T>(run: () => Promise<T>): Promise<T> {
    const [guard] = this.guards;
    if (guard === undefined || this.#depth > 0) return run();
    const once = () => {
      this.#isAwaited = true;
      try {
        return run();
      } finally {
        this.#isAwaited = false;
      }
    };
    return guard.repeated((error) => this.#sqlOf(error), false, once);
  }

  /** Keeps everybody else out until `release`. */
  hold(hold: Hold): void {
    this.#hold = hold;
    this.#openTheCursor();
  }

  release(): void {
    this.#closeCursor();
    this.#hold = undefined;
    this.#setBusy(this.#ownBusyMs);
  }

  /** Runs `work` so that code in it, awaits included, is known to be inside of `hold`. */
  within<T>(hold: Hold, work: () => T): T {
    return this.#inside.run(hold, work);
  }

  /** A statement of the transaction that holds the connection, or one that begins or ends it. */
  own<T>(sql: string, isGated: boolean, execute: () => T): T {
    this.#closeCursor();
    try {
      return this.#guarded({ kind: "part", sql, isGated, isRepeated: true }, execute);
    } finally {
      if (this.#hold !== undefined && this.client.inTransaction) this.#openTheCursor();
    }
  }

  /** Begins or ends the transaction, blocking for at most `busyMs`; undefined: for as long as the connection itself does. */
  control(sql: string, isGated: boolean, busyMs: number | undefined): void {
    this.#closeCursor();
    this.#setBusy(busyMs ?? this.#ownBusyMs);
    this.own(sql, isGated, () => void this.#native.exec(sql));
  }

  /** A statement for the transaction's handle. `admit` throws when the transaction can no longer be used. */
  prepareOwn(sql: string, admit: () => void): Statement {
    const statement = this.#prepare(sql);
    return intercept(statement, (method, execute) => {
      admit();
      return this.own(sql, false, () => {
        const result = execute();
        // A cursor of the transaction's own would stay open between its steps.
        return method === "iterate" ? [...asIterable(result)].values() : result;
      });
    });
  }

  /** It is what a statement of this connection failed with. */
  hasRaised(error: unknown): boolean {
    return typeof error === "object" && error !== null && this.#failed.has(error);
  }

  /** Asks the connection itself, past every guard; undefined while a transaction holds it. */
  ask<T>(question: (native: Pick<Client, "exec" | "prepare">) => T): T | undefined {
    if (this.isHeld || this.client.inTransaction) return undefined;
    this.#setBusy(AWAITED_BUSY_MS);
    return question(this.#native);
  }

  #prepareShared(sql: string): Statement {
    return intercept(this.#prepare(sql), (_method, execute) => this.#shared("statement", sql, execute));
  }

  #prepare(sql: string): Statement {
    try {
      return this.#native.prepare(sql);
    } catch (error) {
      this.#note(sql, error);
      for (const guard of this.guards) guard.prepareFailed(sql, error);
      throw error;
    }
  }

  #transactionShared(fn: (...args: unknown[]) => unknown): unknown {
    const native = this.#native.transaction(fn);
    const wrapped = VARIANTS.map((variant) => {
      const run = native[variant];
      const seam = this;
      return function sqliteTransaction(this: unknown, ...args: unknown[]): unknown {
        return seam.#shared("transaction", "TRANSACTION", () => {
          seam.#depth += 1;
          try {
            return run.apply(this, args);
          } finally {
            seam.#depth -= 1;
          }
        });
      };
    });
    const properties: PropertyDescriptorMap = { database: { value: this.client, enumerable: true } };
    for (const [index, variant] of VARIANTS.entries()) properties[variant] = { value: wrapped[index] };
    for (const transaction of wrapped) Object.defineProperties(transaction, properties);
    return wrapped[0];
  }

  #shared<T>(kind: "statement" | "transaction", sql: string, execute: () => T): T {
    if (this.#hold !== undefined) throw new TransactionError(this.isInside ? "use_tx" : "transaction_open");
    const isRepeated = this.#isAwaited;
    const isOutermost = this.#depth === 0;
    const isHurried = isOutermost ? this.#hurry() : this.#busyMs < this.#ownBusyMs;
    try {
      return this.#guarded({ kind, sql, isGated: isOutermost, isRepeated }, execute);
    } catch (error) {
      if (isHurried && !isRepeated) explainHurry(error, this.#busyMs);
      throw error;
    }
  }

  /** Shortens the wait for locks as far as guards may; says whether it did. */
  #hurry(): boolean {
    const own = this.#ownBusyMs;
    const mayHurry = this.guards[0]?.mayRepeat ?? false;
    this.#setBusy(!mayHurry ? own : this.#isAwaited ? AWAITED_BUSY_MS : Math.min(this.syncBusyMs, own));
    return mayHurry && this.#busyMs < own;
  }

  #patienceOf(guard: StatementGuard): Bounds {
    const { clock, callContext } = guard.deps;
    return {
      timeoutMs: guard.deadlineAt() - clock.monotonic(),
      onTimeout: () => new TransactionError("transaction_open"),
      signal: callContext.current()?.signal,
    };
  }

  #setBusy(busyMs: number): void {
    if (busyMs === this.#busyMs || !this.client.open) return;
    try {
      this.#native.prepare(`PRAGMA busy_timeout = ${busyMs}`).get();
      this.#busyMs = busyMs;
    } catch {
      // The app is iterating over rows: the driver lets nothing else happen to the connection, and what is set stays.
    }
  }

  #guarded<T>(work: StatementWork, execute: () => T): T {
    const watch = beginAll(this.guards, work);
    try {
      const result = execute();
      watch.succeeded();
      return result;
    } catch (error) {
      this.#note(work.sql, error);
      // Inside a transaction the user's own errors pass by.
      if (work.kind === "transaction" && !isDriverError(error)) watch.ignored();
      else watch.failed(error);
      throw error;
    }
  }

  #note(sql: string, error: unknown): void {
    if (typeof error === "object" && error !== null) this.#failed.set(error, sql);
  }

  #sqlOf(error: unknown): string {
    return (typeof error === "object" && error !== null ? this.#failed.get(error) : undefined) ?? "";
  }

  #openTheCursor(): void {
    this.#cursor ??= this.#native.prepare("SELECT 1 UNION ALL SELECT 2");
    this.#openCursor = this.#cursor.iterate();
  }

  #closeCursor(): void {
    this.#openCursor?.return?.();
    this.#openCursor = undefined;
  }
}

/** Only `SqliteSeam.of` writes under the symbol; another copy of the package writes an object with the same methods. */
function asSeam(value: unknown): SqliteSeam {
  return value as SqliteSeam;
}

/** better-sqlite3's methods are generic in ways that a wrapper cannot say; the replacements take and give what they do. */
function replace(
  client: Client,
  method: "prepare" | "exec" | "transaction" | "close",
  by: (...args: never[]) => unknown,
): void {
  Object.defineProperty(client, method, { value: by, writable: true, configurable: true, enumerable: false });
}

/** Puts `around` between each execution of the statement and its caller; switches such as `raw()` stay on the statement. */
function intercept(
  statement: Statement,
  around: (method: (typeof EXECUTING)[number], execute: () => unknown) => unknown,
): Statement {
  for (const method of EXECUTING) {
    const native: unknown = Reflect.get(statement, method);
    if (typeof native !== "function") continue;
    Object.defineProperty(statement, method, {
      value: (...params: unknown[]) => around(method, () => Reflect.apply(native, statement, params)),
      writable: true,
      configurable: true,
    });
  }
  return statement;
}

function isDriverError(error: unknown): error is Error & { readonly code: string } {
  return (
    error instanceof Error && "code" in error && typeof error.code === "string" && error.code.startsWith("SQLITE_")
  );
}

/** The driver's own error, by the same reference, says why it came so soon. */
function explainHurry(error: unknown, busyMs: number): void {
  if (!isDriverError(error) || error.code !== "SQLITE_BUSY" || error.message.includes("await")) return;
  error.message += `: another connection holds the lock, and a synchronous statement waits ${busyMs} ms for it at most, because it blocks every other call meanwhile; await the statement, or use paramedic.transaction, and it waits without blocking`;
}

/** `iterate` gives an iterator of rows; the driver says so. */
function asIterable(result: unknown): Iterable<unknown> {
  return result as Iterable<unknown>;
}
