import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { coarserThan, RESOLUTIONS_MS, stretchesOf } from "../../shared/resolutions.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";

const steps = [10 * SECOND_MS, 30 * SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, DAY_MS];

/** Marks as retention sets them: multiples of the next coarser resolution, the finer the later. */
const marks = fc
  .tuple(fc.nat({ max: 5_000 }), fc.nat({ max: 90 }), fc.nat({ max: 3 }))
  .map(([minutes, hours, days]) => {
    const day = days * DAY_MS;
    const hour = Math.max(day, hours * HOUR_MS);
    return new Map<number, number>([
      [10 * SECOND_MS, Math.max(hour, minutes * MINUTE_MS)],
      [MINUTE_MS, hour],
      [HOUR_MS, day],
    ]);
  });

describe("the stretches of a range", () => {
  it("cover every moment of it once, in order, whole buckets only above the finest that is kept", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4 * DAY_MS }),
        fc.integer({ min: 0, max: 3 * DAY_MS }),
        fc.constantFrom(...steps),
        marks,
        (from, length, stepMs, keptFrom) => {
          const to = from + length;
          const stretches = stretchesOf({ from, to, stepMs }, keptFrom);
          let at = from;
          for (const stretch of stretches) {
            expect(stretch.from).toBe(at);
            expect(stretch.to).toBeGreaterThan(stretch.from);
            at = stretch.to;
            expect(stretch.from).toBeGreaterThanOrEqual(keptFrom.get(stretch.resolutionMs) ?? 0);
            const isFinestKept = RESOLUTIONS_MS.every(
              (finer) => finer >= stretch.resolutionMs || stretch.from < (keptFrom.get(finer) ?? 0),
            );
            if (!isFinestKept) {
              expect(stretch.from % stretch.resolutionMs).toBe(0);
              expect(stretch.to % stretch.resolutionMs).toBe(0);
              expect(stepMs % stretch.resolutionMs).toBe(0);
            }
          }
          expect(at).toBe(to);
        },
      ),
    );
  });

  it("are few: a day in steps of ten minutes is read from minutes, whatever its edges", () => {
    const from = 12_345_678;
    expect(stretchesOf({ from, to: from + DAY_MS, stepMs: 10 * MINUTE_MS }, new Map())).toEqual([
      { resolutionMs: 10 * SECOND_MS, from, to: 12_360_000 },
      { resolutionMs: MINUTE_MS, from: 12_360_000, to: 12_360_000 + DAY_MS - MINUTE_MS },
      { resolutionMs: 10 * SECOND_MS, from: 12_360_000 + DAY_MS - MINUTE_MS, to: from + DAY_MS },
    ]);
  });

  it("end with the coarsest", () => {
    expect(RESOLUTIONS_MS.map(coarserThan)).toEqual([MINUTE_MS, HOUR_MS, DAY_MS, undefined]);
  });
});
