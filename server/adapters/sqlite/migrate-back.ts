/** Takes a database back to an earlier schema, after a copy: what the newer one alone can hold is only in the copy then. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { z } from "zod";
import { ParamedicError } from "../../../shared/errors.js";
import { SECOND_MS } from "../../../shared/units.js";
import { findMigrationsFolder } from "../migrations-folder.js";
import { MIGRATIONS_TABLE } from "../pending-migrations.js";
import { identityOf } from "./database-file.js";
import { appliedTimes, backUp, type MigrateOptions } from "./migrate.js";
import { openForWriting } from "./sqlite-connection.js";
import { storeErrorOf } from "./sqlite-errors.js";

const journalSchema = z.object({ entries: z.array(z.object({ tag: z.string() })) });

/**
 * Undoes the newest migrations until `version` of them are left, all or nothing. The database is copied first, to
 * `<path>.before-<n>-to-<version>.backup` (a number follows where that is taken), where n counts the migrations it had. Stop
 * the processes that use it: a newer paramedic that starts brings the schema up to date again.
 *
 * @param version 1 up to the number of migrations that the database has
 * @throws ParamedicError STORE_UNAVAILABLE, STORE_CORRUPT, STORE_SCHEMA_NEWER, and STORE_REQUEST_INVALID for a version that
 *   is not behind
 * @example migrateSqliteBack("./paramedic.db", 1) // { undone: 1, backup: "./paramedic.db.before-2-to-1.backup" }
 */
export function migrateSqliteBack(
  path: string,
  version: number,
  options: MigrateOptions = {},
): { readonly undone: number; readonly backup: string | undefined } {
  const folder = options.migrationsFolder ?? findMigrationsFolder("sqlite");
  identityOf(path);
  try {
    const raw = openForWriting(path, options.busyTimeoutMs ?? 30 * SECOND_MS);
    try {
      const had = appliedTimes(raw).length;
      const downs = stepsDown(folder, appliedTimes(raw), version, path);
      if (downs.length === 0) return { undone: 0, backup: undefined };
      const backup = freeName(`${path}.before-${had}-to-${version}`);
      backUp(raw, backup);
      raw.pragma("foreign_keys = OFF");
      raw
        .transaction(() => {
          // Asked again under the lock: another process may have migrated meanwhile.
          if (appliedTimes(raw).length !== had) throw changedMeanwhile(path);
          for (const { time, statements } of downs) {
            for (const statement of statements) raw.exec(statement);
            raw.prepare(`delete from ${MIGRATIONS_TABLE} where created_at = ?`).run(time);
          }
        })
        .immediate();
      return { undone: downs.length, backup };
    } finally {
      raw.close();
    }
  } catch (error) {
    throw storeErrorOf(error, path);
  }
}

interface StepDown {
  /** Of the migration that it undoes. */
  readonly time: number;
  readonly statements: readonly string[];
}

/** Newest first. */
function stepsDown(folder: string, applied: readonly number[], version: number, path: string): readonly StepDown[] {
  if (!Number.isInteger(version) || version < 1 || version > applied.length) {
    throw new ParamedicError(
      "STORE_REQUEST_INVALID",
      `the database ${path} has schema version ${applied.length}: it goes back to a version from 1 to that, got ${version}`,
    );
  }
  const { entries } = journalSchema.parse(JSON.parse(readFileSync(join(folder, "meta", "_journal.json"), "utf8")));
  const known = new Map(
    readMigrationFiles({ migrationsFolder: folder }).map(({ folderMillis }, at) => [folderMillis, entries[at]?.tag]),
  );
  return applied
    .slice(version)
    .reverse()
    .map((time) => {
      const file = join(folder, "down", `${known.get(time) ?? ""}.sql`);
      if (!known.has(time) || !existsSync(file)) {
        throw new ParamedicError(
          "STORE_SCHEMA_NEWER",
          `the database ${path} has a schema that this version of paramedic cannot take back; use the version that made it`,
        );
      }
      return { time, statements: readFileSync(file, "utf8").split("--> statement-breakpoint") };
    });
}

function changedMeanwhile(path: string): ParamedicError {
  return new ParamedicError(
    "STORE_UNAVAILABLE",
    `the schema of ${path} was changed by another process meanwhile; stop what uses it and try again`,
  );
}

function freeName(stem: string): string {
  for (let number = 1; ; number += 1) {
    const name = `${stem}${number === 1 ? "" : `.${number}`}.backup`;
    if (!existsSync(name)) return name;
  }
}
