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
      hearAnswer(terms.service, terms.now + durationMs);
      terms.permit?.success(terms.now + durationMs);
      terms.service.record("success", durationMs);
      break;
    case "failed":
    case "timed_out":
      accountFailure(call, attempt);
      break;
    case "running":
    case "aborted":
      if (terms.probesNetwork) terms.service.network?.returned();
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

function accountFailure(call: RescuableCall, attempt: Attempt): void {
  const { error, state, terms, durationMs } = attempt;
  const { service, permit, timeoutMs, now } = terms;
  const found = call.engine.classify(error, service.name);
  const hurried = state === "timed_out" && isTooShortToTell(timeoutMs, service.policy.timeoutMs);
  const unreachable = isNetworkToBlame(call, attempt, found);
  const classification: Classification = hurried || unreachable ? { ...found, verdict: "ignored" } : found;
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

/** What one failed attempt says of the network; `true` while it is to blame, and so not the service. */
function isNetworkToBlame(call: RescuableCall, { terms, durationMs }: Attempt, found: Classification): boolean {
  const { service, now, probesNetwork } = terms;
  if (service.network === undefined || !call.permits(service).circuits) return false;
  if (found.blame === "network") return service.network.failed(service, now + durationMs);
  // Silence and refusals of our own are no answer, and no proof of the contrary.
  if (found.failureType !== "api_timeout" && found.blame !== "caller") hearAnswer(service, now + durationMs);
  else if (probesNetwork) service.network.returned();
  return false;
}

function hearAnswer(service: GuardedService, at: number): void {
  service.answeredAt = at;
  if (service.network?.isWatching) service.network.answered();
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
