/** Finds the migrations that ship with the package: from the sources and from a bundle, wherever it was installed. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ParamedicError } from "../../shared/errors.js";

export type Dialect = "sqlite" | "postgres";

/** A host app may keep its own migrations in a folder of the same name: ours begin with this one. */
const FIRST_MIGRATION = '"0000_paramedic"';

/** @throws ParamedicError STORE_UNAVAILABLE when the package is incomplete. */
export function findMigrationsFolder(dialect: Dialect, from = fileURLToPath(import.meta.url)): string {
  const wanted = join("drizzle", dialect, "migrations");
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const candidate = join(folder, wanted);
    const journal = join(candidate, "meta", "_journal.json");
    if (existsSync(journal) && readFileSync(journal, "utf8").includes(FIRST_MIGRATION)) return candidate;
    if (folder === dirname(folder)) {
      throw new ParamedicError(
        "STORE_UNAVAILABLE",
        `the migrations are missing: no ${wanted} above ${from}; install the package whole, unbundled`,
      );
    }
  }
}
