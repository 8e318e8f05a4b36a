/** Opens the clinic's database: a SQLite file with its tables and a few patients. */
import Database, { type RunResult } from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import type { BaseSQLiteDatabase } from "drizzle-orm/sqlite-core";
import * as schema from "./schema.js";

/** @param busyTimeoutMs how long SQLite itself waits for a lock, holding the event loop meanwhile */
export function openClinicDatabase(path: string, busyTimeoutMs: number) {
  const sqlite = new Database(path, { timeout: busyTimeoutMs });
  sqlite.pragma("journal_mode = WAL");
  sqlite.pragma("foreign_keys = ON");
  sqlite.exec(schema.CREATE_TABLES);
  const db = drizzle(sqlite, { schema });
  db.insert(schema.patients)
    .values(["Ada", "Grace", "Edsger", "Barbara", "Alan"].map((name, index) => ({ id: index + 1, name })))
    .onConflictDoNothing()
    .run();
  return db;
}

export type ClinicDatabase = ReturnType<typeof openClinicDatabase>;

/** What a database and a transaction on it have in common. */
export type ClinicQueries = BaseSQLiteDatabase<"sync", RunResult, typeof schema>;
