/** Leases that ran out are swept, oldest first, and those that run are not: on both databases. */
import Database from "better-sqlite3";
import { expect, it } from "vitest";
import { createPostgresStore } from "../../server/adapters/postgres/postgres-store.js";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { systemClock } from "../../server/ports/clock.js";
import type { Store } from "../../server/ports/store.js";
import { createTestDatabase } from "../services/postgres-database.js";
import { createTempFolder } from "./sqlite/temp-database.js";

const LEASES = `insert into paramedic_leases (name, owner, fence, acquired_at, lease_until)
  values ('old', 'a', 1, 10, 20), ('older', 'a', 1, 5, 15), ('runs', 'a', 1, 10, 100)`;

async function sweep(store: Store) {
  const slice = { kind: "leases", before: 50, limit: 1 } as const;
  const deleted = [];
  for (let run = 0; run < 3; run += 1) deleted.push(await store.pruneRecords(slice));
  await store.close();
  return deleted;
}

it("SQLite deletes leases that ran out, a bounded number at a time", async ({ onTestFinished }) => {
  const temp = createTempFolder();
  onTestFinished(() => temp.remove());
  const store = createSqliteStore({ clock: systemClock }, { path: temp.path });
  await store.open();
  const raw = new Database(temp.path);
  onTestFinished(() => void raw.close());
  raw.exec(LEASES);
  expect(await sweep(store)).toEqual([1, 1, 0]);
  expect(raw.prepare("select name from paramedic_leases").pluck().all()).toEqual(["runs"]);
});

it("PostgreSQL deletes leases that ran out, a bounded number at a time", async ({ onTestFinished }) => {
  const database = await createTestDatabase();
  onTestFinished(() => database.remove());
  const store = createPostgresStore({ clock: systemClock }, { url: database.url });
  await store.open();
  await database.run(LEASES);
  expect(await sweep(store)).toEqual([1, 1, 0]);
  expect(await database.run("select name from paramedic_leases")).toEqual([{ name: "runs" }]);
});
