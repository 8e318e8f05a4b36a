/** Which counts open a circuit, to the call. */
import { describe, expect, it } from "vitest";
import { type CircuitBreakerOptions, resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import { ratiosOf, tripReason } from "../../server/circuit/trip-rule.js";

const reason = (options: CircuitBreakerOptions, calls: number, failures: number, slow = 0) =>
  tripReason({ calls, failures, slow }, resolveCircuitConfig("rule", options));

describe("a circuit opens", () => {
  it("by failures in a row, and by nothing else then", () => {
    expect(reason({ failureThreshold: 3 }, 2, 2)).toBeUndefined();
    expect(reason({ failureThreshold: 3 }, 3, 3)).toBe("failure_threshold");
  });

  it("by a number of failures in its window, however few the calls", () => {
    const options = { window: "time", windowFailures: 3, minimumCalls: 100 } as const;
    expect(reason(options, 2, 2)).toBeUndefined();
    expect(reason(options, 3, 3)).toBe("failure_threshold");
    expect(reason(options, 1_000, 3)).toBe("failure_threshold");
  });

  it("by a ratio of failures at that ratio exactly, once the calls are enough", () => {
    const options = { window: "time", failureRatio: 0.6, minimumCalls: 5 } as const;
    expect(reason(options, 4, 4)).toBeUndefined();
    expect(reason(options, 5, 3)).toBe("failure_ratio");
    expect(reason(options, 6, 3)).toBeUndefined();
  });

  it("by a ratio of slow calls at that ratio exactly, where somebody said what slow is", () => {
    const options = { window: "count", slowCallMs: 50, slowCallRatio: 0.5, failureRatio: 1, minimumCalls: 4 } as const;
    expect(reason(options, 3, 0, 3)).toBeUndefined();
    expect(reason(options, 4, 0, 2)).toBe("slow_call_ratio");
    expect(reason(options, 5, 0, 2)).toBeUndefined();
    expect(reason({ window: "count", minimumCalls: 4 }, 4, 0, 4)).toBeUndefined();
  });

  it("by failures rather than by slow calls where both would", () => {
    expect(reason({ window: "count", slowCallMs: 50, minimumCalls: 1 }, 2, 2, 2)).toBe("failure_ratio");
  });

  it("by a number of failures alone where only that was said", () => {
    expect(reason({ window: "time", windowFailures: 9, minimumCalls: 1 }, 8, 8)).toBeUndefined();
    expect(reason({ window: "time", windowFailures: 9, failureRatio: 0.5, minimumCalls: 1 }, 8, 8)).toBe(
      "failure_ratio",
    );
  });

  it("never for a window that holds nothing, nor one of successes", () => {
    expect(reason({ window: "time", minimumCalls: 1 }, 0, 0)).toBeUndefined();
    expect(reason({ window: "time", minimumCalls: 1 }, 9, 0)).toBeUndefined();
  });
});

describe("ratios", () => {
  it("are unknown below the minimum and without any call", () => {
    const config = resolveCircuitConfig("rule", { window: "time", minimumCalls: 4 });
    const unknown = { failureRatio: undefined, slowCallRatio: undefined };
    expect(ratiosOf({ calls: 0, failures: 0, slow: 0 }, config)).toEqual(unknown);
    expect(ratiosOf({ calls: 3, failures: 3, slow: 3 }, config)).toEqual(unknown);
    expect(ratiosOf({ calls: 4, failures: 1, slow: 2 }, config)).toEqual({ failureRatio: 0.25, slowCallRatio: 0.5 });
  });

  it("of a streak need no minimum", () => {
    const config = resolveCircuitConfig("rule", { minimumCalls: 4 });
    expect(ratiosOf({ calls: 1, failures: 1, slow: 0 }, config)).toEqual({ failureRatio: 1, slowCallRatio: 0 });
    expect(ratiosOf({ calls: 0, failures: 0, slow: 0 }, config).failureRatio).toBeUndefined();
  });
});
