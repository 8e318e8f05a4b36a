import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketStart } from "../../shared/resolutions.js";
import { createStepFold, pointOf } from "../../shared/step-fold.js";
import { HOUR_MS, MINUTE_MS } from "../../shared/units.js";
import { summaryOf } from "../conformance/store-fixtures.js";

/** Of several series, hence at any place more than once, in the order in which they are read. */
const rollups = fc.array(
  fc.record({
    time: fc.integer({ min: -50, max: 250 }).map((place) => place * 10_000),
    values: fc.array(fc.integer({ min: 0, max: 10_000 }), { minLength: 1, maxLength: 5 }),
  }),
  { maxLength: 80, size: "max" },
);

type Rollups = readonly { readonly time: number; readonly values: readonly number[] }[];

function pointsOf(parts: Rollups, stepMs: number, limit: number) {
  const fold = createStepFold({ stepMs, limit });
  for (const { time, values } of parts) fold.add(time, summaryOf(values));
  return fold.take().map(pointOf);
}

/** The model: all values of a step, summed up at once. */
function expectedPoints(parts: Rollups, stepMs: number, limit: number) {
  const starts = [...new Set(parts.map(({ time }) => bucketStart(time, stepMs)))].sort((a, b) => a - b);
  return starts.slice(0, limit).map((timestamp) => {
    const values = parts.filter(({ time }) => bucketStart(time, stepMs) === timestamp).flatMap((part) => part.values);
    return pointOf({ timestamp, ...summaryOf(values) });
  });
}

describe("a step fold", () => {
  it("gives the first steps that hold anything, oldest first, each with all its points", () => {
    const widths = fc.constantFrom(10_000, 30_000, MINUTE_MS, 10 * MINUTE_MS);
    fc.assert(
      fc.property(rollups, widths, fc.integer({ min: 1, max: 12 }), (parts, stepMs, limit) => {
        expect(pointsOf(parts, stepMs, limit)).toEqual(expectedPoints(parts, stepMs, limit));
      }),
    );
  });

  it("I5: tells an hour as the sum of its minutes", () => {
    fc.assert(
      fc.property(rollups, (parts) => {
        const minutes = createStepFold({ stepMs: MINUTE_MS, limit: 1_000 });
        for (const { time, values } of parts) minutes.add(time, summaryOf(values));
        const hours = createStepFold({ stepMs: HOUR_MS, limit: 1_000 });
        for (const { timestamp, ...minute } of minutes.take()) hours.add(timestamp, minute);
        expect(hours.take().map(pointOf)).toEqual(pointsOf(parts, HOUR_MS, 1_000));
      }),
    );
  });

  it("I4: has percentiles that rise and lie within what was seen", () => {
    fc.assert(
      fc.property(rollups, (parts) => {
        for (const { min, p50, p95, p99, max } of pointsOf(parts, MINUTE_MS, 1_000)) {
          const told = [min, p50 ?? Number.NaN, p95 ?? Number.NaN, p99 ?? Number.NaN, max];
          expect(told).toEqual(told.toSorted((a, b) => a - b));
        }
      }),
    );
  });
});
