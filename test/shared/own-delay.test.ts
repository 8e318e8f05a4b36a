/** A timeout is our own where the loop was late for more than half of the time, and else the service's. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isOwnDelay } from "../../shared/own-delay.js";

describe("a timeout", () => {
  it("is no excuse for a service while this process heard it for half of its time or more", () => {
    expect(isOwnDelay(500, 1_000)).toBe(false);
    expect(isOwnDelay(501, 1_000)).toBe(true);
    expect(isOwnDelay(0, 0)).toBe(false);
  });

  it("stays this process's own when it was later still, or the limit shorter", () => {
    const ms = fc.double({ min: 0, max: 1e7, noNaN: true });
    fc.assert(
      fc.property(ms, ms, ms, (lateMs, limitMs, more) => {
        if (!isOwnDelay(lateMs, limitMs)) return;
        expect(isOwnDelay(lateMs + more, limitMs)).toBe(true);
        expect(isOwnDelay(lateMs, limitMs / (1 + more))).toBe(true);
      }),
    );
  });

  it("is never one while the loop keeps up, nor without a limit", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, noNaN: true }), (ms) => {
        expect(isOwnDelay(0, ms)).toBe(false);
        expect(isOwnDelay(ms, Number.POSITIVE_INFINITY)).toBe(false);
      }),
    );
  });
});
