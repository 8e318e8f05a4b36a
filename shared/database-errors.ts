/** Names the class of an error that SQLite, PostgreSQL or MySQL raised, by the code that its driver kept. */
import type { ErrorClass } from "./error-classes.js";
import { type ErrorFacts, factsOf } from "./error-facts.js";

/**
 * @param database the service is a database: then codes that could be anything else are read as a database's
 */
export function databaseClassByCode(facts: ErrorFacts, database: boolean): ErrorClass | undefined {
  const { code } = facts;
  if (code?.startsWith("SQLITE_")) return sqliteClass(code);
  if (code !== undefined && POSTGRES_JS.has(code)) return POSTGRES_JS.get(code);
  return mysqlClass(facts, database) ?? postgresClass(facts, database);
}

/** Drivers raise some errors with words only: node-postgres, mysql2's pool, better-sqlite3's TypeErrors. */
export function databaseClassByWords(facts: ErrorFacts): ErrorClass | undefined {
  return WORDS.find(([pattern]) => pattern.test(facts.message))?.[1];
}

/**
 * The database's own code for an error, SQLSTATE, MySQL's number or SQLite's name; undefined where it has not answered.
 *
 * @example databaseCodeOf(new DrizzleQueryError(sql, params, cause)) // "40001"
 */
export function databaseCodeOf(error: unknown): string | undefined {
  for (const facts of factsOf(error)) {
    const { code } = facts;
    const errno = facts.read("errno");
    if (typeof errno === "number" && errno >= 1000) return String(errno);
    if (code?.startsWith("SQLITE_")) return code;
    if (code !== undefined && SQLSTATE_SHAPE.test(code) && isFromPostgres(facts)) return code;
  }
  return undefined;
}

/**
 * The driver itself says that a statement never left: its connection was known to be gone. Proof for that one statement,
 * not for the work around it.
 */
export function neverLeft(facts: ErrorFacts): boolean {
  return /is not queryable$|^Can't add new command when connection is in closed state/i.test(facts.message);
}

const SQLITE: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["BUSY", "database_busy"],
  ["LOCKED", "database_busy"],
  ["PROTOCOL", "database_busy"],
  ["SCHEMA", "database_busy"],
  ["INTERRUPT", "aborted"],
  ["ABORT", "aborted"],
  ["IOERR", "database_io"],
  ["CANTOPEN", "database_io"],
  ["NOMEM", "database_io"],
  ["FULL", "disk_full"],
  ["READONLY", "database_write_refused"],
  ["CORRUPT", "database_corrupt"],
  ["NOTADB", "database_corrupt"],
  ["PERM", "auth"],
  ["AUTH", "auth"],
  ["NOLFS", "database_io"],
  ["INTERNAL", "database_internal"],
]);

function sqliteClass(code: string): ErrorClass {
  // A reader that would become a writer behind another writer: waiting cannot help, only a new transaction can.
  if (code === "SQLITE_BUSY_SNAPSHOT") return "database_conflict";
  const primary = code.slice("SQLITE_".length).split("_", 1)[0] ?? "";
  // What is left is the statement's own fault: constraints, syntax, misuse, types, sizes.
  return SQLITE.get(primary) ?? "caller_error";
}

const SQLSTATE: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["40001", "database_conflict"],
  ["40P01", "database_conflict"],
  ["40002", "caller_error"],
  ["72000", "database_conflict"],
  ["40003", "database_outcome_unknown"],
  ["08007", "database_outcome_unknown"],
  ["55P03", "database_busy"],
  ["55006", "database_busy"],
  ["25006", "database_readonly"],
  ["25P02", "transaction_aborted"],
  ["25P03", "database_connection"],
  ["25P04", "database_connection"],
  ["57P01", "database_connection"],
  ["57P02", "database_connection"],
  ["57P03", "database_unreachable"],
  ["57P05", "database_connection"],
  ["53100", "disk_full"],
  ["57P04", "auth"],
  ["3D000", "auth"],
  ["58030", "database_internal"],
  ["58000", "database_internal"],
]);

/** By the first two characters, the class of an SQLSTATE, where no code of its own is listed. */
const SQLSTATE_CLASS: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["08", "database_connection"],
  ["28", "auth"],
  ["53", "database_saturated"],
  ["58", "database_internal"],
  ["F0", "auth"],
  ["XX", "database_internal"],
  ["0A", "caller_error"],
  ["21", "caller_error"],
  ["22", "caller_error"],
  ["23", "caller_error"],
  ["25", "caller_error"],
  ["26", "caller_error"],
  ["2B", "caller_error"],
  ["2D", "caller_error"],
  ["34", "caller_error"],
  ["3B", "caller_error"],
  ["3F", "caller_error"],
  ["40", "database_conflict"],
  ["42", "caller_error"],
  ["44", "caller_error"],
  ["54", "caller_error"],
  ["55", "caller_error"],
  ["P0", "caller_error"],
]);

const SQLSTATE_SHAPE = /^[0-9A-Z]{5}$/;

function isFromPostgres(facts: ErrorFacts): boolean {
  return typeof facts.read("severity") === "string" || typeof facts.read("routine") === "string";
}

function postgresClass(facts: ErrorFacts, database: boolean): ErrorClass | undefined {
  const { code } = facts;
  if (code === undefined || !SQLSTATE_SHAPE.test(code)) return undefined;
  if (!database && !isFromPostgres(facts)) return undefined;
  switch (code) {
    case "57014":
      return /statement timeout/i.test(facts.message) ? "timeout" : "aborted";
    case "0A000":
      return /cached plan must not change result type/i.test(facts.message) ? "database_conflict" : "caller_error";
    // Refused before a session began.
    case "08001":
    case "08004":
      return "database_unreachable";
    default:
      return SQLSTATE.get(code) ?? SQLSTATE_CLASS.get(code.slice(0, 2));
  }
}

/** The codes that postgres.js makes itself, beside those of the server and of sockets. */
const POSTGRES_JS: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["CONNECTION_CLOSED", "database_connection"],
  ["CONNECTION_DESTROYED", "database_connection"],
  ["CONNECTION_ENDED", "database_closed"],
  ["CONNECT_TIMEOUT", "database_unreachable"],
  ["SASL_SIGNATURE_MISMATCH", "auth"],
  ["AUTH_TYPE_NOT_IMPLEMENTED", "auth"],
  ["UNDEFINED_VALUE", "caller_error"],
  ["MAX_PARAMETERS_EXCEEDED", "caller_error"],
  ["NOT_TAGGED_CALL", "caller_error"],
  ["UNSAFE_TRANSACTION", "caller_error"],
  ["MESSAGE_NOT_SUPPORTED", "caller_error"],
]);

/** MySQL's numbers; from 1,900 to 1,999 and from 4,000 on MariaDB has its own. */
const MYSQL: ReadonlyMap<number, ErrorClass> = new Map<number, ErrorClass>([
  [1213, "database_conflict"],
  [1614, "database_conflict"],
  [3058, "database_conflict"],
  [1020, "database_conflict"],
  [1205, "database_busy"],
  [3572, "database_busy"],
  [1689, "database_busy"],
  [1040, "database_saturated"],
  [1203, "database_saturated"],
  [1041, "database_saturated"],
  [1037, "database_saturated"],
  [1135, "database_saturated"],
  [1226, "database_saturated"],
  [1053, "database_connection"],
  [1158, "database_connection"],
  [1159, "database_connection"],
  [1184, "database_connection"],
  [1927, "database_connection"],
  [2006, "database_connection"],
  [2013, "database_connection"],
  [3169, "database_connection"],
  [4031, "database_connection"],
  [1836, "database_readonly"],
  [3100, "database_readonly"],
  [1792, "database_readonly"],
  [1317, "aborted"],
  [3024, "timeout"],
  [1969, "timeout"],
  [1030, "database_internal"],
  [1034, "database_corrupt"],
  [1194, "database_corrupt"],
  [1195, "database_corrupt"],
  [1712, "database_corrupt"],
  [1021, "disk_full"],
  [1114, "disk_full"],
  [1129, "auth"],
  [1130, "auth"],
  [1044, "auth"],
  [1045, "auth"],
  [1049, "auth"],
  [1698, "auth"],
]);

function mysqlClass(facts: ErrorFacts, database: boolean): ErrorClass | undefined {
  const { code } = facts;
  if (code === "PROTOCOL_CONNECTION_LOST") return "database_connection";
  if (code === "PROTOCOL_SEQUENCE_TIMEOUT") return "timeout";
  const errno = facts.read("errno");
  if (typeof errno !== "number" || errno < 1000) return undefined;
  if (!database && !code?.startsWith("ER_") && typeof facts.read("sqlState") !== "string") return undefined;
  // The engine wraps what the disk said, and one number stands for every option that forbids something.
  if (/\bno space left on device\b|\b(?:error|errno:|errcode:) 28\b/i.test(facts.message)) return "disk_full";
  if (errno === 1290) return /\bread[- _]?only\b/i.test(facts.message) ? "database_readonly" : "caller_error";
  return MYSQL.get(errno) ?? "caller_error";
}

const WORDS: readonly (readonly [RegExp, ErrorClass])[] = [
  [/^timeout exceeded when trying to connect/i, "database_saturated"],
  [/^(No connections available|Queue limit reached)\.?$/i, "database_saturated"],
  [/^Connection terminated due to connection timeout/i, "database_unreachable"],
  [/^timeout expired$/i, "database_unreachable"],
  [/^Connection terminated( unexpectedly)?$/i, "database_connection"],
  [/^Client has encountered a connection error and is not queryable/i, "database_connection"],
  [/^Can't add new command when connection is in closed state/i, "database_connection"],
  [/^Query read timeout/i, "timeout"],
  [
    /^(Client was closed and is not queryable|Cannot use a pool after calling end on the pool|Pool is closed\.?$)/i,
    "database_closed",
  ],
  [/^The database connection is not open/i, "database_closed"],
  [/^Cannot open database because the directory does not exist/i, "database_closed"],
  [
    /^(SQLite3 can only bind|Too (few|many) parameter values|Missing named parameter|This (statement|database connection) )/i,
    "caller_error",
  ],
];
