/** Asks a SQLite connection whether it lives, and whether the file takes writes. */
import { classify } from "../../../shared/classify.js";
import type { SqliteSeam } from "./sqlite-seam.js";
import type { WriteFinding } from "./write-state.js";

/** Throws what the database does. While a transaction holds the connection, its statements are the proof of life. */
export function pingSqlite(seam: SqliteSeam): void {
  seam.ask((native) => native.prepare("SELECT count(*) FROM sqlite_schema").get());
}

/**
 * Finds a free page, then commits to disk, and changes nothing: the table is rolled back, and the app's own `user_version`
 * is written as it was.
 */
export function probeSqlite(seam: SqliteSeam): WriteFinding {
  try {
    const isFree = seam.ask((native) => {
      native.exec("BEGIN IMMEDIATE");
      try {
        native.exec("SAVEPOINT paramedic_probe; CREATE TABLE paramedic_probe (x); ROLLBACK TO paramedic_probe");
        const version = Number(native.prepare("PRAGMA user_version").pluck().get());
        native.exec(`RELEASE paramedic_probe; PRAGMA user_version = ${version}; COMMIT`);
      } catch (error) {
        if (seam.client.inTransaction) native.exec("ROLLBACK");
        throw error;
      }
      return true;
    });
    return isFree === undefined ? "unreachable" : "writable";
  } catch (error) {
    return findingOf(error, () => pingSqlite(seam));
  }
}

function findingOf(error: unknown, read: () => void): WriteFinding {
  const { failureType } = classify(error, "db:probe");
  if (failureType !== "database_readonly" && failureType !== "disk_full") return "unreachable";
  try {
    read();
    return "read_only";
  } catch {
    return "unreachable";
  }
}
