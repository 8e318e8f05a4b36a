import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { stepFor, widened } from "../../shared/range-steps.js";
import { RESOLUTIONS_MS } from "../../shared/resolutions.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../shared/units.js";

const ranges = fc
  .tuple(fc.integer({ min: 0, max: 4e12 }), fc.integer({ min: 1, max: 4e12 }))
  .map(([from, length]) => ({ from, to: from + length }));

describe("the step of a range", () => {
  it("gives at most 400 steps, of a width that stored rows add up to, whatever the range", () => {
    fc.assert(
      fc.property(ranges, fc.nat({ max: 50_000 }), ({ from, to }, series) => {
        const stepMs = stepFor({ from, to }, series);
        expect((to - from) / stepMs).toBeLessThanOrEqual(400);
        expect(stepMs % RESOLUTIONS_MS[0]).toBe(0);
      }),
    );
  });

  it("grows with the range, and with the number of series whose rows are to be added up", () => {
    const last = (ms: number, series = 1) => stepFor({ from: 0, to: ms }, series);
    expect([HOUR_MS, 6 * HOUR_MS, DAY_MS, 14 * DAY_MS, 400 * DAY_MS, 800 * DAY_MS].map((ms) => last(ms))).toEqual([
      10_000,
      MINUTE_MS,
      10 * MINUTE_MS,
      HOUR_MS,
      DAY_MS,
      2 * DAY_MS,
    ]);
    expect([1, 1_000, 2_000, 20_000].map((series) => last(DAY_MS, series))).toEqual([
      10 * MINUTE_MS,
      10 * MINUTE_MS,
      HOUR_MS,
      HOUR_MS,
    ]);
  });
});

describe("a range that is widened", () => {
  it("holds what was asked for, gains less than a twentieth at either end, and begins and ends with whole rows", () => {
    fc.assert(
      fc.property(
        ranges.filter(({ from, to }) => to - from >= 20 * RESOLUTIONS_MS[0]),
        (asked) => {
          const { from, to } = widened(asked);
          const most = (asked.to - asked.from) / 20;
          expect(from).toBeLessThanOrEqual(asked.from);
          expect(to).toBeGreaterThanOrEqual(asked.to);
          expect(asked.from - from).toBeLessThan(most);
          expect(to - asked.to).toBeLessThan(most);
          expect([from % RESOLUTIONS_MS[0], to % RESOLUTIONS_MS[0]]).toEqual([0, 0]);
        },
      ),
    );
  });

  it("of a day begins and ends with an hour", () => {
    expect(widened({ from: 90_000, to: 90_000 + DAY_MS })).toEqual({ from: 0, to: DAY_MS + HOUR_MS });
    expect(widened({ from: 5_000, to: 6_000 })).toEqual({ from: 0, to: 10_000 });
  });
});
