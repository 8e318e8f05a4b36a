/** Stored circuits come back with sane waits, whatever the clocks of the two processes said. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import {
  followStatus,
  placeHold,
  type RestorableCircuit,
  restoreStatus,
} from "../../server/circuit/circuit-restore.js";
import { step } from "../../server/circuit/state-machine.js";
import { CIRCUIT_STATES, HELD_STATES } from "../../shared/circuit.js";

const config = resolveCircuitConfig("restored", { failureThreshold: 3, resetTimeoutMs: 10_000, probeLeaseMs: 4_000 });

const aTime = fc.oneof(
  fc.integer({ min: 0, max: 2 ** 45 }),
  fc.constantFrom(0, Number.NaN, Infinity, -Infinity, Number.MAX_SAFE_INTEGER),
);
const aStored: fc.Arbitrary<RestorableCircuit> = fc.record({
  state: fc.constantFrom(...CIRCUIT_STATES),
  version: fc.nat(),
  failureCount: fc.nat(20),
  lastFailureAt: fc.option(aTime, { nil: undefined }),
  nextRetryAt: fc.option(aTime, { nil: undefined }),
  held: fc.option(
    fc.record({
      state: fc.constantFrom(...HELD_STATES),
      by: fc.string(),
      reason: fc.string(),
      until: fc.option(fc.integer({ min: 0, max: 2 ** 45 }), { nil: undefined }),
    }),
    { nil: undefined },
  ),
});
const anInstant = fc.record({
  monotonic: fc.double({ min: 0, max: 1e9, noNaN: true }),
  wall: fc.integer({ min: 0, max: 2 ** 45 }),
});

describe("restoreStatus", () => {
  it("never waits longer than the longest wait there is, and never for what is past", () => {
    fc.assert(
      fc.property(aStored, anInstant, (stored, instant) => {
        const status = restoreStatus(stored, instant, config);
        expect(status.version).toBe(stored.version);
        if (status.state !== "open") return;
        const waitMs = status.retryAt - instant.monotonic;
        expect(waitMs).toBeGreaterThanOrEqual(0);
        expect(waitMs).toBeLessThanOrEqual(config.maxResetTimeoutMs + 1e-3);
        const admitted = step(
          { ...status, hold: undefined },
          { type: "call.requested", enforced: true, leased: false },
          status.retryAt,
          config,
        );
        expect(admitted.effects).toMatchObject([{ to: "half_open" }, { type: "admitted" }]);
      }),
    );
  });

  it("waits for what is left by the wall clock", () => {
    const open = { state: "open", version: 1, failureCount: 3, lastFailureAt: undefined, held: undefined } as const;
    const left = (nextRetryAt: number | undefined, openedAt?: number) =>
      restoreStatus({ ...open, nextRetryAt, openedAt }, { monotonic: 100, wall: 1_000_000 }, config);
    expect(left(1_002_500)).toMatchObject({ state: "open", retryAt: 2_600 });
    expect(left(999_000)).toMatchObject({ retryAt: 100 });
    expect(left(5_000_000)).toMatchObject({ retryAt: 10_100 });
    expect(left(undefined)).toMatchObject({ retryAt: 10_100 });
  });

  it("waits no longer than the circuit was to be open in all, however the clock stepped, nor longer than any may", () => {
    const open = { state: "open", version: 1, failureCount: 3, lastFailureAt: undefined, held: undefined } as const;
    const left = (leftMs: number, inAllMs: number) =>
      restoreStatus(
        { ...open, nextRetryAt: 9_000_000 + leftMs, openedAt: 9_000_000 + leftMs - inAllMs },
        { monotonic: 100, wall: 9_000_000 },
        config,
      );
    expect(left(25_000, 30_000)).toMatchObject({ retryAt: 25_100 });
    expect(left(3_600_000, 30_000)).toMatchObject({ retryAt: 30_100 });
    expect(left(8_000_000, 8_000_000)).toMatchObject({ retryAt: 3_600_100 });
    // Two clocks may disagree about the whole: it is at least what is configured.
    expect(left(9_000, 4_000)).toMatchObject({ retryAt: 9_100 });
    expect(left(9_000, -4_000)).toMatchObject({ retryAt: 9_100 });
  });

  it("dates a streak by its last failure, and as young as can be where that is unknown or in the future", () => {
    const closed = { state: "closed", version: 1, failureCount: 2, nextRetryAt: undefined, held: undefined } as const;
    const dated = (lastFailureAt: number | undefined) =>
      restoreStatus({ ...closed, lastFailureAt }, { monotonic: 500, wall: 9_000 }, config);
    expect(dated(8_900)).toMatchObject({ window: { failures: 2, lastFailureAt: 400 } });
    expect(dated(9_900)).toMatchObject({ window: { lastFailureAt: 500 } });
    expect(dated(undefined)).toMatchObject({ window: { lastFailureAt: 500 } });
  });

  it("is never half open, nor closed with a streak that should have opened it", () => {
    fc.assert(
      fc.property(aStored, anInstant, (stored, instant) => {
        const status = restoreStatus(stored, instant, config);
        expect(status.state).toBe(stored.state === "closed" ? "closed" : "open");
        if (status.state === "closed") expect(status.window.failures).toBeLessThan(config.failureThreshold);
      }),
    );
  });

  it("admits one probe at once where one was in flight", () => {
    const stored = {
      state: "half_open",
      version: 4,
      failureCount: 3,
      lastFailureAt: undefined,
      nextRetryAt: undefined,
      held: undefined,
    } as const;
    expect(restoreStatus(stored, { monotonic: 50, wall: 0 }, config)).toMatchObject({
      state: "open",
      version: 4,
      retryAt: 50,
    });
  });
});

describe("followStatus", () => {
  it("waits a lease while another instance probes, then probes itself", () => {
    const stored = {
      state: "half_open",
      version: 4,
      failureCount: 3,
      lastFailureAt: undefined,
      nextRetryAt: undefined,
      held: undefined,
    } as const;
    expect(followStatus(stored, { monotonic: 50, wall: 0 }, config, 0.5)).toMatchObject({
      state: "open",
      retryAt: 4_050,
    });
    const retryAtOf = (until: number) =>
      followStatus({ ...stored, probeLease: { owner: "b", until } }, { monotonic: 50, wall: 1_000 }, config, 0.5);
    expect(retryAtOf(1_500), "what is left of its lease").toMatchObject({ retryAt: 550 });
    expect(retryAtOf(900), "a lease that is over").toMatchObject({ retryAt: 50 });
    expect(retryAtOf(60_000), "no longer than a lease").toMatchObject({ retryAt: 4_050 });
  });

  it("spreads first probes by up to a tenth of the wait, never earlier", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (jitter) => {
        const stored = {
          state: "open",
          version: 4,
          failureCount: 3,
          lastFailureAt: undefined,
          nextRetryAt: 6_000,
          held: undefined,
        } as const;
        const status = followStatus(stored, { monotonic: 0, wall: 0 }, config, jitter);
        expect(status).toMatchObject({ state: "open", retryAt: expect.closeTo(6_000 + jitter * 1_000) });
      }),
    );
  });

  it("closes at once", () => {
    const stored = {
      state: "closed",
      version: 4,
      failureCount: 0,
      lastFailureAt: undefined,
      nextRetryAt: undefined,
      held: undefined,
    } as const;
    expect(followStatus(stored, { monotonic: 0, wall: 0 }, config, 0.9)).toMatchObject({ state: "closed", version: 4 });
  });
});

describe("placeHold", () => {
  const hold = { state: "disabled", by: "ada", reason: "test" } as const;

  it("turns the expiry into this process's time; one without stays, one that is over is none", () => {
    const instant = { monotonic: 500, wall: 9_000 };
    expect(placeHold(undefined, instant)).toBeUndefined();
    expect(placeHold({ ...hold, until: undefined }, instant)?.expiresAt).toBe(Infinity);
    expect(placeHold({ ...hold, until: 9_100 }, instant)).toEqual({ hold: { ...hold, until: 9_100 }, expiresAt: 600 });
    expect(placeHold({ ...hold, until: 9_000 }, instant)).toBeUndefined();
  });
});
