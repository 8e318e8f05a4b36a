/**
 * Lends postgres.js, which keeps its connections to itself: it picks one for each statement, and one for a transaction
 * through its own `begin`. So a statement that hangs is cancelled, where others lose their connection.
 */
import { type DatabaseDriver, type LentConnection, lent } from "./database-driver.js";
import { hasMethods, ignore, replace } from "./shape.js";

interface Query extends Promise<readonly object[]> {
  cancel(): unknown;
}

interface Scope {
  unsafe(sql: string, ...more: unknown[]): Query;
  savepoint?(...args: unknown[]): Promise<unknown>;
}

interface Sql extends Scope {
  begin(...args: unknown[]): Promise<unknown>;
  reserve(): Promise<Scope & { release(): void }>;
  close(): Promise<void>;
}

/** Undefined when `client` is not postgres.js. */
export function postgresJsDriver(client: unknown): DatabaseDriver | undefined {
  if (!hasMethods(client, ["unsafe", "begin", "reserve", "close"])) return undefined;
  const sql = asSql(client);

  return {
    system: "postgresql",
    isPool: true,
    lend: async () => lendStatement(sql),
    async renew() {
      // Closes what is idle now and what is busy once it is done; what is asked from then on gets a new connection.
      sql.close().catch(ignore);
      const reserved = await sql.reserve();
      return lent(reserved, { giveBack: () => reserved.release(), destroy: () => reserved.release() });
    },
    ask: (client, text) => asSql(client).unsafe(text),
    // It hears of idle connections that break itself, and tells nobody.
    onIdleError: ignore,
  };
}

/** Does what `sql` does, and knows the statement that was sent last. */
function lendStatement(sql: Sql): LentConnection {
  let last: Query | undefined;
  const watched =
    (unsafe: Scope["unsafe"]): Scope["unsafe"] =>
    (...args) => {
      last = unsafe(...args);
      return last;
    };
  const inScope = (args: readonly unknown[]) =>
    args.map((arg) =>
      typeof arg === "function" ? (scope: Scope, ...more: unknown[]) => arg(watch(scope), ...more) : arg,
    );
  const watch = (scope: Scope): Scope => {
    const { unsafe, savepoint } = scope;
    replace(scope, "unsafe", watched(unsafe));
    if (savepoint !== undefined) replace(scope, "savepoint", (...args: unknown[]) => savepoint(...inScope(args)));
    return scope;
  };
  const client = {
    unsafe: watched(sql.unsafe),
    begin: (...args: unknown[]) => sql.begin(...inScope(args)),
  };
  return lent(client, { giveBack: ignore, destroy: () => cancel(last) });
}

/** It asks the server on a connection of its own, which may fail as everything else just did. */
function cancel(query: Query | undefined): void {
  Promise.resolve(query?.cancel()).catch(ignore);
}

/** `postgresJsDriver` has looked at it, or postgres.js gave it. */
function asSql(client: object): Sql {
  return client as Sql;
}
