/** Recognises the Drizzle databases that can be guarded, by Drizzle's own names for its classes and the shape of their clients. */
import type BetterSqlite3 from "better-sqlite3";
import { readProperty } from "../../../shared/error-facts.js";
import { ParamedicError } from "../../../shared/errors.js";
import type { DatabaseDriver } from "./database-driver.js";
import { mysql2Driver } from "./mysql2-driver.js";
import { nodePostgresDriver } from "./node-postgres-driver.js";
import { postgresJsDriver } from "./postgres-js-driver.js";
import { hasMethods } from "./shape.js";

export type KnownDatabase =
  | { readonly kind: "sqlite"; readonly client: BetterSqlite3.Database }
  | { readonly kind: "server"; readonly session: object; readonly driver: DatabaseDriver };

/** Drizzle's own name for a class, the same across its copies. */
const ENTITY_KIND = Symbol.for("drizzle:entityKind");

/** By the database's class and its session's: a transaction's handle has the session, and is not the database. */
const DRIVERS = new Map<string, (client: unknown) => DatabaseDriver | undefined>([
  ["NodePgDatabase NodePgSession", nodePostgresDriver],
  ["PostgresJsDatabase PostgresJsSession", postgresJsDriver],
  ["MySql2Database MySql2Session", mysql2Driver],
]);

const SUPPORTED = "better-sqlite3, node-postgres, postgres-js or mysql2";

/**
 * @param caller whom the error is about: `guardDatabase`
 * @throws ParamedicError `OPERATION_INVALID` for anything else
 */
export function databaseOf(db: object, caller: string): KnownDatabase {
  const known = knownBy(db, readProperty(db, "session"));
  if (known !== undefined) return known;
  const got = kindOf(db) ?? "a value that is no Drizzle database";
  throw new ParamedicError(
    "OPERATION_INVALID",
    `${caller}: got ${got}; supported is what drizzle() of drizzle-orm/${SUPPORTED} gives for a real connection or pool`,
  );
}

function knownBy(db: object, session: unknown): KnownDatabase | undefined {
  const kinds = `${kindOf(db)} ${kindOf(session)}`;
  if (kinds === "BetterSQLite3Database BetterSQLiteSession") {
    const client = readProperty(db, "$client");
    return hasMethods(client, ["prepare", "pragma"]) ? { kind: "sqlite", client: asSqlite(client) } : undefined;
  }
  const driver = DRIVERS.get(kinds)?.(readProperty(session, "client"));
  if (driver === undefined || typeof session !== "object" || session === null) return undefined;
  return { kind: "server", session, driver };
}

function kindOf(value: unknown): string | undefined {
  const kind = readProperty(readProperty(value, "constructor"), ENTITY_KIND);
  return typeof kind === "string" ? kind : undefined;
}

/** Its methods have been looked at. */
function asSqlite(client: object): BetterSqlite3.Database {
  return client as BetterSqlite3.Database;
}
