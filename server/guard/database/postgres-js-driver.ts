/**
 * Lends postgres.js, which keeps its connections to itself: it picks one for each statement, and one for a transaction
 * through its own `begin`. So a statement that hangs is cancelled, where others lose their connection, and what it does with
 * a connection that broke in the midst of a transaction is kept from happening: it would write to a socket that is gone, out
 * of anybody's reach, and end the process.
 *
 * A connection that breaks while it works takes what it had into its next life: with the last error it rejects the first
 * statement, unsent, and for each row that came last it puts a hole before the first rows. Such a statement is handed to the
 * driver once more, and the holes are taken out.
 */
import { classify } from "../../../shared/classify.js";
import { readProperty } from "../../../shared/error-facts.js";
import { type Clock, delayInCall } from "../../ports/clock.js";
import { type DatabaseDriver, type LentConnection, lent } from "./database-driver.js";
import { losesConnection } from "./repeat-rule.js";
import { hasMethods, ignore, replace } from "./shape.js";

interface Query extends Promise<readonly object[]> {
  cancel(): unknown;
  /** The rest it keeps to itself: how the driver ends a query, and how it gets it. */
  resolve: (rows: unknown) => void;
  reject: (error: unknown) => void;
  readonly handler: (query: Query) => unknown;
  /** As they were sent; undefined until then. */
  readonly parameters: unknown;
}

interface Scope {
  unsafe(sql: string, ...more: unknown[]): Query;
  savepoint?(...args: unknown[]): Promise<unknown>;
}

interface Sql extends Scope {
  readonly options: { readonly max?: number };
  begin(...args: unknown[]): Promise<unknown>;
}

/** Ends the connection that it runs on if it is older, by the server's clock alone, and else gives no row. */
const endIfOlder = (ms: number) =>
  `select pg_terminate_backend(pid) from pg_stat_activity where pid = pg_backend_pid() and clock_timestamp() - backend_start > interval '${Math.ceil(ms)} milliseconds'`;

/** More connections than any pool has. */
const MAX_OLD = 1_000;

/** Undefined when `client` is not postgres.js. */
export function postgresJsDriver(client: unknown): DatabaseDriver | undefined {
  if (!hasMethods(client, ["unsafe", "begin", "reserve"])) return undefined;
  const sql = asSql(client);

  return {
    system: "postgresql",
    isPool: true,
    hasQueue: false,
    lend: async (clock) => lendTo(clock, sql),
    async renew(clock) {
      const startedAt = clock.monotonic();
      for (let left = MAX_OLD; left > 0; left -= 1) {
        const connection = lendTo(clock, sql);
        // In a transaction it has the connection to itself, so that nobody else's statement ends with it.
        const found = await connection.client
          .begin((scope: Scope) => scope.unsafe(endIfOlder(clock.monotonic() - startedAt)))
          .catch((error: unknown) => {
            if (!losesConnection(classify(error, "db:renew"))) throw error;
          });
        if (Array.isArray(found) && found.length === 0) return connection;
      }
      throw new Error("its connections are older than they can be");
    },
    ask: (client, text) => asSql(client).unsafe(text),
    // It hears of idle connections that break itself, and tells nobody.
    onIdleError: ignore,
  };
}

/** Does what `sql` does, and knows the statement that was sent last. */
function lendTo(clock: Clock, sql: Sql): LentConnection & { readonly client: Pick<Sql, "unsafe" | "begin"> } {
  let last: Query | undefined;
  /** More connections than these never carry an old error. */
  const most = sql.options.max ?? 10;
  const watched =
    (unsafe: Scope["unsafe"]): Scope["unsafe"] =>
    (...args) => {
      last = ofThisLife(unsafe(...args), most);
      return last;
    };
  const watch = (scope: Scope): Scope => {
    const { unsafe, savepoint } = scope;
    replace(scope, "unsafe", watched(unsafe));
    if (savepoint !== undefined) {
      replace(scope, "savepoint", (...args: unknown[]) =>
        savepoint(...withBody(args, async (body, inner) => await body(watch(inner)))),
      );
    }
    return scope;
  };
  /** @param again how often, while it does not even begin */
  const begin = async (args: readonly unknown[], again: number): Promise<unknown> => {
    let hasBegun = false;
    const noting = withBody(args, async (body, scope) => {
      hasBegun = true;
      return await body(scope);
    });
    try {
      return await sql.begin(...noting);
    } catch (error) {
      if (hasBegun || again === 0 || !isServers(error) || isOfBegin(error)) throw error;
      return await begin(args, again - 1);
    }
  };
  const client = {
    unsafe: watched(sql.unsafe),
    begin(...args: unknown[]): Promise<unknown> {
      let isOver = false;
      const end = () => {
        isOver = true;
      };
      const running = begin(
        withBody(args, async (body, scope) => {
          try {
            const value = await body(watch(scope));
            return isOver ? await NEVER : value;
          } catch (error) {
            // When the connection is gone, `begin` has rejected by the next turn: then there is nothing to roll back.
            await delayInCall(clock, 0);
            if (isOver) await NEVER;
            throw error;
          }
        }),
        most,
      );
      running.then(end, end);
      return running;
    },
  };
  return { ...lent(client, { giveBack: ignore, destroy: () => cancel(last) }), client };
}

const NEVER = new Promise<never>(() => {});

/** Keeps from a query what its connection had before: it is handed to the driver again, as it is, or loses the holes. */
function ofThisLife(query: Query, again: number): Query {
  if (!hasMethods(query, ["resolve", "reject", "handler"])) return query;
  const { resolve, reject, handler } = query;
  let left = again;
  query.resolve = (rows) => resolve(withoutHoles(rows));
  query.reject = (error) => {
    if (left === 0 || !isServers(error) || readProperty(error, "parameters") === query.parameters) {
      reject(error);
      return;
    }
    left -= 1;
    handler(query);
  };
  return query;
}

/** The server raised it; the driver has noted on it whose statement it was for. */
function isServers(error: unknown): boolean {
  return readProperty(error, "name") === "PostgresError" && typeof readProperty(error, "query") === "string";
}

function withoutHoles(rows: unknown): unknown {
  if (!Array.isArray(rows) || rows.length === 0 || 0 in rows) return rows;
  rows.splice(
    0,
    rows.findIndex((_row, index) => index in rows),
  );
  return rows;
}

function isOfBegin(error: unknown): boolean {
  return /^begin\b/i.test(String(readProperty(error, "query")));
}

/** The arguments of `begin` or `savepoint` with their function wrapped. */
function withBody(
  args: readonly unknown[],
  wrap: (body: (scope: Scope) => unknown, scope: Scope) => Promise<unknown>,
): unknown[] {
  return args.map((arg) =>
    typeof arg === "function" ? (scope: Scope) => wrap((inner) => Reflect.apply(arg, undefined, [inner]), scope) : arg,
  );
}

/** It asks the server on a connection of its own, which may fail as everything else just did. */
function cancel(query: Query | undefined): void {
  Promise.resolve(query?.cancel()).catch(ignore);
}

/** `postgresJsDriver` has looked at it, or postgres.js gave it. */
function asSql(client: object): Sql {
  return client as Sql;
}
