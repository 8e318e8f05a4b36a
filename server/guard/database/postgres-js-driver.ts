/**
 * Lends postgres.js, which keeps its connections to itself: it picks one for each statement, and one for a transaction
 * through its own `begin`. So a statement that hangs is cancelled, where others lose their connection.
 */
import { type DatabaseDriver, lent } from "./database-driver.js";
import { hasMethods, ignore } from "./shape.js";

interface Query extends Promise<readonly object[]> {
  cancel(): unknown;
}

interface Sql {
  unsafe(sql: string, ...more: unknown[]): Query;
  begin(...args: unknown[]): Promise<unknown>;
}

interface PooledSql extends Sql {
  readonly options: object;
  reserve(): Promise<Sql & { release(): void }>;
  close(): Promise<void>;
}

/** Undefined when `client` is not postgres.js. */
export function postgresJsDriver(client: unknown): DatabaseDriver | undefined {
  if (!hasMethods(client, ["unsafe", "begin", "reserve", "close"])) return undefined;
  const sql = asSql(client);

  return {
    system: "postgresql",
    isPool: true,
    async lend() {
      const running = new Set<Query>();
      const client: Sql = {
        unsafe(...args) {
          const query = sql.unsafe(...args);
          running.add(query);
          return query;
        },
        begin: (...args) => sql.begin(...args),
      };
      const destroy = () => {
        for (const query of running) cancel(query);
      };
      return lent(client, { giveBack: ignore, destroy });
    },
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

/** It asks the server on a connection of its own, which may fail as everything else just did. */
function cancel(query: Query): void {
  Promise.resolve(query.cancel()).catch(ignore);
}

/** `postgresJsDriver` has looked at it, or postgres.js gave it. */
function asSql(client: object): PooledSql {
  return client as PooledSql;
}
