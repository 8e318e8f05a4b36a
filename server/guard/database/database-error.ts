/** The errors by which a database's guard refuses or ends a statement: tRPC errors, so that clients see the right status. */
import { TRPCError } from "@trpc/server";
import { REJECTION } from "../../../shared/rejection.js";

/**
 * read_only          the database takes no writes now, reads go on; the statement was not sent
 * no_connection      no connection became free in time; the statement was not sent. postgres.js queues inside of itself, where
 *                    nobody can tell: there it is `statement_timeout`
 * statement_timeout  the statement took longer than it may; whether it took effect is not known
 */
export const DATABASE_ERROR_REASONS = ["read_only", "no_connection", "statement_timeout"] as const;
export type DatabaseErrorReason = (typeof DATABASE_ERROR_REASONS)[number];

const CODE_BY_REASON = {
  read_only: "SERVICE_UNAVAILABLE",
  no_connection: "SERVICE_UNAVAILABLE",
  statement_timeout: "GATEWAY_TIMEOUT",
} as const satisfies Record<DatabaseErrorReason, TRPCError["code"]>;

/**
 * What the database itself answers arrives as it is; this is what its guard says in its place.
 *
 * `name` stays `TRPCError`: by it a second copy of `@trpc/server` knows the error and sends its status.
 *
 * @example if (error instanceof DatabaseError && error.reason === "read_only") return savedForLater(order);
 */
export class DatabaseError extends TRPCError {
  readonly reason: DatabaseErrorReason;
  /** The guarded database: `db:main`. */
  readonly service: string;
  /** When asking again may make sense; undefined when time alone does not help. */
  readonly retryAfterMs: number | undefined;
  /** True when the database was not asked. */
  readonly [REJECTION]: boolean;

  constructor(
    reason: DatabaseErrorReason,
    service: string,
    message: string,
    options: { readonly retryAfterMs?: number | undefined; readonly cause?: unknown } = {},
  ) {
    super({ code: CODE_BY_REASON[reason], message, cause: options.cause });
    this.reason = reason;
    this.service = service;
    this.retryAfterMs = options.retryAfterMs;
    this[REJECTION] = reason === "read_only";
  }
}
