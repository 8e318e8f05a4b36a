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
import { CircuitCore } from "./circuit-core.js";
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
  /** Told of each transition that this circuit made, after it happened. Must not throw; if it does, no call is disturbed. */
  readonly onTransition?: (transition: CircuitTransition) => void;
  /** Told of errors in `classify`, `enforce` and `onTransition`. */
  readonly onFault?: (error: unknown) => void;
  /** @default "local" */
  readonly instance?: string;
}

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

  /** Closed, without a streak and not held: forgetting it loses nothing but counts. */
  get atRest(): boolean {
    const { status } = this.#core;
    return status.state === "closed" && status.failureCount === 0 && !holdOf(status, this.#clock.monotonic());
  }

  /** Takes over what was stored, after a restart. Calls in flight count no more. */
  restore(stored: StoredCircuit): void {
    const instant = this.#instant();
    this.#takeOver(restoreStatus(stored, instant, this.config), stored, instant);
  }

  /** Takes over the state that another living instance stored; a hold here stays. Calls in flight count no more. */
  adopt(stored: StoredCircuit): void {
    const instant = this.#instant();
    const moved = { ...stored, held: this.snapshot().held };
    this.#takeOver(followStatus(moved, instant, this.config, this.#random()), moved, instant);
  }

  /** Follows a transition of another instance when it is newer than what this one knows; says whether it was. */
  follow({ to, version, at }: Pick<CircuitTransition, "to" | "version" | "at">): boolean {
    const known = this.snapshot();
    if (version <= known.version) return false;
    const nextRetryAt = to === "open" ? at + this.config.resetTimeoutMs : undefined;
    const moved = { ...known, state: to, version, nextRetryAt, openedAt: to === "open" ? at : known.openedAt };
    const instant = this.#instant();
    this.#takeOver(followStatus(moved, instant, this.config, this.#random()), moved, instant);
    return true;
  }

  /** Raises the version to where the store continues counting; state and counts stay. Calls in flight count no more. */
  renumber(version: number): void {
    const { status } = this.#core;
    if (version > status.version) this.#core.become({ ...status, version });
  }

  /** Puts a hold beside the state; a later hold replaces it. One that has expired changes nothing. */
  hold(hold: CircuitHold): void {
    const instant = this.#instant();
    const placed = placeHold(hold, instant);
    if (placed !== undefined) this.#core.apply({ type: "hold.placed", ...placed }, instant.monotonic);
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
