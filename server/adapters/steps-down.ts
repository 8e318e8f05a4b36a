/** How a database goes back to an earlier schema: the statements that undo its newest migrations. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { z } from "zod";
import { ParamedicError } from "../../shared/errors.js";

const journalSchema = z.object({ entries: z.array(z.object({ tag: z.string() })) });

export interface StepDown {
  /** Of the migration that it undoes. */
  readonly time: number;
  readonly statements: readonly string[];
}

/**
 * Newest first; none when the database is at `version` already.
 *
 * @param folder of the migrations
 * @param applied when each migration that the database has was made, oldest first
 * @param database its name in the errors: a path, or a URL without credentials
 * @throws ParamedicError STORE_REQUEST_INVALID for a version that is not behind, STORE_SCHEMA_NEWER
 */
export function stepsDown(
  folder: string,
  applied: readonly number[],
  version: number,
  database: string,
): readonly StepDown[] {
  if (!Number.isInteger(version) || version < 1 || version > applied.length) {
    throw new ParamedicError(
      "STORE_REQUEST_INVALID",
      `the database ${database} has schema version ${applied.length}: it goes back to a version from 1 to that, got ${version}`,
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
          `the database ${database} has a schema that this version of paramedic cannot take back; use the version that made it`,
        );
      }
      return { time, statements: readFileSync(file, "utf8").split("--> statement-breakpoint") };
    });
}

export function changedMeanwhile(database: string): ParamedicError {
  return new ParamedicError(
    "STORE_UNAVAILABLE",
    `the schema of ${database} was changed by another process meanwhile; stop what uses it and try again`,
  );
}
