/** How long a circuit stays open: growth, cap, jitter, and what an outcome asks. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import { askedTimeMs, openTimeMs } from "../../server/circuit/open-time.js";

describe("openTimeMs", () => {
  it("is the same each time unless it is to grow", () => {
    const config = resolveCircuitConfig("wait", { resetTimeoutMs: 1_000 });
    expect([1, 2, 50].map((openings) => openTimeMs(openings, config, 0.9))).toEqual([1_000, 1_000, 1_000]);
  });

  it("grows by its factor up to its longest", () => {
    const config = resolveCircuitConfig("wait", {
      resetTimeoutMs: 1_000,
      resetTimeoutFactor: 2,
      maxResetTimeoutMs: 5_000,
    });
    expect([1, 2, 3, 4, 2_000].map((openings) => openTimeMs(openings, config, 0))).toEqual([
      1_000, 2_000, 4_000, 5_000, 5_000,
    ]);
  });

  it("loses up to its jitter by chance, also at its longest, and is never longer nor nothing", () => {
    const aConfig = fc.record({
      resetTimeoutMs: fc.integer({ min: 1, max: 10_000 }),
      resetTimeoutFactor: fc.double({ min: 1, max: 10, noNaN: true }),
      resetJitter: fc.double({ min: 0, max: 0.99, noNaN: true }),
    });
    const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(aConfig, fc.integer({ min: 1, max: 3_000 }), chance, (options, openings, drawn) => {
        const config = resolveCircuitConfig("wait", { ...options, maxResetTimeoutMs: 20_000 });
        const longest = openTimeMs(openings, config, 0);
        const waitMs = openTimeMs(openings, config, drawn);
        expect(longest).toBeLessThanOrEqual(20_000);
        expect(longest).toBeGreaterThanOrEqual(options.resetTimeoutMs);
        expect(waitMs).toBeCloseTo(longest * (1 - options.resetJitter * drawn));
        expect(waitMs).toBeGreaterThan(0);
      }),
    );
  });
});

describe("askedTimeMs", () => {
  const config = resolveCircuitConfig("wait", { maxResetTimeoutMs: 90_000 });

  it("is what was asked, at most the longest wait", () => {
    expect(askedTimeMs(7_000, config)).toBe(7_000);
    expect(askedTimeMs(90_001, config)).toBe(90_000);
    expect(askedTimeMs(Number.POSITIVE_INFINITY, config)).toBe(90_000);
  });

  it("is none where nothing was asked that can be kept", () => {
    for (const asked of [undefined, 0, -1, Number.NaN]) expect(askedTimeMs(asked, config)).toBeUndefined();
  });
});
