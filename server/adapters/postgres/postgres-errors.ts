/** Turns what PostgreSQL and its driver say into the store's few errors: what happened, to which database, what to do. */
import { isParamedicError, ParamedicError, type ParamedicErrorCode } from "../../../shared/errors.js";

/** By SQLSTATE or its class, the longer one first; last the codes of the socket. */
const MEANINGS: readonly (readonly [prefix: string, code: ParamedicErrorCode, meaning: string])[] = [
  ["08", "STORE_UNAVAILABLE", "the connection was lost; it is opened anew with the next call"],
  ["22", "STORE_REQUEST_INVALID", "a value is not allowed"],
  ["23503", "STORE_REQUEST_INVALID", "it refers to a row that is not stored"],
  ["23", "STORE_REQUEST_INVALID", "a value is missing or not allowed"],
  ["25006", "STORE_UNAVAILABLE", "it is read-only; name the primary, not a replica"],
  ["25P03", "STORE_UNAVAILABLE", "a transaction stood idle too long and was ended; look for what blocks this process"],
  ["28", "STORE_UNAVAILABLE", "it refuses the login; check user and password in the database URL"],
  ["3D000", "STORE_UNAVAILABLE", "there is no such database; create it first"],
  ["40", "STORE_UNAVAILABLE", "other transactions were in the way, several times; try again"],
  ["42501", "STORE_UNAVAILABLE", "this user may not do that; grant it the right to create and write tables"],
  ["42P01", "STORE_UNAVAILABLE", "a table is missing; open the store anew after restoring it"],
  ["53100", "STORE_UNAVAILABLE", "its disk is full; free some space"],
  ["53300", "STORE_UNAVAILABLE", "it has no free connection; raise max_connections or use fewer"],
  ["53", "STORE_UNAVAILABLE", "it is out of resources"],
  ["54", "STORE_REQUEST_INVALID", "a value is too big"],
  ["55P03", "STORE_UNAVAILABLE", "another session holds its lock; wait for it, or find it in pg_locks and end it"],
  ["57014", "STORE_UNAVAILABLE", "a statement took too long and was cancelled"],
  ["57P", "STORE_UNAVAILABLE", "it is shutting down, starting up, or ended the session; try again"],
  ["58", "STORE_UNAVAILABLE", "its disk reports an error"],
  ["XX001", "STORE_CORRUPT", "it is damaged; restore it from a backup"],
  ["XX002", "STORE_CORRUPT", "an index is damaged; run REINDEX or restore it from a backup"],
  ["ECONNREFUSED", "STORE_UNAVAILABLE", "nobody listens there; start it, or check host and port"],
  ["ENOTFOUND", "STORE_UNAVAILABLE", "its host name is unknown; check the database URL"],
  ["EAI_AGAIN", "STORE_UNAVAILABLE", "its host name cannot be looked up at present"],
];

/** Another writer was in the way, or a remembered id is gone: the same transaction may succeed when it is begun anew. */
const WORTH_REPEATING: ReadonlySet<string> = new Set(["40001", "40P01", "23503", "23505"]);

/**
 * Any error of a store's method as a `ParamedicError`; one that is already stays as it is.
 *
 * @param database its name in the message, without credentials
 */
export function storeErrorOf(error: unknown, database: string): ParamedicError {
  if (isParamedicError(error)) return error;
  const cause = driverErrorOf(error);
  const code = codeOf(cause);
  const found = MEANINGS.find(([prefix]) => code?.startsWith(prefix));
  if (found) return new ParamedicError(found[1], `the database ${database}: ${found[2]} (${code})`, { cause });
  if (code === undefined && (cause instanceof TypeError || cause instanceof RangeError)) {
    return new ParamedicError(
      "STORE_REQUEST_INVALID",
      `the database ${database} cannot hold a value: ${cause.message}`,
      {
        cause,
      },
    );
  }
  const message = cause instanceof Error ? cause.message : String(cause);
  return new ParamedicError("STORE_UNAVAILABLE", `the database ${database} failed: ${message}`, { cause });
}

export function isWorthRepeating(error: unknown): boolean {
  return WORTH_REPEATING.has(codeOf(driverErrorOf(error)) ?? "");
}

/** The server or the network ended the session: what had not begun on it may be asked on another one. */
export function isSessionOver(error: unknown): boolean {
  const cause = driverErrorOf(error);
  const code = codeOf(cause);
  if (code === undefined) return cause instanceof Error && cause.message.startsWith("Connection terminated");
  return /^(08|57P01|57P02|ECONNRESET$|EPIPE$)/.test(code);
}

/**
 * The server answered, and its session stands: the connection can be used again. After anything else, a time limit of ours
 * above all, an answer to the old question may still come.
 */
export function leavesConnectionUsable(error: unknown): boolean {
  if (isParamedicError(error)) return true;
  const code = codeOf(driverErrorOf(error)) ?? "";
  return /^[0-9A-Z]{5}$/.test(code) && !/^(08|25P03|57P|58|XX)/.test(code);
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
