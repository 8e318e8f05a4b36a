/** What a circuit's row becomes: by a transition, by a refresh of its counts, when it is new. Holds stand beside all of it. */
import type { CircuitSnapshot, CircuitTransition } from "../../shared/circuit.js";
import { CIRCUIT_DEFAULTS } from "../../shared/circuit-config.js";
import type { StoredCircuit } from "../ports/store.js";

/** A transition takes over everything but the hold, which only its owner moves. */
export function transitioned(stored: StoredCircuit | undefined, snapshot: CircuitSnapshot, at: number): StoredCircuit {
  return {
    ...snapshot,
    lastFailureAt: latest(stored?.lastFailureAt, snapshot.lastFailureAt),
    lastSuccessAt: latest(stored?.lastSuccessAt, snapshot.lastSuccessAt),
    held: stored?.held,
    updatedAt: at,
  };
}

/** Counts belong to a generation: those of another one are left where they are. */
export function refreshed(stored: StoredCircuit, snapshot: CircuitSnapshot, at: number): StoredCircuit {
  const counts = stored.version === snapshot.version ? snapshot : stored;
  return {
    ...stored,
    failureCount: counts.failureCount,
    successCount: counts.successCount,
    lastFailureAt: latest(stored.lastFailureAt, snapshot.lastFailureAt),
    lastSuccessAt: latest(stored.lastSuccessAt, snapshot.lastSuccessAt),
    config: snapshot.config,
    updatedAt: at,
  };
}

/** The first row of a circuit. */
export function unseen(snapshot: CircuitSnapshot, at: number): StoredCircuit {
  return { ...snapshot, held: undefined, updatedAt: at };
}

/** The row of a circuit that is held before any instance has met it: its configuration follows with the first refresh. */
export function heldAlone(name: string, at: number): StoredCircuit {
  return {
    name,
    state: "closed",
    version: 0,
    failureCount: 0,
    successCount: 0,
    lastFailureAt: undefined,
    lastSuccessAt: undefined,
    openedAt: undefined,
    nextRetryAt: undefined,
    held: undefined,
    config: CIRCUIT_DEFAULTS,
    updatedAt: at,
  };
}

/** Tells the redelivery of a transition from another instance's transition to the same version. */
export function isSameTransition(a: CircuitTransition, b: CircuitTransition): boolean {
  return (
    a.circuitName === b.circuitName &&
    a.version === b.version &&
    a.instance === b.instance &&
    a.from === b.from &&
    a.to === b.to &&
    a.at === b.at
  );
}

function latest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.max(a, b);
}
