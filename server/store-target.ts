/** Opens and migrates the store that a target names: the one place that knows there are two kinds. */
import { migratePostgres } from "./adapters/postgres/migrate.js";
import { migratePostgresBack } from "./adapters/postgres/migrate-back.js";
import { databaseNameOf } from "./adapters/postgres/postgres-connection.js";
import { createPostgresStore } from "./adapters/postgres/postgres-store.js";
import { migrateSqlite } from "./adapters/sqlite/migrate.js";
import { migrateSqliteBack } from "./adapters/sqlite/migrate-back.js";
import { createSqliteStore } from "./adapters/sqlite/sqlite-store.js";
import type { StoreTarget } from "./options.js";
import type { Clock } from "./ports/clock.js";
import type { Logger } from "./ports/logger.js";
import type { Store } from "./ports/store.js";

export interface StoreDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onFault: (error: unknown) => void;
}

export function createStore(deps: StoreDeps, target: StoreTarget): Store {
  switch (target.kind) {
    case "sqlite":
      return createSqliteStore(deps, { path: target.path });
    case "postgres":
      return createPostgresStore(deps, { url: target.url });
  }
}

/** @returns how many migrations were applied, and to what: a path, or a URL without credentials */
export async function migrateStore(
  target: StoreTarget,
): Promise<{ readonly database: string; readonly applied: number }> {
  switch (target.kind) {
    case "sqlite":
      return { database: target.path, ...migrateSqlite(target.path) };
    case "postgres":
      return { database: databaseNameOf(target.url), ...(await migratePostgres(target.url)) };
  }
}

/** @returns how many migrations were undone, in what, and where the copy is: a path, or a schema beside the tables */
export async function migrateStoreBack(
  target: StoreTarget,
  version: number,
): Promise<{ readonly database: string; readonly undone: number; readonly backup: string | undefined }> {
  switch (target.kind) {
    case "sqlite":
      return { database: target.path, ...migrateSqliteBack(target.path, version) };
    case "postgres":
      return { database: databaseNameOf(target.url), ...(await migratePostgresBack(target.url, version)) };
  }
}
