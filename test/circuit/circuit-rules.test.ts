/** What a circuit does in each of its states, with its reasons and its times. F failure, S success, I ignored. */
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import type { CircuitBreakerOptions } from "../../server/circuit/circuit-config.js";
import type { Permit } from "../../server/circuit/permit.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { createFakeClock } from "../support/fake-clock.js";

function circuit(options: CircuitBreakerOptions = {}) {
  const clock = createFakeClock();
  const transitions: CircuitTransition[] = [];
  const breaker = new CircuitBreaker("svc", options, { clock, onTransition: (moved) => transitions.push(moved) });
  const begin = (): Permit => {
    const permit = breaker.tryAcquire();
    if (permit === undefined) throw new Error("refused");
    return permit;
  };
  /** Runs calls one after another: F, S and I. */
  const play = (calls: string) => {
    for (const call of calls) {
      if (call === "F") begin().failure();
      else if (call === "S") begin().success();
      else if (call === "I") begin().ignored();
    }
  };
  const admits = () => {
    const permit = breaker.tryAcquire();
    permit?.ignored();
    return permit !== undefined;
  };
  const moves = () => transitions.map(({ from, to, reason }) => `${from} → ${to}: ${reason}`);
  return { clock, breaker, transitions, begin, play, admits, moves, state: () => breaker.getState().state };
}

describe("closed", () => {
  it("opens at the threshold exactly, for each threshold", () => {
    for (const failureThreshold of [1, 2, 5, 50]) {
      const { play, state } = circuit({ failureThreshold });
      play("F".repeat(failureThreshold - 1));
      expect(state()).toBe("closed");
      play("F");
      expect(state()).toBe("open");
    }
  });

  it("a failure that ends after the opening leaves it open until the same time, with one transition", async () => {
    const { clock, begin, play, breaker, moves } = circuit({ failureThreshold: 2, resetTimeoutMs: 1_000 });
    const late = begin();
    play("FF");
    const { nextRetryTime } = breaker.getState();
    await clock.advance(500);
    late.failure();
    expect(breaker.getState().nextRetryTime).toBe(nextRetryTime);
    expect(moves()).toEqual(["closed → open: failure_threshold"]);
  });
});

describe("open", () => {
  it("refuses before its time and admits a probe at its time, with no successes yet", async () => {
    const { clock, breaker, play, admits } = circuit({ failureThreshold: 1, resetTimeoutMs: 5_000 });
    play("F");
    await clock.advance(4_999);
    expect(admits()).toBe(false);
    await clock.advance(1);
    expect(breaker.tryAcquire()).toBeDefined();
    expect(breaker.getState()).toMatchObject({ state: "half_open", successCount: 0, nextRetryTime: undefined });
  });

  it("says when to come back", async () => {
    const { clock, breaker, play } = circuit({ failureThreshold: 1, resetTimeoutMs: 5_000 });
    play("F");
    await clock.advance(2_000);
    expect(breaker.getState().nextRetryTime).toBe(clock.now() + 3_000);
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({ circuitName: "svc", retryAfterMs: 3_000 });
  });

  it("a wall clock that steps back does not keep it open, nor one that steps ahead end the wait", async () => {
    for (const stepMs of [-3_600_000, 3_600_000]) {
      const { clock, play, admits } = circuit({ failureThreshold: 1, resetTimeoutMs: 50 });
      play("F");
      clock.stepWall(stepMs);
      await clock.advance(49);
      expect(admits()).toBe(false);
      await clock.advance(1);
      expect(admits()).toBe(true);
    }
  });
});

/** A circuit that has just begun to admit probes. */
async function halfOpen(options: CircuitBreakerOptions = {}) {
  const tools = circuit({ failureThreshold: 1, resetTimeoutMs: 1_000, ...options });
  const earlier = tools.begin();
  tools.play("F");
  await tools.clock.advance(1_000);
  return { ...tools, earlier };
}

describe("half open", () => {
  it("admits its permits and no more, and as many again after it reopened", async () => {
    const { clock, breaker } = await halfOpen({ halfOpenPermits: 4, successThreshold: 4 });
    for (let round = 0; round < 2; round += 1) {
      const permits = Array.from({ length: 6 }, () => breaker.tryAcquire());
      expect(permits.filter((permit) => permit !== undefined)).toHaveLength(4);
      permits[0]?.failure();
      await clock.advance(1_000);
    }
  });

  it("one failed probe opens it at once, however many succeeded", async () => {
    const { play, moves } = await halfOpen({ successThreshold: 3 });
    play("SSF");
    expect(moves().at(-1)).toBe("half_open → open: probe_failed");
  });

  it("closes when enough probes succeeded", async () => {
    const { play, moves, state } = await halfOpen({ successThreshold: 3 });
    play("SS");
    expect(state()).toBe("half_open");
    play("S");
    expect(moves().at(-1)).toBe("half_open → closed: probes_succeeded");
  });

  it("a probe that hangs past its lease opens it again", async () => {
    const { clock, begin, admits, moves } = await halfOpen({ halfOpenPermits: 1, probeLeaseMs: 1_000 });
    begin();
    await clock.advance(999);
    expect(admits()).toBe(false);
    expect(moves().at(-1)).toBe("open → half_open: reset_timeout");
    await clock.advance(1);
    expect(admits()).toBe(false);
    expect(moves().at(-1)).toBe("half_open → open: half_open_expired");
    await clock.advance(1_000);
    expect(admits()).toBe(true);
  });

  it("gives a hung probe's permit back when another probe has succeeded", async () => {
    const { clock, begin, admits, state } = await halfOpen({
      halfOpenPermits: 2,
      successThreshold: 3,
      probeLeaseMs: 1_000,
    });
    const hung = begin();
    begin().success();
    await clock.advance(1_000);
    expect(admits()).toBe(true);
    hung.failure();
    expect(state()).toBe("half_open");
  });

  it("refuses at once while its probe is in flight, and says when a permit comes back at the latest", async () => {
    const { breaker, begin, clock } = await halfOpen({ halfOpenPermits: 1, probeLeaseMs: 800 });
    begin();
    await clock.advance(300);
    for (let i = 0; i < 3; i += 1) {
      await expect(breaker.execute(() => 1)).rejects.toMatchObject({ retryAfterMs: 500 });
    }
  });

  it("a probe of an earlier half-open counts in no later one, though it has the same number", async () => {
    const { clock, begin, state, admits } = await halfOpen({ halfOpenPermits: 2, successThreshold: 2 });
    const [failed, slow] = [begin(), begin()];
    failed.failure();
    await clock.advance(1_000);
    const [, second] = [begin(), begin()];
    slow.success();
    slow.failure();
    expect(state()).toBe("half_open");
    expect(admits()).toBe(false);
    second.success();
    expect(state()).toBe("half_open");
  });

  it("nothing but time leads from closed to half open", () => {
    const { breaker, play, state } = circuit({ failureThreshold: 3 });
    play("FF");
    breaker.reset("operator");
    breaker.hold({ state: "metrics_only", by: "ada", reason: "test", until: undefined });
    breaker.release();
    expect(state()).toBe("closed");
    expect(breaker.getState().failureCount).toBe(0);
  });

  it("after closing, the streak begins anew", async () => {
    const tools = await halfOpen({ failureThreshold: 2, successThreshold: 1 });
    tools.play("F");
    await tools.clock.advance(1_000);
    tools.play("SF");
    expect(tools.state()).toBe("closed");
    tools.play("F");
    expect(tools.state()).toBe("open");
  });
});

describe("holds", () => {
  const hold = { by: "ada", reason: "provider asked us to", until: undefined } as const;

  it("forced open refuses every call, however long, until it is released", async () => {
    const { clock, breaker, admits, state } = circuit({ resetTimeoutMs: 100 });
    breaker.hold({ ...hold, state: "forced_open" });
    await clock.advance(1_000_000);
    expect(admits()).toBe(false);
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({ retryAfterMs: undefined });
    breaker.release();
    expect(admits()).toBe(true);
    expect(state()).toBe("closed");
  });

  it("forced open with an expiry admits calls again when it is over, and says when that is", async () => {
    const { clock, breaker, admits } = circuit();
    breaker.hold({ ...hold, state: "forced_open", until: clock.now() + 2_000 });
    await clock.advance(500);
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({ retryAfterMs: 1_500 });
    await clock.advance(1_499);
    expect(admits()).toBe(false);
    expect(breaker.snapshot().held).toMatchObject({ state: "forced_open", by: "ada" });
    await clock.advance(1);
    expect(admits()).toBe(true);
    expect(breaker.snapshot().held).toBeUndefined();
  });

  it("disabled admits everything and counts nothing", () => {
    const { breaker, play, moves } = circuit({ failureThreshold: 2 });
    breaker.hold({ ...hold, state: "disabled" });
    play("F".repeat(100));
    expect(moves()).toEqual([]);
    breaker.release();
    play("F");
    expect(breaker.getState()).toMatchObject({ state: "closed", failureCount: 1 });
  });

  it("a call that began while disabled does not count after the release", () => {
    const { breaker, begin } = circuit({ failureThreshold: 2 });
    breaker.hold({ ...hold, state: "disabled" });
    const call = begin();
    breaker.release();
    call.failure();
    expect(breaker.getState().failureCount).toBe(0);
  });

  it("metrics only admits everything, and reports once that the threshold was reached", () => {
    const { breaker, play, moves } = circuit({ failureThreshold: 5 });
    breaker.hold({ ...hold, state: "metrics_only" });
    play("F".repeat(100));
    expect(moves()).toEqual(["closed → open: failure_threshold"]);
    expect(breaker.getState().failureCount).toBe(5);
  });

  it("forced open while a probe is in flight stays forced open when the probe succeeds", async () => {
    const { breaker, begin, admits } = await halfOpen({ successThreshold: 1 });
    const probe = begin();
    breaker.hold({ ...hold, state: "forced_open" });
    probe.success();
    expect(admits()).toBe(false);
    expect(breaker.snapshot()).toMatchObject({ state: "closed", held: { state: "forced_open" } });
  });

  it("a probe in flight when the circuit is disabled gives its permit back and counts for nothing", async () => {
    const { breaker, begin, state } = await halfOpen({ halfOpenPermits: 1, successThreshold: 1 });
    const probe = begin();
    breaker.hold({ ...hold, state: "disabled" });
    probe.failure();
    breaker.release();
    expect(state()).toBe("half_open");
    expect(breaker.tryAcquire()).toBeDefined();
  });

  it("a mode that does not enforce admits everything while the states move as they would", async () => {
    const clock = createFakeClock();
    let enforced = false;
    const breaker = new CircuitBreaker("svc", { failureThreshold: 1 }, { clock, enforce: () => enforced });
    breaker.tryAcquire()?.failure();
    expect(breaker.getState().state).toBe("open");
    expect(breaker.tryAcquire()).toBeDefined();
    enforced = true;
    expect(breaker.tryAcquire()).toBeUndefined();
  });
});

describe("a restart", () => {
  const stored = (breaker: CircuitBreaker, at: number) => ({ ...breaker.snapshot(), updatedAt: at });

  it("saved open with 50 ms left of 300 half-opens after 50 ms", async () => {
    const before = circuit({ failureThreshold: 1, resetTimeoutMs: 300 });
    before.play("F");
    await before.clock.advance(250);
    const after = circuit({ failureThreshold: 1, resetTimeoutMs: 300 });
    after.clock.stepWall(before.clock.now() - after.clock.now());
    after.breaker.restore(stored(before.breaker, before.clock.now()));
    await after.clock.advance(49);
    expect(after.admits()).toBe(false);
    await after.clock.advance(1);
    expect(after.admits()).toBe(true);
  });

  it("saved while a probe was in flight, it is open with its wait over: one new probe", async () => {
    const before = await halfOpen({ halfOpenPermits: 1 });
    before.begin();
    const after = circuit({ halfOpenPermits: 1 });
    after.breaker.restore(stored(before.breaker, before.clock.now()));
    expect(after.state()).toBe("open");
    expect(after.breaker.tryAcquire()).toBeDefined();
    expect(after.breaker.tryAcquire()).toBeUndefined();
  });

  it("a hold survives and can be released", () => {
    const before = circuit();
    before.breaker.hold({ state: "forced_open", by: "ada", reason: "migration", until: undefined });
    const after = circuit();
    after.breaker.restore(stored(before.breaker, before.clock.now()));
    expect(after.admits()).toBe(false);
    expect(after.breaker.snapshot().held).toEqual({
      state: "forced_open",
      by: "ada",
      reason: "migration",
      until: undefined,
    });
    after.breaker.release();
    expect(after.admits()).toBe(true);
  });

  it("counts on from the stored version and streak", () => {
    const before = circuit({ failureThreshold: 3 });
    before.breaker.forceOpen("operator");
    before.breaker.reset("operator");
    before.play("FF");
    const after = circuit({ failureThreshold: 3 });
    after.breaker.restore(stored(before.breaker, before.clock.now()));
    expect(after.breaker.snapshot()).toMatchObject({ version: 2, failureCount: 2 });
    after.play("F");
    expect(after.transitions).toMatchObject([{ from: "closed", to: "open", version: 3 }]);
  });

  it("a call from before the restoration counts no more", () => {
    const { breaker, begin, clock, state } = circuit({ failureThreshold: 1 });
    const early = begin();
    breaker.restore({ ...breaker.snapshot(), version: 7, updatedAt: clock.now() });
    early.failure();
    expect(state()).toBe("closed");
  });
});
