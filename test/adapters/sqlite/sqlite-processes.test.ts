import Database from "better-sqlite3";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findMigrationsFolder } from "../../../server/adapters/migrations-folder.js";
import { createSqliteStore } from "../../../server/adapters/sqlite/sqlite-store.js";
import { systemClock } from "../../../server/ports/clock.js";
import type { Store } from "../../../server/ports/store.js";
import { batchOf } from "../../conformance/store-fixtures.js";
import { type Child, startChild } from "../../support/child-process.js";
import { createTempFolder, type TempFolder } from "./temp-database.js";

describe("an SQLite database shared by processes", () => {
  let temp: TempFolder;
  let children: Child[];
  let stores: Store[];

  beforeEach(() => {
    temp = createTempFolder();
    children = [];
    stores = [];
  });
  afterEach(async () => {
    await Promise.all(children.map((child) => child.kill()));
    await Promise.all(stores.map((store) => store.close()));
    temp.remove();
  });

  const start = (task: string): Child => {
    const child = startChild(new URL("./child.ts", import.meta.url), task, temp.path);
    children.push(child);
    return child;
  };
  const storeOf = (options: { busyTimeoutMs?: number } = {}): Store => {
    const store = createSqliteStore({ clock: systemClock }, { path: temp.path, ...options });
    stores.push(store);
    return store;
  };

  it("is migrated once by five processes that start at the same moment", async () => {
    const shipped = readMigrationFiles({ migrationsFolder: findMigrationsFolder("sqlite") }).length;
    const answers = await Promise.all(Array.from({ length: 5 }, () => start("migrate").nextLine()));
    expect(answers.map((answer): number => JSON.parse(answer).applied).sort()).toEqual([0, 0, 0, 0, shipped]);
    expect(await Promise.all(children.map(({ ended }) => ended))).toEqual([0, 0, 0, 0, 0]);
    const raw = new Database(temp.path, { readonly: true });
    expect(raw.prepare("select count(*) from paramedic_migrations").pluck().get()).toBe(shipped);
    expect(raw.pragma("integrity_check", { simple: true })).toBe("ok");
    raw.close();
  });

  it("I2: loses nothing that was acknowledged and counts nothing twice when its writer is killed", async () => {
    const child = start("write-until-killed");
    let acknowledged = 0;
    while (acknowledged < 20) acknowledged = Number(await child.nextLine());
    await child.kill();

    const raw = new Database(temp.path);
    expect(raw.pragma("integrity_check", { simple: true })).toBe("ok");
    raw.close();
    const store = storeOf();
    await store.open();
    const [before] = await store.ledger();
    expect(before?.batches).toBeGreaterThanOrEqual(acknowledged);
    const batches = before?.batches ?? 0;
    for (let seq = 1; seq <= batches + 1; seq += 1) {
      expect(await store.commitBatch(batchOf({ seq, recordedTotal: seq * 3 }))).toBe(seq === batches + 1);
    }
    expect(await store.ledger()).toMatchObject([{ rolledUp: (batches + 1) * 3, recorded: (batches + 1) * 3 }]);
    const query = { metricName: "trpc.ask.duration", from: 0, to: Number.MAX_SAFE_INTEGER, stepMs: 10_000, limit: 10 };
    expect(await store.readSeries(query)).toMatchObject([{ count: (batches + 1) * 3 }]);
  });

  it("refuses writes while another process holds its lock, does none of them, and reads on", async () => {
    const store = storeOf({ busyTimeoutMs: 50 });
    await store.open();
    await store.commitBatch(batchOf());
    const child = start("hold-lock");
    await child.nextLine();
    await expect(store.commitBatch(batchOf({ seq: 2 }))).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("another process holds its lock"),
    });
    await expect(store.ping()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(await store.ledger()).toMatchObject([{ batches: 1 }]);
    await child.kill();
    expect(await store.commitBatch(batchOf({ seq: 2 }))).toBe(true);
    expect(await store.ledger()).toMatchObject([{ batches: 2 }]);
  });

  it("can be opened once the process that held it has gone", async () => {
    start("migrate");
    await children[0]?.ended;
    const child = start("hold-lock");
    await child.nextLine();
    const store = createSqliteStore(
      { clock: systemClock },
      { path: temp.path, busyTimeoutMs: 50, migrationTimeoutMs: 50 },
    );
    stores.push(store);
    await child.kill();
    await store.open();
    expect(await store.commitBatch(batchOf())).toBe(true);
  });

  it("keeps no process alive that has nothing to write", async () => {
    const child = start("write-and-leave");
    expect(await child.nextLine()).toBe("written");
    expect(await child.ended).toBe(0);
  });
});
