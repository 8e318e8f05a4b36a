/** What windows remember, held against counting everything anew. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import {
  addSuccesses,
  asOf,
  type CircuitWindow,
  calmUntil,
  EMPTY_WINDOWS,
  record,
  refit,
  restoredWindow,
} from "../../server/circuit/circuit-window.js";
import { tripReason } from "../../server/circuit/trip-rule.js";
import { WINDOW_KINDS } from "../../shared/circuit-config.js";

interface Seen {
  readonly at: number;
  readonly failed: boolean;
  readonly slow: boolean;
}

const aHistory = fc
  .array(fc.record({ after: fc.nat(40), failed: fc.boolean(), slow: fc.boolean() }), { size: "max", maxLength: 200 })
  .map((results) => {
    let at = 0;
    return results.map(({ after, failed, slow }): Seen => {
      at += after;
      return { at, failed, slow };
    });
  });

function countsOf(seen: readonly Seen[]) {
  return {
    calls: seen.length,
    failures: seen.filter(({ failed }) => failed).length,
    slow: seen.filter(({ slow }) => slow).length,
    slowFailures: seen.filter(({ slow, failed }) => slow && failed).length,
  };
}

function remember(seen: readonly Seen[], config: ReturnType<typeof resolveCircuitConfig>): CircuitWindow {
  return seen.reduce<CircuitWindow>(
    (window, { at, failed, slow }) => record(window, failed, slow, at, config),
    EMPTY_WINDOWS[config.window],
  );
}

const pick = ({ calls, failures, slow, slowFailures }: CircuitWindow) => ({ calls, failures, slow, slowFailures });

describe("a window of calls", () => {
  it("holds the last ones, whatever came before", () => {
    fc.assert(
      fc.property(aHistory, fc.integer({ min: 1, max: 20 }), (history, windowCalls) => {
        const config = resolveCircuitConfig("w", { window: "count", windowCalls });
        expect(pick(remember(history, config))).toEqual(countsOf(history.slice(-windowCalls)));
      }),
    );
  });

  it("keeps its last calls when it becomes smaller, and all when it becomes larger", () => {
    const before = resolveCircuitConfig("w", { window: "count", windowCalls: 20 });
    fc.assert(
      fc.property(aHistory, fc.integer({ min: 1, max: 40 }), (history, windowCalls) => {
        const config = resolveCircuitConfig("w", { window: "count", windowCalls });
        const now = history.at(-1)?.at ?? 0;
        const window = refit(remember(history, before), now, before, config);
        expect(pick(window)).toEqual(countsOf(history.slice(-Math.min(windowCalls, 20))));
        const next = record(window, true, false, now, config);
        const kept = history.slice(-Math.min(windowCalls, 20));
        expect(pick(next)).toEqual(countsOf([...kept, { at: now, failed: true, slow: false }].slice(-windowCalls)));
      }),
    );
  });

  it("forgets nothing for a failure that it grew too small to hold", () => {
    const before = resolveCircuitConfig("w", { window: "count", windowCalls: 2 });
    const after = resolveCircuitConfig("w", { window: "count", windowCalls: 1, failureCountResetMs: 200 });
    const window = remember(
      [
        { at: 0, failed: true, slow: false },
        { at: 1, failed: false, slow: false },
      ],
      before,
    );
    expect(pick(refit(window, 250, before, after))).toEqual({ calls: 1, failures: 0, slow: 0, slowFailures: 0 });
  });

  it("forgets all its calls once its last failure is old enough, and none while it has no failure", () => {
    const config = resolveCircuitConfig("w", { window: "count", failureCountResetMs: 1_000 });
    const failed = record(EMPTY_WINDOWS.count, true, false, 0, config);
    expect(asOf(failed, 999, config).calls).toBe(1);
    expect(asOf(failed, 1_000, config).calls).toBe(0);
    expect(record(failed, false, false, 1_000, config).calls).toBe(1);
    const good = record(EMPTY_WINDOWS.count, false, false, 0, config);
    expect(asOf(good, 1_000_000, config).calls).toBe(1);
  });
});

describe("a window of time", () => {
  it("holds what began within the last ten tenths, whenever it is asked", () => {
    fc.assert(
      fc.property(aHistory, fc.constantFrom(10, 95, 100, 1_000), fc.nat(2_000), (history, windowMs, later) => {
        const config = resolveCircuitConfig("w", { window: "time", windowMs });
        const bucketMs = Math.ceil(windowMs / 10);
        const now = (history.at(-1)?.at ?? 0) + later;
        const first = (Math.floor(now / bucketMs) - 9) * bucketMs;
        const within = countsOf(history.filter(({ at }) => at >= first));
        expect(pick(asOf(remember(history, config), now, config))).toEqual(within);
      }),
    );
  });

  it("takes a result that comes with an earlier time as one of now", () => {
    const config = resolveCircuitConfig("w", { window: "time", windowMs: 100 });
    const window = record(record(EMPTY_WINDOWS.time, true, false, 500, config), true, false, 20, config);
    expect(pick(window)).toEqual({ calls: 2, failures: 2, slow: 0, slowFailures: 0 });
    expect(pick(asOf(window, 590, config))).toEqual({ calls: 2, failures: 2, slow: 0, slowFailures: 0 });
    expect(pick(asOf(window, 600, config))).toEqual({ calls: 0, failures: 0, slow: 0, slowFailures: 0 });
  });

  it("never holds more than ten buckets, however long it lives", () => {
    const config = resolveCircuitConfig("w", { window: "time", windowMs: 100 });
    let window: CircuitWindow = EMPTY_WINDOWS.time;
    for (let now = 0; now < 10_000; now += 7) {
      window = record(window, false, false, now, config);
      if (window.kind === "time") expect(window.buckets.length).toBeLessThan(10);
    }
  });

  it("keeps no empty bucket, however often it is refitted in one", () => {
    const config = resolveCircuitConfig("w", { window: "time", windowMs: 100 });
    let window: CircuitWindow = record(EMPTY_WINDOWS.time, true, false, 5, config);
    for (let i = 0; i < 3; i += 1) window = refit(window, 5, config, config);
    expect(window).toMatchObject({ buckets: [{ startAt: 0, calls: 1, failures: 1, slow: 0 }], calls: 1, failures: 1 });
  });

  it("keeps, with another length, what both lengths hold", () => {
    const hour = resolveCircuitConfig("w", { window: "time", windowMs: 3_600_000 });
    const second = resolveCircuitConfig("w", { window: "time", windowMs: 1_000 });
    const recent = remember([{ at: 3_700_000, failed: true, slow: true }], second);
    expect(pick(refit(recent, 3_700_500, second, hour))).toEqual({ calls: 1, failures: 1, slow: 1, slowFailures: 1 });
    expect(pick(refit(recent, 3_701_000, second, hour))).toEqual({ calls: 0, failures: 0, slow: 0, slowFailures: 0 });
    const old = remember([{ at: 0, failed: true, slow: false }], hour);
    expect(pick(refit(old, 5_000, hour, second))).toEqual({ calls: 0, failures: 0, slow: 0, slowFailures: 0 });
  });
});

describe("a streak", () => {
  const config = resolveCircuitConfig("w", { failureCountResetMs: 1_000 });

  it("begins anew once its last failure is old enough", () => {
    const one = record(EMPTY_WINDOWS.consecutive, true, false, 0, config);
    const two = record(one, true, false, 999, config);
    expect(two.failures).toBe(2);
    expect(record(two, true, false, 1_998, config).failures).toBe(3);
    expect(record(two, true, false, 1_999, config).failures).toBe(1);
    expect(asOf(two, 1_998, config).failures).toBe(2);
    expect(asOf(two, 1_999, config).failures).toBe(0);
  });

  it("ends with a success, and never counts one as slow", () => {
    const one = record(EMPTY_WINDOWS.consecutive, true, true, 0, config);
    expect(pick(one)).toEqual({ calls: 1, failures: 1, slow: 0, slowFailures: 0 });
    expect(record(one, false, true, 0, config)).toBe(EMPTY_WINDOWS.consecutive);
  });

  it("ages by the old and by the new configuration when that changes", () => {
    const long = resolveCircuitConfig("w", { failureCountResetMs: 100_000 });
    const one = record(EMPTY_WINDOWS.consecutive, true, false, 0, config);
    expect(refit(one, 999, config, long).failures).toBe(1);
    expect(refit(one, 1_000, config, long).failures).toBe(0);
    expect(refit(one, 1_000, long, config).failures).toBe(0);
  });

  it("is as long as it is, whatever a window of calls would hold", () => {
    const short = resolveCircuitConfig("w", { failureThreshold: 9, windowCalls: 1 });
    const three = [0, 1, 2].reduce<CircuitWindow>(
      (window, at) => record(window, true, false, at, short),
      EMPTY_WINDOWS.consecutive,
    );
    expect(refit(three, 3, short, short)).toEqual(three);
  });

  it("is restored one short of its threshold at most, and no other window is", () => {
    const three = resolveCircuitConfig("w", { failureThreshold: 3 });
    expect(restoredWindow(9, 5, three)).toMatchObject({ kind: "consecutive", calls: 2, failures: 2, lastFailureAt: 5 });
    expect(restoredWindow(1, 5, three)).toMatchObject({ calls: 1, failures: 1, slow: 0 });
    expect(restoredWindow(0, 5, three)).toBe(EMPTY_WINDOWS.consecutive);
    expect(restoredWindow(9, 5, resolveCircuitConfig("w", { failureThreshold: 1 }))).toBe(EMPTY_WINDOWS.consecutive);
    for (const window of ["count", "time"] as const) {
      expect(restoredWindow(9, 5, resolveCircuitConfig("w", { window }))).toBe(EMPTY_WINDOWS[window]);
    }
  });
});

describe("any window", () => {
  it("is left as it was by whatever is recorded into it", () => {
    fc.assert(
      fc.property(aHistory, fc.constantFrom(...WINDOW_KINDS), fc.boolean(), (history, kind, failed) => {
        const config = resolveCircuitConfig("w", { window: kind, windowCalls: 5, windowMs: 200 });
        const window = remember(history, config);
        const before = structuredClone(window);
        record(window, failed, true, (history.at(-1)?.at ?? 0) + 30, config);
        expect(window).toEqual(before);
      }),
    );
  });

  it("of another kind begins empty", () => {
    for (const from of WINDOW_KINDS) {
      const before = resolveCircuitConfig("w", { window: from });
      const window = record(EMPTY_WINDOWS[from], true, false, 5, before);
      for (const to of WINDOW_KINDS) {
        const config = resolveCircuitConfig("w", { window: to });
        expect(refit(window, 6, before, config).failures).toBe(from === to ? 1 : 0);
      }
    }
  });

  it("moves no threshold by successes before it says so, and takes them all at once as well as one by one", () => {
    fc.assert(
      fc.property(
        aHistory,
        fc.constantFrom(...WINDOW_KINDS),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(30),
        (history, kind, successes, minimumCalls, after) => {
          const config = resolveCircuitConfig("w", {
            window: kind,
            windowMs: 200,
            minimumCalls,
            failureThreshold: 100,
          });
          const window = remember(history, config);
          const now = (history.at(-1)?.at ?? 0) + after;
          if (now >= calmUntil(window, config)) return;
          let oneByOne = window;
          const before = tripReason(window, config);
          for (let i = 0; i < successes; i += 1) {
            oneByOne = record(oneByOne, false, false, now, config);
            if (before === undefined) expect(tripReason(oneByOne, config)).toBeUndefined();
          }
          expect(addSuccesses(window, successes)).toEqual(oneByOne);
        },
      ),
    );
  });

  it("is calm for ever without a failure in a row, never when single calls matter, else until its bucket is full", () => {
    const time = resolveCircuitConfig("w", { window: "time", windowMs: 1_000, minimumCalls: 2 });
    const streak = resolveCircuitConfig("w");
    expect(calmUntil(EMPTY_WINDOWS.consecutive, streak)).toBe(Infinity);
    expect(calmUntil(record(EMPTY_WINDOWS.consecutive, true, false, 0, streak), streak)).toBe(-Infinity);
    expect(calmUntil(EMPTY_WINDOWS.count, resolveCircuitConfig("w", { window: "count" }))).toBe(-Infinity);
    const good = record(EMPTY_WINDOWS.time, false, false, 250, time);
    expect(calmUntil(good, time)).toBe(300);
    const one = record(EMPTY_WINDOWS.time, true, false, 250, time);
    expect(calmUntil(one, time)).toBe(-Infinity);
    expect(calmUntil(record(one, true, false, 250, time), time)).toBe(300);
    const slow = resolveCircuitConfig("w", { window: "time", windowMs: 1_000, slowCallMs: 5 });
    expect(calmUntil(good, slow)).toBe(-Infinity);
  });
});
