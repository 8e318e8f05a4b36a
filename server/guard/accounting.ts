/** Tells everybody concerned how an attempt ended: the circuit, the metrics, the cooldown, and the record of its call. */
import type { Classification } from "../../shared/classification.js";
import type { Attempt } from "./attempt.js";
import { isTooShortToTell } from "./attempt-time.js";
import type { GuardedService } from "./guarded-service.js";
import type { Refusal } from "./refusal.js";
import type { RescuableCall } from "./rescuable-call.js";
import { failureOf, isCallersOwn, outcomeOf, type Sighting } from "./sighting.js";

export function accountAttempt(call: RescuableCall, attempt: Attempt): void {
  const { state, terms, durationMs } = attempt;
  switch (state) {
    case "succeeded":
      terms.permit?.success(terms.now + durationMs);
      terms.service.record("success", durationMs);
      break;
    case "failed":
    case "timed_out":
      accountFailure(call, attempt);
      break;
    case "running":
    case "aborted":
      terms.permit?.ignored();
      terms.service.record("aborted", durationMs);
      break;
  }
}

/** What was refused at the door is a failure for the caller, and none of the service. */
export function accountRefusal(call: RescuableCall, { error, classification }: Refusal, service: GuardedService): void {
  const { failureCategory } = call.engine.classify(error, service.name);
  see(call, { error, service, classification: { ...classification, failureCategory } });
  service.record("rejected", 0);
}

function accountFailure(call: RescuableCall, { error, state, terms, durationMs }: Attempt): void {
  const { service, permit, timeoutMs, now } = terms;
  const found = call.engine.classify(error, service.name);
  const hurried = state === "timed_out" && isTooShortToTell(timeoutMs, service.policy.timeoutMs);
  const classification: Classification = hurried ? { ...found, verdict: "ignored" } : found;
  const seen = { error, service, classification };
  const failureEventId = isCallersOwn(classification) ? seeCallersOwn(call, seen) : see(call, seen);
  switch (classification.verdict) {
    case "failure":
      permit?.failure({ error, failureEventId });
      break;
    case "success":
      permit?.success(now + durationMs);
      break;
    case "ignored":
      permit?.ignored();
      break;
  }
  service.record(outcomeOf(error, classification), durationMs);
  if (classification.holdMs !== undefined && call.permits(service).circuits) {
    service.rest(classification.holdMs, now + durationMs);
  }
}

function see(call: RescuableCall, seen: Omit<Sighting, "failure">): string {
  const where = { operation: call.work.name, attempt: call.attempts, call: call.info };
  const failure = failureOf(seen, where, call.engine);
  call.record.see({ ...seen, failure }, call.info);
  return failure.eventId;
}

function seeCallersOwn(call: RescuableCall, seen: Omit<Sighting, "failure">): undefined {
  call.record.see({ ...seen, failure: undefined }, call.info);
}
