import fc from "fast-check";
import { expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { Batch } from "../../shared/series.js";
import { durations, START, summaryOf } from "../conformance/store-fixtures.js";
import { createFakeClock } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";

const METRICS = ["one", "two", "three"] as const;

/** One measurement: what, when, how much. */
interface Point {
  readonly metricName: (typeof METRICS)[number];
  readonly tag: string;
  readonly second: number;
  readonly value: number;
}

const point: fc.Arbitrary<Point> = fc.record({
  metricName: fc.constantFrom(...METRICS),
  tag: fc.constantFrom("a", "b"),
  second: fc.integer({ min: 1, max: 60 }),
  value: fc.nat(5_000),
});

/** Divides points over boots and batches as `chance` has it, one window a batch, and sends some of them again, in any order. */
function delivered(points: readonly Point[], chance: () => number): readonly Batch[] {
  const groups = new Map<string, Point[]>();
  for (const one of points) {
    const group = `${one.second} ${chance() % 3} ${chance() % 2}`;
    groups.set(group, [...(groups.get(group) ?? []), one]);
  }
  const batches = [...groups.values()].map((group, at): Batch => {
    const bySeries = new Map<string, Point[]>();
    for (const one of group) {
      const key = `${one.metricName} ${one.tag}`;
      bySeries.set(key, [...(bySeries.get(key) ?? []), one]);
    }
    const windowEnd = START + (group[0]?.second ?? 0) * 1_000;
    return {
      version: 1,
      instance: `web-${chance() % 2}`,
      boot: "b",
      seq: at + 1,
      windowStart: windowEnd - 1_000,
      windowEnd,
      recordedTotal: group.length,
      droppedTotal: {},
      series: [...bySeries.values()].map((own) => ({
        ...durations,
        metricName: own[0]?.metricName ?? "",
        tags: { tag: own[0]?.tag ?? "" },
        ...summaryOf(own.map(({ value }) => value)),
      })),
    };
  });
  return batches
    .flatMap((batch) => Array.from({ length: 1 + (chance() % 3) }, () => batch))
    .map((batch) => ({ batch, place: chance() }))
    .sort((a, b) => a.place - b.place)
    .map(({ batch }) => batch);
}

async function rollupsOf(batches: readonly Batch[]) {
  const store = createMemoryStore({ clock: createFakeClock() });
  for (const batch of batches) await store.commitBatch(batch);
  const read = (metricName: string, tag: string) =>
    store.readSeries({ metricName, tags: { tag }, from: 0, to: START * 2, stepMs: 10_000, limit: 1_000 });
  return Promise.all(METRICS.flatMap((metricName) => ["a", "b"].map((tag) => read(metricName, tag))));
}

it("I6: the same points give the same rollups, however they are split into batches, repeated and ordered", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(point, { minLength: 1, maxLength: 60, size: "max" }),
      fc.infiniteStream(fc.nat(1_000_000)),
      async (points, chances) => {
        const chance = () => chances.next().value ?? 0;
        const one = await rollupsOf(delivered(points, chance));
        const other = await rollupsOf(delivered(points, chance));
        expect(other).toEqual(one);
        expect(one.flat().reduce((sum, { count }) => sum + count, 0)).toBe(points.length);
      },
    ),
    { numRuns: runs(100) },
  );
});
