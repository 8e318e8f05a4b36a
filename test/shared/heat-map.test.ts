import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { heatMapOf } from "../../shared/heat-map.js";
import { summaryOf } from "../conformance/store-fixtures.js";

const values = fc.array(
  fc.oneof(fc.double({ min: 0, max: 2 ** 52, noNaN: true }), fc.integer({ min: 0, max: 100 }), fc.constant(0)),
  { minLength: 1, maxLength: 30 },
);
const steps = fc
  .array(values, { maxLength: 10 })
  .map((all) => all.map((seen, at) => ({ timestamp: at * 60_000, seen, ...summaryOf(seen) })));

describe("a heat map", () => {
  it("I4: has every point of a step in one band, whose bounds hold it", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 64 }), (told, mostBands) => {
        const map = heatMapOf(told, mostBands);
        expect(map.steps.map(({ timestamp }) => timestamp)).toEqual(told.map(({ timestamp }) => timestamp));
        for (const [at, { counts }] of map.steps.entries()) {
          expect(counts.reduce((sum, count) => sum + count, 0)).toBe(told[at]?.count);
          for (const value of told[at]?.seen ?? []) {
            const holding = map.bands.filter(
              // Bounds are powers of two of a fraction, so they are exact up to the last bits of a float.
              ({ above, upTo = Number.POSITIVE_INFINITY }) =>
                (above === 0 || value > above * (1 - 1e-12)) && value <= upTo * (1 + 1e-12),
            );
            expect(holding.some((band) => (counts[map.bands.indexOf(band)] ?? 0) > 0)).toBe(true);
          }
        }
      }),
    );
  });

  it("has at most so many bands, without a gap or an overlap, from the lowest that holds anything to the highest", () => {
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 64 }), (told, mostBands) => {
        const { bands, steps: mapped } = heatMapOf(told, mostBands);
        expect(bands.length).toBeLessThanOrEqual(mostBands);
        for (const [at, band] of bands.entries()) {
          expect(band.upTo ?? Number.POSITIVE_INFINITY).toBeGreaterThan(band.above);
          if (at > 0) expect(band.above).toBe(bands[at - 1]?.upTo);
        }
        const columns = bands.map((_, at) => mapped.reduce((sum, { counts }) => sum + (counts[at] ?? 0), 0));
        if (bands.length > 0) expect([columns[0], columns.at(-1)]).not.toContain(0);
      }),
    );
  });

  it("is as fine as its bands allow, with bounds that are the same whatever else is in it", () => {
    const step = (seen: readonly number[]) => ({ timestamp: 0, ...summaryOf(seen) });
    expect(heatMapOf([step([10])], 32)).toMatchObject({ bands: [{ upTo: expect.closeTo(10.15, 1) }] });
    const wide = heatMapOf([step([1, 1_000])], 16).bands;
    const wider = heatMapOf([step([1, 1_500])], 16).bands;
    expect(wider.slice(0, wide.length)).toEqual(wide);
  });

  it("tells zero and what has no bound", () => {
    const { bands } = heatMapOf([{ timestamp: 0, ...summaryOf([0, 1e300]) }], 64);
    expect(bands[0]?.above).toBe(0);
    expect(bands.at(-1)?.upTo).toBeUndefined();
  });

  it("is empty where nothing was measured", () => {
    expect(heatMapOf([], 32)).toEqual({ bands: [], steps: [] });
    expect(heatMapOf([{ timestamp: 0, ...summaryOf([1]), buckets: [] }], 32)).toEqual({ bands: [], steps: [] });
  });
});
