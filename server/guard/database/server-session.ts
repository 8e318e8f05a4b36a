/** What statements and transactions on a server share: the parts of Drizzle's sessions that are used, and their connections. */
import type { Clock } from "../../ports/clock.js";
import type { DatabaseDriver, LentConnection } from "./database-driver.js";
import { DatabaseError } from "./database-error.js";
import type { StatementGuard } from "./statement-guard.js";

/** Private to TypeScript, the same for all drivers since 0.30. */
export interface DrizzleSession {
  readonly client: object;
  prepareQuery(query: { readonly sql: string }, ...more: unknown[]): object;
  transaction(work: (tx: DrizzleTransaction) => Promise<unknown>, config?: unknown): Promise<unknown>;
}

export interface DrizzleTransaction {
  readonly session: DrizzleSession;
  transaction(work: (tx: DrizzleTransaction) => Promise<unknown>): Promise<unknown>;
}

/** A database on a server with its guards. */
export interface ServerDatabase {
  readonly driver: DatabaseDriver;
  readonly guards: readonly StatementGuard[];
  /** What statements of transactions failed with. */
  readonly raised: WeakSet<object>;
  /** A session of the same database on one connection, untouched by guards. */
  sessionOn(connection: LentConnection): DrizzleSession;
  /** A connection within the time; one that comes too late goes back unused. @param deadlineAt monotonic milliseconds */
  lend(clock: Clock, service: string, deadlineAt: number, signal?: AbortSignal): Promise<LentConnection>;
}

export function noConnection(service: string, waitedMs: number): DatabaseError {
  const message = `${service}: no connection became free within ${wholeMs(waitedMs)}; its pool is too small, or something holds connections`;
  return new DatabaseError("no_connection", service, message);
}

export function statementTimeout(service: string, timeoutMs: number): DatabaseError {
  const message = `${service}: the statement took longer than ${wholeMs(timeoutMs)}; its connection was given up`;
  return new DatabaseError("statement_timeout", service, message);
}

function wholeMs(timeMs: number): string {
  return `${Math.max(0, Math.round(timeMs))} ms`;
}
