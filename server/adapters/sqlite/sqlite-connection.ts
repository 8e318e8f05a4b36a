/** Opens SQLite the one way the store wants it, for writing and for reading. */
import Database from "better-sqlite3";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { isBusy } from "./sqlite-errors.js";

export type RawConnection = Database.Database;
export type Db = BetterSQLite3Database;
/** With the connection that it speaks through. */
export type ConnectedDb = Db & { readonly $client: RawConnection };

/**
 * The writer's connection. `synchronous=FULL`: what was acknowledged, the audit above all, survives a power cut, at the price
 * of one fsync a transaction, which a worker thread can wait for.
 */
export function openForWriting(path: string, busyTimeoutMs: number): RawConnection {
  const raw = new Database(path, { timeout: busyTimeoutMs });
  try {
    switchToWal(raw, busyTimeoutMs);
    raw.pragma("synchronous = FULL");
    raw.pragma("foreign_keys = ON");
    return raw;
  } catch (error) {
    raw.close();
    throw error;
  }
}

/** A connection that cannot write. It stands beside an open writer, which has the WAL's shared memory ready. */
export function openForReading(path: string, busyTimeoutMs: number): RawConnection {
  const raw = new Database(path, { readonly: true, fileMustExist: true, timeout: busyTimeoutMs });
  try {
    raw.pragma("query_only = ON");
    return raw;
  } catch (error) {
    raw.close();
    throw error;
  }
}

export function drizzleOf(raw: RawConnection): ConnectedDb {
  return drizzle(raw);
}

const WAL_RETRY_MS = 10;

/** The switch ignores `busy_timeout`: with several processes starting at once it is asked again until the time is up. */
function switchToWal(raw: RawConnection, busyTimeoutMs: number): void {
  for (let waitedMs = 0; ; waitedMs += WAL_RETRY_MS) {
    try {
      raw.pragma("journal_mode = WAL");
      return;
    } catch (error) {
      if (!isBusy(error) || waitedMs >= busyTimeoutMs) throw error;
      pause(WAL_RETRY_MS);
    }
  }
}

/** Blocks this thread: SQLite is synchronous, and so is everything that waits for it. Belongs in a worker or a command line. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
