/** Any history of calls, time, hands, grants, new settings, crashes and restarts: the breaker does what a plain model of it does. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { type CircuitBreakerOptions, resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import type { Permit } from "../../server/circuit/permit.js";
import { type CircuitTransition, HELD_STATES } from "../../shared/circuit.js";
import { HALF_OPEN_TARGETS, WINDOW_KINDS, type WindowKind } from "../../shared/circuit-config.js";
import { VERDICTS } from "../../shared/classification.js";
import { runs } from "../support/property-runs.js";
import { type ModelCall, ReferenceModel } from "./reference-model.js";
import { createStillClock, type StillClock } from "./still-clock.js";

interface Real {
  breaker: CircuitBreaker;
  readonly clock: StillClock;
  readonly calls: { permit: Permit; call: ModelCall }[];
  readonly moves: string[];
  enforced: boolean;
  chance: number;
  make(): CircuitBreaker;
}

type Command = fc.Command<ReferenceModel, Real>;

function command(name: string, run: (model: ReferenceModel, real: Real) => void): Command {
  return {
    check: () => true,
    run(model, real) {
      run(model, real);
      const { state, failureCount, successCount, nextRetryTime } = real.breaker.getState();
      expect({ state, failureCount, successCount }).toEqual({
        state: model.state,
        failureCount: model.failures(),
        successCount: model.state === "half_open" ? model.successes : 0,
      });
      const waitMs = nextRetryTime === undefined ? undefined : nextRetryTime - real.clock.now();
      expect(waitMs).toBe(model.state === "open" ? Math.round(model.retryAt - model.now) + 0 : undefined);
      expect(real.breaker.snapshot().version).toBe(model.generation);
      expect(real.breaker.snapshot().held?.state).toBe(model.held());
      expect(real.moves).toEqual(model.moves);
      const { ratio: failureRatio, ...counted } = model.counts();
      expect(real.breaker.counts()).toMatchObject({ ...counted, failureRatio });
    },
    toString: () => name,
  };
}

const beginCall = fc.constant(
  command("begin", (model, real) => {
    const call = model.begin();
    const permit = real.breaker.tryAcquire();
    expect(permit !== undefined).toBe(call !== undefined);
    if (permit !== undefined && call !== undefined) real.calls.push({ permit, call });
  }),
);

/** Also calls that ended already: a second result must change nothing. */
const endCall = fc
  .record({
    index: fc.nat(30),
    verdict: fc.constantFrom(...VERDICTS),
    again: fc.boolean(),
    openForMs: fc.option(fc.constantFrom(0, 70, 5_000), { nil: undefined, freq: 8 }),
  })
  .map(({ index, verdict, again, openForMs }) =>
    command(`end ${index} ${verdict} ${openForMs}`, (model, real) => {
      const at = real.calls.length === 0 ? 0 : index % real.calls.length;
      const ended = real.calls[at];
      if (ended === undefined) return;
      const { permit, call } = ended;
      model.end(call, verdict, openForMs);
      if (verdict === "failure") permit.failure({ openForMs });
      else permit[verdict]();
      real.calls.splice(at, 1);
      if (again) permit.failure({ openForMs: 70 });
    }),
  );

const pass = fc.constantFrom(1, 10, 99, 100, 101, 250).map((ms) =>
  command(`pass ${ms}`, (model, real) => {
    model.now += ms;
    real.clock.leap(ms);
  }),
);

const place = fc.tuple(fc.constantFrom(...HELD_STATES), fc.option(fc.constantFrom(-50, 50, 300))).map(([state, ms]) =>
  command(`hold ${state} ${ms}`, (model, real) => {
    const until = ms === null ? undefined : real.clock.now() + ms;
    real.breaker.hold({ state, by: "ada", reason: "test", until });
    if (ms === null || ms > 0) model.hold = { state, until: ms === null ? Infinity : model.now + ms };
  }),
);

const grant = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(50, 300)).map(([permits, leaseMs]) =>
  command(`grant ${permits} for ${leaseMs}`, (model, real) => {
    model.grant(permits, leaseMs);
    expect(real.breaker.grantProbes({ permits, leaseMs })).toBe(model.state === "half_open");
  }),
);

const draw = fc.constantFrom(0, 0.3, 0.99).map((chance) =>
  command(`chance ${chance}`, (model, real) => {
    model.chance = chance;
    real.chance = chance;
  }),
);

const others = fc.constantFrom(
  command("release", (model, real) => {
    real.breaker.release();
    model.hold = undefined;
  }),
  command("force open", (model, real) => {
    real.breaker.forceOpen("repair");
    model.forceOpen();
  }),
  command("reset", (model, real) => {
    real.breaker.reset("operator");
    model.reset();
  }),
  command("toggle enforcement", (model, real) => {
    model.enforced = !model.enforced;
    real.enforced = model.enforced;
  }),
  command("toggle leasing", (model, real) => {
    model.leased = !model.leased;
    real.breaker.leaseProbes(model.leased);
  }),
  command("crash and restart", (model, real) => {
    const stored = { ...real.breaker.snapshot(), updatedAt: real.clock.now() };
    // What an operator changed in a living process is not stored: the next one begins with what the code says.
    const { config } = real.breaker;
    real.breaker = real.make();
    real.breaker.reconfigure(config);
    real.breaker.restore(stored);
    // Permits of the dead process cannot reach the new one.
    real.calls.length = 0;
    model.restart();
  }),
);

/** Settings small enough that a history of a hundred steps reaches every corner of them. */
function someOptions(window: WindowKind): fc.Arbitrary<CircuitBreakerOptions> {
  const judged = window !== "consecutive";
  return fc
    .record({
      failureThreshold: fc.integer({ min: 1, max: 4 }),
      failureCountResetMs: fc.constantFrom(200, 300_000),
      windowCalls: fc.integer({ min: 1, max: 6 }),
      windowMs: fc.constantFrom(100, 995, 10_000),
      minimumCalls: fc.integer({ min: 1, max: 5 }),
      failureRatio: fc.constantFrom(undefined, 0.25, 0.5, 1),
      windowFailures: fc.constantFrom(undefined, undefined, 2, 4),
      slowCallMs: fc.constantFrom(undefined, 10, 100),
      slowCallRatio: fc.constantFrom(0.5, 1),
      successThreshold: fc.integer({ min: 1, max: 3 }),
      spareProbes: fc.constantFrom(0, 0, 1, 2),
      successRatio: fc.constantFrom(undefined, undefined, 0.5, 1),
      halfOpenPermits: fc.integer({ min: 1, max: 3 }),
      halfOpenMaxMs: fc.constantFrom(undefined, 150),
      halfOpenTarget: fc.constantFrom(...HALF_OPEN_TARGETS),
      resetTimeoutMs: fc.constantFrom(1, 100, 500),
      resetTimeoutFactor: fc.constantFrom(1, 2),
      resetJitter: fc.constantFrom(0, 0.5),
      probeLeaseMs: fc.constantFrom(1, 100, 500),
      rampMs: fc.constantFrom(undefined, undefined, 200),
    })
    .map(({ spareProbes, failureRatio, windowFailures, slowCallMs, ...options }) => ({
      ...options,
      window,
      maxResetTimeoutMs: 1_200,
      halfOpenCalls: options.successThreshold + spareProbes,
      failureRatio: judged ? failureRatio : undefined,
      windowFailures: judged ? windowFailures : undefined,
      slowCallMs: judged ? slowCallMs : undefined,
    }));
}

function reconfigure(kinds: fc.Arbitrary<WindowKind>): fc.Arbitrary<Command> {
  return kinds.chain(someOptions).map((options) =>
    command(`reconfigure ${JSON.stringify(options)}`, (model, real) => {
      model.reconfigure(resolveCircuitConfig("model", options));
      real.breaker.reconfigure(options);
    }),
  );
}

function commandsFor(window: WindowKind): fc.Arbitrary<Command> {
  const mostlyTheSame = fc.oneof(
    { weight: 4, arbitrary: fc.constant(window) },
    { weight: 1, arbitrary: fc.constantFrom(...WINDOW_KINDS) },
  );
  return fc.oneof(
    { weight: 30, arbitrary: beginCall },
    { weight: 40, arbitrary: endCall },
    { weight: 20, arbitrary: pass },
    { weight: 4, arbitrary: place },
    { weight: 10, arbitrary: others },
    { weight: 4, arbitrary: grant },
    { weight: 4, arbitrary: draw },
    { weight: 2, arbitrary: reconfigure(mostlyTheSame) },
  );
}

describe("a circuit breaker", () => {
  it.each(WINDOW_KINDS)("does in any history what the model does, with window %s", { timeout: 60_000 }, (window) => {
    fc.assert(
      fc.property(
        someOptions(window),
        fc.commands([commandsFor(window)], { size: "max", maxCommands: 100 }),
        (options, commands) => {
          const clock = createStillClock();
          const moves: string[] = [];
          const real: Real = {
            clock,
            moves,
            calls: [],
            enforced: true,
            chance: 0,
            breaker: new CircuitBreaker("model"),
            make: () =>
              new CircuitBreaker("model", options, {
                clock,
                random: () => real.chance,
                enforce: () => real.enforced,
                onTransition: ({ from, to, reason }: CircuitTransition) => moves.push(`${from}>${to}:${reason}`),
              }),
          };
          real.breaker = real.make();
          fc.modelRun(() => ({ model: new ReferenceModel(resolveCircuitConfig("model", options)), real }), commands);
        },
      ),
      { numRuns: runs(300) },
    );
  });
});
