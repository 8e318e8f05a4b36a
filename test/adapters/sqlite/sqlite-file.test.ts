import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../../server/adapters/memory/memory-store.js";
import { migrateSqlite } from "../../../server/adapters/sqlite/migrate.js";
import { createSqliteStore } from "../../../server/adapters/sqlite/sqlite-store.js";
import type { Store } from "../../../server/ports/store.js";
import { batchOf, type failureOf, sightingOf } from "../../conformance/store-fixtures.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createTempFolder, type TempFolder } from "./temp-database.js";

describe("the file of an SQLite store", () => {
  let temp: TempFolder;
  let store: Store;

  beforeEach(() => {
    temp = createTempFolder();
    store = storeAt(temp.path);
  });
  afterEach(async () => {
    await store.close();
    temp.remove();
  });

  const storeAt = (path: string) => createSqliteStore({ clock: createFakeClock() }, { path });

  const refusal = (code: string, words: string) => ({ code, message: expect.stringContaining(words) });

  it("is made for its owner alone, with what SQLite keeps beside it", async () => {
    await store.open();
    await store.commitBatch(batchOf());
    for (const suffix of ["", "-wal", "-shm"]) expect(statSync(temp.path + suffix).mode & 0o777).toBe(0o600);
  });

  it("is whole by itself once the store is closed: it can be copied", async () => {
    await store.open();
    await store.commitBatch(batchOf());
    await store.ledger();
    await store.close();
    for (const suffix of ["-wal", "-shm"]) expect(existsSync(temp.path + suffix), suffix).toBe(false);
  });

  it("is made private again when others were let in", () => {
    migrateSqlite(temp.path);
    chmodSync(temp.path, 0o644);
    migrateSqlite(temp.path);
    expect(statSync(temp.path).mode & 0o777).toBe(0o600);
  });

  it("that belongs to a host app keeps its mode", () => {
    const host = new Database(temp.path);
    host.exec("create table users (id integer primary key)");
    host.close();
    chmodSync(temp.path, 0o644);
    migrateSqlite(temp.path);
    expect(statSync(temp.path).mode & 0o777).toBe(0o644);
  });

  it.each(["UTF-8", "UTF-16le"])(
    "that holds a host app's text in %s tells distributions as they are",
    async (encoding) => {
      const host = new Database(temp.path);
      host.pragma(`encoding = '${encoding}'`);
      host.exec("create table users (id integer primary key)");
      host.close();
      const memory = createMemoryStore({ clock: createFakeClock() });
      for (const one of [store, memory]) {
        await one.open();
        for (let seq = 1; seq <= 12; seq += 1) {
          const values = Array.from({ length: 300 }, (_, at) => Math.round(((at * seq * 7) % 997) ** 1.5));
          await one.commitBatch(batchOf({ seq, windowEnd: seq * 10_000 }, values));
        }
      }
      const metricName = batchOf().series[0]?.metricName ?? "";
      for (const stepMs of [10_000, 60_000]) {
        const query = { metricName, from: 0, to: 120_000, stepMs, limit: 100 };
        const expected = await memory.readSeries(query);
        expect(expected).toHaveLength(120_000 / stepMs);
        expect(await store.readSeries(query)).toEqual(expected);
      }
      await memory.close();
    },
  );

  it("in a folder that does not exist is refused by that name", async () => {
    const missing = join(temp.folder, "missing");
    const lost = storeAt(join(missing, "paramedic.db"));
    await expect(lost.open()).rejects.toMatchObject(
      refusal("STORE_UNAVAILABLE", `the folder ${missing} does not exist`),
    );
    mkdirSync(missing);
    await lost.open();
    expect(await lost.commitBatch(batchOf())).toBe(true);
    await lost.close();
  });

  it("that is a directory, or no file at all, is refused", async () => {
    const directory = storeAt(temp.folder);
    await expect(directory.open()).rejects.toMatchObject(refusal("STORE_UNAVAILABLE", "it is a directory"));
    await directory.close();
    const memory = storeAt(":memory:");
    await expect(memory.open()).rejects.toMatchObject(refusal("STORE_UNAVAILABLE", "must be a file"));
    await memory.close();
  });

  it("that is text is refused as what it is, and left alone", async () => {
    writeFileSync(temp.path, "these are not the rows you are looking for ".repeat(50));
    await expect(store.open()).rejects.toMatchObject(refusal("STORE_CORRUPT", "it is not an SQLite database"));
    expect(statSync(temp.path).size).toBe(43 * 50);
    rmSync(temp.path);
    await store.open();
    expect(await store.commitBatch(batchOf())).toBe(true);
  });

  it("that is damaged is refused as damaged", async () => {
    migrateSqlite(temp.path);
    const { size } = statSync(temp.path);
    writeFileSync(temp.path, Buffer.alloc(size - 4_096, 0x5a), { flag: "r+", flush: true });
    const raw = Buffer.from("SQLite format 3\u0000");
    writeFileSync(temp.path, raw, { flag: "r+" });
    await expect(store.open()).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });

  it.runIf(process.getuid !== undefined)("that may not be written is refused with what to do", () => {
    migrateSqlite(temp.path);
    chmodSync(temp.path, 0o444);
    chmodSync(temp.folder, 0o755);
    asNobody(() => {
      expect(() => migrateSqlite(temp.path)).toThrow(
        expect.objectContaining(refusal("STORE_UNAVAILABLE", "it cannot be opened for writing")),
      );
    });
    chmodSync(temp.path, 0o666);
    asNobody(() => {
      expect(() => migrateSqlite(temp.path)).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE" }));
    });
  });

  it("that is removed while it is open is noticed by every method, and opened anew", async () => {
    await store.open();
    await store.commitBatch(batchOf());
    temp.removeDatabase();
    const refused = await Promise.allSettled([store.ping(), store.commitBatch(batchOf({ seq: 2 })), store.ledger()]);
    for (const attempt of refused) expect(attempt).toMatchObject({ reason: { code: "STORE_UNAVAILABLE" } });
    await store.open();
    expect(await store.commitBatch(batchOf({ seq: 2 }))).toBe(true);
    expect(await store.ledger()).toMatchObject([{ batches: 1 }]);
  });

  it("that is replaced by another while it is open is noticed", async () => {
    await store.open();
    const other = join(temp.folder, "other.db");
    migrateSqlite(other);
    renameSync(other, temp.path);
    await expect(store.ping()).rejects.toMatchObject(
      refusal("STORE_UNAVAILABLE", "the file was replaced while it was open"),
    );
  });

  it("that comes back, even by way of a folder that was gone, is opened anew without being asked to", async () => {
    await store.open();
    const away = `${temp.folder}.away`;
    renameSync(temp.folder, away);
    await expect(store.ping()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect.poll(() => store.ping().catch(({ message }) => message)).toContain("not open");
    mkdirSync(temp.folder);
    migrateSqlite(temp.path);
    rmSync(away, { recursive: true });
    await expect.poll(() => store.commitBatch(batchOf()).catch(() => false)).toBe(true);
    expect(await store.ledger()).toMatchObject([{ batches: 1 }]);
  });

  it("is written at each ping and stays as it is, so that a disk that takes nothing more does not look well", async () => {
    const host = new Database(temp.path);
    host.pragma("user_version = 42");
    await store.open();
    await store.commitBatch(batchOf());
    const { size } = statSync(`${temp.path}-wal`);
    await store.ping();
    expect(statSync(`${temp.path}-wal`).size).toBeGreaterThan(size);
    expect(host.pragma("user_version", { simple: true })).toBe(42);
    host.close();
  });

  it("that lost a table is not taken for an empty one", async () => {
    await store.open();
    const raw = new Database(temp.path);
    raw.exec("drop table recovery_actions; drop table paramedic_ingest_boots");
    raw.close();
    await expect(store.commitBatch(batchOf())).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(store.ledger()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("answers nothing before it is open and after it is closed", async () => {
    await expect(store.ping()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(store.ledger()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await store.open();
    await store.close();
    await store.close();
    for (const late of [store.ping(), store.ledger(), store.open()]) {
      await expect(late).rejects.toMatchObject({ code: "CLOSED" });
    }
  });

  it("has what was written before closing, also what nobody waited for", async () => {
    await store.open();
    const written = Promise.all([1, 2, 3].map((seq) => store.commitBatch(batchOf({ seq }))));
    await store.close();
    expect(await written).toEqual([true, true, true]);
    store = storeAt(temp.path);
    await store.open();
    expect(await store.ledger()).toMatchObject([{ batches: 3 }]);
  });

  it("can be opened many times at once and again", async () => {
    await Promise.all([store.open(), store.open(), store.open()]);
    await store.open();
    expect(await store.commitBatch(batchOf())).toBe(true);
  });

  it("holds nothing of a write whose values cannot be stored", async () => {
    await store.open();
    const invalid = { code: "STORE_REQUEST_INVALID" };
    const endless = sightingOf({ timestamp: Number.NaN });
    await expect(store.recordFailures([sightingOf(), endless])).rejects.toMatchObject(invalid);
    const cyclic: { self?: unknown } = {};
    cyclic.self = cyclic;
    const context: NonNullable<ReturnType<typeof failureOf>["context"]> = JSON.parse("{}");
    Object.assign(context, cyclic);
    await expect(store.recordFailures([sightingOf(), sightingOf({ context })])).rejects.toMatchObject(invalid);
    expect((await store.listFailures({ limit: 10 })).items).toEqual([]);
  });

  it("forgets the series of a batch that was refused", async () => {
    await store.open();
    const fresh = batchOf();
    const [series] = fresh.series;
    if (!series) return expect.fail("the batch has no series");
    const refused = { ...fresh, series: [series, { ...series, metricName: "broken", sum: Number.NaN }] };
    await expect(store.commitBatch(refused)).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
    expect(await store.ledger()).toEqual([]);
    expect(await store.commitBatch({ ...fresh, series: [{ ...series, metricName: "another" }, series] })).toBe(true);
    const query = { metricName: series.metricName, from: 0, to: Number.MAX_SAFE_INTEGER, stepMs: 10_000, limit: 10 };
    expect(await store.readSeries(query)).toMatchObject([{ count: 3 }]);
  });

  it("refuses time limits out of their range", () => {
    const create = (options: object) => () =>
      createSqliteStore({ clock: createFakeClock() }, { path: temp.path, ...options });
    const invalid = expect.objectContaining({ code: "CONFIGURATION_INVALID" });
    expect(create({ busyTimeoutMs: -1 })).toThrow(invalid);
    expect(create({ readBusyTimeoutMs: 5_000 })).toThrow(invalid);
    expect(create({ busyTimeoutMs: 1_000, requestTimeoutMs: 1_000 })).toThrow(invalid);
  });
});

/** Root may write anything, so a test of rights runs as somebody else. */
function asNobody(run: () => void): void {
  const root = process.getuid?.() === 0;
  if (root) process.seteuid?.(65_534);
  try {
    run();
  } finally {
    if (root) process.seteuid?.(0);
  }
}
