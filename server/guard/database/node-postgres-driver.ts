/** Lends connections of node-postgres: of a `Pool`, or the one `Client` that Drizzle was given. Known by shape, not by class. */
import { readProperty } from "../../../shared/error-facts.js";
import { type DatabaseDriver, type LentConnection, lent } from "./database-driver.js";
import { renewalOf } from "./pool-renewal.js";
import { hasMethods, ignore } from "./shape.js";

interface PgClient {
  query(sql: string): Promise<{ readonly rows: readonly object[] }>;
  on(event: "error", listener: (error: unknown) => void): unknown;
  removeListener(event: "error", listener: (error: unknown) => void): unknown;
}

interface PgPoolClient extends PgClient {
  release(destroy?: boolean): void;
}

interface PgPool {
  readonly options: { readonly max?: number };
  connect(): Promise<PgPoolClient>;
  on(event: "connect" | "error", listener: (value: unknown) => void): unknown;
}

/** Undefined when `client` is neither. */
export function nodePostgresDriver(client: unknown): DatabaseDriver | undefined {
  if (!hasMethods(client, ["query", "connect", "on"])) return undefined;
  return isPool(client) ? poolDriver(client) : clientDriver(asClient(client));
}

function poolDriver(pool: PgPool): DatabaseDriver {
  const lend = async (): Promise<LentConnection> => {
    const client = await pool.connect();
    // The pool stops listening when it hands a connection out: one that breaks between two statements would end the process.
    client.on("error", ignore);
    const end = (destroy: boolean) => () => {
      client.removeListener("error", ignore);
      client.release(destroy);
    };
    return lent(client, { giveBack: end(false), destroy: end(true) });
  };

  return {
    system: "postgresql",
    isPool: true,
    hasQueue: true,
    lend,
    renew: renewalOf({
      size: pool.options.max ?? 10,
      lend,
      watch: (note) => pool.on("connect", note),
      madeAs: ({ client }) => client,
    }),
    ask,
    onIdleError: (listener) => void pool.on("error", listener),
  };
}

function clientDriver(client: PgClient): DatabaseDriver {
  const lend = async () => lent(client, { giveBack: ignore, destroy: ignore });
  return {
    system: "postgresql",
    isPool: false,
    hasQueue: false,
    lend,
    renew: lend,
    ask,
    onIdleError: (listener) => void client.on("error", listener),
  };
}

async function ask(client: object, sql: string): Promise<readonly object[]> {
  return (await asClient(client).query(sql)).rows;
}

function isPool(client: object): client is PgPool {
  return typeof readProperty(client, "idleCount") === "number";
}

/** `nodePostgresDriver` has looked at it, or a pool of node-postgres gave it. */
function asClient(client: object): PgClient {
  return client as PgClient;
}
