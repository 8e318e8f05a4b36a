/**
 * The one place where a better-sqlite3 connection is taken hold of: its statements pass through guards, and while an
 * asynchronous transaction holds the connection nobody else's statement becomes a part of it. The methods of the instance
 * are replaced, once, whoever asks; statements that were prepared before are kept out by an open cursor, because the driver
 * itself refuses to write while one is open.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type BetterSqlite3 from "better-sqlite3";
import { TransactionError } from "./transaction-error.js";

type Client = BetterSqlite3.Database;
type Statement = BetterSqlite3.Statement<unknown[]>;

export interface GuardedWork {
  /** `part`: a statement of an asynchronous transaction, which itself tells of contention. */
  readonly kind: "statement" | "part" | "transaction";
  readonly sql: string;
  /** The circuit may refuse it; off for the parts of a transaction that was admitted. */
  readonly gated: boolean;
}

/** What a statement, or a synchronous transaction as a whole, passes through. */
export interface StatementGuard {
  /** Whose guard it is; one owner guards a connection once. */
  readonly owner: object;
  readonly service: string;
  /** How long a transaction may take unless it says otherwise. */
  readonly timeoutMs: number;
  run<T>(work: GuardedWork, execute: () => T): T;
  /** Told of an error in preparing a statement. */
  prepareFailed(sql: string, error: unknown): void;
}

/** A transaction that holds the connection. */
export interface Hold {
  readonly isOver: boolean;
}

const SEAM = Symbol.for("paramedic.sqlite_seam");
const EXECUTING = ["run", "get", "all", "iterate"] as const;
const VARIANTS = ["default", "deferred", "immediate", "exclusive"] as const;

export class DatabaseSeam {
  readonly client: Client;
  readonly guards: StatementGuard[] = [];
  readonly #native: Pick<Client, "prepare" | "exec" | "transaction" | "close">;
  readonly #inside = new AsyncLocalStorage<Hold>();
  #cursor: Statement | undefined = undefined;
  #openCursor: IterableIterator<unknown> | undefined = undefined;
  #hold: Hold | undefined = undefined;
  #turns: Promise<void> = Promise.resolve();
  /** Synchronous transactions under way: their statements were admitted with them. */
  #depth = 0;

  private constructor(client: Client) {
    this.client = client;
    const { prepare, exec, transaction, close } = client;
    this.#native = {
      prepare: prepare.bind(client),
      exec: exec.bind(client),
      transaction: transaction.bind(client),
      close: close.bind(client),
    };
    replace(client, "prepare", (sql: string) => this.#prepareShared(sql));
    replace(client, "exec", (sql: string) => this.#shared("statement", sql, () => this.#native.exec(sql)));
    replace(client, "transaction", (fn: (...args: unknown[]) => unknown) => this.#transactionShared(fn));
    replace(client, "close", () => {
      this.#closeCursor();
      return this.#native.close();
    });
  }

  /** The seam of a connection, made on first use. */
  static of(client: Client): DatabaseSeam {
    const known: unknown = Reflect.get(client, SEAM);
    if (known !== undefined) return asSeam(known);
    const seam = new DatabaseSeam(client);
    Object.defineProperty(client, SEAM, { value: seam });
    return seam;
  }

  /** The seam that a connection already has. */
  static find(client: object): DatabaseSeam | undefined {
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

  async inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    const end = await this.turn();
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** Keeps everybody else out until `release`. */
  hold(hold: Hold): void {
    this.#hold = hold;
    this.#openTheCursor();
  }

  release(): void {
    this.#closeCursor();
    this.#hold = undefined;
  }

  /** Runs `work` so that code in it, awaits included, is known to be inside of `hold`. */
  within<T>(hold: Hold, work: () => T): T {
    return this.#inside.run(hold, work);
  }

  /** A statement of the transaction that holds the connection, or one that begins or ends it. */
  own<T>(sql: string, gated: boolean, execute: () => T): T {
    this.#closeCursor();
    try {
      return this.#guarded({ kind: "part", sql, gated }, execute);
    } finally {
      if (this.#hold !== undefined && this.client.inTransaction) this.#openTheCursor();
    }
  }

  /** Begins or ends the transaction. */
  control(sql: string, gated: boolean): void {
    this.own(sql, gated, () => void this.#native.exec(sql));
  }

  /** The connection's busy timeout while `work` runs is `busyTimeoutMs`: it blocks the event loop for that long. */
  withBusyTimeout<T>(busyTimeoutMs: number, work: () => T): T {
    this.#closeCursor();
    const before = Number(this.client.pragma("busy_timeout", { simple: true }));
    this.client.pragma(`busy_timeout = ${busyTimeoutMs}`);
    try {
      return work();
    } finally {
      this.#closeCursor();
      if (this.client.open) this.client.pragma(`busy_timeout = ${before}`);
      if (this.#hold !== undefined && this.client.open && this.client.inTransaction) this.#openTheCursor();
    }
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

  #prepareShared(sql: string): Statement {
    return intercept(this.#prepare(sql), (_method, execute) => this.#shared("statement", sql, execute));
  }

  #prepare(sql: string): Statement {
    try {
      return this.#native.prepare(sql);
    } catch (error) {
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
        return seam.#shared("transaction", "BEGIN", () => {
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
    return this.#guarded({ kind, sql, gated: this.#depth === 0 }, execute);
  }

  #guarded<T>(work: GuardedWork, execute: () => T): T {
    const [only, ...more] = this.guards;
    if (only === undefined) return execute();
    if (more.length === 0) return only.run(work, execute);
    return this.guards.reduceRight<() => T>((inner, guard) => () => guard.run(work, inner), execute)();
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

/** Only `DatabaseSeam.of` writes under the symbol; another copy of the package writes an object with the same methods. */
function asSeam(value: unknown): DatabaseSeam {
  return value as DatabaseSeam;
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

/** `iterate` gives an iterator of rows; the driver says so. */
function asIterable(result: unknown): Iterable<unknown> {
  return result as Iterable<unknown>;
}
