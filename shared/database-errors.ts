/** Names the class of an error that SQLite, PostgreSQL or MySQL raised, by the code that its driver kept. */
import type { ErrorClass } from "./error-classes.js";
import type { ErrorFacts } from "./error-facts.js";

/**
 * @param database the service is a database: then codes that could be anything else are read as a database's
 */
export function databaseClassByCode(facts: ErrorFacts, database: boolean): ErrorClass | undefined {
  const { code } = facts;
  if (code?.startsWith("SQLITE_")) return sqliteClass(code);
  return mysqlClass(facts, database) ?? postgresClass(facts, database);
}

/** Drivers raise some errors with words only: node-postgres, mysql2's pool, better-sqlite3's TypeErrors. */
export function databaseClassByWords(facts: ErrorFacts): ErrorClass | undefined {
  return WORDS.find(([pattern]) => pattern.test(facts.message))?.[1];
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
  ["72000", "database_conflict"],
  ["40003", "database_outcome_unknown"],
  ["08007", "database_outcome_unknown"],
  ["55P03", "database_busy"],
  ["55006", "database_busy"],
  ["25006", "database_readonly"],
  ["25P02", "transaction_aborted"],
  ["25P03", "database_connection"],
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

function postgresClass(facts: ErrorFacts, database: boolean): ErrorClass | undefined {
  const { code } = facts;
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  const fromServer = typeof facts.read("severity") === "string" || typeof facts.read("routine") === "string";
  if (!database && !fromServer) return undefined;
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

const MYSQL: ReadonlyMap<number, ErrorClass> = new Map<number, ErrorClass>([
  [1213, "database_conflict"],
  [1614, "database_conflict"],
  [3058, "database_conflict"],
  [1205, "database_busy"],
  [3572, "database_busy"],
  [1689, "database_busy"],
  [1040, "database_saturated"],
  [1203, "database_saturated"],
  [1041, "database_saturated"],
  [1053, "database_connection"],
  [1158, "database_connection"],
  [1159, "database_connection"],
  [1184, "database_connection"],
  [2006, "database_connection"],
  [2013, "database_connection"],
  [1290, "database_readonly"],
  [1836, "database_readonly"],
  [1792, "database_readonly"],
  [1317, "aborted"],
  [3024, "timeout"],
  [1021, "disk_full"],
  [1114, "disk_full"],
  [1129, "auth"],
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
  return MYSQL.get(errno) ?? "caller_error";
}

const WORDS: readonly (readonly [RegExp, ErrorClass])[] = [
  [/^timeout exceeded when trying to connect/i, "database_saturated"],
  [/^(No connections available|Queue limit reached)\.?$/i, "database_saturated"],
  [/^Connection terminated due to connection timeout/i, "database_unreachable"],
  [/^timeout expired$/i, "database_unreachable"],
  [/^Connection terminated( unexpectedly)?$/i, "database_connection"],
  [/^Client has encountered a connection error and is not queryable/i, "database_connection"],
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
