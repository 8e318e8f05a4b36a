/** One run of a guarded function: ends once, by its result, by its deadline or by the caller's abort, whichever is first. */
import type { Permit } from "../circuit/permit.js";
import { Deadline, type TimerWheel } from "../circuit/timer-wheel.js";
import type { CallContext, CallInfo } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import { AttemptCall, type EnclosingAttempt } from "./attempt-call.js";
import type { Bulkhead } from "./bulkhead.js";
import { GuardError } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import { applyTarget, type TargetFunction } from "./operation.js";
import type { ServiceReach } from "./reach/service-reach.js";
import type { Booking, Usage } from "./rescue-budget.js";
import type { TargetTraits } from "./run.js";
import type { PartPermit } from "./service-part.js";

/** How an attempt ended. `running` until then. */
export type AttemptState = "running" | "succeeded" | "failed" | "timed_out" | "aborted";

/** Whoever began the attempt. */
export interface AttemptOwner {
  /** Called once. Must not throw. */
  attemptEnded(attempt: Attempt): void;
  /** A part of the result has reached the caller. */
  delivered(): void;
  /** Of the caller's time; `Infinity` where there is no deadline. */
  remainingMs(): number;
  /** May run the work again when the attempt fails, so guards inside it need not. Asked only by those. */
  readonly runsAgain: boolean;
  /** The tRPC call it belongs to. */
  readonly info: CallInfo | undefined;
  /** The caller's own signal, beside the call's. */
  readonly signal: AbortSignal | undefined;
}

export interface AttemptDeps {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly callContext: CallContext;
  readonly reach: ServiceReach;
}

/** What one admitted attempt is given. */
export interface AttemptTerms {
  readonly refused: false;
  /** Of the target, in order of preference. */
  readonly index: number;
  readonly service: GuardedService;
  /** Undefined where no circuit counts. */
  readonly permit: Permit | undefined;
  /** Of the circuits beside the service's own. */
  readonly parts: readonly PartPermit[];
  readonly judge: TargetTraits["judge"];
  /** Where it took a place, to be left when its work has ended. */
  readonly place: Bulkhead | undefined;
  /** It is the one call that finds out whether the network is back. */
  readonly probesNetwork: boolean;
  /** Of an attempt that a rescue budget pays for. */
  readonly booking: Booking | undefined;
  readonly timeoutMs: number;
  /** Monotonic; the moment it begins. */
  readonly now: number;
}

export class Attempt extends Deadline implements EnclosingAttempt {
  state: AttemptState = "running";
  /** What the function gave; only when it succeeded. */
  value: unknown = undefined;
  /** What the caller gets when it did not. */
  error: unknown = undefined;
  durationMs = 0;
  timeoutMs: number;
  /** It got more time once a part of its result had reached the caller: how long the rest takes is the caller's affair. */
  prolonged = false;
  /** What the work said that it used; undefined while it said nothing. */
  usage: Usage | undefined = undefined;
  readonly terms: AttemptTerms;
  readonly #deps: AttemptDeps;
  readonly #owner: AttemptOwner;
  #controller: AbortController | undefined = undefined;

  constructor(terms: AttemptTerms, deps: AttemptDeps, owner: AttemptOwner) {
    super();
    this.terms = terms;
    this.timeoutMs = terms.timeoutMs;
    this.#deps = deps;
    this.#owner = owner;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.state === "timed_out" || this.state === "aborted") this.#controller.abort(this.error);
    }
    return this.#controller.signal;
  }

  delivered({ timeoutMs }: { readonly timeoutMs?: number } = {}): void {
    this.#owner.delivered();
    if (timeoutMs === undefined || this.state !== "running") return;
    const { clock, timers } = this.#deps;
    const now = clock.monotonic();
    const leftMs = Math.min(timeoutMs, this.#owner.remainingMs());
    this.timeoutMs = now - this.terms.now + leftMs;
    this.prolonged = true;
    timers.cancel(this);
    if (leftMs !== Number.POSITIVE_INFINITY) timers.arm(this, now, leftMs);
  }

  used({ tokens, cost }: Usage): void {
    const before = this.usage;
    this.usage = { tokens: sumOf(before?.tokens, tokens), cost: sumOf(before?.cost, cost) };
  }

  /** Another attempt at the same work answered first: what this one would have given is nobody's concern. */
  callOff(reason: unknown): void {
    this.#end("aborted", reason);
  }

  get serviceName(): string {
    return this.terms.service.name;
  }

  get runsAgain(): boolean {
    return this.#owner.runsAgain;
  }

  run(fn: TargetFunction, args: readonly unknown[]): void {
    const { service, now } = this.terms;
    const { info, signal } = this.#owner;
    service.inFlight += 1;
    if (info === undefined) this.#deps.reach.unlinked += 1;
    this.#deps.timers.arm(this, now, this.timeoutMs);
    info?.signal?.addEventListener("abort", this);
    signal?.addEventListener("abort", this);
    try {
      // `resolve` adopts thenables and plain values alike, and returns a promise as it is.
      Promise.resolve(this.#invoke(fn, args)).then(
        (value) => {
          this.#workEnded();
          this.#end("succeeded", value);
        },
        (error: unknown) => {
          this.#workEnded();
          this.#end("failed", error);
        },
      );
    } catch (error) {
      this.#workEnded();
      this.#end("failed", error);
    }
  }

  override onDeadline(): void {
    const { service } = this.terms;
    const limit = Math.round(this.timeoutMs);
    this.#end(
      "timed_out",
      new GuardError("attempt_timeout", service.name, `${service.name} took longer than ${limit} ms`),
    );
  }

  /** The caller is gone. Named by the platform: a listener that is an object costs no closure. */
  handleEvent(event: { readonly type: string }): void {
    const { info, signal } = this.#owner;
    const gone = info?.signal?.aborted ? info.signal : signal;
    if (event.type === "abort" && gone?.aborted) this.#end("aborted", gone.reason);
  }

  #invoke(fn: TargetFunction, args: readonly unknown[]): unknown {
    const { info } = this.#owner;
    const { callContext } = this.#deps;
    if (info === undefined || !callContext.enabled) return applyTarget(fn, this, args);
    return callContext.run(new AttemptCall(info, this), () => applyTarget(fn, this, args));
  }

  /** A place in the bulkhead is taken for as long as work goes on, also after the caller was told that its time is up. */
  #workEnded(): void {
    const { service, place } = this.terms;
    service.inFlight -= 1;
    place?.leave();
  }

  #end(state: Exclude<AttemptState, "running">, result: unknown): void {
    if (this.state !== "running") return;
    const { info, signal } = this.#owner;
    if (info === undefined) this.#deps.reach.unlinked -= 1;
    this.state = state;
    this.durationMs = this.#deps.clock.monotonic() - this.terms.now;
    this.#deps.timers.cancel(this);
    info?.signal?.removeEventListener("abort", this);
    signal?.removeEventListener("abort", this);
    if (state === "succeeded") {
      this.value = result;
    } else {
      this.error = result;
      if (state !== "failed") this.#controller?.abort(result);
    }
    this.#owner.attemptEnded(this);
  }
}

function sumOf(before: number | undefined, now: number | undefined): number | undefined {
  return now === undefined || !(now >= 0) ? before : (before ?? 0) + now;
}
