/** Takes a database back to an earlier schema, after a copy: what the newer one alone can hold is only in the copy then. */
import { MINUTE_MS } from "../../../shared/units.js";
import { findMigrationsFolder } from "../migrations-folder.js";
import { isOwnTable } from "../own-tables.js";
import { MIGRATIONS_TABLE } from "../pending-migrations.js";
import { changedMeanwhile, stepsDown } from "../steps-down.js";
import { type Ask, appliedTimes, type MigrateOptions, withMigrator } from "./migrate.js";
import { databaseNameOf } from "./postgres-connection.js";
import { lockStatement } from "./write-transactions.js";

/**
 * Undoes the newest migrations until `version` of them are left. Paramedic's tables are copied first, with their rows and
 * without their indexes, into a schema of their own beside them, `paramedic_before_<n>_to_<version>` (a number follows where
 * that is taken), where n counts the migrations that the database had; copy and way back are one transaction. Stop the
 * processes that use it: a newer paramedic that starts brings the schema up to date again.
 *
 * @param version 1 up to the number of migrations that the database has
 * @param options.timeoutMs how long to wait for a lock, and for each statement; default 10 minutes
 * @throws ParamedicError STORE_UNAVAILABLE, STORE_CORRUPT, STORE_SCHEMA_NEWER, and STORE_REQUEST_INVALID for a version that
 *   is not behind
 * @example await migratePostgresBack(url, 1) // { undone: 1, backup: "paramedic_before_2_to_1" }
 */
export async function migratePostgresBack(
  url: string,
  version: number,
  options: MigrateOptions = {},
): Promise<{ readonly undone: number; readonly backup: string | undefined }> {
  const database = databaseNameOf(url);
  const folder = options.migrationsFolder ?? findMigrationsFolder("postgres");
  return withMigrator(url, { timeoutMs: 10 * MINUTE_MS, ...options }, async (ask) => {
    const had = (await appliedTimes(ask)).length;
    const downs = stepsDown(folder, await appliedTimes(ask), version, database);
    if (downs.length === 0) return { undone: 0, backup: undefined };
    await ask("begin");
    await ask(lockStatement("migrations"));
    // Asked again under the lock: another process may have migrated meanwhile.
    if ((await appliedTimes(ask)).length !== had) throw changedMeanwhile(database);
    const backup = await copyTables(ask, `paramedic_before_${had}_to_${version}`);
    for (const { time, statements } of downs) {
      for (const statement of statements) await ask(statement);
      await ask(`delete from ${MIGRATIONS_TABLE} where created_at = $1`, [time]);
    }
    await ask("commit");
    return { undone: downs.length, backup };
  });
}

async function copyTables(ask: Ask, stem: string): Promise<string> {
  const taken = new Set((await ask("select nspname as name from pg_namespace")).map(({ name }) => name));
  let schema = stem;
  for (let number = 2; taken.has(schema); number += 1) schema = `${stem}_${number}`;
  await ask(`create schema ${schema}`);
  const beside = "select relnamespace from pg_class where oid = to_regclass($1)";
  const named = `select relname as name from pg_class where relkind in ('r', 'p') and relnamespace = (${beside})`;
  const tables = (await ask(named, [MIGRATIONS_TABLE])).map(({ name }) => String(name)).filter(isOwnTable);
  // Writers wait from here on, so that the copies belong together.
  await ask(`lock table ${tables.join(", ")} in exclusive mode`);
  for (const table of tables) await ask(`create table ${schema}.${table} as table ${table}`);
  return schema;
}
