/** A candidate configuration that looks on: what it would have done, without doing it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import type { CircuitNotice } from "../../server/circuit/circuit-notice.js";
import type { Permit } from "../../server/circuit/permit.js";
import { VERDICTS } from "../../shared/classification.js";
import { runs } from "../support/property-runs.js";
import { createStillClock } from "./still-clock.js";

function watched(live: ConstructorParameters<typeof CircuitBreaker>[1] = { failureThreshold: 10_000 }) {
  const clock = createStillClock();
  const notices: CircuitNotice[] = [];
  const moves: string[] = [];
  const breaker = new CircuitBreaker("svc", live, {
    clock,
    random: () => 0,
    onNotice: (notice) => notices.push(notice),
    onTransition: ({ to }) => moves.push(to),
  });
  const play = (calls: string) => {
    for (const call of calls) {
      const permit = breaker.tryAcquire();
      if (call === "F") permit?.failure();
      else if (call === "S") permit?.success();
      else permit?.ignored();
    }
  };
  return { clock, breaker, notices, moves, play };
}

describe("a shadow rule", () => {
  it("says when it would have opened, and what it would have refused of the calls that the live rule admitted", () => {
    const { clock, breaker, notices, moves, play } = watched();
    breaker.shadow({ failureThreshold: 2, resetTimeoutMs: 1_000, successThreshold: 1 });
    const since = clock.now();
    play("FF");
    const at = clock.now();
    play("SSFFI");
    expect(breaker.shadowReport()).toMatchObject({
      since,
      state: "open",
      openings: 1,
      lastOpenedAt: at,
      calls: 7,
      refused: { calls: 5, succeeded: 2, failed: 2 },
      admittedInstead: 0,
    });
    expect(breaker.shadowReport()?.config.failureThreshold).toBe(2);
    expect(notices).toEqual([
      {
        type: "would_have_opened",
        circuitName: "svc",
        rule: "shadow",
        reason: "failure_threshold",
        failureCount: 2,
        at,
      },
    ]);
    expect(moves).toEqual([]);
    clock.leap(1_000);
    play("S");
    expect(breaker.shadowReport()).toMatchObject({ state: "closed", refused: { calls: 5 } });
  });

  it("counts what the live rule refused and it would have admitted, which tells it nothing", () => {
    const { breaker, play } = watched({ failureThreshold: 1, resetTimeoutMs: 60_000 });
    breaker.shadow({ failureThreshold: 3 });
    play("F");
    for (let i = 0; i < 5; i += 1) expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.shadowReport()).toMatchObject({ state: "closed", calls: 1, openings: 0, admittedInstead: 5 });
  });

  it("gives the permit of a probe back that the live rule refused, and counts no refusal of both", () => {
    const { clock, breaker, play } = watched({ failureThreshold: 1, resetTimeoutMs: 60_000 });
    breaker.shadow({ failureThreshold: 1, resetTimeoutMs: 100, successThreshold: 1, halfOpenPermits: 1 });
    play("F");
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.shadowReport()?.admittedInstead).toBe(0);
    clock.leap(100);
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.shadowReport()).toMatchObject({ state: "half_open", admittedInstead: 2 });
  });

  it("measures how long calls take, though the live rule does not", () => {
    const { clock, breaker } = watched();
    breaker.shadow({ window: "count", slowCallMs: 50, minimumCalls: 1 });
    const permit = breaker.tryAcquire();
    clock.leap(50);
    permit?.success();
    expect(breaker.shadowReport()).toMatchObject({ state: "open", openings: 1 });
  });

  it("hears how long an outcome asks to be left alone", () => {
    const { clock, breaker } = watched();
    breaker.shadow({ failureThreshold: 5 });
    breaker.tryAcquire()?.failure({ openForMs: 500 });
    expect(breaker.shadowReport()?.state).toBe("open");
    clock.leap(500);
    breaker.tryAcquire()?.success();
    expect(breaker.shadowReport()?.state).toBe("half_open");
  });

  it("forgets a call that began before it looked on, and one that ends after it was replaced", () => {
    const { breaker, notices } = watched();
    const early = breaker.tryAcquire();
    breaker.shadow({ failureThreshold: 1 });
    early?.failure();
    expect(breaker.shadowReport()).toMatchObject({ calls: 0, openings: 0 });
    const late = breaker.tryAcquire();
    breaker.shadow(undefined);
    late?.failure();
    expect(breaker.shadowReport()).toBeUndefined();
    expect(breaker.getState().failureCount).toBe(2);
    breaker.shadow({ failureThreshold: 1 });
    const older = breaker.tryAcquire();
    breaker.shadow({ failureThreshold: 1 });
    older?.failure();
    expect(breaker.shadowReport()).toMatchObject({ state: "closed", calls: 0 });
    expect(notices).toEqual([]);
  });

  it("out of range is refused and leaves the one that looks on", () => {
    const { breaker } = watched();
    breaker.shadow({ failureThreshold: 7 });
    expect(() => breaker.shadow({ failureThreshold: 0 })).toThrow(/failureThreshold/);
    expect(breaker.shadowReport()?.config.failureThreshold).toBe(7);
  });

  it("does in any history what a live circuit with its configuration does on the calls that it admits", () => {
    const aStep = fc.oneof(
      { weight: 4, arbitrary: fc.constant("begin" as const) },
      { weight: 4, arbitrary: fc.tuple(fc.nat(9), fc.constantFrom(...VERDICTS)) },
      { weight: 2, arbitrary: fc.constantFrom(10, 100, 400) },
    );
    fc.assert(
      fc.property(
        fc.constantFrom("consecutive" as const, "count" as const, "time" as const),
        fc.array(aStep, { size: "max", maxLength: 120 }),
        (window, steps) => {
          const { clock, breaker } = watched();
          const candidate = { window, failureThreshold: 2, minimumCalls: 2, windowMs: 1_000, resetTimeoutMs: 200 };
          breaker.shadow(candidate);
          let [openings, refused] = [0, 0];
          const twin = new CircuitBreaker("twin", candidate, {
            clock,
            onTransition: ({ to }) => {
              if (to === "open") openings += 1;
            },
          });
          const calls: (readonly [Permit | undefined, Permit | undefined])[] = [];
          for (const step of steps) {
            if (step === "begin") {
              calls.push([breaker.tryAcquire(), twin.tryAcquire()]);
              if (calls.at(-1)?.[1] === undefined) refused += 1;
            } else if (typeof step === "number") clock.leap(step);
            else for (const permit of calls.splice(step[0] % Math.max(calls.length, 1), 1).flat()) permit?.[step[1]]();
          }
          expect(breaker.shadowReport()).toMatchObject({
            state: twin.getState().state,
            openings,
            refused: { calls: refused },
          });
        },
      ),
      { numRuns: runs(300) },
    );
  });
});
