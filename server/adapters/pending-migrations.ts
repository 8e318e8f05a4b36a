/** Which migrations a database still lacks; one that is ahead of this version is refused. */
import type { MigrationMeta } from "drizzle-orm/migrator";
import { ParamedicError } from "../../shared/errors.js";

/** Paramedic's own: a host app's migrations are kept elsewhere and never looked at. */
export const MIGRATIONS_TABLE = "paramedic_migrations";

export interface PendingMigrations {
  /** How many it has. */
  readonly applied: number;
  readonly pending: readonly MigrationMeta[];
}

/**
 * @param appliedTimes of the migrations it has, oldest first
 * @param database its name in the error: a path, or a URL without credentials
 * @throws ParamedicError STORE_SCHEMA_NEWER
 */
export function pendingOf(
  appliedTimes: readonly number[],
  migrations: readonly MigrationMeta[],
  database: string,
): PendingMigrations {
  const newest = appliedTimes.at(-1);
  if (newest === undefined) return { applied: 0, pending: migrations };
  if (!migrations.some(({ folderMillis }) => folderMillis >= newest)) {
    throw new ParamedicError(
      "STORE_SCHEMA_NEWER",
      `the database ${database} has a newer schema than this version of paramedic knows; update paramedic or name another database`,
    );
  }
  return { applied: appliedTimes.length, pending: migrations.filter(({ folderMillis }) => folderMillis > newest) };
}
