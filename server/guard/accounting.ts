/** Tells everybody concerned how an attempt ended: the circuit, the metrics, the cooldown, and the record of its call. */
import type { Classification } from "../../shared/classification.js";
import type { FailureType } from "../../shared/failure.js";
import type { Attempt } from "./attempt.js";
import { isTooShortToTell } from "./attempt-time.js";
import type { GuardedService } from "./guarded-service.js";
import type { Refusal } from "./refusal.js";
import type { RescuableCall } from "./rescuable-call.js";
import { failPart, partOf } from "./service-part.js";
import { failureOf, isCallersOwn, outcomeOf, type Sighting } from "./sighting.js";

const NOTHING_USED = Object.freeze({ tokens: 0, cost: 0 });
const USES_UNKNOWN: ReadonlySet<FailureType> = new Set([
  "api_timeout",
  "stream_broken",
  "malformed_response",
  "unknown",
]);

export function accountAttempt(call: RescuableCall, attempt: Attempt): void {
  switch (attempt.state) {
    case "succeeded":
      accountSuccess(attempt);
      break;
    case "failed":
    case "timed_out":
      accountUsage(attempt);
      accountFailure(call, attempt);
      break;
    case "running":
    case "aborted":
      accountUsage(attempt);
      if (attempt.probesNetwork) attempt.service.network?.returned();
      ignorePermits(attempt);
      attempt.service.record("aborted", attempt.durationMs);
      break;
  }
}

export function accountSuccess(attempt: Attempt): void {
  const { service, durationMs } = attempt;
  const endedAt = attempt.now + durationMs;
  if (attempt.usage !== undefined) accountUsage(attempt);
  hearAnswer(service, endedAt);
  succeedPermits(attempt, endedAt);
  service.record("success", durationMs);
}

/** What an attempt used teaches what the next one will, whether a budget pays for it or not. */
function accountUsage({ service, booking, usage }: Attempt): void {
  if (usage === undefined) return;
  service.rescueBudget?.learn(usage);
  booking?.settle(usage);
}

/** What was refused at the door is a failure for the caller, and none of the service. */
export function accountRefusal(call: RescuableCall, { error, classification }: Refusal, service: GuardedService): void {
  const { failureCategory } = call.engine.classify(error, service.name);
  see(call, { error, service, classification: { ...classification, failureCategory } });
  service.record("rejected", 0);
}

function accountFailure(call: RescuableCall, attempt: Attempt): void {
  const { result: error, state, service, permit, parts, timeoutMs, now, durationMs } = attempt;
  const found = judged(call, attempt, call.engine.classify(error, service.name));
  const tellsNothing =
    state === "timed_out" &&
    (attempt.prolonged || attempt.isOwnDelay || isTooShortToTell(timeoutMs, service.policy.timeoutMs));
  const unreachable = isNetworkToBlame(call, attempt, found);
  const classification: Classification = tellsNothing || unreachable ? { ...found, verdict: "ignored" } : found;
  // Answered with an error, or not reached: nothing was used. Of what broke off nobody knows, so its booking stands.
  if (attempt.usage === undefined && !USES_UNKNOWN.has(found.failureType)) attempt.booking?.settle(NOTHING_USED);
  const blamed = classification.verdict === "failure" ? partOf(parts, classification.failureType) : undefined;
  const seen = { error, service, classification, circuit: blamed?.circuit };
  const failureEventId = isCallersOwn(classification) ? seeCallersOwn(call, seen) : see(call, seen);
  switch (classification.verdict) {
    case "failure":
      failPart(parts, blamed, { error, failureEventId, openForMs: classification.holdMs });
      if (blamed === undefined) permit?.failure({ error, failureEventId });
      else permit?.ignored();
      break;
    case "success":
      succeedPermits(attempt, now + durationMs);
      break;
    case "ignored":
      ignorePermits(attempt);
      break;
  }
  service.record(outcomeOf(error, classification), durationMs);
  // A part that is to blame rests by its own circuit; what else the service offers goes on.
  if (classification.holdMs !== undefined && blamed === undefined && call.permits(service).circuits) {
    service.rest(classification.holdMs, now + durationMs);
  }
}

/** What one failed attempt says of the network; `true` while it is to blame, and so not the service. */
function isNetworkToBlame(call: RescuableCall, attempt: Attempt, found: Classification): boolean {
  const { service, now, durationMs, probesNetwork } = attempt;
  if (service.network === undefined || !call.permits(service).circuits) return false;
  if (found.blame === "network") return service.network.failed(service, now + durationMs);
  // Silence and refusals of our own are no answer, and no proof of the contrary.
  if (found.failureType !== "api_timeout" && found.blame !== "caller") hearAnswer(service, now + durationMs);
  else if (probesNetwork) service.network.returned();
  return false;
}

/** The service answered, whatever it said. @param at monotonic milliseconds */
export function hearAnswer(service: GuardedService, at: number): void {
  service.answeredAt = at;
  if (service.network?.isWatching) service.network.answered();
}

/** What its target makes of an error; a fault there must not keep a permit from coming back. */
function judged({ engine, work }: RescuableCall, { index, result }: Attempt, found: Classification): Classification {
  try {
    return work.traits?.[index]?.judge?.(found, result) ?? found;
  } catch (fault) {
    engine.onFault(fault);
    return found;
  }
}

function succeedPermits({ permit, parts }: Attempt, at: number): void {
  permit?.success(at);
  // Most have none, and to iterate over none costs as much as the permit.
  if (parts.length > 0) for (const part of parts) part.permit.success(at);
}

/** Neither counts nor clears a streak. */
export function ignorePermits({ permit, parts }: Pick<Attempt, "permit" | "parts">): void {
  permit?.ignored();
  for (const part of parts) part.permit.ignored();
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
