/** What guards need of Drizzle on better-sqlite3: a handle for a transaction, and awaited queries that wait for their turn and for locks. */
import type BetterSqlite3 from "better-sqlite3";
import { sql } from "drizzle-orm";
import { readProperty } from "../../../shared/error-facts.js";
import { SqliteSeam } from "./sqlite-seam.js";
import { TransactionError } from "./transaction-error.js";

/** What `await` asks of a query. */
const THEN = "then";
const WAITS = Symbol.for("paramedic.waits_for_transactions");

/** The parts of Drizzle's session that are used; private to TypeScript, stable since 0.30. */
interface DrizzleSession {
  readonly client: BetterSqlite3.Database;
  readonly dialect: unknown;
  readonly schema: unknown;
  readonly options: unknown;
  transaction(work: (tx: unknown) => unknown): unknown;
  count(sql: unknown): Promise<unknown>;
}

interface DrizzleDatabase {
  readonly session: DrizzleSession;
  readonly dialect: unknown;
}

/**
 * A handle whose statements run on `prepare`. It is made by the database's own copy of Drizzle, with its schema, casing and
 * logger; the transaction around it is begun and ended elsewhere.
 */
export function makeHandle(db: object, prepare: (sql: string) => unknown): unknown {
  const { session } = asDatabase(db);
  const client = { prepare, transaction: (work: (tx: unknown) => unknown) => ({ deferred: work }) };
  const own: DrizzleSession = Object.assign(Object.create(session), { client });
  return own.transaction((tx) => tx);
}

/**
 * Lets awaited queries of Drizzle wait while a transaction holds their connection, and, of a guarded database, while another
 * connection holds a lock. Drizzle decides what `await` does to a query on the classes of its query builders, so that is
 * where the waiting stands. Queries that are executed synchronously cannot wait.
 */
export function letQueriesWait(db: object): void {
  const { session } = asDatabase(db);
  for (const query of sampleQueries(db)) {
    const owner = ownerOf(query, THEN);
    if (owner === undefined || Reflect.get(owner, WAITS) === true) continue;
    const native: unknown = Reflect.get(owner, THEN);
    if (typeof native !== "function") continue;
    Object.defineProperty(owner, WAITS, { value: true });
    Object.defineProperty(owner, THEN, {
      value: function then(this: unknown, fulfilled: unknown, rejected: unknown): unknown {
        const seam = seamOf(this);
        if (seam === undefined) return Reflect.apply(native, this, [fulfilled, rejected]);
        const run = () => new Promise((resolve, reject) => Reflect.apply(native, this, [resolve, reject]));
        const waiting = wait(seam, run);
        return Reflect.apply(waiting.then, waiting, [fulfilled, rejected]);
      },
      writable: true,
      configurable: true,
    });
  }
  if (Object.hasOwn(session, "count")) return;
  const { count } = session;
  // Of a transaction's handle `this` is the session of that handle, which nobody holds up.
  const waitingCount = async function (this: DrizzleSession, query: unknown): Promise<unknown> {
    const seam = seamOf({ session: this });
    const run = async () => await Reflect.apply(count, this, [query]);
    return await (seam === undefined ? run() : wait(seam, run));
  };
  Object.defineProperty(session, "count", { value: waitingCount, writable: true, configurable: true });
}

/** Rejects with `use_tx` inside the transaction: the query would wait for what waits for it. */
function wait<T>(seam: SqliteSeam, run: () => Promise<T>): Promise<T> {
  if (!seam.isHeld) return seam.awaited(run);
  return seam.isInside ? Promise.reject(new TransactionError("use_tx")) : seam.inTurn(() => seam.awaited(run));
}

/** Of a query that may have to wait. */
function seamOf(query: unknown): SqliteSeam | undefined {
  const client = readProperty(readProperty(query, "session"), "client");
  const seam = typeof client === "object" && client !== null ? SqliteSeam.find(client) : undefined;
  return seam !== undefined && (seam.isHeld || seam.guards.length > 0) ? seam : undefined;
}

/** One query of each family of builders; none of them is run. */
function sampleQueries(db: object): unknown[] {
  return [call(call(db, "select"), "from", sql`sqlite_schema`), call(db, "delete", {})];
}

function call(target: unknown, method: string, ...args: unknown[]): unknown {
  const fn = readProperty(target, method);
  try {
    return typeof fn === "function" ? Reflect.apply(fn, target, args) : undefined;
  } catch {
    // A Drizzle that builds its queries otherwise: they do not wait, and fail fast instead.
    return undefined;
  }
}

function ownerOf(value: unknown, key: string): object | undefined {
  let owner: unknown = value;
  while (typeof owner === "object" && owner !== null) {
    if (Object.hasOwn(owner, key)) return owner;
    owner = Object.getPrototypeOf(owner);
  }
  return undefined;
}

/** `databaseOf` has looked at the database. */
function asDatabase(db: object): DrizzleDatabase {
  return db as DrizzleDatabase;
}
