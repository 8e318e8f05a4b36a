/** What every store promises, told once and run against each of them. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Page, Store } from "../../server/ports/store.js";
import { decodeBatch, encodeBatch } from "../../shared/batch-codec.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import type { LeaseTerms } from "../../shared/repair-lease.js";
import type { Batch } from "../../shared/series.js";
import { anyBatch } from "../support/arbitrary-batches.js";
import { runs } from "../support/property-runs.js";
import { describeAlertsAndMaintenance } from "./alerts-and-maintenance.js";
import { describeCompaction } from "./compaction.js";
import { describeLedger } from "./ledger.js";
import { describeRanges } from "./ranges.js";
import { describeSettingsAndTasks } from "./settings-and-tasks.js";
import {
  batchOf,
  circuitOf,
  durations,
  type failureOf,
  freshId,
  repairOf,
  rescueOf,
  START,
  sightingOf,
  summaryOf,
  transitionOf,
} from "./store-fixtures.js";
import type { StoreHarness } from "./store-harness.js";

export function describeStore(name: string, create: () => Promise<StoreHarness>): void {
  describeLedger(name, create);
  describeCompaction(name, create);
  describeRanges(name, create);
  describeSettingsAndTasks(name, create);
  describeAlertsAndMaintenance(name, create);
  describe(`${name} keeps the store's promises`, () => {
    let harness: StoreHarness;
    let store: Store;
    let second: Store;

    beforeEach(async () => {
      harness = await create();
      ({ store, second } = harness);
    });
    afterEach(() => harness.dispose());

    const everything = { metricName: durations.metricName, from: 0, to: Number.MAX_SAFE_INTEGER, stepMs: 10_000 };
    const read = (query: { tags?: Record<string, string>; limit?: number; stepMs?: number } = {}) =>
      store.readSeries({ ...everything, limit: 1_000, ...query });

    const stored = async (overrides: Parameters<typeof failureOf>[0] = {}): Promise<string> => {
      const sighting = sightingOf(overrides);
      await store.recordFailures([sighting]);
      return sighting.failure.eventId;
    };

    describe("rollups", () => {
      it("I2: folds a batch once, however often it arrives", async () => {
        const batch = batchOf();
        expect(await store.commitBatch(batch)).toBe(true);
        expect(await store.commitBatch(batch)).toBe(false);
        expect(await second.commitBatch(batch)).toBe(false);
        expect(await read()).toMatchObject([{ timestamp: START, count: 3, sum: 60, min: 10, max: 30 }]);
      });

      it("tells apart instances and boots whose names run together", async () => {
        expect(await store.commitBatch(batchOf({ instance: "a:b", boot: "c" }))).toBe(true);
        expect(await store.commitBatch(batchOf({ instance: "a", boot: "b:c" }))).toBe(true);
      });

      it("I6: gives the same rollups for any order, duplication and splitting of the same points", async () => {
        let run = 0;
        await fc.assert(
          fc.asyncProperty(
            fc.array(
              fc.record({
                instance: fc.constantFrom("a", "b"),
                window: fc.integer({ min: 1, max: 30 }),
                values: fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 10 }),
                series: fc.constantFrom("one", "two"),
              }),
              { minLength: 1, maxLength: 12 },
            ),
            fc.infiniteStream(fc.nat()),
            async (parts, chance) => {
              run += 1;
              const metricName = `property.${run}`;
              const batches = parts.map(
                ({ instance, window, values, series }, index): Batch => ({
                  ...batchOf({ instance, boot: metricName, seq: index + 1, windowEnd: START + window * 1_000 }, values),
                  series: [{ ...durations, metricName, tags: { series }, ...summaryOf(values) }],
                }),
              );
              const deliveries = [...batches, ...batches.filter((_, index) => index % 2 === 0)]
                .map((batch) => ({ batch, place: chance.next().value ?? 0 }))
                .sort((a, b) => a.place - b.place);
              const committed = [];
              for (const { batch } of deliveries) committed.push(await store.commitBatch(batch));
              expect(committed.filter(Boolean)).toHaveLength(batches.length);

              for (const series of ["one", "two"]) {
                const expected = new Map<number, number[]>();
                for (const part of parts.filter((candidate) => candidate.series === series)) {
                  const bucket = START + Math.floor((part.window * 1_000 - 1) / 10_000) * 10_000;
                  expected.set(bucket, [...(expected.get(bucket) ?? []), ...part.values]);
                }
                const points = await store.readSeries({ ...everything, metricName, tags: { series }, limit: 100 });
                expect(
                  points.map(({ timestamp, count, sum, min, max }) => ({ timestamp, count, sum, min, max })),
                ).toEqual(
                  [...expected]
                    .sort(([a], [b]) => a - b)
                    .map(([timestamp, values]) => {
                      const { count, sum, min, max } = summaryOf(values);
                      return { timestamp, count, sum, min, max };
                    }),
                );
              }
            },
          ),
          { numRuns: runs(25, 1 / 100) },
        );
      });

      it("I4 I11: takes any batch that can be read, or refuses it for good: none waits for a store that is there", async () => {
        let seq = 0;
        await fc.assert(
          fc.asyncProperty(anyBatch(), async (batch) => {
            seq += 1;
            const decoded = decodeBatch(encodeBatch({ ...batch, boot: "any", seq }));
            if (!decoded.ok) throw new Error(decoded.detail);
            const taken = await store.commitBatch(decoded.batch).catch((error: unknown) => error);
            if (taken !== true) expect(taken).toMatchObject({ code: "STORE_REQUEST_INVALID" });
            const payload = JSON.stringify(encodeBatch(batch));
            await store.saveDeadBatch({ entryId: `${seq}-0`, reason: "invalid", payload, at: START });
          }),
          { numRuns: runs(40, 1 / 50) },
        );
        expect(await store.commitBatch(batchOf())).toBe(true);
        for (const point of await read()) {
          const { min, p50 = min, p95 = p50, p99 = p95, max } = point;
          expect([min, p50, p95, p99, max]).toEqual([min, p50, p95, p99, max].sort((a, b) => a - b));
        }
      });

      it("merges the series of a metric and steps of time, with percentiles of the merged distribution", async () => {
        const values = Array.from({ length: 100 }, (_, index) => index + 1);
        for (const [index, part] of [values.slice(0, 50), values.slice(50, 90), values.slice(90)].entries()) {
          await store.commitBatch({
            ...batchOf({ seq: index + 1, windowEnd: START + 10_000 * index + 1_000 }, part),
            series: [{ ...durations, tags: { part: String(index) }, ...summaryOf(part) }],
          });
        }
        const [point, ...rest] = await read({ stepMs: 60_000 });
        expect(rest).toEqual([]);
        expect(point).toMatchObject({ timestamp: START, count: 100, sum: 5_050, min: 1, max: 100 });
        expect(point?.p50).toBeGreaterThan(49);
        expect(point?.p50).toBeLessThan(52);
        expect(point?.p99).toBeGreaterThan(97);
        expect(point?.p99).toBeLessThanOrEqual(100);
      });

      it("reads only series that carry all the tags that are asked for", async () => {
        await store.commitBatch({
          ...batchOf(),
          series: [
            { ...durations, tags: { status: "success", region: "eu" }, ...summaryOf([1]) },
            { ...durations, tags: { status: "failure", region: "eu" }, ...summaryOf([2, 2]) },
            { ...durations, tags: {}, ...summaryOf([3, 3, 3]) },
          ],
        });
        expect(await read({ tags: { region: "eu" } })).toMatchObject([{ count: 3 }]);
        expect(await read({ tags: { region: "eu", status: "failure" } })).toMatchObject([{ count: 2 }]);
        expect(await read({ tags: { constructor: "x" } })).toEqual([]);
        expect(await read()).toMatchObject([{ count: 6 }]);
      });

      it("reads from the start of a range up to its end, which is not in it, oldest first and at most the limit", async () => {
        for (let step = 0; step < 5; step += 1) {
          await store.commitBatch(batchOf({ seq: step + 1, windowEnd: START + (step + 1) * 10_000 }, [step + 1]));
        }
        const range = { ...everything, from: START + 10_000, to: START + 40_000, limit: 100 };
        expect((await store.readSeries(range)).map(({ sum }) => sum)).toEqual([2, 3, 4]);
        expect((await store.readSeries({ ...range, limit: 2 })).map(({ sum }) => sum)).toEqual([2, 3]);
        expect((await read({ stepMs: 20_000, limit: 2 })).map(({ sum }) => sum)).toEqual([3, 7]);
      });

      it("has no percentiles where there is no distribution", async () => {
        await store.commitBatch({
          ...batchOf(),
          series: [{ ...durations, kind: "counter", ...summaryOf([1, 1]), buckets: [] }],
        });
        expect(await read()).toMatchObject([{ count: 2, p50: undefined, p95: undefined, p99: undefined }]);
      });

      it("takes series as equal when type, name, source and tags are, whatever the order of the tags", async () => {
        const forwards = { ...durations, tags: { a: "1", b: "2" }, ...summaryOf([1]) };
        const backwards = { ...durations, tags: { b: "2", a: "1" }, ...summaryOf([2]) };
        const another = { ...durations, source: "elsewhere", tags: { a: "1", b: "2" }, ...summaryOf([3]) };
        await store.commitBatch({ ...batchOf(), series: [forwards, another] });
        await store.commitBatch({ ...batchOf({ seq: 2 }), series: [backwards] });
        const listed = await store.listSeries({ limit: 10 });
        expect(listed).toHaveLength(2);
        expect(listed).toContainEqual({ ...durations, tags: { a: "1", b: "2" } });
      });

      it("lists series by name, filtered and at most the limit", async () => {
        await store.commitBatch({
          ...batchOf(),
          series: ["b", "a", "c"].map((metricName) => ({ ...durations, metricName, ...summaryOf([1]) })),
        });
        expect((await store.listSeries({ limit: 2 })).map(({ metricName }) => metricName)).toEqual(["a", "b"]);
        expect(await store.listSeries({ metricName: "c", limit: 2 })).toEqual([{ ...durations, metricName: "c" }]);
        expect(await store.listSeries({ metricName: "d", limit: 2 })).toEqual([]);
      });

      it("keeps names that objects have of their own as ordinary tags", async () => {
        const tags = JSON.parse('{"__proto__":"a","constructor":"b","toString":"c"}');
        await store.commitBatch({ ...batchOf(), series: [{ ...durations, tags, ...summaryOf([1]) }] });
        expect(Object.entries((await store.listSeries({ limit: 1 }))[0]?.tags ?? {})).toEqual(
          expect.arrayContaining(Object.entries(tags)),
        );
        expect(await read({ tags: JSON.parse('{"__proto__":"a"}') })).toHaveLength(1);
      });

      it("refuses a step that is no multiple of what is stored, and a limit out of range", async () => {
        await expect(read({ stepMs: 15_000 })).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
        await expect(read({ limit: 0 })).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
        await expect(store.listSeries({ limit: -1 })).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
      });

      it("keeps a dead batch once", async () => {
        const dead = { entryId: "1-0", reason: "not_json", payload: "{", at: START };
        await store.saveDeadBatch(dead);
        await store.saveDeadBatch({ ...dead, reason: "invalid" });
      });
    });

    describe("ledger", () => {
      it("measures a gap in points by the cumulative counts, whatever order the batches come in", async () => {
        const dropped = { droppedTotal: { invalid_value: 2 } };
        await store.commitBatch(batchOf({ seq: 3, recordedTotal: 11, ...dropped }, [1, 2, 3]));
        await store.commitBatch(batchOf({ seq: 1, recordedTotal: 3 }, [1, 2, 3]));
        const [entry, ...rest] = await store.ledger();
        expect(rest).toEqual([]);
        expect(entry).toEqual({
          instance: "a",
          boot: "boot-1",
          recorded: 11,
          dropped: { invalid_value: 2 },
          rolledUp: 6,
          batches: 2,
          lost: 0,
          lastAt: harness.clock.now(),
        });
      });

      it("keeps each life of each process apart and counts a redelivered batch once", async () => {
        await store.commitBatch(batchOf({}, [1]));
        await store.commitBatch(batchOf({}, [1]));
        await store.commitBatch(batchOf({ boot: "boot-2" }, [1, 2]));
        await store.commitBatch(batchOf({ instance: "b" }, [1, 2, 3]));
        const entries = await store.ledger();
        expect(entries.map(({ instance, boot, rolledUp, batches }) => [instance, boot, rolledUp, batches])).toEqual(
          expect.arrayContaining([
            ["a", "boot-1", 1, 1],
            ["a", "boot-2", 2, 1],
            ["b", "boot-1", 3, 1],
          ]),
        );
        expect(entries).toHaveLength(3);
      });
    });

    describe("failure events", () => {
      it("gives back what was recorded", async () => {
        const sighting = sightingOf();
        const ids = await store.recordFailures([sighting]);
        expect([...ids]).toEqual([[sighting.failure.eventId, sighting.failure.eventId]]);
        expect(await second.getFailure(sighting.failure.eventId)).toEqual({
          ...sighting.failure,
          fingerprint: sighting.fingerprint,
          occurrences: 1,
          lastSeenAt: START,
          resolved: false,
          resolvedAt: undefined,
          incidentId: `incident-${sighting.failure.eventId}`,
          instance: "a",
        });
        expect(await store.getFailure("unknown")).toBeUndefined();
      });

      it("leaves out what a failure does not have", async () => {
        const eventId = await stored({
          errorMessage: undefined,
          errorStack: undefined,
          context: undefined,
          userId: undefined,
          requestId: undefined,
        });
        const event = await store.getFailure(eventId);
        expect(event).toMatchObject({ eventId });
        expect([event?.errorMessage, event?.context, event?.requestId]).toEqual([undefined, undefined, undefined]);
      });

      it("folds repeats into the open event: count, last time, worst severity", async () => {
        const first = sightingOf({ severity: "medium" });
        const worse = sightingOf({ severity: "high", timestamp: START + 5_000 }, { occurrences: 40, instance: "b" });
        const milder = sightingOf({ severity: "low", timestamp: START + 1_000 });
        await store.recordFailures([first]);
        const ids = await second.recordFailures([worse, milder]);
        expect(ids.get(worse.failure.eventId)).toBe(first.failure.eventId);
        expect(ids.get(milder.failure.eventId)).toBe(first.failure.eventId);
        expect(await store.getFailure(first.failure.eventId)).toMatchObject({
          timestamp: START,
          occurrences: 42,
          lastSeenAt: START + 5_000,
          severity: "high",
          instance: "a",
        });
        expect((await store.listFailures({ limit: 10 })).items).toHaveLength(1);
      });

      it("folds repeats within one write", async () => {
        const sightings = Array.from({ length: 20 }, () => sightingOf());
        const ids = await store.recordFailures(sightings);
        expect(new Set(ids.values()).size).toBe(1);
        expect((await store.listFailures({ limit: 10 })).items).toMatchObject([{ occurrences: 20 }]);
      });

      it("counts a sighting once, however often it is delivered, and adds what it grew by", async () => {
        const first = sightingOf({}, { occurrences: 2 });
        const repeat = sightingOf({}, { occurrences: 3 });
        await store.recordFailures([first]);
        await store.recordFailures([repeat]);
        await store.recordFailures([first, repeat]);
        await second.recordFailures([repeat, first]);
        expect(await store.getFailure(first.failure.eventId)).toMatchObject({ occurrences: 5 });
        await store.recordFailures([{ ...repeat, occurrences: 10, lastSeenAt: START + 9 }]);
        expect(await store.getFailure(first.failure.eventId)).toMatchObject({ occurrences: 12, lastSeenAt: START + 9 });
        expect((await store.listFailures({ limit: 10 })).items).toHaveLength(1);
      });

      it("answers for a folded sighting with the event it is in", async () => {
        const eventId = await stored();
        const repeat = sightingOf();
        await store.recordFailures([repeat]);
        expect(await store.getFailure(repeat.failure.eventId)).toMatchObject({ eventId });
      });

      it("begins a new event after the old one was resolved", async () => {
        const first = await stored();
        expect(await store.resolveFailure(first, START + 1_000)).toBe(true);
        expect(await store.resolveFailure(first, START + 2_000)).toBe(false);
        expect(await store.resolveFailure("unknown", START)).toBe(false);
        const again = await stored({ timestamp: START + 3_000 });
        expect(await store.getFailure(first)).toMatchObject({
          resolved: true,
          resolvedAt: START + 1_000,
          occurrences: 1,
        });
        expect(await store.getFailure(again)).toMatchObject({ resolved: false, occurrences: 1 });
      });

      it("resolves open events that have gone quiet, and only those", async () => {
        const quiet = await stored({ affectedService: "quiet" });
        const loud = await stored({ affectedService: "loud", timestamp: START + 5_000 });
        expect(await store.resolveQuietFailures(START + 5_000, START + 6_000)).toBe(1);
        expect(await store.resolveQuietFailures(START + 5_000, START + 7_000)).toBe(0);
        expect(await store.getFailure(quiet)).toMatchObject({ resolved: true, resolvedAt: START + 6_000 });
        expect(await store.getFailure(loud)).toMatchObject({ resolved: false });
      });

      it("filters by each field and by time, newest first", async () => {
        const a = await stored({ affectedService: "llm:a", timestamp: START });
        const b = await stored({
          affectedService: "db:b",
          timestamp: START + 1_000,
          failureCategory: "database",
          failureType: "database_busy",
          severity: "critical",
          detectionMethod: "health_check",
        });
        const c = await stored({ affectedService: "llm:c", timestamp: START + 2_000 });
        await store.resolveFailure(c, START + 3_000);
        const ids = async (query: Partial<Parameters<Store["listFailures"]>[0]>) =>
          (await store.listFailures({ limit: 10, ...query })).items.map(({ eventId }) => eventId);
        expect(await ids({})).toEqual([c, b, a]);
        expect(await ids({ failureCategory: "database" })).toEqual([b]);
        expect(await ids({ failureType: "database_busy" })).toEqual([b]);
        expect(await ids({ severity: "critical" })).toEqual([b]);
        expect(await ids({ affectedService: "llm:a" })).toEqual([a]);
        expect(await ids({ detectionMethod: "health_check" })).toEqual([b]);
        expect(await ids({ resolved: true })).toEqual([c]);
        expect(await ids({ resolved: false })).toEqual([b, a]);
        expect(await ids({ from: START + 1_000 })).toEqual([c, b]);
        expect(await ids({ to: START + 1_000 })).toEqual([a]);
        expect(await ids({ severity: "medium", resolved: false, from: START, to: START + 2_000 })).toEqual([a]);
        expect(await ids({ affectedService: "" })).toEqual([]);
      });
    });

    describe("pages", () => {
      const pagesOf = async <T>(list: (cursor: string | undefined) => Promise<Page<T>>): Promise<T[][]> => {
        const pages: T[][] = [];
        let cursor: string | undefined;
        do {
          const page = await list(cursor);
          pages.push([...page.items]);
          cursor = page.nextCursor;
        } while (cursor !== undefined);
        return pages;
      };

      it("come one after another without a gap or a repeat, also among equal times", async () => {
        for (let index = 0; index < 7; index += 1) await stored({ affectedService: `service-${index}` });
        const pages = await pagesOf((cursor) => store.listFailures({ limit: 3, cursor }));
        expect(pages.map((page) => page.length)).toEqual([3, 3, 1]);
        expect(pages.flat().map(({ affectedService }) => affectedService)).toEqual(
          [6, 5, 4, 3, 2, 1, 0].map((index) => `service-${index}`),
        );
      });

      it("end without a cursor when the last one is full", async () => {
        for (let index = 0; index < 4; index += 1) await stored({ affectedService: `service-${index}` });
        const pages = await pagesOf((cursor) => store.listFailures({ limit: 2, cursor }));
        expect(pages.map((page) => page.length)).toEqual([2, 2]);
      });

      it("are not shifted by rows written meanwhile", async () => {
        for (let index = 0; index < 4; index += 1) {
          await stored({ affectedService: `old-${index}`, timestamp: START + index });
        }
        const first = await store.listFailures({ limit: 2 });
        await stored({ affectedService: "new", timestamp: START + 100 });
        const rest = await store.listFailures({ limit: 10, cursor: first.nextCursor });
        expect([...first.items, ...rest.items].map(({ affectedService }) => affectedService)).toEqual([
          "old-3",
          "old-2",
          "old-1",
          "old-0",
        ]);
      });

      it("keep their filters, for every list", async () => {
        const eventId = await stored();
        for (let index = 0; index < 3; index += 1) {
          await store.recordRescues([rescueOf(eventId, { target: `target-${index}`, timestamp: START + index })]);
          await store.commitTransition(
            circuitOf({ version: index + 1 }),
            transitionOf({ version: index + 1, at: START + index }),
          );
          await store.recordAudit({
            at: START + index,
            actor: "ada",
            action: "failure.resolve",
            subject: `event-${index}`,
            reason: "known",
            outcome: "succeeded",
            detail: index === 0 ? undefined : { index },
          });
        }
        const recoveries = await pagesOf((cursor) =>
          store.listRecoveries({ failureEventId: eventId, limit: 2, cursor }),
        );
        expect(recoveries.flat().map(({ target }) => target)).toEqual(["target-2", "target-1", "target-0"]);
        const transitions = await pagesOf((cursor) =>
          store.listTransitions({ circuitName: "llm:openai", limit: 1, cursor }),
        );
        expect(transitions.flat().map(({ version }) => version)).toEqual([3, 2, 1]);
        const audit = await pagesOf((cursor) => store.listAudit({ limit: 2, cursor }));
        expect(audit.flat().map(({ subject, detail }) => [subject, detail])).toEqual([
          ["event-2", { index: 2 }],
          ["event-1", { index: 1 }],
          ["event-0", undefined],
        ]);
      });

      it("refuse a cursor that no page gave", async () => {
        for (const cursor of ["", "nonsense", "bm90OmE6Y3Vyc29y", Buffer.from("1:2:3").toString("base64url"), "%%%"]) {
          await expect(store.listFailures({ limit: 1, cursor }), cursor).rejects.toMatchObject({
            code: "STORE_REQUEST_INVALID",
          });
        }
      });
    });

    describe("rescues", () => {
      it("give back what was recorded", async () => {
        const eventId = await stored();
        const rescue = rescueOf(eventId);
        await store.recordRescues([rescue]);
        expect((await second.listRecoveries({ limit: 10 })).items).toEqual([rescue]);
      });

      it("fold by failure, strategy, target, status and dry run", async () => {
        const eventId = await stored();
        const another = await stored({ affectedService: "llm:gemini" });
        await store.recordRescues([
          rescueOf(eventId),
          rescueOf(eventId, { occurrences: 5, lastAt: START + 10, durationMs: 7, result: { attempts: 3 } }),
          rescueOf(eventId, { lastAt: START - 10, durationMs: 1, result: undefined }),
          rescueOf(eventId, { status: "failed" }),
          rescueOf(eventId, { target: "llm:gemini" }),
          rescueOf(eventId, { dryRun: true }),
          rescueOf(eventId, { actionStrategy: "provider_failover" }),
          rescueOf(another),
        ]);
        const rows = (await store.listRecoveries({ limit: 20 })).items;
        expect(rows).toHaveLength(6);
        expect(rows.map(({ occurrences }) => occurrences).sort()).toEqual([1, 1, 1, 1, 1, 7]);
        expect(rows.find(({ occurrences }) => occurrences === 7)).toMatchObject({
          lastAt: START + 10,
          durationMs: 7,
          result: { attempts: 3 },
        });
      });

      it("count once, however often they are delivered", async () => {
        const eventId = await stored();
        const first = rescueOf(eventId, { occurrences: 2 });
        const repeat = rescueOf(eventId, { occurrences: 3 });
        await store.recordRescues([first, repeat]);
        await store.recordRescues([first, repeat]);
        await second.recordRescues([repeat, { ...first, occurrences: 4 }]);
        expect((await store.listRecoveries({ limit: 10 })).items).toMatchObject([
          { actionId: first.actionId, occurrences: 7 },
        ]);
      });

      it("may name a sighting that was folded into another event", async () => {
        const eventId = await stored();
        const repeat = sightingOf();
        await store.recordFailures([repeat]);
        await store.recordRescues([rescueOf(repeat.failure.eventId)]);
        expect((await store.listRecoveries({ failureEventId: eventId, limit: 10 })).items).toHaveLength(1);
      });

      it("of a failure that is not stored are refused, and none of the same write is kept", async () => {
        const eventId = await stored();
        await expect(store.recordRescues([rescueOf(eventId), rescueOf("unknown")])).rejects.toMatchObject({
          code: "STORE_REQUEST_INVALID",
        });
        expect((await store.listRecoveries({ limit: 10 })).items).toEqual([]);
      });

      it("are filtered by each field", async () => {
        const eventId = await stored();
        const retry = rescueOf(eventId, { status: "failed" });
        const failover = rescueOf(eventId, {
          actionType: "failover",
          actionStrategy: "provider_failover",
          target: "llm:gemini",
          timestamp: START + 1_000,
        });
        await store.recordRescues([retry, failover]);
        const ids = async (query: Partial<Parameters<Store["listRecoveries"]>[0]>) =>
          (await store.listRecoveries({ limit: 10, ...query })).items.map(({ actionId }) => actionId);
        expect(await ids({})).toEqual([failover.actionId, retry.actionId]);
        expect(await ids({ failureEventId: eventId })).toHaveLength(2);
        expect(await ids({ failureEventId: "unknown" })).toEqual([]);
        expect(await ids({ actionStrategy: "provider_failover" })).toEqual([failover.actionId]);
        expect(await ids({ status: "failed" })).toEqual([retry.actionId]);
        expect(await ids({ scope: "call" })).toHaveLength(2);
        expect(await ids({ scope: "service" })).toEqual([]);
        expect(await ids({ target: "llm:gemini" })).toEqual([failover.actionId]);
        expect(await ids({ from: START + 1 })).toEqual([failover.actionId]);
        expect(await ids({ to: START + 1 })).toEqual([retry.actionId]);
      });
    });

    describe("repairs", () => {
      it("are leased by one of two instances", async () => {
        const eventId = await stored();
        const won = await Promise.all([
          store.leaseRepair(repairOf(eventId, { instance: "a" })),
          second.leaseRepair(repairOf(eventId, { instance: "b" })),
        ]);
        expect(won.filter(Boolean)).toHaveLength(1);
        expect((await store.listRecoveries({ limit: 10 })).items).toMatchObject([{ status: "in_progress" }]);
      });

      it("are leased again by whoever holds them: a lease may be delivered twice", async () => {
        const repair = repairOf(await stored());
        expect(await store.leaseRepair(repair)).toBe(true);
        expect(await store.leaseRepair(repair)).toBe(true);
        expect((await store.listRecoveries({ limit: 10 })).items).toEqual([repair]);
      });

      it("of another target, strategy or failure, and dry runs, are leased beside each other", async () => {
        const eventId = await stored();
        const another = await stored({ affectedService: "db:other" });
        expect(await store.leaseRepair(repairOf(eventId))).toBe(true);
        expect(await store.leaseRepair(repairOf(eventId, { target: "db:other" }))).toBe(true);
        expect(await store.leaseRepair(repairOf(eventId, { actionStrategy: "flush_cache" }))).toBe(true);
        expect(await store.leaseRepair(repairOf(eventId, { dryRun: true }))).toBe(true);
        expect(await store.leaseRepair(repairOf(another))).toBe(true);
      });

      it("end once, and are not carried out a second time for the same failure", async () => {
        const eventId = await stored();
        const repair = repairOf(eventId);
        const completion = {
          actionId: repair.actionId,
          status: "succeeded",
          result: { verified: true },
          durationMs: 40,
          completedAt: START + 40,
        } as const;
        await store.leaseRepair(repair);
        expect(await store.completeRepair(completion)).toBe(true);
        expect(await store.completeRepair(completion)).toBe(true);
        expect(await store.completeRepair({ ...completion, status: "failed" })).toBe(false);
        expect(await store.completeRepair({ ...completion, actionId: "unknown" })).toBe(false);
        expect((await store.listRecoveries({ limit: 10 })).items).toEqual([
          { ...repair, ...completion, lastAt: START + 40 },
        ]);
        expect(await second.leaseRepair(repairOf(eventId, { instance: "b", timestamp: START + 60_000 }))).toBe(false);
      });

      it("whose lease ran out are abandoned: their late end is refused, and another instance may try", async () => {
        const eventId = await stored();
        const repair = repairOf(eventId, { leaseUntil: START + 1_000 });
        await store.leaseRepair(repair);
        expect(await second.abandonExpired(START + 999)).toBe(0);
        expect(await second.abandonExpired(START + 1_000)).toBe(1);
        expect(await second.abandonExpired(START + 1_000)).toBe(0);
        expect((await store.listRecoveries({ limit: 10 })).items).toMatchObject([
          { status: "abandoned", completedAt: START + 1_000 },
        ]);
        const late = { status: "succeeded", result: undefined, durationMs: 1_500, completedAt: START + 1_500 } as const;
        expect(await store.completeRepair({ actionId: repair.actionId, ...late })).toBe(false);
        expect(await second.leaseRepair(repairOf(eventId, { timestamp: START + 2_000 }))).toBe(true);
      });

      it("that nobody abandoned yet do not bar the next one after their lease", async () => {
        const eventId = await stored();
        await store.leaseRepair(repairOf(eventId, { leaseUntil: START + 1_000 }));
        expect(await second.leaseRepair(repairOf(eventId, { timestamp: START + 1_000, instance: "b" }))).toBe(true);
        const statuses = (await store.listRecoveries({ limit: 10 })).items.map(({ status }) => status);
        expect(statuses.sort()).toEqual(["abandoned", "in_progress"]);
      });

      it("that end before anybody abandoned them count, even after their lease", async () => {
        const repair = repairOf(await stored(), { leaseUntil: START + 1_000 });
        await store.leaseRepair(repair);
        const late = { status: "failed", result: undefined, durationMs: 1_500, completedAt: START + 1_500 } as const;
        expect(await store.completeRepair({ actionId: repair.actionId, ...late })).toBe(true);
      });

      describe("on terms", () => {
        const ended = async (eventId: string, given: Partial<RecoveryAction> = {}) => {
          const repair = repairOf(eventId, given);
          expect(await store.leaseRepair(repair)).toBe(true);
          const completedAt = repair.timestamp + 100;
          const status = "failed";
          await store.completeRepair({
            actionId: repair.actionId,
            status,
            result: undefined,
            durationMs: 100,
            completedAt,
          });
          return completedAt;
        };

        it("are carried out again for a failure that came back after the last one ended", async () => {
          const eventId = await stored();
          const endedAt = await ended(eventId);
          const again = () => repairOf(eventId, { timestamp: START + 50_000, leaseUntil: START + 60_000 });
          expect(await second.leaseRepair(again(), { endedBefore: endedAt })).toBe(false);
          expect(await second.leaseRepair(again(), { endedBefore: endedAt + 1 })).toBe(true);
          expect(await store.leaseRepair(again(), { endedBefore: endedAt + 1 })).toBe(false);
        });

        it("wait while another strategy repairs their target, when they are to be alone", async () => {
          const eventId = await stored();
          await store.leaseRepair(repairOf(eventId, { actionStrategy: "flush_cache" }));
          expect(await second.leaseRepair(repairOf(eventId), { alone: true })).toBe(false);
          expect(await second.leaseRepair(repairOf(eventId, { target: "db:other" }), { alone: true })).toBe(true);
        });

        it("begin at most so often over all instances, by one strategy or by any", async () => {
          const eventId = await stored();
          for (let round = 0; round < 2; round += 1) {
            const another = await stored({ errorMessage: `another ${"x".repeat(round)}` });
            await ended(another, { timestamp: START + round });
          }
          const lease = (terms: LeaseTerms) =>
            second.leaseRepair(repairOf(eventId, { timestamp: START + 500, leaseUntil: START + 900 }), terms);
          expect(await lease({ limits: [{ since: START - 1, most: 2 }] })).toBe(false);
          expect(await lease({ limits: [{ strategy: "reconnect", since: START - 1, most: 2 }] })).toBe(false);
          expect(await lease({ limits: [{ strategy: "flush_cache", since: START - 1, most: 1 }] })).toBe(true);
        });

        it("do not count what began earlier, nor what never began", async () => {
          const eventId = await stored();
          await ended(await stored({ errorMessage: "another" }));
          await store.recordRescues([
            { ...repairOf(await stored({ errorMessage: "a third" })), status: "pending_approval" },
          ]);
          const limits = [{ since: START, most: 1 }];
          expect(await store.leaseRepair(repairOf(eventId, { timestamp: START + 1 }), { limits })).toBe(true);
        });
      });

      describe("that wait for an operator", () => {
        const waiting = async (given: Partial<RecoveryAction> = {}) => {
          const eventId = await stored();
          const action = repairOf(eventId, { status: "pending_approval", parameters: { why: "dangerous" }, ...given });
          await store.recordRescues([action]);
          return action;
        };
        const approvalOf = ({ actionId }: RecoveryAction) =>
          ({ actionId, approvedBy: "ada", instance: "b", at: START + 5_000, leaseUntil: START + 60_000 }) as const;

        it("begin once, with the operator's name, and are leased from then on", async () => {
          const action = await waiting();
          const outcomes = await Promise.all([
            store.approveRepair(approvalOf(action)),
            second.approveRepair(approvalOf(action)),
          ]);
          expect(outcomes.filter(({ approved }) => approved)).toHaveLength(1);
          expect(outcomes).toContainEqual({ approved: false, reason: "not_pending" });
          expect(await store.getRecovery(action.actionId)).toMatchObject({
            status: "in_progress",
            timestamp: START + 5_000,
            leaseUntil: START + 60_000,
            instance: "b",
            parameters: { why: "dangerous", approvedBy: "ada", requestedAt: action.timestamp },
          });
          expect(await second.leaseRepair(repairOf(action.failureEventId, { timestamp: START + 6_000 }))).toBe(false);
          expect(await second.abandonExpired(START + 60_000)).toBe(1);
        });

        it("go on waiting when the terms do not allow them to begin", async () => {
          const action = await waiting();
          await store.leaseRepair(
            repairOf(action.failureEventId, { actionStrategy: "flush_cache", leaseUntil: START + 90_000 }),
          );
          expect(await second.approveRepair(approvalOf(action), { alone: true })).toEqual({
            approved: false,
            reason: "barred",
          });
          expect(await store.getRecovery(action.actionId)).toMatchObject({ status: "pending_approval" });
        });

        it("end without an effect, as often as it comes to that for one failure", async () => {
          const first = await waiting();
          const decline = { at: START + 5_000, result: { message: "nobody answered" } };
          expect(await second.declineRepair({ actionId: first.actionId, status: "expired", ...decline })).toBe(true);
          expect(await store.declineRepair({ actionId: first.actionId, status: "cancelled", ...decline })).toBe(false);
          expect(await store.approveRepair(approvalOf(first))).toEqual({ approved: false, reason: "not_pending" });
          const again = repairOf(first.failureEventId, { status: "pending_approval" });
          await store.recordRescues([again]);
          expect(await store.declineRepair({ actionId: again.actionId, status: "expired", ...decline })).toBe(true);
          expect(await second.getRecovery(again.actionId)).toMatchObject({
            status: "expired",
            completedAt: START + 5_000,
            result: { message: "nobody answered" },
          });
          expect(await second.getRecovery("unknown")).toBeUndefined();
        });
      });

      it("without a lease, or of an unknown failure, are refused", async () => {
        const eventId = await stored();
        const invalid = { code: "STORE_REQUEST_INVALID" };
        await expect(store.leaseRepair(repairOf(eventId, { leaseUntil: undefined }))).rejects.toMatchObject(invalid);
        await expect(store.leaseRepair(repairOf(eventId, { status: "succeeded" }))).rejects.toMatchObject(invalid);
        await expect(store.leaseRepair(repairOf("unknown"))).rejects.toMatchObject(invalid);
      });

      it("never fold with rescues", async () => {
        const eventId = await stored();
        const repair = repairOf(eventId);
        await store.leaseRepair(repair);
        await store.completeRepair({
          actionId: repair.actionId,
          status: "succeeded",
          result: undefined,
          durationMs: 1,
          completedAt: START + 1,
        });
        const row = { ...repairOf(eventId), status: "succeeded", leaseUntil: undefined } as const;
        await store.recordRescues([row, { ...row, actionId: freshId("action") }]);
        const rows = (await store.listRecoveries({ limit: 10 })).items;
        expect(rows.map(({ occurrences }) => occurrences).sort()).toEqual([1, 2]);
      });
    });

    describe("circuits", () => {
      const open = circuitOf({
        state: "open",
        version: 1,
        failureCount: 3,
        lastFailureAt: START,
        openedAt: START,
        nextRetryAt: START + 5_000,
      });

      /** How much of a deadline is left, by the clock that it and the read came by. */
      const expectLeft = (until: number | undefined, read: { readAt: number } | undefined, ms: number) => {
        const left = (until ?? 0) - (read?.readAt ?? 0);
        expect(left).toBeLessThanOrEqual(ms);
        expect(left).toBeGreaterThan(ms - 3_000);
      };

      it("give back what was committed, with its transition", async () => {
        const eventId = await stored();
        const transition = transitionOf({ failureEventId: eventId });
        expect(await store.commitTransition(open, transition)).toEqual({ committed: true });
        const [present] = await second.loadCircuits();
        expect(present).toEqual({
          ...open,
          updatedAt: START,
          probeLease: undefined,
          openedAt: (present?.nextRetryAt ?? 0) - 5_000,
          nextRetryAt: expect.any(Number),
          readAt: expect.any(Number),
        });
        expectLeft(present?.nextRetryAt, present, 5_000);
        expect((await second.listTransitions({ limit: 10 })).items).toEqual([transition]);
      });

      it("let the first of two instances write a version, and show the other what is stored", async () => {
        await store.commitTransition(open, transitionOf());
        const halfOpen = circuitOf({ state: "half_open", version: 2 });
        const results = await Promise.all([
          store.commitTransition(halfOpen, transitionOf({ from: "open", to: "half_open", version: 2, instance: "a" })),
          second.commitTransition(
            circuitOf({ state: "closed", version: 2 }),
            transitionOf({ from: "open", to: "closed", reason: "operator", version: 2, instance: "b" }),
          ),
        ]);
        expect(results.filter(({ committed }) => committed)).toHaveLength(1);
        const loser = results.find((result) => !result.committed);
        const [present] = await store.loadCircuits();
        expect(loser).toEqual({ committed: false, stored: { ...present, readAt: expect.any(Number) } });
        expect((await store.listTransitions({ limit: 10 })).items).toHaveLength(2);
      });

      it("refuse a version that was skipped", async () => {
        await store.commitTransition(open, transitionOf());
        const skipped = await store.commitTransition(circuitOf({ version: 3 }), transitionOf({ version: 3 }));
        expect(skipped).toMatchObject({ committed: false, stored: { version: 1 } });
      });

      it("take the same transition twice as one", async () => {
        await store.commitTransition(open, transitionOf());
        await store.commitTransition(circuitOf({ version: 2 }), transitionOf({ version: 2 }));
        expect(await store.commitTransition(open, transitionOf())).toEqual({ committed: true });
        expect(await store.commitTransition(open, transitionOf({ instance: "b" }))).toMatchObject({ committed: false });
        expect((await store.loadCircuits())[0]).toMatchObject({ version: 2 });
        expect((await store.listTransitions({ limit: 10 })).items).toHaveLength(2);
      });

      it("take a first transition at any version: the rows of a running system may have been lost", async () => {
        expect(await store.commitTransition(circuitOf({ version: 9 }), transitionOf({ version: 9 }))).toEqual({
          committed: true,
        });
      });

      it("refresh counts and last times, and leave state and version", async () => {
        await store.commitTransition(open, transitionOf());
        const seen = { ...open, state: "closed", failureCount: 7, lastFailureAt: START + 9, nextRetryAt: 1 } as const;
        await store.refreshCircuits([seen, circuitOf({ name: "db:main", failureCount: 1 })], START + 100);
        const all = await store.loadCircuits();
        const here = { probeLease: undefined, readAt: expect.any(Number), updatedAt: START + 100 };
        expect(all).toEqual([
          { ...circuitOf({ name: "db:main", failureCount: 1 }), ...here },
          {
            ...open,
            ...here,
            failureCount: 7,
            lastFailureAt: START + 9,
            openedAt: expect.any(Number),
            nextRetryAt: expect.any(Number),
          },
        ]);
        expectLeft(all[1]?.nextRetryAt, all[1], 5_000);
        expect((await store.loadCircuits(["llm:openai", "http:none"])).map(({ name }) => name)).toEqual(["llm:openai"]);
      });

      it("do not take counts of another generation, nor last times that are older", async () => {
        await store.commitTransition(open, transitionOf());
        await store.refreshCircuits([{ ...open, version: 0, failureCount: 99, lastFailureAt: START - 9 }], START + 1);
        expect((await store.loadCircuits())[0]).toMatchObject({ failureCount: 3, lastFailureAt: START });
      });

      it("keep a hold through transitions and refreshes until it is released", async () => {
        const hold = { state: "forced_open", by: "ada", reason: "provider migration", until: START + 60_000 } as const;
        await store.refreshCircuits([circuitOf()], START);
        await store.holdCircuit("llm:openai", hold, START + 1);
        await second.commitTransition(open, transitionOf());
        await second.refreshCircuits([{ ...open, held: undefined }], START + 2);
        const [present] = await store.loadCircuits();
        expect(present).toMatchObject({
          held: { ...hold, until: expect.any(Number) },
          state: "open",
          version: 1,
        });
        expectLeft(present?.held?.until, present, 59_999);
        await store.holdCircuit("llm:openai", undefined, START + 3);
        expect((await store.loadCircuits())[0]?.held).toBeUndefined();
      });

      it("can be held before any instance has met them", async () => {
        const hold = { state: "disabled", by: "ada", reason: "not yet", until: undefined } as const;
        await store.holdCircuit("http:new", hold, START);
        await store.holdCircuit("http:none", undefined, START);
        expect(await store.loadCircuits()).toMatchObject([
          { name: "http:new", state: "closed", version: 0, held: hold },
        ]);
        expect(
          await store.commitTransition(
            circuitOf({ name: "http:new", version: 1, state: "open" }),
            transitionOf({ circuitName: "http:new" }),
          ),
        ).toEqual({ committed: true });
      });

      it("name the stored event as their cause, whichever was written first", async () => {
        const eventId = await stored();
        const before = sightingOf();
        const after = sightingOf();
        await store.commitTransition(open, transitionOf({ failureEventId: before.failure.eventId }));
        await store.recordFailures([before, after]);
        await store.commitTransition(
          circuitOf({ version: 2 }),
          transitionOf({ version: 2, at: START + 1, failureEventId: after.failure.eventId }),
        );
        const transitions = (await store.listTransitions({ limit: 10 })).items;
        expect(transitions.map(({ failureEventId }) => failureEventId)).toEqual([eventId, eventId]);
      });

      it("write several transitions of one circuit as one step: all rows, and where it ended", async () => {
        await store.commitTransition(open, transitionOf());
        const closed = circuitOf({ version: 3 });
        const halfOpened = transitionOf({ version: 2, from: "open", to: "half_open", reason: "reset_timeout" });
        const last = transitionOf({ version: 3, from: "half_open", to: "closed", reason: "probes_succeeded" });
        const earlier = [halfOpened];
        const oneTooFar = { earlier: [{ ...halfOpened, version: 3 }] };
        expect(await second.commitTransition(closed, { ...last, version: 4 }, oneTooFar)).toMatchObject({
          committed: false,
          stored: { version: 1 },
        });
        expect(await second.commitTransition(closed, last, { earlier })).toEqual({ committed: true });
        expect(await second.commitTransition(closed, last, { earlier })).toEqual({ committed: true });
        expect((await store.listTransitions({ limit: 10 })).items.map(({ version }) => version)).toEqual([3, 2, 1]);
        expect(await store.loadCircuits()).toMatchObject([{ state: "closed", version: 3 }]);
      });

      it("write of a step that has grown since its answer was lost only what is not stored yet", async () => {
        await store.commitTransition(open, transitionOf());
        const closed = circuitOf({ version: 3 });
        const halfOpened = transitionOf({ version: 2, from: "open", to: "half_open", reason: "reset_timeout" });
        const last = transitionOf({ version: 3, from: "half_open", to: "closed", reason: "probes_succeeded" });
        const others = [transitionOf({ instance: "b" }), halfOpened];
        expect(await second.commitTransition(closed, last, { earlier: others })).toMatchObject({
          committed: false,
          stored: { state: "open", version: 1 },
        });
        const earlier = [transitionOf(), halfOpened];
        expect(await second.commitTransition(closed, last, { earlier })).toEqual({ committed: true });
        expect((await store.listTransitions({ limit: 10 })).items.map(({ version }) => version)).toEqual([3, 2, 1]);
        expect(await store.loadCircuits()).toMatchObject([{ state: "closed", version: 3 }]);
      });

      it.each([
        { what: "five minutes ahead", skewMs: 300_000 },
        { what: "five minutes behind", skewMs: -300_000 },
        { what: "of another decade", skewMs: -3e11 },
      ])(
        "B5: keep what is left of a deadline, not its time of day: a clock $what opens and holds no longer",
        async ({ skewMs }) => {
          const at = START + skewMs;
          const hold = { state: "forced_open", by: "ada", reason: "away", until: at + 60_000 } as const;
          await store.commitTransition({ ...open, nextRetryAt: at + 5_000 }, transitionOf({ at: at - 2_000 }), { at });
          await store.holdCircuit("llm:openai", hold, at);
          const [present] = await second.loadCircuits();
          expectLeft(present?.nextRetryAt, present, 5_000);
          expectLeft(present?.held?.until, present, 60_000);
        },
      );

      describe("lend the right to probe", () => {
        const due = { ...open, nextRetryAt: START };
        const lease = { circuitName: "llm:openai", owner: "a", version: 1, leaseMs: 60_000 };
        const halfOpened = (instance: string) =>
          [
            circuitOf({ state: "half_open", version: 2 }),
            transitionOf({ from: "open", to: "half_open", reason: "reset_timeout", version: 2, instance }),
          ] as const;

        it("to one instance at a time, for as long as it was asked, and tell the others of it", async () => {
          await store.commitTransition(due, transitionOf());
          const owners = ["a", "b", "c", "d"];
          const answers = await Promise.all(
            owners.map((owner, index) => (index % 2 ? store : second).leaseProbes({ ...lease, owner })),
          );
          const won = answers.flatMap(({ leased }, index) => (leased ? [owners[index]] : []));
          expect(won).toHaveLength(1);
          const [refused] = answers.flatMap((answer) => (answer.leased ? [] : [answer.stored]));
          expect(refused?.probeLease?.owner).toBe(won[0]);
          expectLeft(refused?.probeLease?.until, refused, 60_000);
        });

        it("again to its owner, and to another once it is over", async () => {
          await store.commitTransition(due, transitionOf());
          expect(await store.leaseProbes({ ...lease, leaseMs: 0 })).toEqual({ leased: true });
          expect(await second.leaseProbes({ ...lease, owner: "b" })).toEqual({ leased: true });
          expect(await second.leaseProbes({ ...lease, owner: "b" })).toEqual({ leased: true });
          expect(await store.leaseProbes(lease)).toMatchObject({ leased: false });
        });

        it("not for another version, not of a closed circuit, not of an unknown one", async () => {
          expect(await store.leaseProbes(lease)).toEqual({ leased: false, stored: undefined });
          await store.commitTransition(open, transitionOf());
          await store.commitTransition({ ...due, version: 2 }, transitionOf({ version: 2 }));
          expect(await store.leaseProbes(lease)).toMatchObject({ leased: false, stored: { version: 2 } });
          await store.commitTransition(circuitOf({ version: 3 }), transitionOf({ version: 3, to: "closed" }));
          expect(await store.leaseProbes({ ...lease, version: 3 })).toMatchObject({ leased: false });
        });

        it("B5: and do not believe a lease that is much longer than one can be, as after a step of the clock", async () => {
          await store.commitTransition(due, transitionOf());
          await store.leaseProbes({ ...lease, leaseMs: 3_600_000 });
          expect(await second.leaseProbes({ ...lease, owner: "b" })).toEqual({ leased: true });
          expect(await store.leaseProbes(lease)).toMatchObject({ leased: false });
        });

        it("B2: so that only its owner half-opens the circuit, and says how that ends; an operator may too", async () => {
          await store.commitTransition(due, transitionOf());
          await store.leaseProbes(lease);
          expect(await second.commitTransition(...halfOpened("b"))).toMatchObject({ committed: false });
          expect(await store.commitTransition(...halfOpened("a"))).toEqual({ committed: true });
          const end = transitionOf({ from: "half_open", to: "closed", reason: "probes_succeeded", version: 3 });
          const closed = circuitOf({ version: 3 });
          expect(await second.commitTransition(closed, { ...end, instance: "b" })).toMatchObject({ committed: false });
          const byHand = { ...end, reason: "operator", instance: "b" } as const;
          expect(await second.commitTransition(closed, byHand)).toEqual({ committed: true });
          expect(await second.loadCircuits()).toMatchObject([{ state: "closed", probeLease: undefined }]);
        });

        it("B4: and refuse the verdict of an owner whose lease went to another meanwhile", async () => {
          await store.commitTransition(due, transitionOf());
          await store.leaseProbes({ ...lease, leaseMs: 0 });
          await store.commitTransition(...halfOpened("a"));
          expect(await second.leaseProbes({ ...lease, version: 2, owner: "b" })).toEqual({ leased: true });
          const end = transitionOf({ from: "half_open", to: "closed", reason: "probes_succeeded", version: 3 });
          expect(await store.commitTransition(circuitOf({ version: 3 }), end)).toMatchObject({
            committed: false,
            stored: { state: "half_open", version: 2 },
          });
        });

        it("without forgetting it when counts are refreshed or a hold is placed", async () => {
          await store.commitTransition(due, transitionOf());
          await store.leaseProbes(lease);
          await store.refreshCircuits([due], START);
          await store.holdCircuit("llm:openai", { state: "disabled", by: "a", reason: "b", until: undefined }, START);
          expect(await second.loadCircuits()).toMatchObject([{ probeLease: { owner: "a" } }]);
        });
      });

      it("count what instances think of them, the latest of each, for as long as it was meant to count", async () => {
        const opinion = (instance: string, failing: boolean, keepMs = 60_000, circuitName = "llm:openai") =>
          second.recordOpinions({ instance, opinions: [{ circuitName, failing }], keepMs });
        expect(await opinion("a", true)).toEqual([{ circuitName: "llm:openai", failing: 1, total: 1 }]);
        await opinion("b", false, 0);
        await opinion("c", false);
        await opinion("d", true, 60_000, "db:main");
        expect(await opinion("c", true)).toEqual([{ circuitName: "llm:openai", failing: 2, total: 2 }]);
        const both = ["llm:openai", "db:main", "http:none"].map((circuitName) => ({ circuitName, failing: false }));
        const tallies = await store.recordOpinions({ instance: "a", opinions: both, keepMs: 60_000 });
        expect(tallies.toSorted((x, y) => (x.circuitName < y.circuitName ? -1 : 1))).toEqual([
          { circuitName: "db:main", failing: 1, total: 2 },
          { circuitName: "http:none", failing: 0, total: 1 },
          { circuitName: "llm:openai", failing: 1, total: 2 },
        ]);
        expect(await store.recordOpinions({ instance: "a", opinions: [], keepMs: 1 })).toEqual([]);
      });

      it("list transitions by circuit, state and time, newest first", async () => {
        await store.commitTransition(open, transitionOf());
        await store.commitTransition(
          circuitOf({ version: 2, state: "half_open" }),
          transitionOf({ version: 2, from: "open", to: "half_open", reason: "reset_timeout", at: START + 5_000 }),
        );
        await store.commitTransition(
          circuitOf({ name: "db:main", version: 1, state: "open" }),
          transitionOf({ circuitName: "db:main", at: START + 6_000 }),
        );
        const seen = async (query: Partial<Parameters<Store["listTransitions"]>[0]>) =>
          (await store.listTransitions({ limit: 10, ...query })).items.map(
            ({ circuitName, to }) => `${circuitName} ${to}`,
          );
        expect(await seen({})).toEqual(["db:main open", "llm:openai half_open", "llm:openai open"]);
        expect(await seen({ circuitName: "llm:openai" })).toEqual(["llm:openai half_open", "llm:openai open"]);
        expect(await seen({ to: "open" })).toEqual(["db:main open", "llm:openai open"]);
        expect(await seen({ from: START + 5_000 })).toHaveLength(2);
        expect(await seen({ until: START + 5_000 })).toEqual(["llm:openai open"]);
      });
    });

    describe("incidents", () => {
      const seen = (eventId: string, given: Partial<ReturnType<typeof failureOf>> = {}, at = START) =>
        sightingOf({ eventId, timestamp: at, errorMessage: eventId, ...given }, { lastSeenAt: at });
      const all = async () => (await second.listIncidents({ limit: 10 })).items;

      it("open with the first failure of a service and hold all that follow, of whatever kind", async () => {
        await store.recordFailures([seen("a", { severity: "medium" })]);
        await second.recordFailures([seen("b", { severity: "critical" }, START + 500)]);
        await store.recordFailures([seen("c", { affectedService: "db:main" })]);
        const found = await all();
        expect(found).toHaveLength(2);
        const [incident] = (await store.listIncidents({ affectedService: "llm:openai", limit: 10 })).items;
        expect(incident).toMatchObject({
          status: "open",
          severity: "critical",
          startedAt: START,
          lastSeenAt: START + 500,
          resolvedAt: undefined,
        });
        expect(incident?.detectedAt).toBeGreaterThanOrEqual(START);
        const { incidentId } = incident ?? { incidentId: "" };
        const members = (await second.listFailures({ incidentId, limit: 10 })).items;
        expect(members.map(({ eventId }) => eventId)).toEqual(["b", "a"]);
        expect(await second.getIncident(incidentId)).toEqual(incident);
        expect(await second.getIncident("none")).toBeUndefined();
      });

      it("close once none of their failures is open any more, and the next failure opens another one", async () => {
        await store.recordFailures([seen("a"), seen("b")]);
        await store.resolveFailure("a", START + 1_000);
        expect(await all()).toMatchObject([{ status: "open" }]);
        await store.resolveQuietFailures(START + 1, START + 2_000);
        expect(await all()).toMatchObject([{ status: "resolved", resolvedAt: START + 2_000 }]);
        await store.recordFailures([seen("c", {}, START + 3_000)]);
        expect((await all()).map(({ status }) => status)).toEqual(["open", "resolved"]);
        expect((await second.listIncidents({ status: "resolved", limit: 10 })).items).toHaveLength(1);
      });

      it("stay open while the service's circuit is not closed, whatever was seen", async () => {
        await store.recordFailures([seen("a")]);
        const opened = { ...circuitOf({ state: "open", version: 1 }) };
        await store.commitTransition(opened, transitionOf());
        await store.resolveQuietFailures(START + 1, START + 1_000);
        expect(await all()).toMatchObject([{ status: "open" }]);
        const closed = transitionOf({ from: "open", to: "closed", version: 2, reason: "operator" });
        await store.commitTransition(circuitOf({ state: "closed", version: 2 }), closed);
        await store.resolveQuietFailures(START + 1, START + 2_000);
        expect(await all()).toMatchObject([{ status: "resolved", resolvedAt: START + 2_000 }]);
      });

      it("are not opened by what an operator orders, and count a repeat once", async () => {
        await store.recordFailures([seen("a", { detectionMethod: "manual" })]);
        expect(await all()).toEqual([]);
        await store.recordFailures([seen("b")]);
        await store.recordFailures([seen("b")]);
        expect(await all()).toHaveLength(1);
      });

      it("stay closed when a failure that was resolved meanwhile is delivered again and grew", async () => {
        await store.recordFailures([seen("a")]);
        await store.recordFailures([sightingOf({ eventId: "b", errorMessage: "a" })]);
        await store.resolveFailure("a", START + 1_000);
        const grown = ["a", "b"].map((eventId) => ({
          ...sightingOf({ eventId, errorMessage: "a" }),
          occurrences: 3,
          lastSeenAt: START + 500,
        }));
        await second.recordFailures(grown);
        expect(await store.getFailure("a")).toMatchObject({ occurrences: 6, lastSeenAt: START + 500, resolved: true });
        expect(await all()).toMatchObject([{ status: "resolved", resolvedAt: START + 1_000 }]);
      });

      it("are deleted after their failures, once they are old", async () => {
        await store.recordFailures([seen("a")]);
        const slice = { kind: "incidents", before: START + 10_000, limit: 10 } as const;
        expect(await store.pruneRecords(slice)).toBe(0);
        await store.resolveFailure("a", START + 1_000);
        expect(await store.pruneRecords(slice)).toBe(0);
        await store.pruneRecords({ ...slice, kind: "failure_events" });
        expect(await store.pruneRecords(slice)).toBe(1);
        expect(await all()).toEqual([]);
      });
    });

    describe("last good values", () => {
      const answerOf = (key: string, storedAt: number, value: unknown = { text: key }) =>
        ({ operation: "summarise", key, value: value as never, storedAt, expiresAt: storedAt + 1_000 }) as const;
      const limits = { maxEntries: 2 };

      it("are given back as they were put, the latest of each, to every process", async () => {
        await store.putLastGood(answerOf("a", START), limits);
        await store.putLastGood(answerOf("a", START + 1, ["new", 1, null]), limits);
        expect(await second.getLastGood("summarise", "a")).toEqual(answerOf("a", START + 1, ["new", 1, null]));
        expect(await second.getLastGood("another", "a")).toBeUndefined();
      });

      it("are forgotten when they have expired, and beyond the limit the oldest first", async () => {
        await store.putLastGood(answerOf("old", START), limits);
        for (const [index, key] of ["a", "b", "c"].entries()) {
          await store.putLastGood(answerOf(key, START + 1_000 + index), limits);
        }
        const found = await Promise.all(["old", "a", "b", "c"].map((key) => second.getLastGood("summarise", key)));
        expect(found.map((one) => one?.key)).toEqual([undefined, undefined, "b", "c"]);
      });
    });

    it("answers a ping with the milliseconds it took", async () => {
      expect(await store.ping()).toBeGreaterThanOrEqual(0);
    });
  });
}
