/**
 * One piece of guarded work for one caller: its targets, its time and its attempts. The first attempt is the path of nearly
 * every call and stays synchronous up to the service. Every rule about when work may run at all (law 17) is enforced here,
 * where it runs, so that neither a plan nor a strategy can break one; that is why it is one file although it is long.
 */
import type { Failure } from "../../shared/failure.js";
import { type ModePermits, permitsOf } from "../../shared/mode.js";
import { isHoldBearable } from "../../shared/plan.js";
import type { RescueKind } from "../../shared/recovery.js";
import type { CallInfo } from "../ports/call-context.js";
import { delayInCall } from "../ports/clock.js";
import { accountAttempt, accountRefusal } from "./accounting.js";
import {
  type Asker,
  admit,
  admitInTime,
  circuitOf,
  indexesInTime,
  indexesLeft,
  requireCaller,
  returnTerms,
  serviceAt,
} from "./admission.js";
import { Attempt, type AttemptOwner, type AttemptTerms } from "./attempt.js";
import { AttemptCall } from "./attempt-call.js";
import { FALLBACK_LEAST_MS } from "./attempt-time.js";
import { CallRecord } from "./call-record.js";
import { withDeadline } from "./deadline.js";
import type { Detailed } from "./guard.js";
import type { GuardEngine } from "./guard-engine.js";
import { GuardError, type GuardErrorReason } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import { type HedgedCall, HedgeRace } from "./hedge-race.js";
import type { HedgeEnd } from "./hedge-record.js";
import { hedgeTerms, mayHedge, noteHedge } from "./hedging.js";
import { isIdempotent } from "./idempotency.js";
import { applyFallback, type TargetFunction } from "./operation.js";
import type { Runnable } from "./pass-through.js";
import type { Refusal } from "./refusal.js";
import type { Work } from "./rescuable-call.js";
import { rescue } from "./rescue.js";
import { overBudget, pay } from "./rescue-cost.js";

/** A timer may end this much early by the monotonic clock; a rest that was waited for must be over. */
const TIMER_SLACK_MS = 1;

/** Of a number, in operations on bits. */
const BITS = 32;

export type TargetFunctions = readonly [TargetFunction, ...TargetFunction[]];

export class GuardedCall implements AttemptOwner, Asker, HedgedCall, Runnable {
  readonly engine: GuardEngine;
  readonly work: Work;
  /** The tRPC call it belongs to. */
  readonly info: CallInfo | undefined;
  /** Attempts that really asked a service. */
  attempts = 0;
  outputDelivered = false;
  /** What an attempt ended with last, as against what was refused at the door. */
  lastThrown: { readonly error: unknown } | undefined = undefined;
  readonly #functions: TargetFunctions;
  readonly #args: readonly unknown[];
  readonly #startedAt: number;
  /** Monotonic. */
  readonly deadlineAt: number;
  /** Of the target asked last. */
  #index = 0;
  /** One bit for each target that was asked, or would not be by now. */
  #done = 0;
  /** Attempts that began beside another one. */
  #hedges = 0;
  #isHedged = false;
  /** Attempts that may have begun to change something: all but those that are proven not to. */
  #mayHaveRun = 0;
  #fellBack = false;
  /** Of what the fallback answered, where it says so. */
  #ageMs: number | undefined;
  #record: CallRecord | undefined = undefined;
  #resolve: (value: unknown) => void = ignore;
  #reject: (error: unknown) => void = ignore;

  /** @param functions one for each service of `work` */
  constructor(
    engine: GuardEngine,
    work: Work,
    functions: TargetFunctions,
    args: readonly unknown[],
    info: CallInfo | undefined,
  ) {
    this.engine = engine;
    this.work = work;
    this.info = info;
    this.#functions = functions;
    this.#args = args;
    this.#startedAt = engine.clock.monotonic();
    const ownDeadlineAt = this.#startedAt + (work.timeoutMs ?? Number.POSITIVE_INFINITY);
    this.deadlineAt = Math.min(ownDeadlineAt, info?.deadlineAt ?? Number.POSITIVE_INFINITY);
  }

  async run(): Promise<unknown> {
    try {
      return await new Promise<unknown>((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
        this.#begin();
      });
    } catch (fault) {
      // A deadline ends an attempt in a timer, whose async context is another call's; from here on it is this caller's again.
      return rescue(this, fault);
    }
  }

  async runDetailed(): Promise<Detailed<unknown>> {
    const value = await this.run();
    const { attempts } = this;
    const durationMs = this.engine.clock.monotonic() - this.#startedAt;
    if (this.#fellBack) {
      const ageMs = this.#ageMs;
      const kind = ageMs === undefined ? "fallback" : "stale";
      return {
        value,
        rescue: { kind, target: undefined, attempts, durationMs, ...(ageMs !== undefined && { ageMs }) },
      };
    }
    return { value, rescue: { kind: this.#rescueKind(), target: this.service.name, attempts, durationMs } };
  }

  #begin(): void {
    if (this.gone !== undefined) {
      this.#reject(undefined);
      return;
    }
    this.#index = this.#firstIndex();
    const { service } = this;
    const circuit = circuitOf(this, service, this.#startedAt);
    if (!service.beginsAtOnce || circuit?.ready !== undefined) {
      this.#ask(this.#index).then((value) => this.#answered(value), this.#reject);
      return;
    }
    const admission = admit(this, this.#index, circuit, this.#startedAt);
    if (admission.refused) {
      this.#refusedBy(admission, this.#index);
      accountRefusal(this, admission, service);
      this.#reject(undefined);
    } else {
      this.start(this.attemptFor(admission, this));
    }
  }

  /** Of the first attempt. */
  attemptEnded(attempt: Attempt): void {
    if (this.conclude(attempt)) this.#resolve(attempt.value);
    else this.#reject(undefined);
  }

  /** The target asked last. */
  get service(): GuardedService {
    return serviceAt(this, this.#index);
  }

  get record(): CallRecord {
    this.#record ??= new CallRecord();
    return this.#record;
  }

  /** The caller's signal, once it has aborted. */
  get gone(): AbortSignal | undefined {
    if (this.info?.signal?.aborted) return this.info.signal;
    return this.work.signal?.aborted ? this.work.signal : undefined;
  }

  /** The caller's own. */
  get signal(): AbortSignal | undefined {
    return this.work.signal;
  }

  delivered(): void {
    this.outputDelivered = true;
    if (this.info instanceof AttemptCall) this.info.delivered();
  }

  get idempotent(): boolean {
    const { work, info } = this;
    const services = work.services.map(({ name, policy }) => ({ name, idempotent: policy.idempotent }));
    return isIdempotent(work.idempotent, services, info);
  }

  /** Proof that no attempt has begun its work. */
  get nothingSent(): boolean {
    return this.#mayHaveRun === 0;
  }

  /** A guard around this one may run this work again, so this one does not. */
  get nested(): boolean {
    return this.info instanceof AttemptCall && this.info.runsAgain;
  }

  get runsAgain(): boolean {
    return this.idempotent && this.engine.flags.retry && this.mayRescue(this.service);
  }

  /** The mode and the flags let `service` be rescued. */
  mayRescue(service: GuardedService): boolean {
    return this.engine.flags.autoRecovery && this.permits(service).rescues;
  }

  remainingMs(): number {
    return this.deadlineAt - this.engine.clock.monotonic();
  }

  targetsLeft(): number {
    return indexesInTime(this, this.engine.clock.monotonic()).length;
  }

  passesOver(index: number): boolean {
    // Beyond the bits of a number, targets are asked in order.
    return index === this.#index || (index < BITS ? (this.#done & (1 << index)) !== 0 : index < this.#index);
  }

  #passOver(index: number): void {
    if (index < BITS) this.#done |= 1 << index;
  }

  /** A target that rests may be asked later; one that refuses for another reason is not asked twice. */
  #refusedBy({ classification }: Refusal, index: number): void {
    if (classification.reason !== "cooldown") this.#passOver(index);
  }

  /** Runs the present target again. */
  async again(delayMs: number, signal: AbortSignal): Promise<unknown> {
    const { clock } = this.engine;
    const { service } = this;
    if (this.nested) throw this.refusal("unsafe", "is run again by the guard around it");
    this.#requireSafe();
    const restMs = service.restsForMs(clock.monotonic());
    const waitMs = Math.max(delayMs, restMs > 0 ? restMs + TIMER_SLACK_MS : 0);
    const remainingMs = this.remainingMs();
    if (waitMs >= remainingMs || !isHoldBearable(restMs, remainingMs))
      throw this.refusal("deadline", `has no time to wait ${Math.ceil(waitMs)} ms`);
    pay(this, "again");
    if (waitMs > 0) await delayInCall(clock, waitMs, signal);
    this.#requireSafe();
    const admission = await admitInTime(this, this.#index);
    if (admission.refused) throw admission.error;
    return this.#finish(admission, service);
  }

  /** Runs the next target that admits the call; where all others rest, the first whose rest is over. */
  async next(signal: AbortSignal): Promise<unknown> {
    this.#requireSafe();
    const { service } = this;
    pay(this, "next");
    for (;;) {
      const index = await this.#nextIndex(signal);
      const admission = await admitInTime(this, index);
      if (admission.refused) {
        this.#refusedBy(admission, index);
        continue;
      }
      this.#index = index;
      return this.#finish(admission, service);
    }
  }

  async #nextIndex(signal: AbortSignal): Promise<number> {
    const { clock } = this.engine;
    const now = clock.monotonic();
    const [next] = indexesLeft(this, now);
    if (next !== undefined) return next;
    const restMs = (index: number) => serviceAt(this, index).restsForMs(now);
    const [soonest] = indexesInTime(this, now).sort((a, b) => restMs(a) - restMs(b));
    if (soonest === undefined) throw this.refusal("no_target", "was the last target that admits calls");
    await delayInCall(clock, restMs(soonest) + TIMER_SLACK_MS, signal);
    this.#requireSafe();
    return soonest;
  }

  /** Runs the fallback. */
  async fallback(failure: Failure): Promise<unknown> {
    const { fallback } = this.work;
    const { name, policy } = this.service;
    if (fallback === undefined) throw this.refusal("no_fallback", "has no fallback");
    if (this.outputDelivered) throw this.refusal("delivered", "has delivered a part of its result");
    const timeoutMs = Math.min(this.graceMs(), policy.timeoutMs);
    const { value, ageMs } = await withDeadline(this.engine.clock, applyFallback(fallback, failure, this.#args), {
      timeoutMs,
      onTimeout: () =>
        new GuardError("attempt_timeout", name, `the fallback of ${name} took longer than ${timeoutMs} ms`),
    });
    this.#fellBack = true;
    this.#ageMs = ageMs;
    return value;
  }

  /** What a strategy answers from its own means, without any target. */
  answered(): void {
    this.#fellBack = true;
    this.#ageMs = undefined;
  }

  /** How long a rescue may take from now, whatever the deadline says. */
  graceMs(): number {
    return Math.max(this.remainingMs(), FALLBACK_LEAST_MS);
  }

  refusal(reason: GuardErrorReason, why: string): GuardError {
    const cause = this.#record?.last?.error;
    return new GuardError(reason, this.service.name, `${this.service.name} ${why}`, { cause });
  }

  hedge(): AttemptTerms | string {
    const terms = hedgeTerms(this, this.#index);
    if (typeof terms !== "string") this.#hedges += 1;
    return terms;
  }

  noteHedge(end: HedgeEnd): void {
    if (end.status === "succeeded") this.#isHedged = true;
    noteHedge(this, end);
  }

  attemptFor(terms: AttemptTerms, owner: AttemptOwner): Attempt {
    return new Attempt(terms, this.engine, owner);
  }

  start(attempt: Attempt): void {
    const { index, service } = attempt.terms;
    this.attempts += 1;
    this.#mayHaveRun += 1;
    this.#passOver(index);
    service.budget.earn();
    attempt.run(this.#functions[index] ?? this.#functions[0], this.#args);
  }

  /** Says whether an attempt gave a value. */
  conclude(attempt: Attempt): boolean {
    const { state } = attempt;
    // One that was called off says nothing.
    if (state === "aborted" && this.gone === undefined) {
      this.#account(attempt);
      return false;
    }
    this.#index = attempt.terms.index;
    if (state === "succeeded") {
      this.#account(attempt);
      return true;
    }
    this.lastThrown = attempt;
    this.#account(attempt);
    if (state !== "aborted" && this.record.last?.classification.nothingSent) this.#mayHaveRun -= 1;
    return false;
  }

  #account(attempt: Attempt): void {
    try {
      accountAttempt(this, attempt);
    } catch (fault) {
      this.engine.onFault(fault);
    }
  }

  /** Asks the first target where that has to wait, or is watched. */
  async #ask(index: number): Promise<unknown> {
    const admission = await admitInTime(this, index);
    if (!admission.refused) return this.#finish(admission, undefined);
    requireCaller(this);
    this.#refusedBy(admission, index);
    accountRefusal(this, admission, serviceAt(this, index));
    throw admission.error;
  }

  /** @param payer whose rescue budget an attempt is charged to that runs the work again */
  async #finish(admitted: AttemptTerms, payer: GuardedService | undefined): Promise<unknown> {
    if (this.gone !== undefined) {
      returnTerms(admitted);
      throw this.gone.reason;
    }
    const terms = this.#booked(admitted, payer);
    this.#fellBack = false;
    this.#isHedged = false;
    if (mayHedge(this, terms.service)) return new HedgeRace(this, terms).run();
    return new Promise((resolve, reject) => {
      const attempt = this.attemptFor(terms, {
        attemptEnded: () => {
          if (this.conclude(attempt)) resolve(attempt.value);
          else reject(attempt.error);
        },
        delivered: () => this.delivered(),
        remainingMs: () => this.remainingMs(),
        runsAgain: this.runsAgain,
        info: this.info,
        signal: this.signal,
      });
      this.start(attempt);
    });
  }

  #booked(terms: AttemptTerms, payer: GuardedService | undefined): AttemptTerms {
    const budget = payer?.rescueBudget;
    if (budget === undefined || this.nothingSent) return terms;
    const booking = budget.book(this.engine.clock.monotonic());
    if (booking !== undefined) return { ...terms, booking };
    returnTerms(terms);
    throw overBudget(this);
  }

  #rescueKind(): RescueKind {
    if (this.#isHedged) return "hedged";
    if (this.#index > 0) return "failed_over";
    return this.attempts - this.#hedges > 1 ? "retried" : "fresh";
  }

  /** What watched attempts wrote down is told before the caller has its value. */
  #answered(value: unknown): void {
    this.#record?.tell(this.engine.journal, true);
    this.#resolve(value);
  }

  permits(service: GuardedService): ModePermits {
    const { settings, limitedServices } = this.engine;
    return permitsOf(settings.mode(), service.name, limitedServices);
  }

  /** The first target that does not rest; the first of all where none may be passed over. */
  #firstIndex(): number {
    const { services } = this.work;
    if (services.length === 1 || !this.engine.flags.failover || !this.mayRescue(services[0])) return 0;
    return Math.max(
      services.findIndex((service) => service.restsForMs(this.#startedAt) === 0),
      0,
    );
  }

  #requireSafe(): void {
    requireCaller(this);
    if (this.outputDelivered) throw this.refusal("delivered", "has delivered a part of its result");
    if (!this.nothingSent && !this.idempotent) throw this.refusal("unsafe", "may have begun its work already");
    if (this.remainingMs() <= 0) throw this.refusal("deadline", "has no time left");
  }
}

function ignore(): void {}
