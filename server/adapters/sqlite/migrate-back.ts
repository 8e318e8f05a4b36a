/** Takes a database back to an earlier schema, after a copy: what the newer one alone can hold is only in the copy then. */
import { existsSync } from "node:fs";
import { SECOND_MS } from "../../../shared/units.js";
import { findMigrationsFolder } from "../migrations-folder.js";
import { MIGRATIONS_TABLE } from "../pending-migrations.js";
import { changedMeanwhile, stepsDown } from "../steps-down.js";
import { identityOf } from "./database-file.js";
import { appliedTimes, backUp, type MigrateOptions } from "./migrate.js";
import { openForWriting } from "./sqlite-connection.js";
import { storeErrorOf } from "./sqlite-errors.js";

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

function freeName(stem: string): string {
  for (let number = 1; ; number += 1) {
    const name = `${stem}${number === 1 ? "" : `.${number}`}.backup`;
    if (!existsSync(name)) return name;
  }
}
