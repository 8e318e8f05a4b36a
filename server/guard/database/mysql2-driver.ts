/** Lends connections of mysql2, as Drizzle holds them: behind promises, from a pool or the one connection that it was given. */
import { readProperty } from "../../../shared/error-facts.js";
import { type DatabaseDriver, type LentConnection, lent } from "./database-driver.js";
import { renewalOf } from "./pool-renewal.js";
import { hasMethods, ignore } from "./shape.js";

/** What is behind the promises. */
interface Emitter {
  on(event: "connection" | "error", listener: (value: unknown) => void): unknown;
  removeListener(event: "error", listener: (value: unknown) => void): unknown;
}

interface PromiseConnection {
  readonly connection: Emitter;
  query(sql: string): Promise<readonly [rows: readonly object[], ...more: unknown[]]>;
}

interface PromisePoolConnection extends PromiseConnection {
  release(): void;
  destroy(): void;
}

interface PromisePool {
  readonly pool: Emitter & { readonly config: { readonly connectionLimit?: number } };
  getConnection(): Promise<PromisePoolConnection>;
}

/** Undefined when `client` is neither. */
export function mysql2Driver(client: unknown): DatabaseDriver | undefined {
  if (hasMethods(client, ["query", "getConnection"]) && hasMethods(readProperty(client, "pool"), ["on"])) {
    return poolDriver(asPool(client));
  }
  if (hasMethods(client, ["query"]) && hasMethods(readProperty(client, "connection"), ["on"])) {
    return connectionDriver(asConnection(client));
  }
  return undefined;
}

function poolDriver(pool: PromisePool): DatabaseDriver {
  const lend = async (): Promise<LentConnection> => {
    const client = await pool.getConnection();
    const { connection: core } = client;
    // The pool's own listener hears the first error only.
    core.on("error", ignore);
    const end = (run: () => void) => () => {
      core.removeListener("error", ignore);
      run();
    };
    const ends = {
      giveBack: end(() => client.release()),
      destroy: () => client.destroy(),
    };
    return lent(client, ends);
  };

  return {
    system: "mysql",
    isPool: true,
    hasQueue: true,
    lend,
    renew: renewalOf({
      size: pool.pool.config.connectionLimit ?? 10,
      lend,
      watch: (note) => pool.pool.on("connection", note),
      madeAs: ({ client }) => asConnection(client).connection,
    }),
    ask,
    // Its connections are the pool's care: it drops those that break.
    onIdleError: (listener) => void pool.pool.on("error", listener),
  };
}

function connectionDriver(client: PromiseConnection): DatabaseDriver {
  const lend = async () => lent(client, { giveBack: ignore, destroy: ignore });
  return {
    system: "mysql",
    isPool: false,
    hasQueue: false,
    lend,
    renew: lend,
    ask,
    onIdleError: (listener) => void client.connection.on("error", listener),
  };
}

async function ask(client: object, sql: string): Promise<readonly object[]> {
  const [rows] = await asConnection(client).query(sql);
  return rows;
}

/** `mysql2Driver` has looked at it. */
function asPool(client: object): PromisePool {
  return client as PromisePool;
}

/** `mysql2Driver` has looked at it, or a pool of mysql2 gave it. */
function asConnection(client: object): PromiseConnection {
  return client as PromiseConnection;
}
