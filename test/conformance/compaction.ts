/** How every store is kept small, told once and run against each of them. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../server/ports/store.js";
import { runs } from "../support/property-runs.js";
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

export function describeCompaction(name: string, create: () => Promise<StoreHarness>): void {
  describe(`${name} can be kept small`, () => {
    let harness: StoreHarness;
    let store: Store;
    let second: Store;

    beforeEach(async () => {
      harness = await create();
      ({ store, second } = harness);
    });
    afterEach(() => harness.dispose());

    const stored = async (overrides: Parameters<typeof failureOf>[0] = {}): Promise<string> => {
      const sighting = sightingOf(overrides);
      await store.recordFailures([sighting]);
      return sighting.failure.eventId;
    };

    describe("rollups of several resolutions", () => {
      const FINE = 10_000;
      const MINUTE = 60_000;
      const HOUR = 3_600_000;
      const DAY = 86_400_000;
      const later = START + 10 * DAY;
      const range = { from: START - DAY, to: START + 2 * DAY };

      const commitAt = (offsets: readonly number[], metricName = durations.metricName) =>
        Promise.all(
          offsets.map((offset, index) =>
            store.commitBatch({
              ...batchOf({ boot: freshId("boot"), seq: index + 1, windowEnd: START + offset + 1 }),
              series: [{ ...durations, metricName, ...summaryOf([1, offset % 100]) }],
            }),
          ),
        );
      const compactAll = async (limit = 1_000, target: Store = store) => {
        let rows = 0;
        for (const resolutionMs of [FINE, MINUTE, HOUR]) {
          for (;;) {
            const compacted = await target.compactRollups({ resolutionMs, before: later, limit });
            rows += compacted;
            if (compacted === 0) break;
          }
        }
        return rows;
      };
      const points = async (stepMs: number, metricName = durations.metricName) =>
        (await store.readSeries({ metricName, ...range, stepMs, limit: 10_000 })).map(
          ({ timestamp, count, sum, min, max, p50, p99 }) => ({ timestamp, count, sum, min, max, p50, p99 }),
        );
      const totalOf = async (stepMs: number) => (await points(stepMs)).reduce((sum, { count }) => sum + count, 0);

      it("I5: an hour is the sum of its minutes, before and after compaction, interrupted or repeated, late rows too", async () => {
        let run = 0;
        await fc.assert(
          fc.asyncProperty(
            fc.array(fc.integer({ min: 0, max: DAY - 1 }), { minLength: 1, maxLength: 12 }),
            fc.array(fc.integer({ min: 0, max: DAY - 1 }), { maxLength: 6 }),
            fc.integer({ min: 1, max: 5 }),
            fc.nat({ max: 4 }),
            async (offsets, lateOffsets, limit, slices) => {
              run += 1;
              const metricName = `compacted.${run}`;
              const everyStep = async () =>
                Promise.all([FINE, MINUTE, HOUR, DAY].map((stepMs) => points(stepMs, metricName)));
              await commitAt(offsets, metricName);
              const before = await everyStep();
              for (let slice = 0; slice < slices; slice += 1) {
                const resolutionMs = [FINE, MINUTE, HOUR][slice % 3] ?? FINE;
                await store.compactRollups({ resolutionMs, before: later, limit });
                expect(await everyStep()).toEqual(before);
              }
              await compactAll(limit, second);
              expect(await everyStep()).toEqual(before);
              expect(await compactAll()).toBe(0);
              expect(await everyStep()).toEqual(before);

              await commitAt(lateOffsets, metricName);
              const [fine = [], ...coarse] = await everyStep();
              for (const step of coarse) {
                expect(step.reduce((sum, { count }) => sum + count, 0)).toBe(
                  fine.reduce((sum, { count }) => sum + count, 0),
                );
                expect(step.reduce((sum, point) => sum + point.sum, 0)).toBe(
                  fine.reduce((sum, point) => sum + point.sum, 0),
                );
              }
              const withLate = await everyStep();
              await compactAll();
              expect(await everyStep()).toEqual(withLate);
            },
          ),
          { numRuns: runs(15, 1 / 200) },
        );
      }, 60_000);

      it("I5: deleting fine rows changes no coarser answer, and rows that come later are told once", async () => {
        await commitAt([0, 15_000, 70_000, HOUR + 5_000, DAY - 1, DAY + 5]);
        await compactAll();
        const [minutes, hours, days] = await Promise.all([MINUTE, HOUR, DAY].map((stepMs) => points(stepMs)));
        expect(await store.pruneRollups({ resolutionMs: FINE, before: START + 2 * DAY, limit: 4 })).toBe(4);
        expect(await points(MINUTE)).toEqual(minutes);
        expect(await store.pruneRollups({ resolutionMs: FINE, before: START + 2 * DAY, limit: 100 })).toBe(2);
        expect(await points(FINE)).toEqual(minutes);
        expect(await points(HOUR)).toEqual(hours);

        await commitAt([16_000, DAY + 10]);
        expect([await totalOf(FINE), await totalOf(HOUR), await totalOf(DAY)]).toEqual([16, 16, 16]);
        await compactAll();
        expect([await totalOf(FINE), await totalOf(HOUR), await totalOf(DAY)]).toEqual([16, 16, 16]);

        expect(await store.pruneRollups({ resolutionMs: MINUTE, before: START + 2 * DAY, limit: 100 })).toBe(5);
        expect(await store.pruneRollups({ resolutionMs: HOUR, before: START + 2 * DAY, limit: 100 })).toBe(4);
        expect([await totalOf(FINE), await totalOf(HOUR), await totalOf(DAY)]).toEqual([16, 16, 16]);
        expect((await points(FINE)).map(({ timestamp }) => timestamp)).toEqual([START, START + DAY]);
        expect(days).toHaveLength(2);
        expect(await store.pruneRollups({ resolutionMs: DAY, before: START + DAY, limit: 100 })).toBe(1);
        expect(await totalOf(DAY)).toBe(4);
      });

      it("I5: deleting less than before tells no deleted time finely again", async () => {
        await commitAt([0, 15_000, 70_000, DAY + 5]);
        await compactAll();
        await store.pruneRollups({ resolutionMs: FINE, before: START + 2 * DAY, limit: 100 });
        const minutes = await points(MINUTE);
        expect(await second.pruneRollups({ resolutionMs: FINE, before: START + DAY, limit: 100 })).toBe(0);
        expect(await points(FINE)).toEqual(minutes);
        await commitAt([20_000]);
        await compactAll();
        expect(await points(FINE)).toEqual(await points(MINUTE));
        expect(await totalOf(FINE)).toBe(10);
      });

      it("I5: stays exact while two instances fold, compact and delete the same rows at once", async () => {
        const offsets = Array.from({ length: 40 }, (_, index) => index * 7_000);
        await commitAt(offsets);
        const prune = async (target: Store) => {
          for (let time = 0; time < 20; time += 1) {
            await target.pruneRollups({ resolutionMs: FINE, before: START + 2 * MINUTE, limit: 3 });
          }
          return 0;
        };
        const [mine, theirs] = await Promise.all([
          compactAll(4),
          compactAll(3, second),
          prune(store),
          prune(second),
          commitAt(offsets.map((offset) => offset + 1_000)),
        ]);
        expect(mine + theirs).toBeGreaterThan(0);
        await compactAll();
        await prune(second);
        expect([await totalOf(FINE), await totalOf(MINUTE), await totalOf(HOUR), await totalOf(DAY)]).toEqual([
          160, 160, 160, 160,
        ]);
        expect(await compactAll(100, second)).toBe(0);
      });

      it("I5: rows that no coarser one holds are not deleted", async () => {
        await commitAt([0, 15_000]);
        expect(await store.pruneRollups({ resolutionMs: FINE, before: START + DAY, limit: 100 })).toBe(0);
        expect([await totalOf(FINE), await totalOf(MINUTE), await totalOf(DAY)]).toEqual([4, 4, 4]);
      });

      it("compacts and deletes only what begins before the given time", async () => {
        await commitAt([0, 15_000, 70_000]);
        expect(await store.compactRollups({ resolutionMs: FINE, before: START + MINUTE, limit: 100 })).toBe(2);
        expect(await store.pruneRollups({ resolutionMs: FINE, before: START + MINUTE, limit: 100 })).toBe(2);
        expect(await totalOf(FINE)).toBe(6);
      });

      it("refuses slices that cannot be: no such resolution, half a coarser row, no limit", async () => {
        const refused = { code: "STORE_REQUEST_INVALID" };
        const slice = { resolutionMs: FINE, before: START, limit: 10 };
        await expect(store.compactRollups({ ...slice, resolutionMs: DAY })).rejects.toMatchObject(refused);
        await expect(store.compactRollups({ ...slice, resolutionMs: 7 })).rejects.toMatchObject(refused);
        await expect(store.compactRollups({ ...slice, limit: 0 })).rejects.toMatchObject(refused);
        await expect(store.pruneRollups({ ...slice, before: START + FINE })).rejects.toMatchObject(refused);
        await expect(store.pruneRollups({ ...slice, resolutionMs: 7 })).rejects.toMatchObject(refused);
        await expect(store.pruneRecords({ kind: "dead_batches", before: Number.NaN, limit: 1 })).rejects.toMatchObject(
          refused,
        );
      });
    });

    describe("retention of records", () => {
      const before = START + 100_000;

      it("deletes old dead batches, a bounded number at a time", async () => {
        for (const index of [1, 2, 3]) {
          await store.saveDeadBatch({ entryId: `${index}-0`, reason: "invalid", payload: "{", at: START + index });
        }
        const slice = { kind: "dead_batches", before: START + 3, limit: 1 } as const;
        expect(await store.pruneRecords(slice)).toBe(1);
        expect(await store.pruneRecords(slice)).toBe(1);
        expect(await store.pruneRecords(slice)).toBe(0);
      });

      it("deletes resolved failures with their actions, actions first, and nothing that is open or recent", async () => {
        const resolved = await stored({ affectedService: "resolved" });
        const open = await stored({ affectedService: "open" });
        const recent = await stored({ affectedService: "recent", timestamp: before });
        await store.recordRescues([rescueOf(resolved), rescueOf(open)]);
        await store.leaseRepair(repairOf(resolved));
        await store.resolveFailure(resolved, START + 1);
        await store.resolveFailure(recent, START + 1);
        const prune = (kind: "failure_events" | "recovery_actions") => store.pruneRecords({ kind, before, limit: 100 });

        expect(await prune("failure_events")).toBe(0);
        expect(await prune("recovery_actions")).toBe(1);
        expect(await prune("failure_events")).toBe(0);
        await store.abandonExpired(START + 60_000);
        expect(await prune("recovery_actions")).toBe(1);
        expect(await prune("failure_events")).toBe(1);
        const left = (await store.listFailures({ limit: 10 })).items.map(({ eventId }) => eventId);
        expect(left.sort()).toEqual([open, recent].sort());
        expect((await store.listRecoveries({ limit: 10 })).items).toMatchObject([{ failureEventId: open }]);
      });

      it("deletes old transitions but the one that a circuit stands in", async () => {
        for (const version of [1, 2, 3]) {
          const snapshot = circuitOf({ version, state: version % 2 === 1 ? "open" : "half_open" });
          await store.commitTransition(snapshot, transitionOf({ version, at: START + version }));
        }
        expect(await store.pruneRecords({ kind: "circuit_transitions", before, limit: 100 })).toBe(2);
        expect((await store.listTransitions({ limit: 10 })).items).toMatchObject([{ version: 3 }]);
      });

      it("deletes closed circuits that nobody refreshed or holds, with their last transition, a bounded number at a time", async () => {
        const hold = { state: "metrics_only", by: "ada", reason: "migration", until: undefined } as const;
        const move = async (name: string, versions: readonly number[], at: number) => {
          for (const version of versions) {
            const state = version % 2 === 1 ? "open" : "closed";
            const from = state === "open" ? "closed" : "open";
            await store.commitTransition(
              circuitOf({ name, version, state }),
              transitionOf({ circuitName: name, version, from, to: state, reason: "operator", at: at + version }),
            );
          }
        };
        await move("open", [1], START);
        await move("held", [1, 2], START);
        await store.holdCircuit("held", hold, START + 3);
        await move("held for a while", [1, 2], START);
        // Over for ten years, by whatever clock.
        await store.holdCircuit("held for a while", { ...hold, until: START - 3_650 * 86_400_000 }, START);
        await move("recent", [1, 2], before);
        await move("refreshed", [1, 2], START);
        await store.refreshCircuits([circuitOf({ name: "refreshed", version: 2 })], before);
        await move("left", [1, 2], START);
        await store.refreshCircuits([circuitOf({ name: "never moved", version: 0 })], START + 3);
        const prune = (kind: "circuits" | "circuit_transitions", limit: number) =>
          store.pruneRecords({ kind, before, limit });

        expect(await prune("circuits", 100)).toBe(1);
        expect(await prune("circuit_transitions", 100)).toBeGreaterThan(0);
        expect(await prune("circuits", 1)).toBe(1);
        expect(await prune("circuits", 100)).toBe(1);
        expect(await prune("circuits", 100)).toBe(0);
        const left = (await store.loadCircuits()).map(({ name }) => name).sort();
        expect(left).toEqual(["held", "open", "recent", "refreshed"]);
        const known = new Set(
          (await store.listTransitions({ limit: 100 })).items.map(({ circuitName }) => circuitName),
        );
        expect([...known].sort()).toEqual(["held", "open", "recent", "refreshed"]);

        await move("left", [1], START + 200);
        expect(await store.loadCircuits(["left"])).toMatchObject([{ state: "open", version: 1 }]);
      });
    });
  });
}
