/** Which reads hold up the thread that serves calls, and what becomes of the others when their thread is in trouble. */

import type { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { spawnReader } from "../../../server/adapters/sqlite/spawn-thread.js";
import { createSqliteStore } from "../../../server/adapters/sqlite/sqlite-store.js";
import type { Store } from "../../../server/ports/store.js";
import { DAY_MS, HOUR_MS } from "../../../shared/units.js";
import { batchOf, durations, freshId, START, summaryOf } from "../../conformance/store-fixtures.js";
import { createFakeClock, type FakeClock } from "../../support/fake-clock.js";
import { createTempFolder, type TempFolder } from "./temp-database.js";

describe("ranges in SQLite", () => {
  let temp: TempFolder;
  let clock: FakeClock;
  let store: Store;
  let threads: Worker[];
  let asked: string[];
  let faults: unknown[];

  beforeEach(async () => {
    temp = createTempFolder();
    clock = createFakeClock();
    threads = [];
    asked = [];
    faults = [];
    store = createSqliteStore(
      {
        clock,
        onFault: (error) => faults.push(error),
        spawnReader(options) {
          const thread = spawnReader(options);
          threads.push(thread);
          const post = thread.postMessage.bind(thread);
          thread.postMessage = (request) => {
            asked.push(request.command);
            post(request);
          };
          return thread;
        },
      },
      { path: temp.path, rangeTimeoutMs: 5_000 },
    );
    await store.open();
  });
  afterEach(async () => {
    await store.close();
    temp.remove();
  });

  const commit = (metricName: string, series: number) =>
    store.commitBatch({
      ...batchOf({ boot: freshId("boot") }),
      series: Array.from({ length: series }, (_, index) => ({
        ...durations,
        metricName,
        tags: { index: String(index) },
        ...summaryOf([index + 1]),
      })),
    });
  const hour = { from: START, to: START + HOUR_MS, stepMs: 10_000, limit: 1_000 };
  const counted = async (query: Parameters<Store["readSeries"]>[0]) =>
    (await store.readSeries(query)).reduce((sum, { count }) => sum + count, 0);

  it("of one series are read at once, without a thread", async () => {
    await commit("one", 1);
    const day = { metricName: "one", from: START, to: START + DAY_MS, stepMs: 600_000, limit: 1_000 };
    expect(await counted(day)).toBe(1);
    expect((await store.readHeatMap({ ...day, mostBands: 32 })).steps).toHaveLength(1);
    expect(threads).toHaveLength(0);
  });

  it("of many series, of many rows and of all procedures are read by the thread", async () => {
    await commit("many", 40);
    await commit("one", 1);
    expect(await counted({ metricName: "many", ...hour })).toBe(40);
    expect((await store.readHeatMap({ metricName: "many", ...hour, mostBands: 8 })).steps).toHaveLength(1);
    expect(await counted({ metricName: "one", ...hour, to: START + DAY_MS })).toBe(1);
    expect(await store.readTopProcedures({ ...hour, by: "calls", limit: 5 })).toEqual([]);
    expect(asked).toEqual(["readSeries", "readHeatMap", "readSeries", "readTopProcedures"]);
    expect(threads).toHaveLength(1);
  });

  it("refuse what cannot be, wherever they are read", async () => {
    await commit("many", 40);
    for (const metricName of ["many", "none"]) {
      const refused = expect.objectContaining({ code: "STORE_REQUEST_INVALID" });
      await expect(store.readSeries({ metricName, ...hour, limit: 0 })).rejects.toEqual(refused);
      await expect(store.readSeries({ metricName, ...hour, stepMs: 15_000 })).rejects.toEqual(refused);
      await expect(store.readHeatMap({ metricName, ...hour, mostBands: 1 })).rejects.toEqual(refused);
    }
  });

  it("are read by a new thread after one that crashed", async () => {
    await commit("many", 40);
    await counted({ metricName: "many", ...hour });
    await threads[0]?.terminate();
    expect(await counted({ metricName: "many", ...hour })).toBe(40);
    expect(threads).toHaveLength(2);
  });

  it("are refused when they take too long, told, and read by a new thread afterwards", async () => {
    await commit("many", 40);
    await counted({ metricName: "many", ...hour });
    const [stuck] = threads;
    if (stuck) stuck.postMessage = () => undefined;
    const answer = store.readSeries({ metricName: "many", ...hour });
    const refusal = expect(answer).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await clock.advance(5_000);
    await refusal;
    expect(faults).toMatchObject([{ message: expect.stringContaining("reader thread") }]);
    expect(await counted({ metricName: "many", ...hour })).toBe(40);
  });

  it("are read from the file that is there, although the thread had another one open", async () => {
    await commit("many", 40);
    expect(await counted({ metricName: "many", ...hour })).toBe(40);
    temp.removeDatabase();
    await expect(store.readSeries({ metricName: "many", ...hour })).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
    });
    await store.open();
    await commit("many", 20);
    expect(await counted({ metricName: "many", ...hour })).toBe(20);
  });

  it("leave a file that is whole by itself once the store is closed", async () => {
    await commit("many", 40);
    await counted({ metricName: "many", ...hour });
    await store.close();
    const again = createSqliteStore({ clock }, { path: temp.path });
    await again.open();
    expect(await again.readMetric("many")).toMatchObject({ series: 40 });
    await again.close();
    await expect(store.readTopProcedures({ ...hour, by: "calls", limit: 5 })).rejects.toMatchObject({ code: "CLOSED" });
  });
});
