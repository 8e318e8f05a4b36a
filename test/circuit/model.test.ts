/** Any history of calls, time, hands and restarts: the breaker does what a plain, mutable model of it does. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { resolveCircuitConfig } from "../../server/circuit/circuit-config.js";
import type { Permit } from "../../server/circuit/permit.js";
import { type CIRCUIT_STATES, type CircuitTransition, HELD_STATES, type HeldState } from "../../shared/circuit.js";
import { VERDICTS, type Verdict } from "../../shared/classification.js";
import { createStillClock, type StillClock } from "./still-clock.js";

interface ModelCall {
  readonly counted: boolean;
  readonly generation: number;
  readonly probe: number;
}

/** What a reader of the rules would write down, without fast paths. */
class Model {
  state: (typeof CIRCUIT_STATES)[number] = "closed";
  generation = 0;
  streak = 0;
  successes = 0;
  retryAt = 0;
  nextProbe = 1;
  leases = new Map<number, number>();
  now = 0;
  hold: { state: HeldState; until: number } | undefined;
  enforced = true;
  readonly moves: string[] = [];

  constructor(readonly config: ReturnType<typeof resolveCircuitConfig>) {}

  held(): HeldState | undefined {
    if (this.hold !== undefined && this.now >= this.hold.until) this.hold = undefined;
    return this.hold?.state;
  }

  move(to: Model["state"], reason: string) {
    this.moves.push(`${this.state}>${to}:${reason}`);
    this.state = to;
    this.generation += 1;
    this.successes = 0;
    this.leases.clear();
    if (to === "closed") this.streak = 0;
    if (to === "open") this.retryAt = this.now + this.config.resetTimeoutMs;
  }

  begin(): ModelCall | undefined {
    const held = this.held();
    if (held === "forced_open") return undefined;
    if (held === "disabled") return { counted: false, generation: -1, probe: 0 };
    const call = this.beginByState();
    if (call !== undefined) return call;
    return held === "metrics_only" || !this.enforced ? { counted: false, generation: -1, probe: 0 } : undefined;
  }

  beginByState(): ModelCall | undefined {
    if (this.state === "closed") return { counted: true, generation: this.generation, probe: 0 };
    if (this.state === "open") {
      if (this.now < this.retryAt) return undefined;
      this.move("half_open", "reset_timeout");
      this.nextProbe = 1;
    }
    const lost = [...this.leases].filter(([, until]) => until <= this.now);
    if (lost.length > 0 && this.successes === 0) {
      this.move("open", "half_open_expired");
      return undefined;
    }
    if (this.leases.size - lost.length >= this.config.halfOpenPermits) return undefined;
    for (const [id] of lost) this.leases.delete(id);
    const probe = this.nextProbe;
    this.nextProbe += 1;
    this.leases.set(probe, this.now + this.config.probeLeaseMs);
    return { counted: true, generation: this.generation, probe };
  }

  end(call: ModelCall, verdict: Verdict) {
    if (!call.counted || call.generation !== this.generation) return;
    const heard = this.held() === "disabled" ? "ignored" : verdict;
    if (this.state === "closed") {
      if (heard === "success") this.streak = 0;
      if (heard !== "failure") return;
      this.streak += 1;
      if (this.streak >= this.config.failureThreshold) this.move("open", "failure_threshold");
      return;
    }
    if (this.state === "open" || !this.leases.delete(call.probe)) return;
    if (heard === "failure") this.move("open", "probe_failed");
    if (heard !== "success") return;
    this.successes += 1;
    if (this.successes >= this.config.successThreshold) this.move("closed", "probes_succeeded");
  }

  restart() {
    if (this.state === "open") this.retryAt = Math.max(this.retryAt, this.now);
    if (this.state === "half_open") {
      this.state = "open";
      this.retryAt = this.now;
      this.successes = 0;
      this.leases.clear();
    }
  }
}

interface Real {
  breaker: CircuitBreaker;
  readonly clock: StillClock;
  readonly calls: { permit: Permit; call: ModelCall }[];
  readonly moves: string[];
  enforced: boolean;
  make(): CircuitBreaker;
}

type Command = fc.Command<Model, Real>;

function command(name: string, run: (model: Model, real: Real) => void): Command {
  return {
    check: () => true,
    run(model, real) {
      run(model, real);
      const { state, failureCount, successCount, nextRetryTime } = real.breaker.getState();
      expect({ state, failureCount, successCount }).toEqual({
        state: model.state,
        failureCount: model.streak,
        successCount: model.state === "half_open" ? model.successes : 0,
      });
      expect(nextRetryTime).toBe(model.state === "open" ? real.clock.now() + (model.retryAt - model.now) : undefined);
      expect(real.breaker.snapshot().version).toBe(model.generation);
      expect(real.breaker.snapshot().held?.state).toBe(model.held());
      expect(real.moves).toEqual(model.moves);
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
const endCall = fc.tuple(fc.nat(30), fc.constantFrom(...VERDICTS), fc.boolean()).map(([index, verdict, keep]) =>
  command(`end ${index} ${verdict}`, (model, real) => {
    const at = real.calls.length === 0 ? 0 : index % real.calls.length;
    const ended = real.calls[at];
    if (ended === undefined) return;
    model.end(ended.call, verdict);
    ended.permit[verdict]();
    if (keep) real.calls[at] = { ...ended, call: { ...ended.call, counted: false } };
    else real.calls.splice(at, 1);
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

const others = fc.constantFrom(
  command("release", (model, real) => {
    real.breaker.release();
    model.hold = undefined;
  }),
  command("force open", (model, real) => {
    real.breaker.forceOpen("repair");
    if (model.state !== "open") model.move("open", "repair");
  }),
  command("reset", (model, real) => {
    real.breaker.reset("operator");
    if (model.state === "closed") model.streak = 0;
    else model.move("closed", "operator");
  }),
  command("toggle enforcement", (model, real) => {
    model.enforced = !model.enforced;
    real.enforced = model.enforced;
  }),
  command("restart", (model, real) => {
    const stored = { ...real.breaker.snapshot(), updatedAt: real.clock.now() };
    real.breaker = real.make();
    real.breaker.restore(stored);
    // Permits of the dead process cannot reach the new one.
    real.calls.length = 0;
    model.restart();
  }),
);

const weighted = fc.oneof(
  { weight: 6, arbitrary: beginCall },
  { weight: 8, arbitrary: endCall },
  { weight: 4, arbitrary: pass },
  { weight: 1, arbitrary: place },
  { weight: 2, arbitrary: others },
);

describe("a circuit breaker", () => {
  it("does in any history what the model does", () => {
    fc.assert(
      fc.property(
        fc.record({
          failureThreshold: fc.integer({ min: 1, max: 4 }),
          successThreshold: fc.integer({ min: 1, max: 3 }),
          halfOpenPermits: fc.integer({ min: 1, max: 3 }),
          resetTimeoutMs: fc.constantFrom(1, 100, 500),
          probeLeaseMs: fc.constantFrom(1, 100, 500),
        }),
        fc.commands([weighted], { size: "max", maxCommands: 100 }),
        (options, commands) => {
          const clock = createStillClock();
          const moves: string[] = [];
          const real: Real = {
            clock,
            moves,
            calls: [],
            enforced: true,
            breaker: new CircuitBreaker("model"),
            make: () =>
              new CircuitBreaker("model", options, {
                clock,
                enforce: () => real.enforced,
                onTransition: ({ from, to, reason }: CircuitTransition) => moves.push(`${from}>${to}:${reason}`),
              }),
          };
          real.breaker = real.make();
          fc.modelRun(() => ({ model: new Model(resolveCircuitConfig("model", options)), real }), commands);
        },
      ),
      { numRuns: 500 },
    );
  });
});
