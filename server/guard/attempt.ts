/** One run of a guarded function: ends once, by its result, by its deadline or by the caller's abort, whichever is first. */
import { isOwnDelay } from "../../shared/own-delay.js";
import type { Permit } from "../circuit/permit.js";
import { type Deadline, type TimerWheel, UNARMED } from "../circuit/timer-wheel.js";
import type { CallContext, CallInfo } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import { AttemptCall, type EnclosingAttempt } from "./attempt-call.js";
import type { Bulkhead } from "./bulkhead.js";
import { GuardError } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import { applyTarget, type TargetFunction } from "./operation.js";
import type { ServiceReach } from "./reach/service-reach.js";
import type { Booking, Usage } from "./rescue-budget.js";
import { NO_PERMITS, type PartPermit } from "./service-part.js";

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

/**
 * Made once it is admitted, with what its circuits gave; whoever takes more for it before it runs says so.
 *
 * Every guarded call makes one: it extends nothing, has no `#` methods and assigns its fields in the constructor, because a
 * chain of constructors, the brand of `#` methods and initialisers of fields cost as much as all the rest.
 */
export class Attempt implements Deadline, EnclosingAttempt {
  /** Of the wheel: when this attempt's time is up. */
  deadlineAt: number;
  /** Of the wheel, too. */
  lateBefore: number;
  slot: number;
  previous: Deadline | undefined;
  next: Deadline | undefined;
  /** Of the target, in order of preference. */
  readonly index: number;
  readonly service: GuardedService;
  /** Undefined where no circuit counts. */
  readonly permit: Permit | undefined;
  /** Monotonic; the moment it begins. */
  readonly now: number;
  timeoutMs: number;
  /** Of the circuits beside the service's own. */
  parts: readonly PartPermit[];
  /** Where it took a place, to be left when its work has ended. */
  place: Bulkhead | undefined;
  /** It is the one call that finds out whether the network is back. */
  probesNetwork: boolean;
  /** Where a rescue budget pays for it. */
  booking: Booking | undefined;
  state: AttemptState;
  /** What the function gave, or what the caller gets where it did not succeed. */
  result: unknown;
  durationMs: number;
  /** It got more time once a part of its result had reached the caller: how long the rest takes is the caller's affair. */
  prolonged: boolean;
  /** Its time was up because this process was late, which tells nothing of the service. */
  isOwnDelay: boolean;
  /** What the work said that it used; undefined while it said nothing. */
  usage: Usage | undefined;
  readonly #deps: AttemptDeps;
  #owner: AttemptOwner | undefined;
  #controller: AbortController | undefined;

  constructor(
    deps: AttemptDeps,
    index: number,
    service: GuardedService,
    permit: Permit | undefined,
    timeoutMs: number,
    now: number,
  ) {
    this.deadlineAt = 0;
    this.lateBefore = 0;
    this.slot = UNARMED;
    this.previous = undefined;
    this.next = undefined;
    this.index = index;
    this.service = service;
    this.permit = permit;
    this.now = now;
    this.timeoutMs = timeoutMs;
    this.parts = NO_PERMITS;
    this.place = undefined;
    this.probesNetwork = false;
    this.booking = undefined;
    this.state = "running";
    this.result = undefined;
    this.durationMs = 0;
    this.prolonged = false;
    this.isOwnDelay = false;
    this.usage = undefined;
    this.#deps = deps;
    this.#owner = undefined;
    this.#controller = undefined;
  }

  get refused(): false {
    return false;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.state === "timed_out" || this.state === "aborted") this.#controller.abort(this.result);
    }
    return this.#controller.signal;
  }

  delivered({ timeoutMs }: { readonly timeoutMs?: number } = {}): void {
    this.#owner?.delivered();
    if (timeoutMs === undefined || this.state !== "running") return;
    const { clock, timers } = this.#deps;
    const now = clock.monotonic();
    const leftMs = Math.min(timeoutMs, this.#owner?.remainingMs() ?? timeoutMs);
    this.timeoutMs = now - this.now + leftMs;
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
    this.end("aborted", reason);
  }

  get serviceName(): string {
    return this.service.name;
  }

  get endsAt(): number {
    return this.now + this.timeoutMs;
  }

  get runsAgain(): boolean {
    return this.#owner?.runsAgain ?? false;
  }

  run(owner: AttemptOwner, fn: TargetFunction, args: readonly unknown[]): void {
    const { info, signal } = owner;
    const { timers } = this.#deps;
    this.begin(owner);
    // A caller's own deadline is exact; the policy's may be up to 20 ms late.
    if (info === undefined && this.timeoutMs === this.service.policy.timeoutMs) timers.armLoosely(this, this.timeoutMs);
    else timers.arm(this, this.now, this.timeoutMs);
    info?.signal?.addEventListener("abort", this);
    signal?.addEventListener("abort", this);
    try {
      const given = this.invoke(info, fn, args);
      // What is no promise may be a thenable or a plain value: `resolve` adopts both.
      (given instanceof Promise ? given : Promise.resolve(given)).then(
        (value) => this.workSucceeded(value),
        (error: unknown) => this.workFailed(error),
      );
    } catch (error) {
      this.workFailed(error);
    }
  }

  /** Its work runs already: whoever began it tells how it ends. @param controller of the signal that it was given, if it was */
  goOn(owner: AttemptOwner, controller: AbortController | undefined): void {
    this.#controller = controller;
    this.begin(owner);
    this.#deps.timers.arm(this, this.now, this.timeoutMs);
  }

  workSucceeded(value: unknown): void {
    this.workEnded();
    this.end("succeeded", value);
  }

  workFailed(error: unknown): void {
    this.workEnded();
    this.end("failed", error);
  }

  /** A place in the bulkhead is taken for as long as work goes on, also after the caller was told that its time is up. */
  workEnded(): void {
    this.service.inFlight -= 1;
    this.place?.leave();
  }

  private begin(owner: AttemptOwner): void {
    this.#owner = owner;
    this.service.inFlight += 1;
    if (owner.info === undefined) this.#deps.reach.unlinked += 1;
  }

  onDeadline(lateMs: number): void {
    const { name } = this.service;
    const limit = Math.round(this.timeoutMs);
    this.isOwnDelay = isOwnDelay(lateMs, this.timeoutMs);
    const ours = this.isOwnDelay ? `, while this process itself was late by ${Math.round(lateMs)} ms` : "";
    this.end("timed_out", new GuardError("attempt_timeout", name, `${name} took longer than ${limit} ms${ours}`));
  }

  /** The caller is gone. Named by the platform: a listener that is an object costs no closure. */
  handleEvent(event: { readonly type: string }): void {
    const { info, signal } = this.#owner ?? {};
    const gone = info?.signal?.aborted ? info.signal : signal;
    if (event.type === "abort" && gone?.aborted) this.end("aborted", gone.reason);
  }

  private invoke(info: CallInfo | undefined, fn: TargetFunction, args: readonly unknown[]): unknown {
    const { callContext } = this.#deps;
    if (info === undefined || !callContext.enabled) return applyTarget(fn, this, args);
    return callContext.run(new AttemptCall(info, this), () => applyTarget(fn, this, args));
  }

  private end(state: Exclude<AttemptState, "running">, result: unknown): void {
    const owner = this.#owner;
    if (owner === undefined || this.state !== "running") return;
    const { info, signal } = owner;
    const { clock, reach, timers } = this.#deps;
    if (info === undefined) reach.unlinked -= 1;
    this.state = state;
    this.result = result;
    this.durationMs = clock.monotonic() - this.now;
    timers.cancel(this);
    info?.signal?.removeEventListener("abort", this);
    signal?.removeEventListener("abort", this);
    if (state === "timed_out" || state === "aborted") this.#controller?.abort(result);
    owner.attemptEnded(this);
  }
}

function sumOf(before: number | undefined, now: number | undefined): number | undefined {
  return now === undefined || !(now >= 0) ? before : (before ?? 0) + now;
}
