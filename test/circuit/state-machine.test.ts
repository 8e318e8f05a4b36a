/** The machine itself: what holds for every status and every event, and that it never touches what it is given. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import { holdOf, retryAfterMs, wantsProbe } from "../../server/circuit/circuit-reading.js";
import { type CircuitStatus, initialStatus, type OpenStatus, UNCOUNTED } from "../../server/circuit/circuit-status.js";
import { type CircuitWindow, EMPTY_WINDOWS, record } from "../../server/circuit/circuit-window.js";
import { type CircuitEvent, step, withSuccesses } from "../../server/circuit/state-machine.js";
import { HELD_STATES } from "../../shared/circuit.js";
import { type CircuitConfig, HALF_OPEN_TARGETS, WINDOW_KINDS } from "../../shared/circuit-config.js";
import { VERDICTS } from "../../shared/classification.js";

const config = resolveCircuitConfig("machine", {
  failureThreshold: 2,
  successThreshold: 2,
  timeoutMs: 50,
  resetTimeoutMs: 1_000,
});

const REQUEST: CircuitEvent = { type: "call.requested", enforced: true, leased: false };
const HOLD = { by: "ada", reason: "test", until: undefined } as const;

const aHold = fc.option(
  fc.record({
    hold: fc.record({
      state: fc.constantFrom(...HELD_STATES),
      by: fc.string(),
      reason: fc.string(),
      until: fc.constant(undefined),
    }),
    expiresAt: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 5_000 })),
  }),
  { nil: undefined },
);

const INITIAL_STATUS = initialStatus(config);

/** Every setting that the machine reads, so that each property holds for each kind of circuit. */
const aConfig: fc.Arbitrary<CircuitConfig> = fc
  .record({
    window: fc.constantFrom(...WINDOW_KINDS),
    failureThreshold: fc.integer({ min: 1, max: 3 }),
    failureCountResetMs: fc.constantFrom(50, 100_000),
    windowCalls: fc.integer({ min: 1, max: 5 }),
    windowMs: fc.constantFrom(10, 1_000),
    minimumCalls: fc.integer({ min: 1, max: 4 }),
    ratio: fc.option(fc.constantFrom(0.3, 0.5, 1), { nil: undefined }),
    slow: fc.option(fc.constantFrom(1, 100), { nil: undefined }),
    failures: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
    successThreshold: fc.integer({ min: 1, max: 3 }),
    spareProbes: fc.integer({ min: 0, max: 2 }),
    successRatio: fc.option(fc.constantFrom(0.5, 1), { nil: undefined }),
    halfOpenPermits: fc.integer({ min: 1, max: 3 }),
    probeLeaseMs: fc.constantFrom(1, 100, 500),
    halfOpenMaxMs: fc.option(fc.constantFrom(1, 300), { nil: undefined }),
    halfOpenTarget: fc.constantFrom(...HALF_OPEN_TARGETS),
    resetTimeoutMs: fc.constantFrom(1, 1_000),
    resetTimeoutFactor: fc.constantFrom(1, 2),
    resetJitter: fc.constantFrom(0, 0.5),
    rampMs: fc.option(fc.constantFrom(1, 1_000), { nil: undefined }),
  })
  .map(({ ratio, slow, failures, spareProbes, ...rest }) =>
    resolveCircuitConfig("machine", {
      ...rest,
      halfOpenCalls: rest.successThreshold + spareProbes,
      maxResetTimeoutMs: 4_000,
      ...(rest.window !== "consecutive" && { failureRatio: ratio, slowCallMs: slow, windowFailures: failures }),
    } as CircuitConfig),
  );

const base = { version: fc.nat(50), hold: aHold };

function aWindow(settings: CircuitConfig): fc.Arbitrary<CircuitWindow> {
  return fc.array(fc.tuple(fc.boolean(), fc.boolean(), fc.nat(600)), { maxLength: 6 }).map((outcomes) => {
    let window: CircuitWindow = EMPTY_WINDOWS[settings.window];
    for (const [failed, slow, at] of outcomes) window = record(window, failed, slow, at, settings);
    return window;
  });
}

function aStatusOf(settings: CircuitConfig): fc.Arbitrary<CircuitStatus> {
  const since = fc.integer({ min: 0, max: 5_000 });
  return fc.oneof(
    fc.record({
      state: fc.constant("closed" as const),
      ...base,
      window: aWindow(settings),
      rampUntil: fc.option(since, { nil: undefined }),
    }),
    fc.record({
      state: fc.constant("open" as const),
      ...base,
      failureCount: fc.nat(3),
      opened: fc.constant(undefined),
      openings: fc.integer({ min: 1, max: 4 }),
      retryAt: since,
    }),
    fc.record({
      state: fc.constant("half_open" as const),
      ...base,
      failureCount: fc.nat(3),
      opened: fc.constant(undefined),
      openings: fc.integer({ min: 1, max: 4 }),
      since,
      successCount: fc.nat(1),
      failedProbes: fc.nat(1),
      probes: fc
        .array(fc.integer({ min: 0, max: 5_000 }), { maxLength: settings.halfOpenPermits })
        .map((leases) => leases.map((leaseUntil, at) => ({ id: at + 1, leaseUntil }))),
      admitted: fc.integer({ min: 3, max: 9 }),
      grant: fc.option(fc.record({ permits: fc.integer({ min: 1, max: 3 }), until: since }), { nil: undefined }),
    }),
  );
}

const aStatus = aConfig.chain((settings) =>
  fc.record({ settings: fc.constant(settings), status: aStatusOf(settings) }),
);

const manual = fc.constantFrom("repair" as const, "operator" as const);
const anEvent: fc.Arbitrary<CircuitEvent> = fc.oneof(
  fc.record({ type: fc.constant("call.requested" as const), enforced: fc.boolean(), leased: fc.boolean() }),
  fc.record({
    type: fc.constant("probes.granted" as const),
    permits: fc.integer({ min: 1, max: 3 }),
    leaseMs: fc.nat(900),
  }),
  fc.record({
    type: fc.constant("call.ended" as const),
    ticket: fc.record({
      version: fc.nat(50),
      probe: fc.nat(4),
      beganAt: fc.oneof(fc.constant(Number.NaN), fc.nat(6_000)),
    }),
    verdict: fc.constantFrom(...VERDICTS),
    openForMs: fc.option(fc.constantFrom(0, 50, Number.NaN, Infinity), { nil: undefined }),
  }),
  fc.record({ type: fc.constant("circuit.opened" as const), reason: manual }),
  fc.record({ type: fc.constant("circuit.reset" as const), reason: manual }),
  aConfig.map((before) => ({ type: "circuit.reconfigured" as const, before })),
  fc.constant({ type: "hold.placed" as const, hold: { ...HOLD, state: "disabled" as const }, expiresAt: Infinity }),
  fc.constant({ type: "hold.released" as const }),
);

const aMoment = fc.integer({ min: 0, max: 6_000 });
const aChance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}

describe("step", () => {
  it("gives the same answer to the same question and changes nothing it was given", () => {
    fc.assert(
      fc.property(aStatus, anEvent, aMoment, aChance, ({ settings, status }, event, now, chance) => {
        deepFreeze(status);
        deepFreeze(event);
        expect(step(status, event, now, settings, chance)).toEqual(step(status, event, now, settings, chance));
      }),
    );
  });

  it("raises the version by one with each transition, names it in the effect, and never moves otherwise", () => {
    fc.assert(
      fc.property(aStatus, anEvent, aMoment, aChance, ({ settings, status }, event, now, chance) => {
        const { state, effects } = step(status, event, now, settings, chance);
        const moves = effects.filter((effect) => effect.type === "transitioned");
        expect(moves).toHaveLength(state.version - status.version);
        if (moves.length === 0) expect(state.state).toBe(status.state);
        else expect(moves).toMatchObject([{ from: status.state, to: state.state, version: status.version + 1 }]);
      }),
    );
  });

  it("never goes from closed to half open, nor from open to anywhere but by its time or by hand", () => {
    fc.assert(
      fc.property(aStatus, anEvent, aMoment, aChance, ({ settings, status }, event, now, chance) => {
        for (const effect of step(status, event, now, settings, chance).effects) {
          if (effect.type !== "transitioned") continue;
          if (effect.from === "closed") expect(effect.to).toBe("open");
          if (effect.from !== "open") continue;
          if (effect.to === "half_open") {
            expect(effect.reason).toBe("reset_timeout");
            expect((status as OpenStatus).retryAt).toBeLessThanOrEqual(now);
          } else expect([effect.to, event.type]).toEqual(["closed", "circuit.reset"]);
        }
      }),
    );
  });

  it("answers a request with exactly one admission or refusal, and nothing else with any", () => {
    fc.assert(
      fc.property(aStatus, anEvent, aMoment, aChance, ({ settings, status }, event, now, chance) => {
        const { effects } = step(status, event, now, settings, chance);
        const answers = effects.filter((effect) => effect.type !== "transitioned");
        expect(answers).toHaveLength(event.type === "call.requested" ? 1 : 0);
      }),
    );
  });

  it("never has more probes in flight than permits, nor counts at their thresholds", () => {
    const aHistory = fc.array(fc.tuple(anEvent, fc.nat(400)), { size: "max", maxLength: 60 });
    fc.assert(
      fc.property(aConfig, aHistory, aChance, (settings, history, chance) => {
        let status: CircuitStatus = initialStatus(settings);
        let now = 0;
        for (const [event, passed] of history) {
          now += passed;
          const aimed: CircuitEvent =
            event.type === "call.ended" ? { ...event, ticket: { ...event.ticket, version: status.version } } : event;
          status = step(status, aimed, now, settings, chance).state;
          if (status.state === "closed" && settings.window === "consecutive") {
            expect(status.window.failures).toBeLessThan(settings.failureThreshold);
          }
          if (status.state !== "half_open") continue;
          expect(status.probes.length).toBeLessThanOrEqual(3);
          if (settings.successRatio === undefined) {
            expect(status.successCount).toBeLessThan(settings.successThreshold);
          }
          expect(status.successCount + status.failedProbes).toBeLessThan(settings.halfOpenCalls);
          expect(new Set(status.probes.map((probe) => probe.id)).size).toBe(status.probes.length);
        }
      }),
    );
  });

  it("heeds no result of another generation", () => {
    fc.assert(
      fc.property(aStatus, fc.constantFrom(...VERDICTS), aMoment, fc.nat(4), (given, verdict, now, probe) => {
        const { settings, status } = given;
        for (const version of [UNCOUNTED.version, status.version - 1, status.version + 1]) {
          const ticket = { version, probe, beganAt: 0 };
          const late: CircuitEvent = { type: "call.ended", ticket, verdict, openForMs: 50 };
          const { state, effects } = step(status, late, now, settings);
          expect(effects).toEqual([]);
          expect({ ...state, hold: undefined }).toEqual({ ...status, hold: undefined });
        }
      }),
    );
  });

  it("never waits for ever: within its waits and leases any circuit without a hold admits a call", () => {
    fc.assert(
      fc.property(aStatus, aMoment, aChance, ({ settings, status: from }, now, chance) => {
        let status: CircuitStatus = { ...from, hold: undefined };
        let at = now;
        // Each lease may end in a wait of its own, then the circuit may be open for a while, then grow.
        for (let asked = 0; asked < 3 + settings.halfOpenPermits; asked += 1) {
          const { state, effects } = step(status, REQUEST, at, settings, chance);
          if (effects.some((effect) => effect.type === "admitted")) return;
          status = state;
          const waitMs = retryAfterMs(status, at);
          expect(waitMs).toBeGreaterThan(0);
          at += waitMs ?? 0;
        }
        expect.unreachable("refused more often than it had waits to name");
      }),
    );
  });
});

describe("in particular", () => {
  it("the ticket that counts for nothing names a version that no circuit ever has", () => {
    expect(UNCOUNTED.version).toBeLessThan(INITIAL_STATUS.version);
    expect(UNCOUNTED.probe).toBe(0);
  });

  const halfOpen = (over: Partial<CircuitConfig> = {}) => {
    const settings = { ...config, ...over };
    const opened = step(INITIAL_STATUS, { type: "circuit.opened", reason: "operator" }, 0, settings).state;
    return step(opened, REQUEST, settings.resetTimeoutMs, settings);
  };

  it("a first probe is number one of the version that begins with it, and leased from now", () => {
    const { state, effects } = halfOpen();
    expect(effects).toEqual([
      { type: "transitioned", from: "open", to: "half_open", reason: "reset_timeout", version: 2 },
      { type: "admitted", ticket: { version: 2, probe: 1, beganAt: 1_000 } },
    ]);
    expect(state).toEqual({
      state: "half_open",
      version: 2,
      failureCount: 0,
      opened: { calls: 0, failures: 0, slow: 0, slowFailures: 0 },
      openings: 1,
      since: 1_000,
      hold: undefined,
      successCount: 0,
      failedProbes: 0,
      probes: [{ id: 1, leaseUntil: 1_000 + config.probeLeaseMs }],
      admitted: 1,
      grant: undefined,
    });
  });

  it("probes are numbered on", () => {
    const second = step(halfOpen().state, REQUEST, 1_001, config);
    expect(second.effects).toEqual([{ type: "admitted", ticket: { version: 2, probe: 2, beganAt: 1_001 } }]);
  });

  it("a lease ends at its time, not after it", () => {
    const { state } = halfOpen();
    const endsAt = 1_000 + config.probeLeaseMs;
    expect(step(state, REQUEST, endsAt - 1, config).effects).toMatchObject([{ type: "admitted" }]);
    expect(step(state, REQUEST, endsAt, config).effects).toMatchObject([
      { type: "transitioned", from: "half_open", to: "open", reason: "half_open_expired" },
      { type: "refused" },
    ]);
  });

  it("under metrics only, a lease that ran out opens the circuit and lets the call pass uncounted", () => {
    const held = step(
      halfOpen().state,
      { type: "hold.placed", hold: { ...HOLD, state: "metrics_only" }, expiresAt: Infinity },
      1_000,
      config,
    );
    expect(step(held.state, REQUEST, 9_999, config).effects).toMatchObject([
      { type: "transitioned", to: "open" },
      { type: "admitted", ticket: UNCOUNTED },
    ]);
  });

  it("keeps the streak that opened it, and a hold, through open and half open; closing clears the streak", () => {
    let status: CircuitStatus = INITIAL_STATUS;
    const hold = { ...HOLD, state: "metrics_only" } as const;
    status = step(status, { type: "hold.placed", hold, expiresAt: Infinity }, 0, config).state;
    const failure = { type: "call.ended", ticket: { version: 0, probe: 0, beganAt: 0 }, verdict: "failure" } as const;
    status = step(step(status, failure, 0, config).state, failure, 5, config).state;
    expect(status).toEqual({
      state: "open",
      version: 1,
      failureCount: 2,
      opened: { calls: 2, failures: 2, slow: 0, slowFailures: 0 },
      openings: 1,
      retryAt: 1_005,
      hold: { hold, expiresAt: Infinity },
    });
    status = step(status, REQUEST, 1_005, config).state;
    expect(status).toMatchObject({ state: "half_open", failureCount: 2, hold: { hold } });
    for (const probe of [1, 2]) {
      if (probe === 2) status = step(status, REQUEST, 1_005, config).state;
      status = step(
        status,
        { type: "call.ended", ticket: { version: 2, probe, beganAt: 0 }, verdict: "success" },
        1_006,
        config,
      ).state;
    }
    expect(status).toEqual({
      state: "closed",
      version: 3,
      hold: { hold, expiresAt: Infinity },
      window: EMPTY_WINDOWS.consecutive,
      rampUntil: undefined,
    });
  });

  it("a reset of a closed circuit clears its streak without a transition", () => {
    const window = record(EMPTY_WINDOWS.consecutive, true, false, 0, config);
    const streak: CircuitStatus = { ...INITIAL_STATUS, window, rampUntil: 500 };
    expect(step(streak, { type: "circuit.reset", reason: "operator" }, 0, config)).toEqual({
      state: INITIAL_STATUS,
      effects: [],
    });
  });

  it("half open for too long, it is where its target says: with the next call, which a closed one admits", () => {
    const limit = { halfOpenMaxMs: 100, probeLeaseMs: 9_999 };
    const late = (halfOpenTarget: CircuitConfig["halfOpenTarget"], event: CircuitEvent) =>
      step(halfOpen(limit).state, event, 1_100, { ...config, ...limit, halfOpenTarget });
    const moved = { type: "transitioned", from: "half_open", reason: "half_open_expired", version: 3 } as const;
    expect(late("open", REQUEST).effects).toEqual([{ ...moved, to: "open" }, { type: "refused" }]);
    expect(late("closed", REQUEST).effects).toEqual([
      { ...moved, to: "closed" },
      { type: "admitted", ticket: { version: 3, probe: 0, beganAt: Number.NaN } },
    ]);
    const success: CircuitEvent = {
      type: "call.ended",
      ticket: { version: 2, probe: 1, beganAt: 0 },
      verdict: "success",
    };
    expect(late("open", success)).toMatchObject({ state: { state: "open" }, effects: [{ ...moved, to: "open" }] });
    expect(late("closed", success)).toMatchObject({
      state: { state: "closed" },
      effects: [{ ...moved, to: "closed" }],
    });
    const inTime = step(halfOpen(limit).state, REQUEST, 1_099, { ...config, ...limit, halfOpenTarget: "closed" });
    expect(inTime.effects).toMatchObject([{ type: "admitted", ticket: { version: 2 } }]);
  });

  it("a call is timed only where somebody wants to know slow ones", () => {
    expect(step(INITIAL_STATUS, REQUEST, 7, config).effects).toEqual([
      { type: "admitted", ticket: { version: 0, probe: 0, beganAt: Number.NaN } },
    ]);
    expect(step(INITIAL_STATUS, REQUEST, 7, { ...config, slowCallMs: 50 }).effects).toEqual([
      { type: "admitted", ticket: { version: 0, probe: 0, beganAt: 7 } },
    ]);
  });

  it("traffic grows until the ramp's end, exactly, and is whole at once where the ramp was taken back", () => {
    const ramping: CircuitStatus = { ...INITIAL_STATUS, rampUntil: 1_000 };
    const ask = (now: number, chance: number, rampMs: number | undefined = 1_000) =>
      step(ramping, REQUEST, now, { ...config, rampMs }, chance);
    const [refused, admitted] = [[{ type: "refused" }], [{ type: "admitted" }]];
    expect(ask(500, 0.55).effects).toEqual(refused);
    expect(ask(500, 0.549)).toMatchObject({ state: { rampUntil: 1_000 }, effects: admitted });
    expect(ask(999, 0.9999).effects).toEqual(refused);
    expect(ask(1_000, 0.9999)).toMatchObject({ state: INITIAL_STATUS, effects: admitted });
    expect(step(ramping, REQUEST, 0, config, 0.9999)).toMatchObject({ state: ramping, effects: admitted });
    const closed = { ...config, rampMs: 1_000 };
    expect(step(INITIAL_STATUS, REQUEST, 0, closed, 0.9999).effects).toMatchObject(admitted);
  });

  it("traffic grows after probes closed the circuit, not after somebody did, nor without a ramp", () => {
    const ramped = { rampMs: 100, successThreshold: 1 };
    const success: CircuitEvent = {
      type: "call.ended",
      ticket: { version: 2, probe: 1, beganAt: 0 },
      verdict: "success",
    };
    const closedBy = (event: CircuitEvent, over: Partial<CircuitConfig>) =>
      step(halfOpen(over).state, event, 1_001, { ...config, ...over }).state;
    expect(closedBy(success, ramped)).toMatchObject({ state: "closed", rampUntil: 1_101 });
    expect(closedBy(success, { successThreshold: 1 })).toMatchObject({ state: "closed", rampUntil: undefined });
    const reset: CircuitEvent = { type: "circuit.reset", reason: "operator" };
    expect(closedBy(reset, ramped)).toMatchObject({ state: "closed", rampUntil: undefined });
  });

  it("only a failure asks for a wait", () => {
    const ended = (verdict: (typeof VERDICTS)[number], probe: number, version: number): CircuitEvent => ({
      type: "call.ended",
      ticket: { version, probe, beganAt: 0 },
      verdict,
      openForMs: 500,
    });
    expect(step(INITIAL_STATUS, ended("success", 0, 0), 0, config).state.state).toBe("closed");
    expect(step(INITIAL_STATUS, ended("failure", 0, 0), 0, config).state).toMatchObject({
      state: "open",
      retryAt: 500,
    });
    expect(step(halfOpen().state, ended("ignored", 1, 2), 1_001, config).state.state).toBe("half_open");
    expect(step(halfOpen().state, ended("success", 1, 2), 1_001, config).state.state).toBe("half_open");
  });

  it("successes that were not told of belong to a closed circuit", () => {
    const open = step(INITIAL_STATUS, { type: "circuit.opened", reason: "repair" }, 0, config).state;
    expect(withSuccesses(open, 3)).toBe(open);
  });

  it("a probe is wanted when its time has come, and never of a closed circuit", () => {
    const open = step(INITIAL_STATUS, { type: "circuit.opened", reason: "repair" }, 0, config).state;
    expect([wantsProbe(INITIAL_STATUS, 0), wantsProbe(open, 999), wantsProbe(open, 1_000)]).toEqual([
      false,
      false,
      true,
    ]);
    expect(wantsProbe(halfOpen().state, 9_999)).toBe(false);
  });

  it("an opening of an open circuit does not prolong its wait", () => {
    const open = step(INITIAL_STATUS, { type: "circuit.opened", reason: "repair" }, 0, config).state;
    expect(step(open, { type: "circuit.opened", reason: "repair" }, 500, config)).toEqual({ state: open, effects: [] });
  });

  it("a hold is in force before its expiry and not at it", () => {
    const status: CircuitStatus = {
      ...INITIAL_STATUS,
      hold: { hold: { ...HOLD, state: "forced_open" }, expiresAt: 100 },
    };
    expect(holdOf(status, 99)).toMatchObject({ state: "forced_open" });
    expect(holdOf(status, 100)).toBeUndefined();
    expect(step(status, REQUEST, 99, config).effects).toEqual([{ type: "refused" }]);
    const { state, effects } = step(status, REQUEST, 100, config);
    expect(effects).toMatchObject([{ type: "admitted" }]);
    expect(state.hold).toBeUndefined();
  });
});

describe("retryAfterMs", () => {
  const open: OpenStatus = {
    state: "open",
    version: 1,
    failureCount: 0,
    opened: undefined,
    openings: 1,
    hold: undefined,
    retryAt: 100.5,
  };

  it("is whole milliseconds until probes are admitted, 0 once they are", () => {
    expect(retryAfterMs(open, 0)).toBe(101);
    expect(retryAfterMs(open, 100.4)).toBe(1);
    expect(retryAfterMs(open, 100.5)).toBe(0);
    expect(retryAfterMs(open, 500)).toBe(0);
    expect(retryAfterMs(INITIAL_STATUS, 5)).toBe(0);
  });

  it("is the time until the first lease ends while probes are in flight, 0 when none is", () => {
    const probes = [
      { id: 1, leaseUntil: 90.5 },
      { id: 2, leaseUntil: 70.5 },
    ];
    const { retryAt: _, ...rest } = open;
    const status: CircuitStatus = {
      ...rest,
      state: "half_open",
      since: 0,
      successCount: 0,
      failedProbes: 0,
      probes,
      admitted: 2,
      grant: undefined,
    };
    expect(retryAfterMs(status, 10)).toBe(61);
    // A later grant may allow one probe where two are in flight: the second lease decides then.
    expect(retryAfterMs(status, 70.5)).toBe(20);
    expect(retryAfterMs(status, 80)).toBe(11);
    expect(retryAfterMs(status, 90.5)).toBe(0);
    expect(retryAfterMs(status, 99)).toBe(0);
    expect(retryAfterMs({ ...status, probes: [] }, 10)).toBe(0);
  });

  it("is the time until a hold that refuses expires, unknown without an expiry; other holds do not matter", () => {
    const held = (state: (typeof HELD_STATES)[number], expiresAt: number) => ({
      ...open,
      hold: { hold: { ...HOLD, state }, expiresAt },
    });
    expect(retryAfterMs(held("forced_open", 900.5), 100)).toBe(801);
    expect(retryAfterMs(held("forced_open", Infinity), 100)).toBeUndefined();
    expect(retryAfterMs(held("forced_open", 50), 60)).toBe(41);
    expect(retryAfterMs(held("metrics_only", Infinity), 0)).toBe(101);
  });
});
