/** Turns what SQLite says into the store's few errors: what happened, to which file, what to do. */
import { isParamedicError, ParamedicError, type ParamedicErrorCode } from "../../../shared/errors.js";

/** By the result code or its prefix, the longer one first. */
const MEANINGS: readonly (readonly [prefix: string, code: ParamedicErrorCode, meaning: string])[] = [
  ["SQLITE_NOTADB", "STORE_CORRUPT", "it is not an SQLite database; move it away or name another file"],
  ["SQLITE_CORRUPT", "STORE_CORRUPT", "it is damaged; restore it from a backup, or move it away to begin anew"],
  ["SQLITE_BUSY", "STORE_UNAVAILABLE", "another process holds its lock; wait for it, or find it and end it"],
  ["SQLITE_LOCKED", "STORE_UNAVAILABLE", "another connection holds its lock; wait for it"],
  ["SQLITE_READONLY", "STORE_UNAVAILABLE", "it, or its folder, is read-only; make both writable"],
  ["SQLITE_PERM", "STORE_UNAVAILABLE", "access is denied; give this user the right to read and write it"],
  ["SQLITE_CANTOPEN", "STORE_UNAVAILABLE", "it cannot be opened; check that its folder exists and is writable"],
  ["SQLITE_FULL", "STORE_UNAVAILABLE", "the disk is full; free some space"],
  ["SQLITE_IOERR", "STORE_UNAVAILABLE", "the disk reports an error; check the disk and its free space"],
  ["SQLITE_CONSTRAINT_FOREIGNKEY", "STORE_REQUEST_INVALID", "it refers to a row that is not stored"],
  ["SQLITE_CONSTRAINT", "STORE_REQUEST_INVALID", "a value is missing or not allowed"],
  ["SQLITE_TOOBIG", "STORE_REQUEST_INVALID", "a value is too big"],
  ["SQLITE_MISMATCH", "STORE_REQUEST_INVALID", "a value has the wrong type"],
];

/** Any error of a store's method as a `ParamedicError`; one that is already stays as it is. */
export function storeErrorOf(error: unknown, path: string): ParamedicError {
  if (isParamedicError(error)) return error;
  const cause = driverErrorOf(error);
  const code = codeOf(cause);
  const found = MEANINGS.find(([prefix]) => code?.startsWith(prefix));
  if (found) return new ParamedicError(found[1], `the database ${path}: ${found[2]} (${code})`, { cause });
  if (code === undefined && (cause instanceof TypeError || cause instanceof RangeError)) {
    return new ParamedicError("STORE_REQUEST_INVALID", `the database ${path} cannot hold a value: ${cause.message}`, {
      cause,
    });
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return new ParamedicError("STORE_UNAVAILABLE", `the database ${path} failed: ${message}`, { cause });
}

export function isBusy(error: unknown): boolean {
  return codeOf(driverErrorOf(error))?.startsWith("SQLITE_BUSY") ?? false;
}

export function isFull(error: unknown): boolean {
  return codeOf(driverErrorOf(isParamedicError(error) ? error.cause : error))?.startsWith("SQLITE_FULL") ?? false;
}

/** Drizzle wraps the driver's error. */
function driverErrorOf(error: unknown): unknown {
  let found = error;
  for (let depth = 0; depth < 5; depth += 1) {
    if (codeOf(found) !== undefined || !(found instanceof Error) || found.cause === undefined) return found;
    found = found.cause;
  }
  return found;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
