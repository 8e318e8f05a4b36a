/** Connects to PostgreSQL the one way the store wants it: everything settles, and nothing that breaks ends the process. */
import { drizzle, type NodePgDatabase } from "drizzle-orm/node-postgres";
import pg from "pg";
import { ParamedicError } from "../../../shared/errors.js";
import { SECOND_MS } from "../../../shared/units.js";

export type Db = Pick<NodePgDatabase, "select" | "selectDistinct" | "insert" | "update" | "delete" | "execute">;

export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly connectTimeoutMs: number;
  readonly lockTimeoutMs: number;
  readonly statementTimeoutMs: number;
}

/** How much longer than the server we wait for its word that a statement took too long. */
const ANSWER_SLACK_MS = 2 * SECOND_MS;

export function createPool(url: string, limits: ConnectionLimits, onFault: (error: unknown) => void): pg.Pool {
  const pool = new pg.Pool({
    ...connectionOf(url, limits),
    max: limits.maxConnections,
    idleTimeoutMillis: 30 * SECOND_MS,
    allowExitOnIdle: true,
  });
  // An idle connection that breaks has nobody else to tell; the pool forgets it.
  pool.on("error", onFault);
  pool.on("connect", (client) => void client.on("error", () => undefined));
  return pool;
}

/** One connection outside the pool, with time enough to migrate. */
export function createClient(url: string, limits: ConnectionLimits): pg.Client {
  const client = new pg.Client(connectionOf(url, limits));
  client.on("error", () => undefined);
  return client;
}

function connectionOf(url: string, limits: ConnectionLimits): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: "paramedic",
    connectionTimeoutMillis: limits.connectTimeoutMs,
    lock_timeout: limits.lockTimeoutMs,
    statement_timeout: limits.statementTimeoutMs,
    idle_in_transaction_session_timeout: limits.statementTimeoutMs,
    query_timeout: limits.statementTimeoutMs + ANSWER_SLACK_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10 * SECOND_MS,
  };
}

export function drizzleOf(connection: pg.Pool | pg.ClientBase): Db {
  return drizzle({ client: asDrizzleClient(connection) });
}

/** Drizzle names the classes; a client that the pool lends out is one, whose type says only its base. */
function asDrizzleClient(connection: pg.Pool | pg.ClientBase): pg.Pool | pg.Client {
  return connection as pg.Pool | pg.Client;
}

/**
 * Host, port and database of a URL, for messages: never its user and password.
 *
 * @throws ParamedicError CONFIGURATION_INVALID
 */
export function databaseNameOf(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    if (protocol === "postgres:" || protocol === "postgresql:") return `${protocol}//${host}${pathname}`;
  } catch {
    // Falls through to the one error there is.
  }
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    "the database URL cannot be read; example: postgres://user:password@127.0.0.1:5432/app (percent-encode what is special)",
  );
}
