/** One attempt at a transaction on better-sqlite3 whose body may await. While it is open it owns the connection. */
import type { Clock } from "../../ports/clock.js";
import { withDeadline } from "../deadline.js";
import { ignore } from "./shape.js";
import type { Hold, SqliteSeam } from "./sqlite-seam.js";
import { TransactionError } from "./transaction-error.js";

export interface SqliteTransactionTerms {
  readonly clock: Clock;
  readonly behavior: "deferred" | "immediate" | "exclusive";
  readonly signal: AbortSignal;
  /** Somebody waits outside of the driver for the lock to begin. */
  readonly isPatient: boolean;
  readonly onFault: (error: unknown) => void;
}

/** Waiting for the lock to begin costs nothing and is left to the event loop; a commit has work to lose. */
const BEGIN_BUSY_MS = 0;
const COMMIT_BUSY_MS = 50;

/** @param work gets what prepares statements for the transaction's handle */
export async function runSqliteTransaction<T>(
  seam: SqliteSeam,
  { clock, behavior, signal, isPatient, onFault }: SqliteTransactionTerms,
  work: (prepare: (sql: string) => unknown) => T | Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const { client } = seam;
  const hold: Hold & { isOver: boolean } = { isOver: false };
  const admit = () => {
    if (hold.isOver) throw new TransactionError("over");
    if (!client.inTransaction) throw new TransactionError("rolled_back");
  };
  try {
    seam.control(`BEGIN ${behavior.toUpperCase()}`, true, isPatient ? BEGIN_BUSY_MS : undefined);
    seam.hold(hold);
    const running = seam.within(hold, async () => work((sql) => seam.prepareOwn(sql, admit)));
    const value = await withDeadline(clock, running, {
      timeoutMs: Number.POSITIVE_INFINITY,
      onTimeout: ignore,
      signal,
    });
    admit();
    seam.control("COMMIT", false, COMMIT_BUSY_MS);
    return value;
  } catch (error) {
    try {
      if (client.open && client.inTransaction) seam.control("ROLLBACK", false, COMMIT_BUSY_MS);
    } catch (fault) {
      onFault(fault);
    }
    throw error;
  } finally {
    hold.isOver = true;
    seam.release();
  }
}
