/** A failure event as it is stored and as it is told. */
import type { failureEvents } from "../../drizzle/self-healing-schema.js";
import type { FailureEvent } from "../../shared/failure.js";
import type { NewRow } from "./new-row.js";

export function failureEventOf(row: typeof failureEvents.$inferSelect): FailureEvent {
  return {
    eventId: row.eventId,
    timestamp: row.timestamp,
    failureCategory: row.failureCategory,
    failureType: row.failureType,
    severity: row.severity,
    affectedService: row.affectedService,
    errorMessage: row.errorMessage ?? undefined,
    errorStack: row.errorStack ?? undefined,
    context: row.context ?? undefined,
    detectionMethod: row.detectionMethod,
    userId: row.userId ?? undefined,
    requestId: row.requestId ?? undefined,
    fingerprint: row.fingerprint,
    occurrences: row.occurrences,
    lastSeenAt: row.lastSeenAt,
    resolved: row.resolved,
    resolvedAt: row.resolvedAt ?? undefined,
    incidentId: row.incidentId ?? undefined,
    instance: row.instance,
  };
}

export function failureRowOf(event: FailureEvent, createdAt: number): NewRow<typeof failureEvents.$inferInsert> {
  return {
    id: undefined,
    eventId: event.eventId,
    timestamp: event.timestamp,
    failureCategory: event.failureCategory,
    failureType: event.failureType,
    severity: event.severity,
    affectedService: event.affectedService,
    errorMessage: event.errorMessage,
    errorStack: event.errorStack,
    context: event.context,
    detectionMethod: event.detectionMethod,
    userId: event.userId,
    requestId: event.requestId,
    resolved: event.resolved,
    resolvedAt: event.resolvedAt,
    createdAt,
    fingerprint: event.fingerprint,
    occurrences: event.occurrences,
    lastSeenAt: event.lastSeenAt,
    incidentId: event.incidentId,
    instance: event.instance,
  };
}
