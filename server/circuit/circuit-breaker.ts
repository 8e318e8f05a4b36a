/** The circuit in front of one service, as callers and operators hold it. Works alone, without store and registry. */
import type {
  CircuitConfig,
  CircuitHold,
  CircuitSnapshot,
  CircuitState,
  CircuitTransition,
} from "../../shared/circuit.js";
import type { Verdict } from "../../shared/classification.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type Random, systemRandom } from "../ports/random.js";
import type { StoredCircuit } from "../ports/store.js";
import type { CircuitBreakerError } from "./circuit-breaker-error.js";
import { CircuitCall, type CircuitCallContext } from "./circuit-call.js";
import { type CircuitBreakerOptions, resolveCircuitConfig } from "./circuit-config.js";
import { type CircuitAbove, CircuitCore, type PermitAbove } from "./circuit-core.js";
import { followStatus, type Instant, placeHold, restoreStatus } from "./circuit-restore.js";
import { Permit } from "./permit.js";
import { type CircuitStatus, holdOf, type ManualReason, wantsProbe } from "./state-machine.js";
import { createTimerWheel, type TimerWheel } from "./timer-wheel.js";
import { verdictOfError } from "./verdict.js";

export interface CircuitBreakerDeps {
  /** @default the system's */
  readonly clock?: Clock;
  /** @default the system's */
  readonly random?: Random;
  /** Shared by the circuits of one process. @default its own */
  readonly timers?: TimerWheel;
  /** What an error means to the circuit. @default client errors, aborts and other guards' refusals are ignored, the rest fails */
  readonly classify?: (error: unknown) => Verdict;
  /** `false` lets calls pass while the states move as if they bound: the `metrics_only` of a mode. @default always true */
  readonly enforce?: () => boolean;
  /** The circuit of a more general name, whose refusal refuses the calls of this one. @default none */
  readonly above?: () => CircuitAbove | undefined;
  /** Told of each transition that this circuit made, after it happened. Must not throw; if it does, no call is disturbed. */
  readonly onTransition?: (transition: CircuitTransition) => void;
  /** Told of errors in `classify`, `enforce` and `onTransition`. */
  readonly onFault?: (error: unknown) => void;
  /** @default "local" */
  readonly instance?: string;
}

/** What a store keeps of a circuit, as far as a breaker takes it over. */
export type StoredState = CircuitSnapshot & Partial<Pick<StoredCircuit, "updatedAt" | "probeLease">>;

/** What `getState` says. */
export interface CircuitBreakerState {
  readonly state: CircuitState;
  readonly failureCount: number;
  readonly successCount: number;
  /** UTC milliseconds; undefined unless open. */
  readonly nextRetryTime: number | undefined;
}

/**
 * Opens after consecutive failures, refuses calls while open, and closes after successful probes.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` from the constructor when an option is out of its range
 * @example
 * const circuit = new CircuitBreaker("http:billing", { failureThreshold: 5, resetTimeoutMs: 60_000, timeoutMs: 5_000 });
 * const invoice = await circuit.execute(({ signal }) => fetch(url, { signal }));
 */
export class CircuitBreaker {
  readonly name: string;
  readonly config: CircuitConfig;
  readonly #core: CircuitCore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #madeAt: number;
  #ready: Promise<void> | undefined = undefined;

  constructor(name: string, options: CircuitBreakerOptions = {}, deps: CircuitBreakerDeps = {}) {
    this.name = name;
    this.config = resolveCircuitConfig(name, options);
    this.#clock = deps.clock ?? systemClock;
    this.#random = deps.random ?? systemRandom;
    this.#madeAt = this.#clock.monotonic();
    this.#core = new CircuitCore(name, this.config, {
      clock: this.#clock,
      timers: deps.timers ?? createTimerWheel(this.#clock),
      instance: deps.instance ?? "local",
      classify: deps.classify ?? verdictOfError,
      enforce: deps.enforce ?? alwaysEnforced,
      above: deps.above,
      onTransition: deps.onTransition ?? ignore,
      onFault: deps.onFault ?? ignore,
    });
  }

  /**
   * Runs `fn` under the circuit and its deadline. Resolves and rejects with what `fn` gave, by the same reference; rejects
   * with `CircuitBreakerError` when `fn` was not run, with `CircuitTimeoutError` after `timeoutMs`.
   */
  execute<T>(fn: (context: CircuitCallContext) => T | PromiseLike<T>): Promise<T> {
    if (this.#ready !== undefined) return this.#ready.then(() => this.execute(fn));
    const ticket = this.#core.admit(undefined);
    if (ticket === undefined) return Promise.reject(this.#core.refusal(undefined));
    return new Promise((resolve, reject) => {
      new CircuitCall<T>(this.#core, ticket, resolve, reject).run(fn);
    });
  }

  /**
   * A permit to make one call, whose result must be told to it exactly once; undefined when the circuit refuses. Sets no
   * deadline. Does not wait for `ready`.
   *
   * @param now monotonic milliseconds, when the caller has just read them
   */
  tryAcquire(now?: number): Permit | undefined {
    const ticket = this.#core.admit(now);
    return ticket === undefined ? undefined : new Permit(this.#core, ticket);
  }

  /** The error for a caller whom `tryAcquire` refused. */
  refusal(now?: number): CircuitBreakerError {
    return this.#core.refusal(now);
  }

  /** Settles when calls may be admitted; undefined once they may. Never rejects. */
  get ready(): Promise<void> | undefined {
    return this.#ready;
  }

  /** Lets calls of `execute` wait until `ready` has settled. */
  waitFor(ready: Promise<void>): void {
    const waiting: Promise<void> = ready
      .catch((error: unknown) => this.#core.fault(error))
      .then(() => {
        if (this.#ready === waiting) this.#ready = undefined;
      });
    this.#ready = waiting;
  }

  getState(): CircuitBreakerState {
    const { state, failureCount, successCount, nextRetryAt } = this.snapshot();
    return { state, failureCount, successCount, nextRetryTime: nextRetryAt };
  }

  snapshot(): CircuitSnapshot {
    const { status, lastFailureAt, lastSuccessAt, openedAt } = this.#core;
    const instant = this.#instant();
    return {
      name: this.name,
      state: status.state,
      version: status.version,
      failureCount: status.failureCount,
      successCount: status.state === "half_open" ? status.successCount : 0,
      lastFailureAt: wallTime(lastFailureAt, instant),
      lastSuccessAt: wallTime(lastSuccessAt, instant),
      openedAt,
      nextRetryAt: status.state === "open" ? wallTime(status.retryAt, instant) : undefined,
      held: holdOf(status, instant.monotonic),
      config: this.config,
    };
  }

  /** Monotonic time of the last result; before the first, of its making. */
  get lastUsedAt(): number {
    const { lastFailureAt, lastSuccessAt } = this.#core;
    return Math.max(this.#madeAt, lastFailureAt ?? this.#madeAt, lastSuccessAt ?? this.#madeAt);
  }

  /** It has had a result, here or where it was restored from. */
  get wasUsed(): boolean {
    return this.#core.lastFailureAt !== undefined || this.#core.lastSuccessAt !== undefined;
  }

  /** Closed, without a streak and not held: forgetting it loses nothing but counts. */
  get atRest(): boolean {
    const { status } = this.#core;
    return status.state === "closed" && status.failureCount === 0 && !holdOf(status, this.#clock.monotonic());
  }

  /**
   * Takes over what was stored, after a restart. Calls in flight count no more.
   *
   * @param instant what the clock that made the stored times said, and when. @default this process's clock, now
   */
  restore(stored: StoredState, instant = this.#instant()): void {
    this.#takeOver(restoreStatus(stored, instant, this.config), stored, instant);
  }

  /** Takes over the state that another living instance stored; a hold here stays. Calls in flight count no more. */
  adopt(stored: StoredState, instant = this.#instant()): void {
    const moved = { ...stored, held: this.snapshot().held };
    this.#takeOver(followStatus(moved, instant, this.config, this.#random()), moved, instant);
  }

  /** Puts a hold beside the state; a later hold replaces it. One that has expired changes nothing. */
  hold(hold: CircuitHold, instant = this.#instant()): void {
    const placed = placeHold(hold, instant);
    if (placed !== undefined) this.#core.apply({ type: "hold.placed", ...placed }, this.#clock.monotonic());
  }

  release(): void {
    this.#core.apply({ type: "hold.released" }, this.#clock.monotonic());
  }

  /** Opens the circuit now; it half-opens after `resetTimeoutMs` as ever. Already open, it stays as it is. */
  forceOpen(reason: ManualReason, failureEventId?: string): void {
    this.#core.apply({ type: "circuit.opened", reason }, this.#clock.monotonic(), failureEventId);
  }

  /** Closes the circuit now and clears its streak. */
  reset(reason: ManualReason): void {
    this.#core.apply({ type: "circuit.reset", reason }, this.#clock.monotonic());
  }

  /**
   * `true`: probes wait for `grantProbes`, so that a fleet probes by turns. Probes that run already go on. `false`: the first
   * call after the wait is a probe, as ever; what was granted lasts until its end.
   */
  leaseProbes(leased: boolean): void {
    this.#core.leased = leased;
  }

  get probesLeased(): boolean {
    return this.#core.leased;
  }

  /** The wait is over, or the last grant ended without a verdict: a grant would let probes begin, or go on. */
  wantsProbe(now = this.#clock.monotonic()): boolean {
    return wantsProbe(this.#core.status, now);
  }

  /**
   * Lets `permits` probes be in flight at once until `leaseMs` are over, and half-opens the circuit if it was open. A later
   * grant replaces an earlier one and keeps what the probes have shown so far. While the circuit is closed, or must still
   * wait, nothing happens; gives whether the circuit is half open.
   */
  grantProbes({ permits, leaseMs }: { readonly permits: number; readonly leaseMs: number }): boolean {
    this.#core.apply({ type: "probes.granted", permits, leaseMs }, this.#clock.monotonic());
    return this.#core.status.state === "half_open";
  }

  /** Probes of this half-open: in flight, and admitted since it began. Both 0 in any other state. */
  get probes(): { readonly inFlight: number; readonly admitted: number } {
    const { status } = this.#core;
    return status.state === "half_open"
      ? { inFlight: status.probes.length, admitted: status.admitted }
      : { inFlight: 0, admitted: 0 };
  }

  /** Monotonic time of the last call that was refused while it could have been a probe. */
  get probeAskedAt(): number | undefined {
    return this.#core.probeAskedAt;
  }

  get state(): CircuitState {
    return this.#core.status.state;
  }

  get isClosed(): boolean {
    return this.#core.status.state === "closed";
  }

  /** Neither this circuit nor one above it keeps calls away. */
  get admitsAll(): boolean {
    return this.#core.admitsAll;
  }

  /** What lets a call of a circuit below pass: permits of this one and those above, as far as the call is a probe of them. */
  admitBelow(now: number): readonly PermitAbove[] | undefined {
    return this.#core.admitBelow(now);
  }

  #takeOver(status: CircuitStatus, from: Omit<CircuitSnapshot, "config">, instant: Instant): void {
    this.#core.become(status);
    this.#core.openedAt = status.state === "closed" ? undefined : from.openedAt;
    this.#core.lastFailureAt = monotonicTime(from.lastFailureAt, instant);
    this.#core.lastSuccessAt = monotonicTime(from.lastSuccessAt, instant);
  }

  #instant(): Instant {
    return { monotonic: this.#clock.monotonic(), wall: this.#clock.now() };
  }
}

function wallTime(at: number | undefined, instant: Instant): number | undefined {
  return at === undefined ? undefined : Math.round(instant.wall + (at - instant.monotonic));
}

function monotonicTime(at: number | undefined, instant: Instant): number | undefined {
  return at === undefined ? undefined : instant.monotonic + (at - instant.wall);
}

const alwaysEnforced = (): boolean => true;
const ignore = (): void => {};
