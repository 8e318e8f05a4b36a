/** A folder of its own for each test's database, gone afterwards. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TempFolder {
  readonly folder: string;
  readonly path: string;
  /** The database alone, with what SQLite keeps beside it. */
  removeDatabase(): void;
  remove(): void;
}

export function createTempFolder(): TempFolder {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-store-"));
  const path = join(folder, "paramedic.db");
  return {
    folder,
    path,
    removeDatabase() {
      for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
