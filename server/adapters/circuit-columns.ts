/** A circuit and its transitions as they are stored and as they are told. */
import type { circuitBreakerStates, circuitTransitions } from "../../drizzle/self-healing-schema.js";
import type { CircuitHold, CircuitTransition } from "../../shared/circuit.js";
import type { StoredCircuit } from "../ports/store.js";
import type { NewRow } from "./new-row.js";

type CircuitRow = typeof circuitBreakerStates.$inferSelect;

export function storedCircuitOf(row: CircuitRow): StoredCircuit {
  return {
    name: row.circuitName,
    state: row.state,
    version: row.version,
    failureCount: row.failureCount,
    successCount: row.successCount,
    lastFailureAt: row.lastFailureAt ?? undefined,
    lastSuccessAt: row.lastSuccessAt ?? undefined,
    openedAt: row.openedAt ?? undefined,
    nextRetryAt: row.nextRetryAt ?? undefined,
    held: holdOf(row),
    config: row.configuration,
    updatedAt: row.updatedAt,
  };
}

function holdOf({ heldState, heldBy, heldReason, heldUntil }: CircuitRow): CircuitHold | undefined {
  if (heldState === null) return undefined;
  return { state: heldState, by: heldBy ?? "", reason: heldReason ?? "", until: heldUntil ?? undefined };
}

export function circuitRowOf(
  circuit: StoredCircuit,
  createdAt: number,
): NewRow<typeof circuitBreakerStates.$inferInsert> {
  return {
    id: undefined,
    circuitName: circuit.name,
    state: circuit.state,
    failureCount: circuit.failureCount,
    successCount: circuit.successCount,
    lastFailureAt: circuit.lastFailureAt,
    lastSuccessAt: circuit.lastSuccessAt,
    openedAt: circuit.openedAt,
    nextRetryAt: circuit.nextRetryAt,
    configuration: circuit.config,
    updatedAt: circuit.updatedAt,
    createdAt,
    version: circuit.version,
    heldState: circuit.held?.state,
    heldBy: circuit.held?.by,
    heldReason: circuit.held?.reason,
    heldUntil: circuit.held?.until,
    probeLeaseOwner: undefined,
    probeLeaseUntil: undefined,
  };
}

export function transitionOf(row: typeof circuitTransitions.$inferSelect): CircuitTransition {
  return {
    circuitName: row.circuitName,
    from: row.from,
    to: row.to,
    reason: row.reason,
    version: row.version,
    at: row.at,
    instance: row.instance,
    failureEventId: row.failureEventId ?? undefined,
  };
}
