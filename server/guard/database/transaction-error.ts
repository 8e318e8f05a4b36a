/** The errors by which a transaction, or the connection that it holds, refuses work: tRPC errors, so that clients see the right status. */
import { TRPCError } from "@trpc/server";

/**
 * transaction_open  another call's transaction holds this connection: the statement would silently become a part of it
 * use_tx            inside the transaction its own handle must be used; the database's would wait for itself for ever
 * over              the transaction has ended, and its handle with it
 * rolled_back       the database rolled the transaction back, as it does when the disk is full or a statement had failed
 * deadline          its time was up, and it was rolled back
 * outcome_unknown   the connection was lost, or the time was up, while COMMIT was on its way: it may have happened or not
 */
export const TRANSACTION_ERROR_REASONS = [
  "transaction_open",
  "use_tx",
  "over",
  "rolled_back",
  "deadline",
  "outcome_unknown",
] as const;
export type TransactionErrorReason = (typeof TRANSACTION_ERROR_REASONS)[number];

const CODE_BY_REASON = {
  transaction_open: "SERVICE_UNAVAILABLE",
  use_tx: "INTERNAL_SERVER_ERROR",
  over: "INTERNAL_SERVER_ERROR",
  rolled_back: "INTERNAL_SERVER_ERROR",
  deadline: "GATEWAY_TIMEOUT",
  outcome_unknown: "INTERNAL_SERVER_ERROR",
} as const satisfies Record<TransactionErrorReason, TRPCError["code"]>;

const MESSAGE_BY_REASON = {
  transaction_open:
    "a transaction of another call holds the connection, and this statement would become a part of it; await the query, so that it waits for its turn, or try again",
  use_tx: "this runs inside a transaction on the same database; use the transaction's own handle, tx",
  over: "the transaction has ended; its handle cannot be used any more",
  rolled_back:
    "the database has rolled the transaction back, or answered its COMMIT so, because something in it had failed; nothing of it is kept",
  deadline: "the transaction took longer than it may and was rolled back; do slow work outside of it",
  outcome_unknown:
    "the connection was lost while COMMIT was on its way: it may have happened or not; look in the database before you do it again",
} as const satisfies Record<TransactionErrorReason, string>;

/** @example if (error instanceof TransactionError && error.reason === "transaction_open") retryLater(); */
export class TransactionError extends TRPCError {
  readonly reason: TransactionErrorReason;

  constructor(reason: TransactionErrorReason, options: { readonly cause?: unknown } = {}) {
    super({ code: CODE_BY_REASON[reason], message: MESSAGE_BY_REASON[reason], cause: options.cause });
    this.reason = reason;
  }
}
