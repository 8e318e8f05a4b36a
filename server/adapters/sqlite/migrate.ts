/** Brings a database's schema up to date: once, whoever else starts at the same moment, and beside a host app's own tables. */
import { existsSync, linkSync, rmSync } from "node:fs";
import { type MigrationMeta, readMigrationFiles } from "drizzle-orm/migrator";
import { SECOND_MS } from "../../../shared/units.js";
import { findMigrationsFolder } from "../migrations-folder.js";
import { isOwnTable } from "../own-tables.js";
import { MIGRATIONS_TABLE, pendingOf } from "../pending-migrations.js";
import { makePrivate, prepareFile } from "./database-file.js";
import { openForWriting, type RawConnection } from "./sqlite-connection.js";
import { storeErrorOf } from "./sqlite-errors.js";

export interface MigrateOptions {
  /** How long to wait for a lock that another process holds. @default 30_000, because migrating takes its time */
  readonly busyTimeoutMs?: number;
  /** @default the folder that ships with the package */
  readonly migrationsFolder?: string;
}

/**
 * Applies what is missing, all of it or nothing. A database with nothing but Paramedic's tables and some rows is copied
 * first, to `<path>.before-<n>.backup`, where n counts the migrations it has.
 *
 * @throws ParamedicError STORE_UNAVAILABLE, STORE_CORRUPT, STORE_SCHEMA_NEWER
 * @example migrateSqlite("./paramedic.db") // { applied: 1 }
 */
export function migrateSqlite(path: string, options: MigrateOptions = {}): { readonly applied: number } {
  const busyTimeoutMs = options.busyTimeoutMs ?? 30 * SECOND_MS;
  const migrations = readMigrationFiles({
    migrationsFolder: options.migrationsFolder ?? findMigrationsFolder("sqlite"),
  });
  const { created } = prepareFile(path);
  try {
    const raw = openForWriting(path, busyTimeoutMs);
    try {
      if (!created && isOurs(raw)) makePrivate(path);
      const before = pendingOf(appliedTimes(raw), migrations, path);
      if (before.pending.length === 0) return { applied: 0 };
      if (before.applied > 0 && isOurs(raw)) backUp(raw, `${path}.before-${before.applied}.backup`);
      return { applied: applyPending(raw, migrations, path) };
    } finally {
      raw.close();
    }
  } catch (error) {
    throw storeErrorOf(error, path);
  }
}

/** Asks again under the lock what is pending: another process may have been faster. */
function applyPending(raw: RawConnection, migrations: readonly MigrationMeta[], path: string): number {
  return raw
    .transaction(() => {
      raw.exec(
        `create table if not exists ${MIGRATIONS_TABLE} (id integer primary key, hash text not null, created_at integer not null)`,
      );
      const { pending } = pendingOf(appliedTimes(raw), migrations, path);
      const record = raw.prepare(`insert into ${MIGRATIONS_TABLE} (hash, created_at) values (?, ?)`);
      for (const migration of pending) {
        for (const statement of migration.sql) raw.exec(statement);
        record.run(migration.hash, migration.folderMillis);
      }
      return pending.length;
    })
    .immediate();
}

/** When each migration that the database has was made, oldest first. */
export function appliedTimes(raw: RawConnection): readonly number[] {
  const known = raw.prepare("select 1 from sqlite_master where type = 'table' and name = ?").get(MIGRATIONS_TABLE);
  if (known === undefined) return [];
  return raw
    .prepare(`select created_at from ${MIGRATIONS_TABLE} order by created_at`)
    .pluck()
    .all()
    .map((time) => Number(time));
}

/** No table of anybody else. */
function isOurs(raw: RawConnection): boolean {
  const names = raw
    .prepare("select name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\'")
    .pluck()
    .all()
    .map((name) => String(name));
  return names.length > 0 && names.every(isOwnTable);
}

/** Whole or not at all: written beside, then linked to its name. The first copy of one name is the one that is kept. */
export function backUp(raw: RawConnection, target: string): void {
  if (existsSync(target)) return;
  const unfinished = `${target}.${process.pid}`;
  rmSync(unfinished, { force: true });
  try {
    raw.prepare("vacuum into ?").run(unfinished);
    makePrivate(unfinished);
    linkSync(unfinished, target);
  } catch (error) {
    if (!existsSync(target)) throw error;
  } finally {
    rmSync(unfinished, { force: true });
  }
}
