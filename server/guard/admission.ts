/** Whether a target may be asked now, and with how much time: everything that stands between a call and its attempt. */
import { MINUTE_MS } from "../../shared/units.js";
import type { CircuitBreaker } from "../circuit/circuit-breaker.js";
import { ignorePermits } from "./accounting.js";
import { Attempt } from "./attempt.js";
import { AttemptCall } from "./attempt-call.js";
import { attemptTimeMs } from "./attempt-time.js";
import { type Bulkhead, waitForPlace } from "./bulkhead.js";
import type { GuardedService } from "./guarded-service.js";
import {
  type Refusal,
  refusedByBulkhead,
  refusedByCircuit,
  refusedByCooldown,
  refusedByDeadline,
  refusedByNetwork,
} from "./refusal.js";
import type { RescuableCall } from "./rescuable-call.js";
import { acquireParts, isRefusal, partsAdmit } from "./service-part.js";

/** A caller without a deadline waits for a target's rest at most this long. */
export const LONGEST_REST_MS = MINUTE_MS;

/** A call as its targets' doors see it. */
export interface Asker extends Pick<RescuableCall, "engine" | "work" | "info" | "signal" | "gone" | "idempotent"> {
  /** Monotonic. */
  readonly deadlineAt: number;
  /** The target is the present one, or was asked already. */
  passesOver(index: number): boolean;
  /** The mode and the flags let `service` be rescued. */
  mayRescue(service: GuardedService): boolean;
}

export function admit(
  asker: Asker,
  index: number,
  circuit: CircuitBreaker | undefined,
  now: number,
): Attempt | Refusal {
  const service = serviceAt(asker, index);
  if (asker.info !== undefined) service.callers.asked(asker.info.path, now);
  const timeoutMs = timeFor(asker, index, now);
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
  const attempt = new Attempt(asker.engine, index, service, permit, timeoutMs, now);
  attempt.probesNetwork = network === "probe";
  const parts = asker.work.traits?.[index]?.parts;
  if (parts === undefined || isWithin(asker, service)) return attempt;
  const acquired = acquireParts(parts, asker.engine.registry, now);
  if (isRefusal(acquired)) {
    giveUp(attempt);
    return refusedByCircuit(acquired);
  }
  attempt.parts = acquired;
  return attempt;
}

/** As `admit`, and waits for restored circuits and for a place in the bulkhead. */
export async function admitInTime(asker: Asker, index: number): Promise<Attempt | Refusal> {
  const { clock } = asker.engine;
  const service = serviceAt(asker, index);
  const bulkhead = isWithin(asker, service) ? undefined : service.bulkhead;
  const circuit = circuitOf(asker, service, clock.monotonic());
  if (circuit?.ready !== undefined) await circuit.ready;
  requireCaller(asker);
  if (bulkhead !== undefined && !bulkhead.tryEnter() && !(await placeIn(bulkhead, asker, index))) {
    return refusedByBulkhead(service.name);
  }
  const admission = admit(asker, index, circuit, clock.monotonic());
  if (admission.refused) bulkhead?.leave();
  else admission.place = bulkhead;
  return admission;
}

/** As `admit`, and waits for nothing: what cannot begin now is refused. */
export function admitAtOnce(asker: Asker, index: number): Attempt | Refusal {
  const now = asker.engine.clock.monotonic();
  const service = serviceAt(asker, index);
  const bulkhead = isWithin(asker, service) ? undefined : service.bulkhead;
  const circuit = circuitOf(asker, service, now);
  if (circuit?.ready !== undefined) return refusedByCircuit(circuit.refusal(now));
  if (bulkhead !== undefined && !bulkhead.tryEnter()) return refusedByBulkhead(service.name);
  const admission = admit(asker, index, circuit, now);
  if (admission.refused) bulkhead?.leave();
  else admission.place = bulkhead;
  return admission;
}

/** Gives back what an attempt holds that will not run. */
export function giveUp(attempt: Attempt): void {
  ignorePermits(attempt);
  attempt.place?.leave();
  if (attempt.probesNetwork) attempt.service.network?.returned();
}

/** @throws the reason of the caller's signal once it has aborted */
export function requireCaller({ gone }: Pick<Asker, "gone">): void {
  if (gone !== undefined) throw gone.reason;
}

export function serviceAt({ work }: Pick<Asker, "work">, index: number): GuardedService {
  return work.services[index] ?? work.services[0];
}

/** Targets that were not asked yet and would be now, in order of preference. */
export function indexesLeft(asker: Asker, now: number): number[] {
  return indexesToAsk(asker, now, 0);
}

/** The same, and those that rest for so short a time that they can be waited for. */
export function indexesInTime(asker: Asker, now: number): number[] {
  return indexesToAsk(asker, now, bearableRestMs(asker, now));
}

/** Undefined where no circuit counts, and where it was passed already. */
export function circuitOf(asker: Asker, service: GuardedService, now: number): CircuitBreaker | undefined {
  return isWithin(asker, service) ? undefined : service.circuit(now);
}

/** Targets beside the present one that would be asked now, or once a rest is over that can be waited for, from the next one on. */
export function indexesAround(asker: Asker, present: number, now: number): number[] {
  const { length } = asker.work.services;
  const around = Array.from({ length: length - 1 }, (_, step) => (present + 1 + step) % length);
  return willing(asker, around, now, bearableRestMs(asker, now));
}

function indexesToAsk(asker: Asker, now: number, restMs: number): number[] {
  const others = [...asker.work.services.keys()].filter((index) => !asker.passesOver(index));
  return willing(asker, others, now, restMs);
}

/** Those that would be asked; none where nothing fails over. */
function willing(asker: Asker, indexes: readonly number[], now: number, restMs: number): number[] {
  return asker.engine.flags.failover ? indexes.filter((index) => mayAsk(asker, index, now, restMs)) : [];
}

/** Half of what is left, so that the target has time to answer. */
function bearableRestMs({ deadlineAt }: Asker, now: number): number {
  const remainingMs = deadlineAt - now;
  return remainingMs === Number.POSITIVE_INFINITY ? LONGEST_REST_MS : remainingMs / 2;
}

/** @param restMs as long as this it may rest still */
function mayAsk(asker: Asker, index: number, now: number, restMs: number): boolean {
  const { engine, work } = asker;
  const traits = work.traits?.[index];
  return (
    serviceAt(asker, index).admits(now, restMs) &&
    (traits?.accepts?.() ?? true) &&
    partsAdmit(traits?.parts, engine.registry, engine.clock.now())
  );
}

function placeIn(bulkhead: Bulkhead, asker: Asker, index: number): Promise<boolean> {
  const { clock } = asker.engine;
  const signals = [asker.info?.signal, asker.signal];
  return waitForPlace(bulkhead, { clock, signals, timeoutMs: timeFor(asker, index, clock.monotonic()) });
}

/** This work runs in an attempt of the same service already: what stands at its door was passed. */
function isWithin({ info }: Asker, service: GuardedService): boolean {
  return info !== undefined && info instanceof AttemptCall && info.within(service.name) !== undefined;
}

function timeFor(asker: Asker, index: number, now: number): number {
  const remainingMs = asker.deadlineAt - now;
  const service = serviceAt(asker, index);
  const policyMs = service.policy.timeoutMs;
  if (remainingMs === Number.POSITIVE_INFINITY) return policyMs;
  const rescuable = asker.mayRescue(service);
  return attemptTimeMs({
    policyMs,
    remainingMs,
    waysLeft: rescuable && asker.idempotent ? 1 + othersInTime(asker, index, now) : 1,
    hasFallback: rescuable && asker.work.fallback !== undefined,
  });
}

function othersInTime(asker: Asker, index: number, now: number): number {
  return indexesInTime(asker, now).filter((other) => other !== index).length;
}
