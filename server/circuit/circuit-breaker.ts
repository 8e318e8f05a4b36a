/**
 * The circuit in front of one service, as callers and operators hold it. Works alone, without store and registry. One file,
 * because it is one door: each method reads the clock and hands on.
 */
import type {
  CircuitCounts,
  CircuitHold,
  CircuitSnapshot,
  CircuitState,
  CircuitTransition,
} from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type Random, systemRandom } from "../ports/random.js";
import type { StoredCircuit } from "../ports/store.js";
import type { CallTicket, CircuitAbove, PermitAbove } from "./call-ticket.js";
import type { CircuitBreakerError } from "./circuit-breaker-error.js";
import { type CircuitCallContext, type CircuitCallOptions, runCall, runForCaller } from "./circuit-call.js";
import { type CircuitBreakerOptions, resolveCircuitConfig } from "./circuit-config.js";
import { CircuitCore } from "./circuit-core.js";
import type { CircuitNotice } from "./circuit-notice.js";
import { countsOf, failuresOf, holdOf, wantsProbe } from "./circuit-reading.js";
import { followStatus, type Instant, instantOf, placeHold, restoreStatus } from "./circuit-restore.js";
import type { CircuitStatus } from "./circuit-status.js";
import { Permit } from "./permit.js";
import type { ShadowReport } from "./shadow-rule.js";
import type { ManualReason } from "./state-machine.js";
import { createTimerWheel, type TimerWheel } from "./timer-wheel.js";
import { type Judgement, verdictOfError } from "./verdict.js";

export interface CircuitBreakerDeps {
  /** @default the system's */
  readonly clock?: Clock;
  /** @default the system's */
  readonly random?: Random;
  /** Shared by the circuits of one process. @default its own */
  readonly timers?: TimerWheel;
  /** What an error means to the circuit. @default client errors, aborts and other guards' refusals are ignored, the rest fails */
  readonly classify?: (error: unknown) => Judgement;
  /** What a value means to the circuit; the caller gets it whatever it means. @default every value is a success */
  readonly classifyResult?: (value: unknown) => Judgement;
  /** `false` lets calls pass while the states move as if they bound: the `metrics_only` of a mode. @default always true */
  readonly enforce?: () => boolean;
  /** The circuit of a more general name, whose refusal refuses the calls of this one. @default none */
  readonly above?: () => CircuitAbove | undefined;
  /** Told of each transition that this circuit made, after it happened. Must not throw; if it does, no call is disturbed. */
  readonly onTransition?: (transition: CircuitTransition) => void;
  /** Told when it would have opened: under a `metrics_only` hold once, and by a shadow rule. As harmless as `onTransition`. */
  readonly onNotice?: (notice: CircuitNotice) => void;
  /** Told of errors in the functions given here. */
  readonly onFault?: (error: unknown) => void;
  /** Refusals and timeouts carry a stack trace, for some microseconds each. @default false */
  readonly stacks?: boolean;
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
 * Opens when calls fail, or last too long, as its configuration says: after failures in a row by default. Refuses calls while
 * open, and closes after successful probes.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` from the constructor when an option is out of its range
 * @example
 * const circuit = new CircuitBreaker("http:billing", { failureThreshold: 5, resetTimeoutMs: 60_000, timeoutMs: 5_000 });
 * const invoice = await circuit.execute(({ signal }) => fetch(url, { signal }));
 */
export class CircuitBreaker {
  readonly name: string;
  #options: CircuitBreakerOptions;
  readonly #core: CircuitCore;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #madeAt: number;
  #ready: Promise<void> | undefined = undefined;

  constructor(name: string, options: CircuitBreakerOptions = {}, deps: CircuitBreakerDeps = {}) {
    this.name = name;
    this.#options = { ...options };
    this.#clock = deps.clock ?? systemClock;
    this.#random = deps.random ?? systemRandom;
    this.#madeAt = this.#clock.monotonic();
    this.#core = new CircuitCore(name, resolveCircuitConfig(name, options), {
      clock: this.#clock,
      random: this.#random,
      timers: deps.timers ?? createTimerWheel(this.#clock),
      instance: deps.instance ?? "local",
      classify: deps.classify ?? verdictOfError,
      enforce: deps.enforce ?? alwaysEnforced,
      classifyResult: deps.classifyResult,
      above: deps.above,
      onTransition: deps.onTransition ?? ignore,
      onNotice: deps.onNotice ?? ignore,
      onFault: deps.onFault ?? ignore,
      stacks: deps.stacks ?? false,
    });
  }

  get config(): CircuitConfig {
    return this.#core.config;
  }

  /** What was said of its configuration; the rest of `config` follows from it. */
  get options(): CircuitBreakerOptions {
    return this.#options;
  }

  /**
   * Changes settings of the living circuit; what is not said stays, and `undefined` takes back what was said. Its window is
   * kept, unless it becomes one of another kind, and judged by the new thresholds at once. An open circuit keeps its wait.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` when an option is out of its range; then nothing has changed
   */
  reconfigure(options: CircuitBreakerOptions): void {
    const said = { ...this.#options, ...options };
    const config = resolveCircuitConfig(this.name, said);
    this.#options = said;
    this.#core.reconfigure(config);
  }

  /**
   * Lets a candidate configuration look on: it sees the same calls and results as the live one and refuses nobody.
   * `onNotice` hears of its openings, `shadowReport` says what it would have done. A later one replaces it; undefined ends it.
   *
   * @throws ParamedicError `CONFIGURATION_INVALID` when an option is out of its range
   * @example
   * circuit.shadow({ window: "time", failureRatio: 0.2 });
   * circuit.shadowReport()?.refused; // { calls: 40, succeeded: 31, failed: 9 }
   */
  shadow(options: CircuitBreakerOptions | undefined): void {
    this.#core.watch(options && resolveCircuitConfig(this.name, options));
  }

  /** Undefined while no candidate looks on. */
  shadowReport(): ShadowReport | undefined {
    return this.#core.shadow?.report();
  }

  /**
   * Runs `fn` under the circuit and its deadline. Resolves and rejects with what `fn` gave, by the same reference; rejects
   * with `CircuitBreakerError` when `fn` was not run, with `CircuitTimeoutError` after `timeoutMs`, with the reason of the
   * caller's signal once that has aborted.
   */
  execute<T>(fn: (context: CircuitCallContext) => T | PromiseLike<T>, options?: CircuitCallOptions): Promise<T> {
    if (this.#ready !== undefined) return this.#ready.then(() => this.execute(fn, options));
    const signal = options?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const ticket = this.#core.admit(undefined);
    if (ticket === undefined) return Promise.reject(this.#core.refusal(undefined));
    return signal === undefined ? runCall(this.#core, ticket, fn) : runForCaller(this.#core, ticket, fn, signal);
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

  /**
   * As `tryAcquire`, for a caller who will most likely have a success to tell and makes a permit only where not: the ticket
   * that all calls share while nothing can keep them away; undefined while something may.
   */
  get freeTicket(): CallTicket | undefined {
    return this.#core.freeTicket;
  }

  /** A call on the free ticket has succeeded. @param at monotonic milliseconds */
  succeeded(ticket: CallTicket, at: number): void {
    this.#core.succeeded(ticket, at);
  }

  /** The permit of a call that began on the free ticket. */
  permitOf(ticket: CallTicket): Permit {
    return new Permit(this.#core, ticket);
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
    const instant = instantOf(this.#clock);
    return {
      name: this.name,
      state: status.state,
      version: status.version,
      failureCount: failuresOf(status, instant.monotonic, this.config),
      successCount: status.state === "half_open" ? status.successCount : 0,
      lastFailureAt: wallTime(lastFailureAt, instant),
      lastSuccessAt: wallTime(lastSuccessAt, instant),
      openedAt,
      nextRetryAt: status.state === "open" ? wallTime(status.retryAt, instant) : undefined,
      held: holdOf(status, instant.monotonic),
      config: this.config,
    };
  }

  /** The calls that the circuit judges by, or was opened by, and their ratios once they are enough. */
  counts(): CircuitCounts {
    return countsOf(this.#core.status, this.#clock.monotonic(), this.config);
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
    if (status.state !== "closed") return false;
    const now = this.#clock.monotonic();
    return failuresOf(status, now, this.config) === 0 && !holdOf(status, now);
  }

  /**
   * Takes over what was stored, after a restart. Calls in flight count no more.
   *
   * @param instant what the clock that made the stored times said, and when. @default this process's clock, now
   */
  restore(stored: StoredState, instant = instantOf(this.#clock)): void {
    this.#takeOver(restoreStatus(stored, instant, this.config), stored, instant);
  }

  /** Takes over the state that another living instance stored; a hold here stays. Calls in flight count no more. */
  adopt(stored: StoredState, instant = instantOf(this.#clock)): void {
    const moved = { ...stored, held: this.snapshot().held };
    this.#takeOver(followStatus(moved, instant, this.config, this.#random()), moved, instant);
  }

  /** Puts a hold beside the state; a later hold replaces it. One that has expired changes nothing. */
  hold(hold: CircuitHold, instant = instantOf(this.#clock)): void {
    const placed = placeHold(hold, instant);
    if (placed !== undefined) this.#core.apply({ type: "hold.placed", ...placed }, this.#clock.monotonic());
  }

  release(): void {
    this.#core.apply({ type: "hold.released" }, this.#clock.monotonic());
  }

  /** Opens the circuit now; it half-opens after its wait as ever. Already open, it stays as it is. */
  forceOpen(reason: ManualReason, failureEventId?: string): void {
    this.#core.apply({ type: "circuit.opened", reason }, this.#clock.monotonic(), failureEventId);
  }

  /** Closes the circuit now and empties its window. */
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
  admitBelow(now: number | undefined): readonly PermitAbove[] | undefined {
    return this.#core.admitBelow(now);
  }

  #takeOver(status: CircuitStatus, from: Omit<CircuitSnapshot, "config">, instant: Instant): void {
    this.#core.become(status);
    this.#core.openedAt = status.state === "closed" ? undefined : from.openedAt;
    this.#core.lastFailureAt = monotonicTime(from.lastFailureAt, instant);
    this.#core.lastSuccessAt = monotonicTime(from.lastSuccessAt, instant);
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
