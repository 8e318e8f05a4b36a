/** What becomes of the options of a circuit: completed, checked all at once, refused where they make no sense together. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type CircuitBreakerOptions,
  resolveCircuitConfig,
  sameCircuitConfig,
} from "../../server/circuit/circuit-config.js";
import { CIRCUIT_DEFAULTS, CIRCUIT_PRESETS, WINDOW_KINDS } from "../../shared/circuit-config.js";

const resolve = (options?: CircuitBreakerOptions) => resolveCircuitConfig("svc", options);

/** The one problem that a value has. */
function problem(options: Record<string, unknown>): string {
  try {
    resolve(options as CircuitBreakerOptions);
  } catch (error) {
    expect(error).toMatchObject({ code: "CONFIGURATION_INVALID" });
    return (error as Error).message.replace('circuit "svc": ', "");
  }
  return "legal";
}

describe("options", () => {
  it("are the defaults where nothing is said", () => {
    expect(resolve()).toEqual(CIRCUIT_DEFAULTS);
    expect(Object.isFrozen(resolve())).toBe(true);
  });

  it("follow from one another", () => {
    expect(resolve({ successThreshold: 4 })).toMatchObject({ halfOpenCalls: 4, halfOpenPermits: 4 });
    expect(resolve({ successRatio: 0.5 })).toMatchObject({ halfOpenCalls: 10, halfOpenPermits: 10 });
    expect(resolve({ halfOpenCalls: 6 }).halfOpenPermits).toBe(6);
    expect(resolve({ timeoutMs: 500 }).probeLeaseMs).toBe(1_000);
    expect(resolve({ timeoutMs: 2 ** 31 - 1 }).probeLeaseMs).toBe(2 ** 31 - 1);
    expect(resolve({ resetTimeoutMs: 7_200_000 }).maxResetTimeoutMs).toBe(7_200_000);
    expect(resolve({ timeout: 7, resetTimeout: 8 })).toMatchObject({ timeoutMs: 7, resetTimeoutMs: 8 });
    expect(resolve({ timeout: 7, timeoutMs: 9, resetTimeout: 8, resetTimeoutMs: 10 })).toMatchObject({
      timeoutMs: 9,
      resetTimeoutMs: 10,
    });
  });

  it("judge by a ratio of one half in windows, unless a number of failures was said", () => {
    expect(resolve({ window: "time" }).failureRatio).toBe(0.5);
    expect(resolve({ window: "count" }).failureRatio).toBe(0.5);
    expect(resolve({ window: "time", windowFailures: 5 }).failureRatio).toBeUndefined();
    expect(resolve({ window: "time", windowFailures: 5, failureRatio: 0.2 }).failureRatio).toBe(0.2);
    expect(resolve({ window: "consecutive" }).failureRatio).toBeUndefined();
  });

  it("ask a window of calls for no more calls than it holds", () => {
    expect(resolve({ window: "count", windowCalls: 3 }).minimumCalls).toBe(3);
    expect(resolve({ window: "count", windowCalls: 30 }).minimumCalls).toBe(10);
    expect(resolve({ window: "time", windowCalls: 3 }).minimumCalls).toBe(10);
  });

  it("take a preset where nothing else is said", () => {
    expect(resolve({ preset: "aggressive" })).toMatchObject({
      failureThreshold: 3,
      resetTimeoutMs: 30_000,
      successThreshold: 1,
      halfOpenPermits: 1,
    });
    expect(resolve({ preset: "conservative", successThreshold: 2 })).toMatchObject({
      failureThreshold: 10,
      resetTimeoutMs: 300_000,
      successThreshold: 2,
      failureCountResetMs: 300_000,
    });
    expect(resolve({ preset: undefined })).toEqual(CIRCUIT_DEFAULTS);
    expect(Object.keys(CIRCUIT_PRESETS)).toEqual(["aggressive", "conservative"]);
  });

  it("that were completed are complete", () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            window: fc.constantFrom(...WINDOW_KINDS),
            windowCalls: fc.integer({ min: 1, max: 20 }),
            minimumCalls: fc.integer({ min: 1, max: 20 }),
            successThreshold: fc.integer({ min: 1, max: 9 }),
            successRatio: fc.constantFrom(0.5, 1),
            timeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
            resetTimeoutMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
          },
          { requiredKeys: [] },
        ),
        (options) => {
          const once = resolve(options);
          expect(resolve(once)).toEqual(once);
          expect(sameCircuitConfig(resolve(once), once)).toBe(true);
        },
      ),
    );
  });

  it("differ where any of them does", () => {
    for (const [key, value] of Object.entries(CIRCUIT_DEFAULTS)) {
      const other = { ...CIRCUIT_DEFAULTS, [key]: typeof value === "number" ? value + 1 : "another" };
      expect(sameCircuitConfig(CIRCUIT_DEFAULTS, other)).toBe(false);
    }
  });
});

describe("an option out of its range is refused with what is legal", () => {
  const whole: readonly (readonly [string, number, number])[] = [
    ["failureThreshold", 1, 10_000],
    ["failureCountResetMs", 1, 2 ** 31 - 1],
    ["windowCalls", 1, 10_000],
    ["windowMs", 10, 86_400_000],
    ["minimumCalls", 1, 1_000_000],
    ["windowFailures", 1, 1_000_000],
    ["slowCallMs", 1, 2 ** 31 - 1],
    ["timeoutMs", 1, 2 ** 31 - 1],
    ["resetTimeoutMs", 1, 2 ** 31 - 1],
    ["maxResetTimeoutMs", 1, 2 ** 31 - 1],
    ["successThreshold", 1, 1_000],
    ["halfOpenCalls", 1, 1_000],
    ["halfOpenPermits", 1, 1_000],
    ["probeLeaseMs", 1, 2 ** 31 - 1],
    ["halfOpenMaxMs", 1, 2 ** 31 - 1],
    ["rampMs", 1, 2 ** 31 - 1],
  ];

  it.each(whole)("%s", (option, least, most) => {
    // So that no two settings contradict each other.
    const around = { window: "time", resetTimeoutMs: 1, successThreshold: 1 };
    for (const value of [least, most]) expect(problem({ ...around, [option]: value })).toBe("legal");
    for (const value of [least - 1, most + 1, least + 0.5, Number.NaN, Infinity, "1", null]) {
      const expected =
        value === null && !["windowFailures", "slowCallMs", "halfOpenMaxMs", "rampMs"].includes(option)
          ? "legal"
          : `${option} must be a whole number in [${least}, ${most}], got ${value}`;
      expect(problem({ ...around, [option]: value })).toContain(expected);
    }
  });

  it.each(["failureRatio", "slowCallRatio", "successRatio"])("%s", (option) => {
    const around = { window: "time" };
    for (const value of [1e-9, 0.5, 1]) expect(problem({ ...around, [option]: value })).toBe("legal");
    for (const value of [0, -0.1, 1.1, Number.NaN, "1"]) {
      expect(problem({ ...around, [option]: value })).toBe(`${option} must be a number above 0, up to 1, got ${value}`);
    }
  });

  it("resetTimeoutFactor and resetJitter", () => {
    for (const value of [1, 1.5, 10]) expect(problem({ resetTimeoutFactor: value })).toBe("legal");
    for (const value of [0.9, 10.1, Number.NaN]) {
      expect(problem({ resetTimeoutFactor: value })).toBe(
        `resetTimeoutFactor must be a number in [1, 10], got ${value}`,
      );
    }
    for (const value of [0, 0.99]) expect(problem({ resetJitter: value })).toBe("legal");
    for (const value of [-0.1, 1, Number.NaN]) {
      expect(problem({ resetJitter: value })).toBe(`resetJitter must be a number from 0 to less than 1, got ${value}`);
    }
  });

  it("words", () => {
    expect(problem({ window: "week" })).toBe("window must be one of consecutive, count, time, got week");
    expect(problem({ halfOpenTarget: "ajar" })).toBe("halfOpenTarget must be one of open, closed, got ajar");
    for (const preset of ["brave", "toString", null]) {
      expect(problem({ preset })).toBe(`preset must be one of aggressive, conservative, got ${preset}`);
    }
  });

  it("all at once, and a name is needed", () => {
    expect(problem({ failureThreshold: 0, timeoutMs: 0.5, preset: "brave" })).toBe(
      [
        "preset must be one of aggressive, conservative, got brave",
        "failureThreshold must be a whole number in [1, 10000], got 0",
        `timeoutMs must be a whole number in [1, ${2 ** 31 - 1}], got 0.5`,
        // It follows from the timeout.
      ].join("; "),
    );
    for (const name of ["", undefined]) {
      expect(() => resolveCircuitConfig(name as string)).toThrow(/a circuit needs a name, such as http:billing/);
    }
  });
});

describe("options that make no sense together are refused", () => {
  it("rules of windows without a window", () => {
    for (const option of ["windowFailures", "slowCallMs", "failureRatio"]) {
      expect(problem({ [option]: 1 })).toBe(`${option} needs window "count" or "time", got window "consecutive"`);
      expect(problem({ [option]: undefined })).toBe("legal");
      expect(problem({ window: "count", [option]: 1 })).toBe("legal");
    }
  });

  it("a longest wait that is shorter than the first", () => {
    expect(problem({ resetTimeoutMs: 100, maxResetTimeoutMs: 99 })).toBe(
      "maxResetTimeoutMs must be at least resetTimeoutMs (100), got 99",
    );
    expect(problem({ resetTimeoutMs: 100, maxResetTimeoutMs: 100 })).toBe("legal");
  });

  it("more successes than probes, unless a ratio decides", () => {
    expect(problem({ successThreshold: 3, halfOpenCalls: 2 })).toBe(
      "halfOpenCalls must be at least successThreshold (3), got 2",
    );
    expect(problem({ successThreshold: 3, halfOpenCalls: 3 })).toBe("legal");
    expect(problem({ successThreshold: 3, halfOpenCalls: 2, successRatio: 0.5 })).toBe("legal");
  });
});
