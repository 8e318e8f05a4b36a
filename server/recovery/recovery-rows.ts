/** Turns what happened into rows of `recovery_actions`. Pure: ids, times and the failure's stored id are given. */
import { type CircuitTransition, OWN_OPENING_REASONS } from "../../shared/circuit.js";
import { type Failure, type FailureCategory, isJsonObject, type JsonObject } from "../../shared/failure.js";
import type { Plan } from "../../shared/plan.js";
import { NO_STRATEGY, type RecoveryAction, type RecoveryStrategy } from "../../shared/recovery.js";
import { ENGINE } from "../../shared/recovery-policy.js";
import { redactJson, safeText } from "../../shared/redaction.js";
import type { SpooledRescue } from "./journal.js";

/** The instance that did it, and the stored event that it was done about. */
export interface RowOrigin {
  readonly actionId: string;
  readonly failureEventId: string;
  readonly instance: string;
}

/** A rescue that a guard carried out, with its repeats. */
export function rescueRow({ rescue, occurrences, firstAt }: SpooledRescue, origin: RowOrigin): RecoveryAction {
  const { actionType, actionStrategy, status, target, durationMs, dryRun, scope = "call" } = rescue;
  return {
    ...origin,
    timestamp: firstAt,
    actionType,
    actionStrategy,
    status,
    scope,
    target,
    automated: true,
    triggeredBy: "guard",
    parameters: undefined,
    result: storable({ ...rescue.metadata, message: rescue.message }),
    durationMs: Math.round(durationMs),
    completedAt: rescue.timestamp,
    occurrences,
    lastAt: rescue.timestamp,
    leaseUntil: undefined,
    dryRun,
  };
}

/** A circuit that opened: done when it is written, since the transition is the effect and its proof. */
export function circuitBreakRow(transition: CircuitTransition, dryRun: boolean, origin: RowOrigin): RecoveryAction {
  const { circuitName, from, to, version, reason, at } = transition;
  return {
    ...origin,
    timestamp: at,
    actionType: "circuit_break",
    actionStrategy: "circuit_break",
    status: "succeeded",
    scope: "service",
    target: circuitName,
    automated: true,
    triggeredBy: "guard",
    parameters: undefined,
    result: { from, to, version, reason },
    durationMs: 0,
    completedAt: at,
    occurrences: 1,
    lastAt: at,
    leaseUntil: undefined,
    dryRun,
  };
}

/** A decision against acting: no strategy applies, or the mode only lets it be written down what would have been done. */
export function skippedRow(
  failure: Failure,
  plan: Plan,
  seen: { readonly occurrences: number; readonly lastSeenAt: number },
  origin: RowOrigin,
  strategy: RecoveryStrategy | undefined,
): RecoveryAction {
  return {
    ...origin,
    timestamp: failure.timestamp,
    actionType: strategy?.actionType ?? "custom",
    actionStrategy: strategy?.name ?? NO_STRATEGY,
    status: "skipped",
    scope: strategy?.scope ?? "service",
    target: strategy?.target ?? failure.affectedService,
    automated: true,
    triggeredBy: ENGINE,
    parameters: undefined,
    result: {
      message: strategy ? "the mode decides and records only" : "no strategy applies",
      steps: plan.steps,
      refused: Object.fromEntries(plan.refused.map(({ strategy, reason }) => [strategy, reason])),
    },
    durationMs: 0,
    completedAt: seen.lastSeenAt,
    occurrences: seen.occurrences,
    lastAt: seen.lastSeenAt,
    leaseUntil: undefined,
    dryRun: plan.dryRun && strategy !== undefined,
  };
}

/** A repair that is about to begin, held until `leaseUntil`. */
export function leaseRow(
  failure: Failure,
  strategy: RecoveryStrategy,
  {
    timestamp,
    leaseUntil,
    by,
    reason,
  }: { timestamp: number; leaseUntil: number; by: string | undefined; reason: string | undefined },
  origin: RowOrigin,
): RecoveryAction {
  return {
    ...origin,
    timestamp,
    actionType: strategy.actionType ?? "custom",
    actionStrategy: strategy.name,
    status: "in_progress",
    scope: "service",
    target: strategy.target ?? failure.affectedService,
    automated: by === undefined,
    triggeredBy: by ?? ENGINE,
    parameters: { failureType: failure.failureType, ...(reason !== undefined && { reason }) },
    result: undefined,
    durationMs: undefined,
    completedAt: undefined,
    occurrences: 1,
    lastAt: timestamp,
    leaseUntil,
    dryRun: false,
  };
}

/** A repair that waits for an operator until `expiresAt`. */
export function waitingRow(
  failure: Failure,
  strategy: RecoveryStrategy,
  { timestamp, expiresAt }: { timestamp: number; expiresAt: number },
  origin: RowOrigin,
): RecoveryAction {
  const row = leaseRow(
    failure,
    strategy,
    { timestamp, leaseUntil: expiresAt, by: undefined, reason: undefined },
    origin,
  );
  const { failureType } = failure;
  return { ...row, status: "pending_approval", leaseUntil: undefined, parameters: { failureType, expiresAt } };
}

/** Until when a repair waits for its operator; undefined when the row does not say. */
export function expiryOf({ parameters }: RecoveryAction): number | undefined {
  const expiresAt = parameters?.expiresAt;
  return typeof expiresAt === "number" ? expiresAt : undefined;
}

/**
 * Whether a transition is the work of a circuit that opened by itself. What an operator or a repair opened has its own row
 * elsewhere, and what was restored opened earlier.
 */
export function openedByItself({ to, reason }: CircuitTransition): boolean {
  return to === "open" && OWN_OPENING_REASONS.some((own) => own === reason);
}

/** The failure behind a circuit that opened without one that is known: the opening itself is the sighting. */
export function failureOfOpening({ circuitName, at, reason }: CircuitTransition, eventId: string): Failure {
  return {
    eventId,
    timestamp: at,
    failureCategory: categoryOfService(circuitName),
    failureType: "service_unavailable",
    severity: "high",
    affectedService: circuitName,
    errorMessage: `circuit ${circuitName} opened`,
    context: { reason },
    detectionMethod: "threshold",
  };
}

function categoryOfService(service: string): FailureCategory {
  if (service.startsWith("db:") || service.startsWith("database:")) return "database";
  if (service.startsWith("redis:") || service.startsWith("cache:")) return "cache";
  return "external_dependency";
}

/** A failure that a user reports, as it may be kept: what it says is whatever the user's code said. */
export function storableFailure(failure: Failure): Failure {
  const { errorMessage, errorStack, context } = failure;
  return {
    ...failure,
    ...(errorMessage !== undefined && { errorMessage: safeText(errorMessage, MESSAGE_LENGTH) }),
    ...(errorStack !== undefined && { errorStack: safeText(errorStack, STACK_LENGTH) }),
    ...(context !== undefined && { context: storable(context) }),
  };
}

const MESSAGE_LENGTH = 1_000;
const STACK_LENGTH = 4_000;

/** What a strategy reports is a user's: redacted and bounded before it is kept. */
export function storable(result: Readonly<Record<string, unknown>>): JsonObject {
  const json = redactJson(result);
  return isJsonObject(json) ? json : { value: json };
}
