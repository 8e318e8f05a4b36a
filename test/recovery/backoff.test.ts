import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffCeilingMs, backoffDelayMs } from "../../server/recovery/backoff.js";

const anyOptions = fc.record({
  baseDelayMs: fc.integer({ min: 0, max: 100_000 }),
  maxDelayMs: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
});
const anyAttempt = fc.integer({ min: 0, max: 2_000 });
const anyChance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("backoff", () => {
  it("doubles its ceiling with each try", () => {
    const ceilings = [0, 1, 2, 3, 4, 5].map((n) => backoffCeilingMs(n, { baseDelayMs: 1_000, maxDelayMs: 30_000 }));
    expect(ceilings).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000]);
  });

  it("never lowers its ceiling, and never goes above the cap", () => {
    fc.assert(
      fc.property(anyAttempt, anyOptions, (attempt, options) => {
        const ceiling = backoffCeilingMs(attempt, options);
        expect(ceiling).toBeLessThanOrEqual(options.maxDelayMs);
        expect(backoffCeilingMs(attempt + 1, options)).toBeGreaterThanOrEqual(ceiling);
      }),
    );
  });

  it("waits anywhere between nothing and its ceiling", () => {
    fc.assert(
      fc.property(anyAttempt, anyOptions, anyChance, (attempt, options, chance) => {
        const delayMs = backoffDelayMs(attempt, options, () => chance);
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThanOrEqual(backoffCeilingMs(attempt, options));
      }),
    );
  });
});
