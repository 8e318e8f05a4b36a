/** How every store tells ranges of what it keeps, told once and run against each of them. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../server/ports/store.js";
import { bucketIndex } from "../../shared/histogram.js";
import { OUTCOMES, type Outcome } from "../../shared/outcome.js";
import type { Batch, Tags } from "../../shared/series.js";
import type { ProcedureTotals } from "../../shared/top-procedures.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { runs } from "../support/property-runs.js";
import { batchOf, durations, freshId, START, summaryOf } from "./store-fixtures.js";
import type { StoreHarness } from "./store-harness.js";

const FINE_MS = 10 * SECOND_MS;

interface Call {
  readonly procedure: string;
  readonly outcome: Outcome;
  readonly durationMs: number;
  /** After START. */
  readonly offset: number;
}

/** What instrumentation makes of one call. */
function batchOfCall({ procedure, outcome, durationMs, offset }: Call): Batch {
  const source = `trpc.${procedure}`;
  const tags: Tags = outcome === "success" ? {} : { status: outcome, error_type: "x", error_category: "unknown" };
  const name = outcome === "success" ? "success_count" : "failure_count";
  const count = { ...durations, kind: "counter", unit: "1", source, tags } as const;
  return {
    ...batchOf({ boot: freshId("boot"), windowEnd: START + offset + 1 }),
    series: [
      { ...durations, metricName: `${source}.duration`, source, tags: { status: outcome }, ...summaryOf([durationMs]) },
      { ...count, metricName: `${source}.${name}`, ...summaryOf([1]), buckets: [] },
    ],
  };
}

export function describeRanges(name: string, create: () => Promise<StoreHarness>): void {
  describe(`${name} tells ranges`, () => {
    let harness: StoreHarness;
    let store: Store;
    let second: Store;

    beforeEach(async () => {
      harness = await create();
      ({ store, second } = harness);
    });
    afterEach(() => harness.dispose());

    const whole = { from: START - DAY_MS, to: START + 3 * DAY_MS } as const;

    const commit = (values: readonly number[], { offset = 0, tags = {} as Tags, metricName = "waits" } = {}) =>
      store.commitBatch({
        ...batchOf({ boot: freshId("boot"), windowEnd: START + offset + 1 }),
        series: [{ ...durations, metricName, tags, ...summaryOf(values) }],
      });
    const compactAll = async (target: Store = store, limit = 1_000) => {
      for (const resolutionMs of [FINE_MS, MINUTE_MS, HOUR_MS]) {
        while ((await target.compactRollups({ resolutionMs, before: START + 10 * DAY_MS, limit })) > 0);
      }
    };
    const prune = (resolutionMs: number, before: number) => store.pruneRollups({ resolutionMs, before, limit: 10_000 });

    describe("of many series", () => {
      /** More than a page, a slice and what is read in passing. */
      const SERIES = 1_100;
      const commitMany = (offset: number, length: number) =>
        store.commitBatch({
          ...batchOf({ boot: freshId("boot"), windowEnd: START + offset + 1 }),
          series: Array.from({ length }, (_, index) => ({
            ...durations,
            metricName: "many",
            tags: { index: String(index), half: index % 2 === 0 ? "even" : "odd" },
            ...summaryOf([index + 1]),
          })),
        });
      const query = { metricName: "many", ...whole, stepMs: FINE_MS, limit: 1_000 };

      it("adds all of them up, with percentiles of the merged distribution, and those that carry the tags", async () => {
        await commitMany(0, SERIES);
        await commitMany(HOUR_MS, SERIES);
        const points = await store.readSeries(query);
        const sum = (SERIES * (SERIES + 1)) / 2;
        expect(points).toMatchObject([
          { timestamp: START, count: SERIES, sum, min: 1, max: SERIES },
          { timestamp: START + HOUR_MS, count: SERIES, sum, min: 1, max: SERIES },
        ]);
        expect((points[0]?.p50 ?? 0) / 550).toBeCloseTo(1, 1);
        expect((points[0]?.p99 ?? 0) / 1_089).toBeCloseTo(1, 1);
        expect(await store.readSeries({ ...query, tags: { half: "odd" }, stepMs: DAY_MS })).toMatchObject([
          { count: SERIES, min: 2, max: 1_100 },
        ]);
        expect(await store.readSeries({ ...query, limit: 1 })).toMatchObject([{ timestamp: START }]);
        const map = await store.readHeatMap({ ...query, stepMs: DAY_MS, mostBands: 32 });
        expect(map.steps.map(({ counts }) => counts.reduce((all, count) => all + count, 0))).toEqual([2 * SERIES]);
      }, 60_000);

      it("counts each point once while compaction moves them from row to row", async () => {
        const few = 40;
        await Promise.all([0, 15, 70, 3_700].map((seconds) => commitMany(seconds * SECOND_MS, few)));
        const compacting = compactAll(second, 5);
        let over = false;
        void compacting.finally(() => {
          over = true;
        });
        const totals = new Set<number>();
        let reads = 0;
        while (!over || reads < 2) {
          reads += 1;
          for (const stepMs of [MINUTE_MS, HOUR_MS, DAY_MS]) {
            const points = await store.readSeries({ ...query, stepMs });
            totals.add(points.reduce((sum, { count }) => sum + count, 0));
          }
        }
        await compacting;
        expect([...totals]).toEqual([4 * few]);
      }, 60_000);
    });

    it("tells a metric's kind, unit and number of series", async () => {
      await commit([1], { tags: { a: "1" } });
      await commit([1], { tags: { a: "2" } });
      await commit([1], { metricName: "other" });
      expect(await store.readMetric("waits")).toEqual({ kind: "histogram", unit: "ms", series: 2 });
      expect(await store.readMetric("nothing")).toBeUndefined();
    });

    it("says which resolution tells which part of a range, before and after fine rows are deleted", async () => {
      const range = { from: START, to: START + 2 * DAY_MS, stepMs: FINE_MS };
      expect(await store.readStretches(range)).toEqual([{ resolutionMs: FINE_MS, from: range.from, to: range.to }]);
      await commit([1]);
      await compactAll();
      await prune(FINE_MS, START + DAY_MS);
      expect(await store.readStretches(range)).toEqual([
        { resolutionMs: MINUTE_MS, from: START, to: START + DAY_MS },
        { resolutionMs: FINE_MS, from: START + DAY_MS, to: range.to },
      ]);
      expect(await store.readStretches({ ...range, stepMs: DAY_MS })).toEqual([
        { resolutionMs: DAY_MS, from: START, to: range.to },
      ]);
    });

    it("keeps sums finite, whatever outgrows a float", async () => {
      const huge = { ...summaryOf([1]), sum: Number.MAX_VALUE };
      for (const [metricName, sums] of [
        ["up", [1, 1]],
        ["down", [-1, -1]],
        ["exact", [2 ** -1_060, 2 ** -1_060]],
      ] as const) {
        for (const [index, share] of sums.entries()) {
          const sum = Math.abs(share) === 1 ? huge.sum * share : share;
          await store.commitBatch({
            ...batchOf({ boot: freshId("boot") }),
            series: [{ ...durations, metricName, tags: { index: String(index) }, ...huge, sum }],
          });
        }
      }
      const sumOf = async (metricName: string) =>
        (await store.readSeries({ metricName, ...whole, stepMs: DAY_MS, limit: 1 }))[0]?.sum;
      expect(await sumOf("up")).toBe(Number.MAX_VALUE);
      expect(await sumOf("down")).toBe(-Number.MAX_VALUE);
      expect(await sumOf("exact")).toBe(2 ** -1_059);
    });

    describe("in a heat map", () => {
      const map = (query: Partial<Parameters<Store["readHeatMap"]>[0]> = {}) =>
        store.readHeatMap({ metricName: "waits", ...whole, stepMs: MINUTE_MS, limit: 1_000, mostBands: 32, ...query });

      it("I4: counts every point in the band that holds it, in steps of time", async () => {
        let run = 0;
        await fc.assert(
          fc.asyncProperty(
            fc.array(
              fc.record({
                offset: fc.integer({ min: 0, max: 10 * MINUTE_MS - 1 }),
                values: fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 10 }),
              }),
              { minLength: 1, maxLength: 8 },
            ),
            fc.integer({ min: 2, max: 64 }),
            async (parts, mostBands) => {
              run += 1;
              const metricName = `heat.${run}`;
              for (const { offset, values } of parts) await commit(values, { offset, metricName });
              const { bands, steps } = await map({ metricName, mostBands });
              expect(bands.length).toBeLessThanOrEqual(mostBands);
              const points = await store.readSeries({ metricName, ...whole, stepMs: MINUTE_MS, limit: 1_000 });
              expect(steps.map(({ timestamp, counts }) => [timestamp, counts.reduce((a, b) => a + b, 0)])).toEqual(
                points.map(({ timestamp, count }) => [timestamp, count]),
              );
              for (const { timestamp, counts } of steps) {
                const seen = parts
                  .filter(({ offset }) => Math.floor((START + offset) / MINUTE_MS) * MINUTE_MS === timestamp)
                  .flatMap(({ values }) => values.map(bucketIndex));
                const inBands = bands.map(
                  ({ above, upTo }) =>
                    seen.filter((index) => {
                      const isAbove = above === 0 || index > bucketIndex(above);
                      return isAbove && (upTo === undefined || index <= bucketIndex(upTo));
                    }).length,
                );
                expect(counts).toEqual(inBands);
              }
            },
          ),
          { numRuns: runs(15, 0.1) },
        );
      });

      it("is the same before and after compaction, and of the series with the tags alone", async () => {
        await commit([1, 10, 100], { tags: { region: "eu" } });
        await commit([1_000], { tags: { region: "us" }, offset: HOUR_MS });
        const before = await map({ stepMs: HOUR_MS });
        await compactAll();
        expect(await map({ stepMs: HOUR_MS })).toEqual(before);
        expect((await map({ tags: { region: "us" } })).steps).toMatchObject([
          { timestamp: START + HOUR_MS, counts: [1] },
        ]);
      });

      it("is empty where there is no distribution, and refuses bands that are none", async () => {
        await store.commitBatch({
          ...batchOf(),
          series: [{ ...durations, metricName: "waits", kind: "counter", ...summaryOf([1]), buckets: [] }],
        });
        expect(await map()).toEqual({ bands: [], steps: [] });
        for (const mostBands of [0, 1, 2.5, 5_000, Number.NaN]) {
          await expect(map({ mostBands })).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
        }
      });
    });

    describe("of procedures", () => {
      const top = (query: Partial<Parameters<Store["readTopProcedures"]>[0]> = {}) =>
        store.readTopProcedures({ ...whole, by: "calls", limit: 100, ...query });
      const commitCalls = async (calls: readonly Call[]) => {
        for (const call of calls) await store.commitBatch(batchOfCall(call));
      };

      it("I5: adds up calls, outcomes and durations of each, before and after compaction and deletion", async () => {
        const call = fc.record({
          procedure: fc.constantFrom("ask", "users.list", "users.duration", "_OTHER"),
          outcome: fc.constantFrom(...OUTCOMES),
          durationMs: fc.integer({ min: 1, max: 5_000 }),
          offset: fc.integer({ min: 0, max: DAY_MS - 1 }),
        });
        await fc.assert(
          fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 12 }), async (calls) => {
            await harness.dispose();
            harness = await create();
            ({ store, second } = harness);
            await commitCalls(calls);
            const expected = expectedTotals(calls);
            const isExpected = async () => {
              const totals = await top();
              expect(totals.map(countsOf)).toEqual(expected);
              for (const { p50Ms = 0, p95Ms = 0, p99Ms = 0, maxMs = 0 } of totals) {
                expect([p50Ms, p95Ms, p99Ms, maxMs]).toEqual([p50Ms, p95Ms, p99Ms, maxMs].toSorted((a, b) => a - b));
              }
            };
            await isExpected();
            await compactAll();
            await isExpected();
            await prune(FINE_MS, START + DAY_MS);
            await prune(MINUTE_MS, START + DAY_MS);
            await isExpected();
          }),
          { numRuns: runs(8, 0.05) },
        );
      });

      it("puts first what is called most, fails most or takes longest, and no more than the limit", async () => {
        const at = (procedure: string, outcome: Outcome, durationMs: number) => ({
          procedure,
          outcome,
          durationMs,
          offset: 0,
        });
        await commitCalls([
          at("often", "success", 5),
          at("often", "success", 5),
          at("often", "client_error", 5),
          at("broken", "server_error", 10),
          at("broken", "timeout", 20),
          at("slow", "success", 9_000),
        ]);
        const names = async (query: Parameters<typeof top>[0]) => (await top(query)).map(({ procedure }) => procedure);
        expect(await names({ by: "calls" })).toEqual(["often", "broken", "slow"]);
        expect(await names({ by: "errors" })).toEqual(["broken"]);
        expect(await names({ by: "latency" })).toEqual(["slow", "broken", "often"]);
        expect(await names({ by: "latency", limit: 1 })).toEqual(["slow"]);
        expect(await names({ from: START + HOUR_MS })).toEqual([]);
        await expect(top({ limit: 0 })).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
      });

      it("leaves out what is not of a procedure", async () => {
        const names = ["trpc.ask.first_event", "trpcx.ask.duration", "guard.llm:openai.duration", "duration"];
        await store.commitBatch({
          ...batchOf(),
          series: [
            ...names.map((metricName) => ({ ...durations, metricName, ...summaryOf([1]) })),
            { ...durations, metricType: "custom", metricName: "trpc.own.duration", ...summaryOf([1]) },
          ],
        });
        expect(await top({ by: "latency" })).toEqual([]);
      });
    });
  });
}

type Counts = Pick<ProcedureTotals, "procedure" | "calls" | "errors" | "outcomes" | "meanMs" | "maxMs">;

function countsOf({ procedure, calls, errors, outcomes, meanMs, maxMs }: ProcedureTotals): Counts {
  return { procedure, calls, errors, outcomes, meanMs, maxMs };
}

/** The model: counted call by call. */
function expectedTotals(calls: readonly Call[]): Counts[] {
  return [...new Set(calls.map(({ procedure }) => procedure))]
    .map((procedure) => {
      const own = calls.filter((call) => call.procedure === procedure);
      const ended = (outcome: Outcome) => own.filter((call) => call.outcome === outcome).length;
      return {
        procedure,
        calls: own.length,
        errors: ended("server_error") + ended("timeout"),
        outcomes: {
          success: ended("success"),
          client_error: ended("client_error"),
          server_error: ended("server_error"),
          timeout: ended("timeout"),
          rejected: ended("rejected"),
          aborted: ended("aborted"),
        },
        meanMs: own.reduce((sum, { durationMs }) => sum + durationMs, 0) / own.length,
        maxMs: Math.max(...own.map(({ durationMs }) => durationMs)),
      };
    })
    .sort((a, b) => b.calls - a.calls || (a.procedure < b.procedure ? -1 : 1));
}
