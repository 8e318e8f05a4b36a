/** Probes that a fleet takes by turns: without a grant an open circuit stays open, and a grant bounds what it admits. */
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import type { CircuitBreakerOptions } from "../../server/circuit/circuit-config.js";
import { createStillClock } from "./still-clock.js";

/** An open circuit whose wait of 1 s is over. */
function due(options: CircuitBreakerOptions = {}) {
  const clock = createStillClock();
  const moves: string[] = [];
  const breaker = new CircuitBreaker(
    "svc",
    { failureThreshold: 1, resetTimeoutMs: 1_000, successThreshold: 2, ...options },
    { clock, onTransition: ({ from, to, reason }) => moves.push(`${from} → ${to}: ${reason}`) },
  );
  breaker.leaseProbes(true);
  breaker.tryAcquire()?.failure();
  moves.length = 0;
  const wantedEarly = breaker.wantsProbe();
  clock.leap(1_000);
  return { clock, breaker, moves, wantedEarly };
}

describe("a circuit whose probes are leased", () => {
  it("refuses every call after its wait until it is granted probes, and says that it wants them", () => {
    const { breaker, moves, wantedEarly } = due();
    expect(wantedEarly).toBe(false);
    expect(breaker.wantsProbe()).toBe(true);
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.refusal().retryAfterMs).toBe(1_000);
    expect(moves).toEqual([]);
  });

  it("says to wait for a grant only where a grant is what is missing", () => {
    const { breaker, clock } = due();
    breaker.hold({ state: "forced_open", by: "ada", reason: "x", until: undefined });
    expect(breaker.refusal().retryAfterMs).toBeUndefined();
    breaker.release();
    breaker.grantProbes({ permits: 1, leaseMs: 500 });
    expect(breaker.refusal().retryAfterMs).toBe(0);
    clock.leap(500);
    expect(breaker.refusal().retryAfterMs).toBe(1_000);
    breaker.leaseProbes(false);
    expect(breaker.refusal().retryAfterMs).toBe(0);
    breaker.leaseProbes(true);
    breaker.reset("operator");
    expect(breaker.refusal().retryAfterMs).toBe(0);
  });

  it("half-opens with the grant and has no more probes in flight than it permits", () => {
    const { breaker, moves } = due({ halfOpenPermits: 5 });
    expect(breaker.grantProbes({ permits: 2, leaseMs: 500 })).toBe(true);
    expect(moves).toEqual(["open → half_open: reset_timeout"]);
    expect(breaker.wantsProbe()).toBe(false);
    const probes = [breaker.tryAcquire(), breaker.tryAcquire()];
    expect(probes).not.toContain(undefined);
    expect(breaker.tryAcquire()).toBeUndefined();
    probes[0]?.ignored();
    expect(breaker.tryAcquire()).toBeDefined();
    expect(breaker.tryAcquire()).toBeUndefined();
  });

  it("closes when its probes succeed, and opens when one fails", () => {
    const good = due();
    good.breaker.grantProbes({ permits: 1, leaseMs: 500 });
    good.breaker.tryAcquire()?.success();
    good.breaker.tryAcquire()?.success();
    expect(good.moves.at(-1)).toBe("half_open → closed: probes_succeeded");
    const bad = due();
    bad.breaker.grantProbes({ permits: 1, leaseMs: 500 });
    bad.breaker.tryAcquire()?.failure();
    expect(bad.moves.at(-1)).toBe("half_open → open: probe_failed");
  });

  it("opens again when the grant ends while a probe is in flight, though another one succeeded", () => {
    const { clock, breaker, moves } = due();
    breaker.grantProbes({ permits: 2, leaseMs: 500 });
    breaker.tryAcquire()?.success();
    breaker.tryAcquire();
    clock.leap(499);
    expect(breaker.wantsProbe()).toBe(false);
    clock.leap(1);
    expect(breaker.wantsProbe()).toBe(true);
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(moves.at(-1)).toBe("half_open → open: half_open_expired");
  });

  it("waits for the next grant when one ends with no probe in flight, and goes on with what the probes have shown", () => {
    const { clock, breaker, moves } = due();
    breaker.grantProbes({ permits: 1, leaseMs: 500 });
    breaker.tryAcquire()?.success();
    breaker.tryAcquire()?.ignored();
    clock.leap(10_000);
    expect(breaker.wantsProbe()).toBe(true);
    expect(breaker.tryAcquire()).toBeUndefined();
    expect(breaker.probeAskedAt).toBe(clock.monotonic());
    expect(breaker.refusal().retryAfterMs).toBe(1_000);
    expect(breaker.probes).toEqual({ inFlight: 0, admitted: 2 });
    breaker.grantProbes({ permits: 1, leaseMs: 500 });
    breaker.tryAcquire()?.success();
    expect(moves).toEqual(["open → half_open: reset_timeout", "half_open → closed: probes_succeeded"]);
    expect(breaker.probes).toEqual({ inFlight: 0, admitted: 0 });
  });

  it("probes by itself when a grant is over and leasing has ended", () => {
    const { clock, breaker } = due();
    breaker.grantProbes({ permits: 1, leaseMs: 500 });
    clock.leap(500);
    breaker.leaseProbes(false);
    expect(breaker.tryAcquire()).toBeDefined();
  });

  it("a grant that is renewed goes on where it was, with the new permits, and its probes keep their own leases", () => {
    const { clock, breaker, moves } = due({ probeLeaseMs: 800 });
    breaker.grantProbes({ permits: 1, leaseMs: 500 });
    breaker.tryAcquire()?.success();
    const slow = breaker.tryAcquire();
    clock.leap(600);
    expect(breaker.grantProbes({ permits: 2, leaseMs: 500 })).toBe(true);
    expect(breaker.tryAcquire()).toBeDefined();
    slow?.success();
    expect(moves).toEqual(["open → half_open: reset_timeout", "half_open → closed: probes_succeeded"]);
  });

  it("heeds no grant while it must wait, nor when it is closed", () => {
    const { breaker, moves } = due();
    breaker.reset("operator");
    expect(breaker.grantProbes({ permits: 1, leaseMs: 500 })).toBe(false);
    breaker.forceOpen("operator");
    expect(breaker.grantProbes({ permits: 1, leaseMs: 500 })).toBe(false);
    expect(moves).toEqual(["open → closed: operator", "closed → open: operator"]);
  });

  it("probes by itself when leasing ends, and goes on with local probes when leasing begins while they run", () => {
    const { breaker } = due();
    expect(breaker.probesLeased).toBe(true);
    breaker.leaseProbes(false);
    expect(breaker.probesLeased).toBe(false);
    expect(breaker.tryAcquire()).toBeDefined();
    breaker.leaseProbes(true);
    expect(breaker.tryAcquire()).toBeDefined();
    expect(breaker.wantsProbe()).toBe(false);
    expect(breaker.tryAcquire()).toBeUndefined();
  });
});
