/** The queries over stored rollups as a dashboard asks them: a tRPC client, HTTP, an app that decides who may read. */
import type { Server } from "node:http";
import { createTRPCClient, httpBatchLink } from "@trpc/client";
import { initTRPC } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { createRouter } from "../../server/api/router.js";
import type { Store } from "../../server/ports/store.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { NO_COVERAGE } from "../../shared/coverage.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../shared/units.js";
import { batchOf, durations, START, summaryOf } from "../conformance/store-fixtures.js";
import { createFakeClock, type FakeClock } from "../support/fake-clock.js";
import { fixedSettings, noMaintenance, sleepingWatchdog } from "../support/fixed-settings.js";

interface Context {
  readonly isReader: boolean;
}

function createAppRouter(store: Store, clock: FakeClock) {
  const t = initTRPC.context<Context>().create();
  const paramedic = createRouter({
    clock,
    store,
    onFault: (error) => {
      throw error;
    },
    access: async (ctx) => ({ role: "isReader" in ctx && ctx.isReader ? "read" : undefined, actor: "ada" }),
    circuits: () => [],
    control: { hold: async () => undefined, reset: async () => undefined },
    recovery: new RecoveryEngine({ clock, store }).control,
    maintenance: noMaintenance,
    settings: fixedSettings,
    watchdog: sleepingWatchdog,
    accounting: async () => ({ recorded: 0, rolledUp: 0, dropped: {}, lost: 0, inFlight: 0, gaps: [] }),
    health: () => ({ overall: "unknown", checks: [], timestamp: clock.now() }),
    coverage: () => NO_COVERAGE,
    status: () => ({ instance: "test", mode: "full", storeOpen: true, settingsAgeMs: 500, circuitsAgeMs: 500 }),
  });
  return t.router({ paramedic });
}

describe("metrics over HTTP", () => {
  let clock: FakeClock;
  let store: Store;
  let server: Server;
  let url: string;

  beforeEach(async () => {
    clock = createFakeClock(START);
    store = createMemoryStore({ clock });
    server = createHTTPServer({
      router: createAppRouter(store, clock),
      createContext: ({ req }): Context => ({ isReader: req.headers.authorization === "Bearer reader" }),
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("the server has no address");
    url = `http://127.0.0.1:${address.port}`;
  });
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  const clientOf = (authorization?: string) =>
    createTRPCClient<ReturnType<typeof createAppRouter>>({
      links: [httpBatchLink({ url, headers: authorization === undefined ? {} : { authorization } })],
    }).paramedic.metrics;
  const reader = () => clientOf("Bearer reader");

  /** A hundred calls of one procedure, 1 to 100 ms, ten of them failed; the batch before the last never arrives. */
  const commitCalls = async () => {
    const values = Array.from({ length: 100 }, (_, index) => index + 1);
    const count = { ...durations, kind: "counter", unit: "1" } as const;
    const life = { instance: "web-1", boot: "b" } as const;
    await store.commitBatch({
      ...batchOf({ ...life, seq: 1, windowEnd: START + MINUTE_MS, recordedTotal: 102 }),
      series: [
        { ...durations, ...summaryOf(values) },
        { ...count, metricName: "trpc.ask.success_count", tags: {}, ...summaryOf([90]), count: 90, buckets: [] },
        {
          ...count,
          metricName: "trpc.ask.failure_count",
          tags: { status: "timeout" },
          ...summaryOf([10]),
          count: 10,
          buckets: [],
        },
      ],
    });
    await store.commitBatch({
      ...batchOf({ ...life, seq: 3, windowEnd: START + 3 * MINUTE_MS, recordedTotal: 150 }),
      series: [],
    });
    await store.settleBatches({ before: clock.now() + 1, limit: 10 });
  };
  const range = { from: START, to: START + HOUR_MS };
  const lost = [{ instance: "web-1", from: START + MINUTE_MS - 1_000, to: START + 3 * MINUTE_MS, points: 48 }];

  it("are denied to whoever has no role", async () => {
    const anonymous = clientOf();
    const denied = { data: { code: "FORBIDDEN", httpStatus: 403 } };
    await expect(anonymous.series.query({ metricName: "x", ...range })).rejects.toMatchObject(denied);
    await expect(anonymous.heatMap.query({ metricName: "x", ...range })).rejects.toMatchObject(denied);
    await expect(anonymous.topProcedures.query(range)).rejects.toMatchObject(denied);
    await expect(clientOf("Bearer other").topProcedures.query(range)).rejects.toMatchObject(denied);
  });

  it("tell a series with its unit, step, resolutions and percentiles, and loss as loss", async () => {
    await commitCalls();
    const answer = await reader().series.query({ metricName: durations.metricName, ...range });
    expect(answer).toMatchObject({
      metricName: "trpc.ask.duration",
      kind: "histogram",
      unit: "ms",
      ...range,
      stepMs: 10_000,
      resolutions: [{ resolutionMs: 10_000, ...range }],
      points: [{ count: 100, sum: 5_050, min: 1, max: 100 }],
      lost,
    });
    expect((answer.points[0]?.p50 ?? 0) / 50).toBeCloseTo(1, 1);
    expect((answer.points[0]?.p95 ?? 0) / 95).toBeCloseTo(1, 1);
    expect((answer.points[0]?.p99 ?? 0) / 99).toBeCloseTo(1, 1);
    const later = { from: START + HOUR_MS, to: START + 2 * HOUR_MS };
    expect(await reader().series.query({ metricName: durations.metricName, ...later })).toMatchObject({
      points: [],
      lost: [],
    });
  });

  it("tell the heat map of a procedure or a metric, its bounds in the metric's unit", async () => {
    await commitCalls();
    const answer = await reader().heatMap.query({ procedure: "ask", ...range, mostBands: 8 });
    expect(answer).toMatchObject({ metricName: "trpc.ask.duration", unit: "ms", ...range, lost });
    expect(answer.bands.length).toBeLessThanOrEqual(8);
    expect(answer.steps).toHaveLength(1);
    expect(answer.steps[0]?.counts.reduce((sum, count) => sum + count, 0)).toBe(100);
    expect(await reader().heatMap.query({ metricName: "trpc.ask.duration", ...range, mostBands: 8 })).toEqual(answer);
  });

  it("tell the procedures that stand out, and over which range", async () => {
    await commitCalls();
    const asked = { from: START + 1_000, to: START + DAY_MS };
    const answer = await reader().topProcedures.query({ ...asked, by: "errors" });
    expect(answer).toMatchObject({
      by: "errors",
      from: START,
      to: START + DAY_MS,
      procedures: [{ procedure: "ask", calls: 100, errors: 10, outcomes: { success: 90, timeout: 10 }, maxMs: 100 }],
      lost,
    });
    expect(answer.resolutions).toEqual([{ resolutionMs: 86_400_000, from: START, to: START + DAY_MS }]);
    expect((await reader().topProcedures.query(asked)).by).toBe("calls");
  });

  it("tell a long range of what is kept of it, whatever it is", async () => {
    await commitCalls();
    const { stepMs, points } = await reader().series.query({
      metricName: durations.metricName,
      from: 0,
      to: START + DAY_MS,
    });
    expect(stepMs % DAY_MS).toBe(0);
    expect(points.reduce((sum, { count }) => sum + count, 0)).toBe(100);
  });

  it("refuse what is out of bounds", async () => {
    const refused = { data: { code: "BAD_REQUEST" } };
    const metrics = reader();
    const metricName = "x";
    const manyTags = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [String(index), "x"]));
    for (const input of [
      { metricName, from: 2, to: 1 },
      { metricName, from: 0, to: DAY_MS, stepMs: 10_000 },
      { metricName, ...range, stepMs: 15_000 },
      { metricName, ...range, tags: manyTags },
      { metricName: "", ...range },
    ]) {
      await expect(metrics.series.query(input), JSON.stringify(input)).rejects.toMatchObject(refused);
    }
    for (const input of [
      range,
      { metricName, procedure: "ask", ...range },
      { metricName, ...range, mostBands: 65 },
      { metricName, ...range, mostBands: 1 },
      { metricName, from: 0, to: DAY_MS, stepMs: 60_000 },
    ]) {
      await expect(metrics.heatMap.query(input), JSON.stringify(input)).rejects.toMatchObject(refused);
    }
    for (const input of [
      { ...range, limit: 101 },
      { ...range, limit: 0 },
      { from: 0, to: 401 * DAY_MS },
      { from: 5, to: 5 },
    ]) {
      await expect(metrics.topProcedures.query(input), JSON.stringify(input)).rejects.toMatchObject(refused);
    }
  });
});
