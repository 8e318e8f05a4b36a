import { describe, expect, it } from "vitest";
import { type ClockTrust, judgeClock } from "../../server/metrics/trusted-clock.js";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../shared/units.js";

const START = Date.UTC(2026, 0, 1);

describe("the wall clock", () => {
  const judge = (before: ClockTrust | undefined, now: number, monotonic: number, newest: number | undefined) => {
    const { verdict, trust } = judgeClock(before, { now, monotonic }, newest);
    return { trusted: verdict.trusted, trust };
  };

  it("is believed at once when there is nothing yet, or a row of today", () => {
    expect(judge(undefined, START, 0, undefined).trusted).toBe(true);
    expect(judge(undefined, START, 0, START - HOUR_MS).trusted).toBe(true);
  });

  it("is not believed behind the newest row", () => {
    expect(judge(undefined, START, 0, START + HOUR_MS).trusted).toBe(false);
    const before = judge(undefined, START, 0, START);
    expect(judge(before.trust, START + MINUTE_MS, MINUTE_MS, START + HOUR_MS).trusted).toBe(false);
  });

  it("is believed again once it has run evenly behind that row for an hour: then it is the row that is wrong", () => {
    const newest = START + 365 * DAY_MS;
    let state = judge(undefined, START, 0, START);
    for (let at = 1; at < 61; at += 1) {
      state = judge(state.trust, START + at * MINUTE_MS, at * MINUTE_MS, newest);
      expect(state.trusted).toBe(false);
    }
    expect(judge(state.trust, START + 61 * MINUTE_MS, 61 * MINUTE_MS, newest).trusted).toBe(true);
  });

  it.each([HOUR_MS, -10 * MINUTE_MS, 365 * DAY_MS])("is not believed for an hour after it jumped by %d ms", (jump) => {
    let state = judge(undefined, START, 0, START);
    const minute = (at: number) => judge(state.trust, START + at * MINUTE_MS + (at > 1 ? jump : 0), at * MINUTE_MS, 0);
    state = minute(1);
    expect(state.trusted).toBe(true);
    for (let at = 2; at < 62; at += 1) {
      state = minute(at);
      expect(state.trusted).toBe(false);
    }
    expect(minute(62).trusted).toBe(true);
  });

  it("is not believed for an hour when a process begins long after the newest row", () => {
    const first = judge(undefined, START + 40 * DAY_MS, 0, START);
    expect(first.trusted).toBe(false);
    const later = judge(first.trust, START + 40 * DAY_MS + HOUR_MS, HOUR_MS, START + 40 * DAY_MS);
    expect(later.trusted).toBe(true);
  });

  it("may be set a little, as NTP does", () => {
    const first = judge(undefined, START, 0, START);
    expect(judge(first.trust, START + MINUTE_MS + 2_000, MINUTE_MS, START).trusted).toBe(true);
  });
});
