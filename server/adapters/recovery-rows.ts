/** A recovery action as it is stored and as it is told. */
import type { recoveryActions } from "../../drizzle/self-healing-schema.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import type { NewRow } from "./new-row.js";

export function recoveryActionOf(row: typeof recoveryActions.$inferSelect): RecoveryAction {
  return {
    actionId: row.actionId,
    failureEventId: row.failureEventId,
    timestamp: row.timestamp,
    actionType: row.actionType,
    actionStrategy: row.actionStrategy,
    status: row.status,
    scope: row.scope,
    target: row.target,
    automated: row.automated,
    triggeredBy: row.triggeredBy,
    parameters: row.parameters ?? undefined,
    result: row.result ?? undefined,
    durationMs: row.durationMs ?? undefined,
    completedAt: row.completedAt ?? undefined,
    occurrences: row.occurrences,
    lastAt: row.lastAt,
    leaseUntil: row.leaseUntil ?? undefined,
    instance: row.instance,
    dryRun: row.dryRun,
  };
}

export function recoveryRowOf(action: RecoveryAction, createdAt: number): NewRow<typeof recoveryActions.$inferInsert> {
  return {
    id: undefined,
    actionId: action.actionId,
    failureEventId: action.failureEventId,
    timestamp: action.timestamp,
    actionType: action.actionType,
    actionStrategy: action.actionStrategy,
    status: action.status,
    automated: action.automated,
    triggeredBy: action.triggeredBy,
    parameters: action.parameters,
    result: action.result,
    durationMs: action.durationMs,
    completedAt: action.completedAt,
    createdAt,
    scope: action.scope,
    target: action.target,
    occurrences: action.occurrences,
    lastAt: action.lastAt,
    leaseUntil: action.leaseUntil,
    instance: action.instance,
    dryRun: action.dryRun,
  };
}
