import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { type CompactionOptions, createCompaction, RETENTION_DEFAULTS } from "../../server/metrics/compaction.js";
import type { Store } from "../../server/ports/store.js";
import { ParamedicError } from "../../shared/errors.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../shared/units.js";
import { batchOf, durations, freshId, START, sightingOf } from "../conformance/store-fixtures.js";
import { createFakeClock } from "../support/fake-clock.js";

function harness(options: CompactionOptions = {}, changes: (store: Store) => Partial<Store> = () => ({})) {
  const clock = createFakeClock(START);
  const inner = createMemoryStore({ clock });
  const faults: unknown[] = [];
  const store: Store = { ...inner, ...changes(inner) };
  const compaction = createCompaction({ clock, store, onFault: (error) => faults.push(error) }, options);
  const commit = (windowEnd = clock.now()) => inner.commitBatch(batchOf({ boot: freshId("boot"), windowEnd }, [1]));
  const read = (stepMs: number) =>
    inner.readSeries({ metricName: durations.metricName, from: 0, to: START * 2, stepMs, limit: 10_000 });
  return { clock, store: inner, compaction, faults, commit, read };
}

describe("compaction in the background", () => {
  it("makes minutes, hours and days as they end, and keeps each its time", async () => {
    const { clock, compaction, commit, read } = harness();
    for (let hour = 0; hour < 72; hour += 1) {
      await commit(clock.now() + 1);
      await clock.advance(HOUR_MS);
      await compaction.runOnce();
    }
    expect(compaction.stats()).toMatchObject({ refused: 0 });
    expect(await read(DAY_MS)).toMatchObject([{ count: 24 }, { count: 24 }, { count: 24 }]);
    expect(await read(HOUR_MS)).toHaveLength(72);
    expect(compaction.stats().deleted).toBe(48);
    await clock.advance(20 * DAY_MS);
    await commit();
    await compaction.runOnce();
    expect(await read(HOUR_MS)).toHaveLength(73);
  });

  it("keeps hours for more than a year unless it is told otherwise, finer rows for less and days for longer", () => {
    const { tenSecondsMs, minutesMs, hoursMs, daysMs } = RETENTION_DEFAULTS;
    const kept = [tenSecondsMs, minutesMs, hoursMs, daysMs];
    expect(kept).toEqual([...kept].sort((a, b) => a - b));
    expect(hoursMs).toBeGreaterThanOrEqual(366 * DAY_MS);
  });

  it("runs by itself once started, and no more once stopped", async () => {
    const { clock, compaction, commit } = harness();
    await commit(START + 1);
    compaction.start();
    await clock.advance(3 * MINUTE_MS);
    expect(compaction.stats().compacted).toBe(1);
    await compaction.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it("R7: deletes nothing while the clock is implausible, and still compacts", async () => {
    const { clock, store, compaction, commit } = harness();
    const { failure, ...sighting } = sightingOf();
    await store.recordFailures([{ failure, ...sighting }]);
    await store.resolveFailure(failure.eventId, START);
    await commit(START + 1);
    await compaction.runOnce();
    clock.stepWall(365 * DAY_MS);
    await compaction.runOnce();
    expect(compaction.stats()).toMatchObject({ deleted: 0, refused: 1 });
    expect(compaction.stats().compacted).toBeGreaterThan(0);
    clock.stepWall(-365 * DAY_MS);
    await clock.advance(2 * HOUR_MS);
    await compaction.runOnce();
    expect((await store.listFailures({ limit: 1 })).items).toHaveLength(1);
  });

  it("R7: deletes a bounded number of rows in one run, and goes on in the next", async () => {
    const { clock, store, compaction } = harness({ batchRows: 10, mostRowsPerRun: 20 });
    for (let index = 0; index < 50; index += 1) {
      await store.saveDeadBatch({ entryId: `${index}-0`, reason: "invalid", payload: "{", at: START });
    }
    await compaction.runOnce();
    for (let hour = 0; hour < 31 * 24; hour += 24) await clock.advance(DAY_MS);
    const deleted = [];
    for (let run = 0; run < 4; run += 1) {
      await compaction.runOnce();
      deleted.push(compaction.stats().deleted);
    }
    expect(deleted).toEqual([20, 40, 50, 50]);
  });

  it("keeps each table its own time, and 30 days what is not named", async () => {
    const { clock, store, compaction } = harness({
      retention: { tables: { operator_audit: 90 * DAY_MS, failure_events: 2 * DAY_MS } },
    });
    await store.recordAudit({
      at: START,
      actor: "ada",
      action: "settings.set",
      subject: "mode",
      reason: "a look first",
      outcome: "succeeded",
      detail: undefined,
    });
    const sighting = sightingOf();
    await store.recordFailures([sighting]);
    await store.resolveFailure(sighting.failure.eventId, START);
    const left: number[][] = [];
    for (const days of [0, 3, 31, 91]) {
      await clock.advance(START + days * DAY_MS - clock.now());
      await compaction.runOnce();
      const pages = [store.listFailures, store.listIncidents, store.listAudit].map((list) => list({ limit: 9 }));
      left.push((await Promise.all<{ readonly items: readonly unknown[] }>(pages)).map(({ items }) => items.length));
    }
    // Failure events, incidents, lines of the audit.
    expect(left).toEqual([
      [1, 1, 1],
      [0, 1, 1],
      [0, 0, 1],
      [0, 0, 0],
    ]);
  });

  it("I7: calls a batch lost ten minutes after a later one came, and found when it comes after all", async () => {
    const { clock, store, compaction } = harness();
    const [one, two, three] = [1, 2, 3].map((seq) => ({
      ...batchOf({ seq, windowEnd: START + seq * 1_000, recordedTotal: seq * 3 }),
    }));
    if (!one || !two || !three) throw new Error("there are three");
    await store.commitBatch(one);
    await store.commitBatch(three);
    await clock.advance(10 * MINUTE_MS);
    await compaction.runOnce();
    expect(compaction.stats().settled).toBe(0);
    await clock.advance(1);
    await compaction.runOnce();
    expect(compaction.stats().settled).toBe(2);
    expect(await store.listGaps({ limit: 10 })).toMatchObject([{ firstSeq: 2, lastSeq: 2, points: 3 }]);
    expect(await store.ledger()).toMatchObject([{ recorded: 9, rolledUp: 6, lost: 3 }]);
    await store.commitBatch(two);
    expect(await store.listGaps({ limit: 10 })).toEqual([]);
    expect(await store.ledger()).toMatchObject([{ recorded: 9, rolledUp: 9, lost: 0 }]);
  });

  it("sums up processes that ended a week ago, and none while nothing at all is heard", async () => {
    const { clock, store, compaction, commit } = harness();
    await commit();
    await compaction.runOnce();
    for (let day = 0; day < 8; day += 1) {
      await clock.advance(DAY_MS);
      await compaction.runOnce();
    }
    expect(await store.ledger()).toMatchObject([{ instance: "a" }]);
    await commit();
    await compaction.runOnce();
    expect(await store.ledger()).toMatchObject([
      { instance: "", recorded: 1, rolledUp: 1, lost: 0 },
      { instance: "a" },
    ]);
  });

  it("deletes on a full disk: in smaller steps, before it compacts, and whatever compaction says", async () => {
    const full = () => Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "the disk is full"));
    const { clock, store, compaction, faults } = harness({ batchRows: 500 }, (inner) => ({
      compactRollups: full,
      pruneRecords: (slice) => (slice.limit > 20 ? full() : inner.pruneRecords(slice)),
    }));
    for (let index = 0; index < 50; index += 1) {
      await store.saveDeadBatch({ entryId: `${index}-0`, reason: "invalid", payload: "{", at: START });
    }
    await compaction.runOnce();
    await clock.advance(31 * DAY_MS);
    await compaction.runOnce();
    expect(compaction.stats().deleted).toBe(50);
    expect(faults.length).toBeGreaterThan(0);
  });

  it("refuses times that would lose what a coarser resolution should tell", () => {
    const refused = [{ minutesMs: HOUR_MS }, { recordsMs: 0 }, { daysMs: Number.NaN }, { tables: { tasks: 1 } }];
    for (const retention of refused) {
      expect(() => harness({ retention })).toThrow(expect.objectContaining({ code: "CONFIGURATION_INVALID" }));
    }
  });
});
