/** A circuit and its transitions as they are stored and as they are told. */
import type { circuitBreakerStates, circuitTransitions } from "../../drizzle/self-healing-schema.js";
import type { CircuitHold, CircuitTransition } from "../../shared/circuit.js";
import type { ProbeLease, StoredCircuit } from "../ports/store.js";
import type { NewRow } from "./new-row.js";

type CircuitRow = typeof circuitBreakerStates.$inferSelect;

/** @param readAt what the database's clock said when the row was read */
export function storedCircuitOf(row: CircuitRow, readAt: number): StoredCircuit {
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
    probeLease: leaseOf(row),
    readAt,
  };
}

function leaseOf({ probeLeaseOwner, probeLeaseUntil }: CircuitRow): ProbeLease | undefined {
  return probeLeaseOwner === null || probeLeaseUntil === null
    ? undefined
    : { owner: probeLeaseOwner, until: probeLeaseUntil };
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
    probeLeaseOwner: circuit.probeLease?.owner,
    probeLeaseUntil: circuit.probeLease?.until,
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

/** What a write may change in a row; when it began stays. */
export const CIRCUIT_FIELDS = [
  "state",
  "failureCount",
  "successCount",
  "lastFailureAt",
  "lastSuccessAt",
  "openedAt",
  "nextRetryAt",
  "configuration",
  "updatedAt",
  "version",
  "heldState",
  "heldBy",
  "heldReason",
  "heldUntil",
  "probeLeaseOwner",
  "probeLeaseUntil",
] as const satisfies readonly (keyof CircuitRow)[];
