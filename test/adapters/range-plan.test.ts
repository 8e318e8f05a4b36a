import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { passesOf, readsOf, rowsOfOne, slicesOf } from "../../server/adapters/range-plan.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../shared/units.js";

const pass = { resolutionMs: MINUTE_MS, from: 0, to: DAY_MS, onlyPending: false } as const;

describe("the plan of a range", () => {
  it("reads the coarsest rows, and of finer ones what those lack", () => {
    expect(passesOf({ from: 0, to: DAY_MS, stepMs: HOUR_MS }, new Map())).toEqual([
      { resolutionMs: HOUR_MS, from: 0, to: DAY_MS, onlyPending: false },
      { resolutionMs: 10_000, from: 0, to: DAY_MS, onlyPending: true },
      { resolutionMs: MINUTE_MS, from: 0, to: DAY_MS, onlyPending: true },
    ]);
  });

  it("has each series in one slice, and slices that touch no more rows than they may", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 3_000 }),
        fc.integer({ min: 0, max: 50_000 }),
        fc.integer({ min: 1, max: 20_000 }),
        (series, rowsOfEach, mostRows) => {
          const ids = Array.from({ length: series }, (_, id) => id);
          const slices = slicesOf(ids, rowsOfEach, mostRows);
          expect(slices.flat()).toEqual(ids);
          for (const slice of slices) {
            expect(slice.length === 1 || slice.length * rowsOfEach <= mostRows).toBe(true);
          }
        },
      ),
    );
  });

  it("reads every row that was counted in one statement of no more than it may", () => {
    const counted = fc.array(fc.uniqueArray(fc.nat({ max: 1_439 }), { minLength: 1, maxLength: 300, size: "max" }), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(counted, fc.integer({ min: 1, max: 200 }), (series, mostRows) => {
        const rows = series.flatMap((places, id) => places.map((place) => ({ id, bucket: place * MINUTE_MS })));
        const reads = readsOf(
          pass,
          series.map((places, id) => ({
            id,
            rows: places.length,
            first: Math.min(...places) * MINUTE_MS,
            last: Math.max(...places) * MINUTE_MS,
          })),
          mostRows,
        );
        const touched = reads.map(({ seriesIds, from, to }) =>
          rows.filter(({ id, bucket }) => seriesIds.includes(id) && bucket >= from && bucket < to),
        );
        for (const some of touched) expect(some.length).toBeLessThanOrEqual(mostRows);
        const order = (a: { id: number; bucket: number }, b: { id: number; bucket: number }) =>
          a.id - b.id || a.bucket - b.bucket;
        expect(touched.flat().sort(order)).toEqual(rows.sort(order));
      }),
    );
  });

  it("reads nothing outside the pass, although a series was counted beyond it", () => {
    const reads = readsOf(pass, [{ id: 1, rows: 5_000, first: -DAY_MS, last: 3 * DAY_MS }], 1_000);
    expect(Math.min(...reads.map(({ from }) => from))).toBe(pass.from);
    expect(Math.max(...reads.map(({ to }) => to))).toBe(pass.to);
    expect(rowsOfOne(pass)).toBe(1_440);
  });
});
