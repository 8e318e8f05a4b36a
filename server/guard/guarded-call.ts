/**
 * One piece of guarded work for one caller: its targets, its time and its attempts. The first attempt is the path of nearly
 * every call and stays synchronous up to the service. Every rule about when work may run at all (law 17) is enforced here,
 * where it runs, so that neither a plan nor a strategy can break one; that is why it is one file although it is long.
 */
import type { Failure } from "../../shared/failure.js";
import { type ModePermits, permitsOf } from "../../shared/mode.js";
import { isHoldBearable } from "../../shared/plan.js";
import type { CircuitBreaker } from "../circuit/circuit-breaker.js";
import type { CallInfo } from "../ports/call-context.js";
import { delayInCall } from "../ports/clock.js";
import { accountAttempt, accountRefusal, ignorePermits } from "./accounting.js";
import { Attempt, type AttemptOwner, type AttemptTerms } from "./attempt.js";
import { AttemptCall } from "./attempt-call.js";
import { attemptTimeMs, FALLBACK_LEAST_MS } from "./attempt-time.js";
import { type Bulkhead, waitForPlace } from "./bulkhead.js";
import { CallRecord } from "./call-record.js";
import { withDeadline } from "./deadline.js";
import type { Detailed } from "./guard.js";
import type { GuardEngine } from "./guard-engine.js";
import { GuardError, type GuardErrorReason } from "./guard-error.js";
import type { GuardedService } from "./guarded-service.js";
import { isIdempotent } from "./idempotency.js";
import { applyFallback, type TargetFunction } from "./operation.js";
import type { Runnable } from "./pass-through.js";
import {
  type Refusal,
  refusedByBulkhead,
  refusedByCircuit,
  refusedByCooldown,
  refusedByDeadline,
  refusedByNetwork,
} from "./refusal.js";
import type { RescuableCall, Work } from "./rescuable-call.js";
import { rescue } from "./rescue.js";
import { FAILOVER_COST, RETRY_COST } from "./retry-budget.js";
import { acquireParts, isRefusal, partsAdmit } from "./service-part.js";

/** A timer may end this much early by the monotonic clock; a rest that was waited for must be over. */
const TIMER_SLACK_MS = 1;

export type TargetFunctions = readonly [TargetFunction, ...TargetFunction[]];

export class GuardedCall implements AttemptOwner, RescuableCall, Runnable {
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
  readonly #deadlineAt: number;
  /** Of the target asked last. */
  #index = 0;
  /** Attempts that may have begun to change something: all but those that are proven not to. */
  #mayHaveRun = 0;
  #fellBack = false;
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
    this.#deadlineAt = Math.min(ownDeadlineAt, info?.deadlineAt ?? Number.POSITIVE_INFINITY);
  }

  run(): Promise<unknown> {
    const first = new Promise<unknown>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#begin();
    });
    // A deadline ends an attempt in a timer, whose async context is another call's; what follows runs in this caller's.
    return first.then(undefined, (fault: unknown) => rescue(this, fault));
  }

  async runDetailed(): Promise<Detailed<unknown>> {
    const value = await this.run();
    const { attempts } = this;
    const durationMs = this.engine.clock.monotonic() - this.#startedAt;
    if (this.#fellBack) return { value, rescue: { kind: "fallback", target: undefined, attempts, durationMs } };
    const kind = this.#index > 0 ? "failed_over" : attempts > 1 ? "retried" : "fresh";
    return { value, rescue: { kind, target: this.service.name, attempts, durationMs } };
  }

  #begin(): void {
    if (this.gone !== undefined) {
      this.#reject(undefined);
      return;
    }
    this.#index = this.#firstIndex();
    const { service } = this;
    const circuit = this.#circuitOf(service, this.#startedAt);
    if (service.bulkhead !== undefined || circuit?.ready !== undefined) {
      this.#ask(this.#index).then(this.#resolve, this.#reject);
      return;
    }
    const admission = this.#admit(this.#index, circuit, this.#startedAt);
    if (admission.refused) {
      accountRefusal(this, admission, service);
      this.#reject(undefined);
    } else {
      this.#start(admission, this);
    }
  }

  /** Of the first attempt. */
  attemptEnded(attempt: Attempt): void {
    if (this.#conclude(attempt)) this.#resolve(attempt.value);
    else this.#reject(undefined);
  }

  /** The target asked last. */
  get service(): GuardedService {
    return this.#serviceAt(this.#index);
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
    return this.#deadlineAt - this.engine.clock.monotonic();
  }

  /** Targets after the present one that would be asked now. */
  targetsLeft(): number {
    return this.#indexesLeft(this.#index, this.engine.clock.monotonic()).length;
  }

  canAfford(way: "again" | "next"): boolean {
    const cost = way === "again" ? RETRY_COST : this.#failoverCost();
    return this.service.budget.has(cost, this.engine.clock.monotonic());
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
    if (!service.budget.take(RETRY_COST, clock.monotonic())) {
      throw this.refusal("retry_budget", "has spent its retries");
    }
    if (waitMs > 0) await delayInCall(clock, waitMs, signal);
    this.#requireSafe();
    const admission = await this.#admitted(this.#index);
    if (admission.refused) throw admission.error;
    return this.#finish(admission);
  }

  /** Runs the next target that admits the call. */
  async next(): Promise<unknown> {
    this.#requireSafe();
    const now = this.engine.clock.monotonic();
    if (!this.service.budget.take(this.#failoverCost(), now)) {
      throw this.refusal("retry_budget", "has spent its failovers");
    }
    for (const index of this.#indexesLeft(this.#index, now)) {
      const admission = await this.#admitted(index);
      if (admission.refused) continue;
      this.#index = index;
      return this.#finish(admission);
    }
    throw this.refusal("no_target", "was the last target that admits calls");
  }

  /** Runs the fallback. */
  async fallback(failure: Failure): Promise<unknown> {
    const { fallback } = this.work;
    const { name, policy } = this.service;
    if (fallback === undefined) throw this.refusal("no_fallback", "has no fallback");
    if (this.outputDelivered) throw this.refusal("delivered", "has delivered a part of its result");
    const timeoutMs = Math.min(this.graceMs(), policy.timeoutMs);
    const runFallback = async () => applyFallback(fallback, failure, this.#args);
    const value = await withDeadline(this.engine.clock, runFallback(), {
      timeoutMs,
      onTimeout: () =>
        new GuardError("attempt_timeout", name, `the fallback of ${name} took longer than ${timeoutMs} ms`),
    });
    this.#fellBack = true;
    return value;
  }

  /** What a strategy answers from its own means, without any target. */
  answered(): void {
    this.#fellBack = true;
  }

  /** How long a rescue may take from now, whatever the deadline says. */
  graceMs(): number {
    return Math.max(this.remainingMs(), FALLBACK_LEAST_MS);
  }

  refusal(reason: GuardErrorReason, why: string): GuardError {
    const cause = this.#record?.last?.error;
    return new GuardError(reason, this.service.name, `${this.service.name} ${why}`, { cause });
  }

  /** Asks the first target where that has to wait. */
  async #ask(index: number): Promise<unknown> {
    const admission = await this.#admitted(index);
    if (!admission.refused) return this.#finish(admission);
    this.#requireCaller();
    accountRefusal(this, admission, this.#serviceAt(index));
    throw admission.error;
  }

  async #finish(terms: AttemptTerms): Promise<unknown> {
    if (this.gone !== undefined) {
      ignorePermits(terms);
      terms.place?.leave();
      if (terms.probesNetwork) terms.service.network?.returned();
      throw this.gone.reason;
    }
    this.#fellBack = false;
    return new Promise((resolve, reject) => {
      this.#start(terms, {
        attemptEnded: (attempt) => {
          if (this.#conclude(attempt)) resolve(attempt.value);
          else reject(attempt.error);
        },
        delivered: () => this.delivered(),
        remainingMs: () => this.remainingMs(),
        runsAgain: this.runsAgain,
        info: this.info,
        signal: this.signal,
      });
    });
  }

  /** As `#admit`, and waits for restored circuits and for a place in the bulkhead. */
  async #admitted(index: number): Promise<AttemptTerms | Refusal> {
    const service = this.#serviceAt(index);
    const bulkhead = this.#isWithin(service) ? undefined : service.bulkhead;
    const circuit = this.#circuitOf(service, this.engine.clock.monotonic());
    if (circuit?.ready !== undefined) await circuit.ready;
    this.#requireCaller();
    if (bulkhead !== undefined && !bulkhead.tryEnter() && !(await this.#waitForPlace(bulkhead, index))) {
      return refusedByBulkhead(service.name);
    }
    const admission = this.#admit(index, circuit, this.engine.clock.monotonic());
    if (!admission.refused) return { ...admission, place: bulkhead };
    bulkhead?.leave();
    return admission;
  }

  #waitForPlace(bulkhead: Bulkhead, index: number): Promise<boolean> {
    const { clock } = this.engine;
    const signals = [this.info?.signal, this.signal];
    return waitForPlace(bulkhead, { clock, signals, timeoutMs: this.#timeFor(index, clock.monotonic()) });
  }

  #admit(index: number, circuit: CircuitBreaker | undefined, now: number): AttemptTerms | Refusal {
    const service = this.#serviceAt(index);
    if (this.info !== undefined) service.callers.asked(this.info.path, now);
    const timeoutMs = this.#timeFor(index, now);
    if (timeoutMs <= 0) return refusedByDeadline(service.name);
    const restMs = service.restsForMs(now);
    if (restMs > 0) return refusedByCooldown(service.name, restMs);
    const network = service.network?.admit(service, now) ?? "free";
    if (network === "refused") return refusedByNetwork(service.name, service.network?.holdsForMs(service, now) ?? 0);
    const permit = circuit?.tryAcquire(now);
    if (circuit !== undefined && permit === undefined) {
      if (network === "probe") service.network?.returned();
      return refusedByCircuit(circuit.refusal(now));
    }
    const traits = this.work.traits?.[index];
    const parts = acquireParts(this.#isWithin(service) ? undefined : traits?.parts, this.engine.registry, now);
    if (isRefusal(parts)) {
      permit?.ignored();
      if (network === "probe") service.network?.returned();
      return refusedByCircuit(parts);
    }
    const probesNetwork = network === "probe";
    return {
      refused: false,
      service,
      permit,
      parts,
      judge: traits?.judge,
      place: undefined,
      probesNetwork,
      timeoutMs,
      now,
    };
  }

  #start(terms: AttemptTerms, owner: AttemptOwner): void {
    this.attempts += 1;
    this.#mayHaveRun += 1;
    terms.service.budget.earn();
    new Attempt(terms, this.engine, owner).run(this.#functions[this.#index] ?? this.#functions[0], this.#args);
  }

  /** Says whether an attempt gave a value. */
  #conclude(attempt: Attempt): boolean {
    const isSuccess = attempt.state === "succeeded";
    if (!isSuccess) this.lastThrown = attempt;
    try {
      accountAttempt(this, attempt);
      if (!isSuccess && attempt.state !== "aborted" && this.record.last?.classification.nothingSent)
        this.#mayHaveRun -= 1;
    } catch (fault) {
      this.engine.onFault(fault);
    }
    return isSuccess;
  }

  /** This work runs in an attempt of the same service already: what stands at its door was passed. */
  #isWithin(service: GuardedService): boolean {
    return this.info instanceof AttemptCall && this.info.within(service.name) !== undefined;
  }

  #circuitOf(service: GuardedService, now: number): CircuitBreaker | undefined {
    return this.#isWithin(service) ? undefined : service.circuit(now);
  }

  #serviceAt(index: number): GuardedService {
    return this.work.services[index] ?? this.work.services[0];
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

  #indexesLeft(after: number, now: number): number[] {
    const { services } = this.work;
    if (!this.engine.flags.failover) return [];
    return [...services.keys()].filter((index) => index > after && this.#mayAsk(index, now));
  }

  #mayAsk(index: number, now: number): boolean {
    const { engine, work } = this;
    const traits = work.traits?.[index];
    return (
      this.#serviceAt(index).admits(now) &&
      (traits?.accepts?.() ?? true) &&
      partsAdmit(traits?.parts, engine.registry, engine.clock.now())
    );
  }

  #timeFor(index: number, now: number): number {
    const remainingMs = this.#deadlineAt - now;
    const policyMs = this.#serviceAt(index).policy.timeoutMs;
    if (remainingMs === Number.POSITIVE_INFINITY) return policyMs;
    const rescuable = this.mayRescue(this.#serviceAt(index));
    return attemptTimeMs({
      policyMs,
      remainingMs,
      waysLeft: rescuable && this.idempotent ? 1 + this.#indexesLeft(index, now).length : 1,
      hasFallback: rescuable && this.work.fallback !== undefined,
    });
  }

  /** A call that was refused, or proved that it sent nothing, adds no load when it goes elsewhere. */
  #failoverCost(): number {
    return this.record.last?.classification.nothingSent ? 0 : FAILOVER_COST;
  }

  #requireCaller(): void {
    if (this.gone !== undefined) throw this.gone.reason;
  }

  #requireSafe(): void {
    this.#requireCaller();
    if (this.outputDelivered) throw this.refusal("delivered", "has delivered a part of its result");
    if (!this.nothingSent && !this.idempotent) throw this.refusal("unsafe", "may have begun its work already");
    if (this.remainingMs() <= 0) throw this.refusal("deadline", "has no time left");
  }
}

function ignore(): void {}
