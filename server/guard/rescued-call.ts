/**
 * A guarded call beyond its first attempt at once: what was seen of it, and every other way to an answer. Every rule about
 * when work may run at all (law 17) is enforced here, where it runs, so that neither a plan nor a strategy can break one;
 * that is why it is one file although it is long.
 */
import type { Failure } from "../../shared/failure.js";
import { isHoldBearable } from "../../shared/plan.js";
import type { Rescue, RescueKind } from "../../shared/recovery.js";
import { delayInCall } from "../ports/clock.js";
import { accountAttempt, accountRefusal } from "./accounting.js";
import {
  type Asker,
  admitInTime,
  giveUp,
  indexesAround,
  indexesInTime,
  indexesLeft,
  LONGEST_REST_MS,
  requireCaller,
  serviceAt,
} from "./admission.js";
import { AskedWork } from "./asked-work.js";
import type { Attempt, AttemptOwner } from "./attempt.js";
import { AttemptCall } from "./attempt-call.js";
import { FALLBACK_LEAST_MS } from "./attempt-time.js";
import { CallRecord } from "./call-record.js";
import { withDeadline } from "./deadline.js";
import { GuardError, type GuardErrorReason } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import { type HedgedCall, HedgeRace } from "./hedge-race.js";
import type { HedgeEnd } from "./hedge-record.js";
import { hedgeAttempt, mayHedge, noteHedge } from "./hedging.js";
import { applyFallback } from "./operation.js";
import type { Refusal } from "./refusal.js";
import { rescue } from "./rescue.js";
import { canAfford, overBudget, pay } from "./rescue-cost.js";

/** A timer may end this much early by the monotonic clock; a rest that was waited for must be over. */
const TIMER_SLACK_MS = 1;

/** Of a number, in operations on bits. */
const BITS = 32;

export class RescuedCall extends AskedWork implements Asker, HedgedCall {
  /** Attempts that really asked a service. */
  attempts = 0;
  outputDelivered = false;
  /** What an attempt ended with last, as against what was refused at the door. */
  lastThrown: { readonly error: unknown } | undefined = undefined;
  readonly record = new CallRecord();
  /** Of the target asked last. */
  #index: number;
  /** One bit for each target that was asked, or would not be by now. */
  #done = 0;
  /** One bit for each target that another try may help. */
  #retryable = 0;
  /** Attempts that began beside another one. */
  #hedges = 0;
  #isHedged = false;
  /** Attempts that may have begun to change something: all but those that are proven not to. */
  #mayHaveRun = 0;
  #fellBack = false;
  /** Of what the fallback answered, where it says so. */
  #ageMs: number | undefined;

  /**
   * @param index of the target asked first
   * @param hasBegun an attempt there has begun
   */
  constructor({ engine, work, functions, args, info, startedAt }: AskedWork, index: number, hasBegun: boolean) {
    super(engine, work, functions, args, info, startedAt);
    this.#index = index;
    if (hasBegun) this.#began(index);
  }

  /** Resolves with the value that a rescue got; rejects with the caller's error. @param fault as of `rescue` */
  rescue(fault: unknown): Promise<unknown> {
    return rescue(this, fault);
  }

  /** How the value was obtained. */
  rescueAfter(durationMs: number): Rescue {
    const { attempts } = this;
    if (this.#fellBack) {
      const ageMs = this.#ageMs;
      const kind = ageMs === undefined ? "fallback" : "stale";
      return { kind, target: undefined, attempts, durationMs, ...(ageMs !== undefined && { ageMs }) };
    }
    return { kind: this.#rescueKind(), target: this.service.name, attempts, durationMs };
  }

  /** Asks the first target where that has to wait, or is watched. What it wrote down is told before the caller has its value. */
  async ask(): Promise<unknown> {
    const admission = await admitInTime(this, this.#index);
    if (admission.refused) {
      requireCaller(this);
      this.refusedBy(admission, this.#index);
      throw admission.error;
    }
    const value = await this.#finish(admission, undefined);
    this.record.tell(this.engine.journal, true);
    return value;
  }

  /** The first target refused the call. */
  refusedBy(refusal: Refusal, index: number): void {
    this.#noteRefusal(refusal, index);
    accountRefusal(this, refusal, serviceAt(this, index));
  }

  /** The target asked last. */
  get service(): GuardedService {
    return serviceAt(this, this.#index);
  }

  delivered(): void {
    this.outputDelivered = true;
    if (this.info instanceof AttemptCall) this.info.delivered();
  }

  /** Proof that no attempt has begun its work. */
  get nothingSent(): boolean {
    return this.#mayHaveRun === 0;
  }

  get runsAgain(): boolean {
    return this.idempotent && this.engine.flags.retry && this.mayRescue(this.service);
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

  #noteRetryable(index: number, retryable: boolean): void {
    if (index >= BITS) return;
    this.#retryable = retryable ? this.#retryable | (1 << index) : this.#retryable & ~(1 << index);
  }

  #mayHelp(index: number): boolean {
    return index < BITS && (this.#retryable & (1 << index)) !== 0;
  }

  /** A target that rests may be asked later; one that refuses for another reason is not asked twice. */
  #noteRefusal({ classification }: Refusal, index: number): void {
    if (classification.reason !== "cooldown") this.#passOver(index);
  }

  /** Runs a target again; where it is sent to rest meanwhile, by what others heard of it, once that is over. */
  async again(
    { delayMs, inTurn }: { readonly delayMs: number; readonly inTurn: boolean },
    signal: AbortSignal,
  ): Promise<unknown> {
    const { clock } = this.engine;
    if (this.nested) throw this.refusal("unsafe", "is run again by the guard around it");
    this.#requireSafe();
    const index = inTurn ? this.#indexInTurn(delayMs) : this.#index;
    const service = serviceAt(this, index);
    const patienceEndsAt = clock.monotonic() + delayMs + LONGEST_REST_MS;
    let waitMs = this.#waitMs(service, delayMs, patienceEndsAt);
    pay(this, "again", service);
    for (;;) {
      if (waitMs > 0) await delayInCall(clock, waitMs, signal);
      this.#requireSafe();
      const admission = await admitInTime(this, index);
      if (!admission.refused) {
        this.#index = index;
        return this.#finish(admission, service);
      }
      if (admission.classification.reason !== "cooldown") throw admission.error;
      waitMs = this.#waitMs(service, 0, patienceEndsAt);
    }
  }

  targetsInTurn(): number {
    return Math.max(this.#othersInTurn().length + (canAfford(this, "again") ? 1 : 0), 1);
  }

  get canRetry(): boolean {
    return canAfford(this, "again") || this.#othersInTurn().length > 0;
  }

  /** Once every target was asked: those beside the present one that another try may help and that can pay, in their turn. */
  #othersInTurn(): number[] {
    if (this.targetsLeft() > 0) return [];
    return indexesAround(this, this.#index, this.engine.clock.monotonic()).filter(
      (index) => this.#mayHelp(index) && canAfford(this, "again", serviceAt(this, index)),
    );
  }

  /** The next of them, or the present target where the others rest for longer than it is waited anyway. */
  #indexInTurn(delayMs: number): number {
    const now = this.engine.clock.monotonic();
    const others = this.#othersInTurn();
    const soon = others.find((index) => serviceAt(this, index).restsForMs(now) <= delayMs);
    return soon ?? (canAfford(this, "again") ? this.#index : (others[0] ?? this.#index));
  }

  /** As long as the strategy, and the target's rest, want. */
  #waitMs(service: GuardedService, delayMs: number, patienceEndsAt: number): number {
    const now = this.engine.clock.monotonic();
    const restMs = service.restsForMs(now);
    const waitMs = Math.max(delayMs, restMs > 0 ? restMs + TIMER_SLACK_MS : 0);
    const remainingMs = Math.min(this.remainingMs(), patienceEndsAt - now);
    if (waitMs < remainingMs && isHoldBearable(restMs, remainingMs)) return waitMs;
    throw this.refusal("deadline", `has no time to wait ${Math.ceil(waitMs)} ms`);
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
        this.#noteRefusal(admission, index);
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
    const { value, ageMs } = await withDeadline(this.engine.clock, applyFallback(fallback, failure, this.args), {
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
    const cause = this.record.last?.error;
    return new GuardError(reason, this.service.name, `${this.service.name} ${why}`, { cause });
  }

  hedge(): Attempt | string {
    const attempt = hedgeAttempt(this, this.#index);
    if (typeof attempt !== "string") this.#hedges += 1;
    return attempt;
  }

  noteHedge(end: HedgeEnd): void {
    if (end.status === "succeeded") this.#isHedged = true;
    noteHedge(this, end);
  }

  start(attempt: Attempt, owner: AttemptOwner): void {
    const { index, service } = attempt;
    this.#began(index);
    service.budget.earn();
    attempt.run(owner, this.functions[index] ?? this.functions[0], this.args);
  }

  #began(index: number): void {
    this.attempts += 1;
    this.#mayHaveRun += 1;
    this.#passOver(index);
  }

  /** Says whether an attempt gave a value. */
  conclude(attempt: Attempt): boolean {
    const { state } = attempt;
    // One that was called off says nothing.
    if (state === "aborted" && this.gone === undefined) {
      this.#account(attempt);
      return false;
    }
    this.#index = attempt.index;
    if (state === "succeeded") {
      this.#account(attempt);
      return true;
    }
    this.lastThrown = { error: attempt.result };
    this.#account(attempt);
    if (state === "aborted") return false;
    const means = this.record.last?.classification;
    if (means?.nothingSent) this.#mayHaveRun -= 1;
    this.#noteRetryable(attempt.index, means?.retryable ?? false);
    return false;
  }

  #account(attempt: Attempt): void {
    try {
      accountAttempt(this, attempt);
    } catch (fault) {
      this.engine.onFault(fault);
    }
  }

  /** @param payer whose rescue budget an attempt is charged to that runs the work again */
  async #finish(attempt: Attempt, payer: GuardedService | undefined): Promise<unknown> {
    try {
      // Since it was asked for, another attempt may have begun: a strategy may ask for several at once.
      this.#requireHarmless();
    } catch (refusal) {
      giveUp(attempt);
      throw refusal;
    }
    this.#book(attempt, payer);
    this.#fellBack = false;
    this.#isHedged = false;
    if (mayHedge(this, attempt.service)) return new HedgeRace(this, attempt).run();
    return new Promise((resolve, reject) => {
      this.start(attempt, {
        attemptEnded: () => {
          if (this.conclude(attempt)) resolve(attempt.result);
          else reject(attempt.result);
        },
        delivered: () => this.delivered(),
        remainingMs: () => this.remainingMs(),
        runsAgain: this.runsAgain,
        info: this.info,
        signal: this.signal,
      });
    });
  }

  #book(attempt: Attempt, payer: GuardedService | undefined): void {
    const budget = payer?.rescueBudget;
    if (budget === undefined || this.nothingSent) return;
    attempt.booking = budget.book(this.engine.clock.monotonic());
    if (attempt.booking !== undefined) return;
    giveUp(attempt);
    throw overBudget(this);
  }

  #rescueKind(): RescueKind {
    if (this.#isHedged) return "hedged";
    if (this.#index > 0) return "failed_over";
    return this.attempts - this.#hedges > 1 ? "retried" : "fresh";
  }

  #requireSafe(): void {
    this.#requireHarmless();
    if (this.remainingMs() <= 0) throw this.refusal("deadline", "has no time left");
  }

  #requireHarmless(): void {
    requireCaller(this);
    if (this.outputDelivered) throw this.refusal("delivered", "has delivered a part of its result");
    if (!this.nothingSent && !this.idempotent) throw this.refusal("unsafe", "may have begun its work already");
  }
}
