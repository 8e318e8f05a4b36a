/** A SQLite file with one table, behind Drizzle, and guards whose journal and metrics a test can read. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { createDatabaseGuards, type DatabaseGuardsDeps } from "../../server/guard/database/database-guards.js";
import type { GuardPolicy } from "../../server/guard/guard-policy.js";
import { noCallContext } from "../../server/ports/call-context.js";
import { systemClock } from "../../server/ports/clock.js";
import type { JournalEntry } from "../../server/ports/journal.js";
import type { Failure } from "../../shared/failure.js";
import type { SeriesDescriptor } from "../../shared/series.js";

export const users = sqliteTable("users", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  name: text("name").notNull().unique(),
});
export const schema = { users };

export function openDatabase(options: { busyTimeoutMs?: number } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-database-"));
  const file = join(folder, "app.db");
  const client = new Database(file, { timeout: options.busyTimeoutMs ?? 5_000 });
  client.exec("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE)");
  return {
    file,
    client,
    db: drizzle(client, { schema }),
    names: () => {
      const other = new Database(file, { readonly: true });
      const rows = other.prepare("SELECT name FROM users ORDER BY id").pluck().all();
      other.close();
      return rows;
    },
    dispose() {
      client.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function makeGuards(overrides: Partial<DatabaseGuardsDeps> = {}, policy: GuardPolicy = {}) {
  const journal: JournalEntry[] = [];
  const measured: { descriptor: SeriesDescriptor; value: number }[] = [];
  const clock = overrides.clock ?? systemClock;
  const registry = overrides.registry ?? new CircuitBreakerRegistry({ clock });
  let id = 0;
  const guards = createDatabaseGuards(
    {
      clock,
      random: () => 0.5,
      ids: () => `failure-${++id}`,
      journal: { append: (entry) => void journal.push(entry) },
      callContext: noCallContext,
      settings: { mode: () => "full", stopped: () => false },
      sink: {
        record() {},
        series: (descriptor) => ({ record: (value) => void measured.push({ descriptor, value }) }),
      },
      registry,
      flags: { enabled: true, circuitBreakers: true, autoRecovery: true, retry: true },
      onFault: (error) => {
        throw error;
      },
      ...overrides,
    },
    policy,
  );
  return {
    ...guards,
    registry,
    journal,
    measured,
    failures: (): Failure[] => journal.flatMap((entry) => (entry.type === "failure.observed" ? [entry.failure] : [])),
    rescues: () => journal.flatMap((entry) => (entry.type === "rescue.ended" ? [entry.rescue] : [])),
  };
}
