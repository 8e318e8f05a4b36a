/** Whether one call may be hedged, with what the hedge works, and what is written down of it. */
import { type Asker, admitAtOnce, indexesLeft } from "./admission.js";
import type { Attempt } from "./attempt.js";
import type { GuardedService } from "./guarded-service.js";
import { type HedgeEnd, REFUSED_BY_MODE, recordOfHedge, slownessOf } from "./hedge-record.js";
import type { RescuableCall } from "./rescuable-call.js";
import { canAfford, pay, rescuesSpent } from "./rescue-cost.js";

/** Asked before the first attempt, so that the attempts of work that is never hedged need no watching. */
export function mayHedge(call: RescuableCall, { policy }: GuardedService): boolean {
  const { engine, outputDelivered, nested } = call;
  return policy.hedge !== undefined && engine.flags.autoRecovery && !outputDelivered && !nested && call.idempotent;
}

/**
 * One more attempt beside those that run, admitted and paid for, or why there is none.
 *
 * @param present index of the target that is late
 */
export function hedgeAttempt(call: RescuableCall & Asker, present: number): Attempt | string {
  const { engine, service } = call;
  const now = engine.clock.monotonic();
  if (call.gone !== undefined) return "aborted";
  if (!call.permits(service).rescues) return REFUSED_BY_MODE;
  const next = service.policy.hedge?.target === "next" ? indexesLeft(call, now)[0] : undefined;
  if (next === undefined && !engine.flags.retry) return "disabled";
  if (!canAfford(call, "beside")) {
    const spent = rescuesSpent(call);
    return spent === undefined ? "budget" : `budget_${spent}`;
  }
  const admission = admitAtOnce(call, next ?? present);
  if (admission.refused) return admission.classification.reason;
  pay(call, "beside");
  admission.booking = service.rescueBudget?.book(now);
  return admission;
}

/** A hedge answers a failure of the attempt beside it, or, where that has not failed, its being late. */
export function noteHedge({ engine, record, work, info }: RescuableCall, end: HedgeEnd): void {
  try {
    let failure = record.last?.failure;
    if (failure === undefined) {
      failure = slownessOf(end, engine, work.name, info);
      record.mention(failure);
    }
    record.note(recordOfHedge(failure, end, engine.clock.now()));
  } catch (fault) {
    engine.onFault(fault);
  }
}
