/** How every store counts batches once, for ever, and tells what did not arrive; told once and run against each of them. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../server/ports/store.js";
import { encodeBatch } from "../../shared/batch-codec.js";
import { type Batch, pointsIn } from "../../shared/series.js";
import { DAY_MS, HOUR_MS, SECOND_MS } from "../../shared/units.js";
import type { FakeClock } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";
import { batchOf, durations, freshId, START, summaryOf } from "./store-fixtures.js";
import type { StoreHarness } from "./store-harness.js";

interface Life {
  readonly instance?: string;
  readonly boot?: string;
  readonly metricName?: string;
  /** Points of each batch, from the first on; one without any tells of drops only. */
  readonly points: readonly number[];
  /** Drops of the boot up to each batch. */
  readonly drops?: readonly number[];
  readonly startAt?: number;
}

/** The batches of one life of a process, as its collector numbers and counts them. */
function batchesOf({ instance = "web-1", boot = freshId("boot"), metricName, points, drops, startAt = START }: Life) {
  let carried = 0;
  return points.map((count, index): Batch => {
    carried += count;
    const dropped = drops?.[index] ?? 0;
    const values = Array.from({ length: count }, (_, at) => at + 1);
    return {
      ...batchOf({ instance, boot, seq: index + 1, windowEnd: startAt + (index + 1) * SECOND_MS }),
      recordedTotal: carried + dropped,
      droppedTotal: dropped === 0 ? {} : { not_finite: dropped },
      series: count === 0 ? [] : [{ ...durations, metricName: metricName ?? boot, ...summaryOf(values) }],
    };
  });
}

export function describeLedger(name: string, create: () => Promise<StoreHarness>): void {
  describe(`${name} counts each batch once`, () => {
    let harness: StoreHarness;
    let store: Store;
    let second: Store;
    let clock: FakeClock;

    beforeEach(async () => {
      harness = await create();
      ({ store, second, clock } = harness);
    });
    afterEach(() => harness.dispose());

    const commit = async (...batches: readonly (Batch | undefined)[]) => {
      const folded: boolean[] = [];
      for (const batch of batches) if (batch) folded.push(await store.commitBatch(batch));
      return folded;
    };
    const settleAll = async (target = store, limit = 100) => {
      let settled = 0;
      for (;;) {
        const rows = await target.settleBatches({ before: clock.now() + 1, limit });
        settled += rows;
        if (rows === 0) return settled;
      }
    };
    const gaps = () => store.listGaps({ limit: 1_000 });
    const entryOf = async (batch: Batch | undefined) =>
      (await store.ledger()).find(({ instance, boot }) => instance === batch?.instance && boot === batch.boot);
    const rolledUp = async (metricName: string | undefined) =>
      (
        await store.readSeries({
          metricName: metricName ?? "",
          from: 0,
          to: START + 900 * DAY_MS,
          stepMs: DAY_MS,
          limit: 10_000,
        })
      ).reduce((sum, { count }) => sum + count, 0);

    it("reads entries of a stream: folds what holds a batch, once, and says of the rest why it cannot be read", async () => {
      const [one] = batchesOf({ points: [3], metricName: "entries", instance: "wéb-1 \u{1f642}" });
      if (!one) throw new Error("there is one");
      const fields = encodeBatch(one);
      expect(await store.commitEntry(fields)).toMatchObject({
        kind: "folded",
        batch: { instance: one.instance, boot: one.boot, seq: 1, points: 3, recordedTotal: 3 },
      });
      expect(await second.commitEntry(fields)).toMatchObject({ kind: "known", batch: { seq: 1, points: 3 } });
      expect(await store.commitBatch(one)).toBe(false);
      const other = { ...fields, batch: `${fields.batch}0` };
      for (const [broken, reason] of [
        [{ ...other, v: "2" }, "newer_version"],
        [{ v: "1", batch: other.batch }, "missing_fields"],
        [{ ...other, data: other.data.slice(0, -1) }, "not_json"],
        [{ ...other, batch: "no number" }, "invalid"],
        [{}, "missing_fields"],
      ] as const) {
        expect(await store.commitEntry(broken)).toEqual({
          kind: "unreadable",
          reason,
          detail: expect.stringMatching(/./),
        });
      }
      expect(await store.ledger()).toMatchObject([{ recorded: 3, rolledUp: 3, batches: 1 }]);
      expect(await rolledUp("entries")).toBe(3);
    });

    it("I7: a hole becomes a gap with its points and time once what came after it is settled", async () => {
      const [one, two, , , five] = batchesOf({ points: [10, 20, 30, 40, 50] });
      await commit(one, two, five);
      expect(await entryOf(one)).toMatchObject({ recorded: 150, rolledUp: 80, lost: 0 });
      expect(await gaps()).toEqual([]);

      expect(await settleAll()).toBe(3);
      expect(await gaps()).toEqual([
        {
          instance: "web-1",
          boot: one?.boot,
          firstSeq: 3,
          lastSeq: 4,
          from: two?.windowStart,
          to: five?.windowEnd,
          points: 70,
        },
      ]);
      expect(await entryOf(one)).toMatchObject({ recorded: 150, rolledUp: 80, lost: 70, batches: 3 });
      expect(await settleAll(second)).toBe(0);
      expect(await gaps()).toHaveLength(1);
    });

    it("I7: counts neither drops nor what the first batches lost twice", async () => {
      const [, two, , four] = batchesOf({ points: [5, 7, 0, 9], drops: [1, 1, 4, 6] });
      await commit(two, four);
      await settleAll();
      expect(await gaps()).toMatchObject([
        { firstSeq: 3, lastSeq: 3, points: 0 },
        { firstSeq: 1, lastSeq: 1, points: 5, from: two?.windowStart, to: two?.windowEnd },
      ]);
      expect(await entryOf(two)).toMatchObject({ recorded: 27, dropped: { not_finite: 6 }, rolledUp: 16, lost: 5 });
    });

    it("folds a batch that comes late, out of its gap, which closes around it", async () => {
      const [one, two, three, four, five] = batchesOf({ points: [1, 2, 4, 8, 16], metricName: "late" });
      await commit(one, five);
      await settleAll();
      expect(await gaps()).toMatchObject([{ firstSeq: 2, lastSeq: 4, points: 14 }]);

      expect(await commit(three, three)).toEqual([true, false]);
      expect(await second.commitBatch(three as Batch)).toBe(false);
      const parts = [
        { firstSeq: 2, lastSeq: 2, points: 2 },
        { firstSeq: 4, lastSeq: 4, points: 8 },
      ];
      expect((await gaps()).toSorted((a, b) => a.firstSeq - b.firstSeq)).toMatchObject(parts);
      expect(await entryOf(one)).toMatchObject({ recorded: 31, rolledUp: 21, lost: 10, batches: 3 });

      expect(await commit(four, two, two, four)).toEqual([true, true, false, false]);
      expect(await gaps()).toEqual([]);
      expect(await entryOf(one)).toMatchObject({ recorded: 31, rolledUp: 31, lost: 0, batches: 5 });
      expect(await rolledUp("late")).toBe(31);
    });

    it("knows a batch for ever, though its row of the ledger is gone", async () => {
      const batches = batchesOf({ points: [1, 2, 3], metricName: "known" });
      await commit(...batches);
      await settleAll();
      clock.stepWall(400 * DAY_MS);
      expect(await commit(...batches)).toEqual([false, false, false]);
      expect(await second.commitBatch(batches[1] as Batch)).toBe(false);
      expect(await rolledUp("known")).toBe(6);
    });

    it("calls no batch lost while one before it, or itself, came a moment ago", async () => {
      const [one, two, three, four] = batchesOf({ points: [1, 1, 1, 1] });
      await commit(two, four);
      await clock.advance(HOUR_MS);
      await commit(one);
      const before = clock.now() - 60 * SECOND_MS;
      expect(await store.settleBatches({ before, limit: 100 })).toBe(0);
      await clock.advance(HOUR_MS);
      await commit(three);
      expect(await store.settleBatches({ before: clock.now() - 60 * SECOND_MS, limit: 100 })).toBe(2);
      expect(await gaps()).toEqual([]);
      expect(await settleAll()).toBe(2);
      expect(await gaps()).toEqual([]);
    });

    it("I2 I3 I7: books every batch once, as rolled up or as lost, for any order, loss, repetition and settling", async () => {
      let run = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 12, size: "max" }),
          fc.infiniteStream(fc.nat({ max: 1_000 })),
          fc.integer({ min: 1, max: 4 }),
          async (points, chance, limit) => {
            run += 1;
            const metricName = `books.${run}`;
            const roll = () => chance.next().value ?? 0;
            const batches = batchesOf({ boot: metricName, metricName, points });
            const shuffled = (list: readonly Batch[]) =>
              list.map((batch) => ({ batch, place: roll() })).sort((a, b) => a.place - b.place);
            const early = shuffled([...batches, ...batches]).map(({ batch }) => batch);
            const arriving = early.filter(() => roll() % 3 > 0);
            const folded = new Set<number>();
            const send = async (batch: Batch) => {
              const target = roll() % 2 === 0 ? store : second;
              expect(await target.commitBatch(batch)).toBe(!folded.has(batch.seq));
              folded.add(batch.seq);
              if (roll() % 3 === 0) await target.settleBatches({ before: clock.now() + 1, limit });
            };
            for (const batch of arriving) await send(batch);
            await settleAll(store, limit);

            const check = async () => {
              const newest = Math.max(0, ...folded);
              const missing = batches.filter(({ seq }) => seq < newest && !folded.has(seq));
              const own = (await gaps()).filter(({ boot }) => boot === metricName);
              expect(own.every((gap) => gap.points >= 0 && gap.firstSeq <= gap.lastSeq && gap.from <= gap.to)).toBe(
                true,
              );
              const lost = missing.reduce((sum, batch) => sum + pointsIn(batch), 0);
              expect(own.reduce((sum, gap) => sum + gap.points, 0)).toBe(lost);
              const seqs = own.flatMap(({ firstSeq, lastSeq }) =>
                Array.from({ length: lastSeq - firstSeq + 1 }, (_, at) => firstSeq + at),
              );
              expect(seqs.toSorted((a, b) => a - b)).toEqual(missing.map(({ seq }) => seq));
              const counted = batches.filter(({ seq }) => folded.has(seq)).reduce((sum, one) => sum + pointsIn(one), 0);
              expect(await rolledUp(metricName)).toBe(counted);
              if (newest === 0) return;
              const carried = batches[newest - 1]?.recordedTotal;
              expect(await entryOf(batches[0])).toMatchObject({ recorded: carried, rolledUp: counted, lost });
            };
            await check();
            for (const { batch } of shuffled(batches)) if (roll() % 2 === 0) await send(batch);
            await settleAll(second, limit);
            await check();
          },
        ),
        { numRuns: runs(20, 1 / 100) },
      );
    }, 60_000);

    it("stays right while two instances commit, settle and sum up at once", async () => {
      const lives = [1, 2, 3].map((index) => batchesOf({ metricName: "busy", points: Array(20).fill(index) }));
      const late = lives.flatMap((batches) => batches.filter(({ seq }) => seq % 3 === 0));
      const early = lives.flatMap((batches) => batches.filter(({ seq }) => seq % 3 !== 0));
      await Promise.all(early.map((batch, index) => (index % 2 === 0 ? store : second).commitBatch(batch)));
      const folded = await Promise.all([
        ...late.flatMap((batch) => [store.commitBatch(batch), second.commitBatch(batch)]),
        settleAll(store, 5).then(() => false),
        settleAll(second, 5).then(() => false),
        store.pruneRecords({ kind: "boots", before: clock.now(), limit: 10 }).then(() => false),
      ]);
      expect(folded.filter(Boolean)).toHaveLength(late.length);
      await settleAll();
      expect(await gaps()).toEqual([]);
      expect(await rolledUp("busy")).toBe(120);
      const books = (await store.ledger()).map(({ recorded, rolledUp: points, lost }) => [recorded, points, lost]);
      expect(books.toSorted(([a = 0], [b = 0]) => a - b)).toEqual([
        [20, 20, 0],
        [40, 40, 0],
        [60, 60, 0],
      ]);
    });

    it("lists gaps that touch a range, the latest first, as many as are asked for", async () => {
      for (const hour of [0, 1, 2]) {
        const [one, , three] = batchesOf({ points: [1, hour + 1, 1], startAt: START + hour * HOUR_MS });
        await commit(one, three);
      }
      await settleAll();
      const pointsIn = async (from?: number, to?: number, limit = 10) =>
        (await store.listGaps({ from, to, limit })).map(({ points }) => points);
      expect(await pointsIn()).toEqual([3, 2, 1]);
      expect(await pointsIn(undefined, undefined, 2)).toEqual([3, 2]);
      expect(await pointsIn(START + HOUR_MS, START + 2 * HOUR_MS)).toEqual([2]);
      expect(await pointsIn(START + 2 * SECOND_MS, START + HOUR_MS + 1)).toEqual([2, 1]);
      expect(await pointsIn(START + 3 * HOUR_MS)).toEqual([]);
      await expect(store.listGaps({ limit: 0 })).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
    });

    it("forgets old gaps, a bounded number at a time: their points stay lost, and their batches are not folded", async () => {
      const [one, two, three, , five] = batchesOf({ points: [1, 2, 4, 8, 16], metricName: "forgotten" });
      await commit(one, three, five);
      await settleAll();
      const slice = { kind: "gaps", before: START + HOUR_MS, limit: 1 } as const;
      expect(await store.pruneRecords({ ...slice, before: START })).toBe(0);
      expect([await store.pruneRecords(slice), await store.pruneRecords(slice)]).toEqual([1, 1]);
      expect(await store.pruneRecords(slice)).toBe(0);
      expect(await gaps()).toEqual([]);
      expect(await commit(two)).toEqual([false]);
      expect(await entryOf(one)).toMatchObject({ recorded: 31, rolledUp: 21, lost: 10 });
    });

    describe("boots that ended", () => {
      const prune = (before: number, limit = 100) => store.pruneRecords({ kind: "boots", before, limit });
      const sumOf = async () => (await store.ledger()).find(({ instance }) => instance === "");

      it("are summed up: the books of all stay as they were", async () => {
        const [a, , c] = batchesOf({ points: [1, 2, 4], drops: [0, 0, 3] });
        await commit(a, c);
        await clock.advance(HOUR_MS);
        await commit(...batchesOf({ points: [10, 20], drops: [1, 1] }));
        await clock.advance(HOUR_MS);
        const live = batchesOf({ points: [100], startAt: clock.now() });
        await commit(...live);

        expect(await prune(clock.now())).toBe(0);
        await settleAll();
        expect(await prune(clock.now(), 1)).toBe(1);
        expect(await sumOf()).toMatchObject({ recorded: 10, rolledUp: 5, dropped: { not_finite: 3 }, lost: 2 });
        expect(await prune(clock.now())).toBe(1);
        expect(await prune(clock.now())).toBe(0);
        expect(await sumOf()).toMatchObject({
          recorded: 41,
          rolledUp: 35,
          dropped: { not_finite: 4 },
          lost: 2,
          batches: 4,
        });
        expect(await store.ledger()).toHaveLength(2);
        expect(await entryOf(live[0])).toMatchObject({ recorded: 100, rolledUp: 100, lost: 0 });
        expect(await gaps()).toMatchObject([{ boot: a?.boot, firstSeq: 2, points: 2 }]);
      });

      it("are not heard again: a batch of theirs is refused, not folded twice; one of a new process is taken", async () => {
        const old = batchesOf({ points: [1, 2], metricName: "again", startAt: clock.now() });
        await commit(...old);
        await clock.advance(8 * DAY_MS);
        await settleAll();
        expect(await prune(clock.now() - 7 * DAY_MS)).toBe(1);
        for (const target of [store, second]) {
          for (const batch of old) {
            await expect(target.commitBatch(batch)).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
          }
        }
        const fresh = batchesOf({ points: [4], metricName: "again", startAt: clock.now() });
        expect(await commit(...fresh)).toEqual([true]);
        expect(await rolledUp("again")).toBe(7);
        expect(await sumOf()).toMatchObject({ recorded: 3, rolledUp: 3 });
      });
    });
  });
}
