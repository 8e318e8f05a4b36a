/** Writes circuits by compare-and-set, and their transitions, in whatever transaction is open. */
import { and, eq, sql } from "drizzle-orm";
import { circuitBreakerStates, circuitTransitions } from "../../../drizzle/self-healing-schema.js";
import type { CircuitHold, CircuitSnapshot, CircuitTransition } from "../../../shared/circuit.js";
import type { StoredCircuit } from "../../ports/store.js";
import { circuitRowOf, storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { heldAlone, isSameTransition, refreshed, transitioned, unseen } from "../circuit-rows.js";
import type { FailureStatements } from "./failure-statements.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

export type TransitionCommit =
  | { readonly committed: true }
  | { readonly committed: false; readonly stored: StoredCircuit };

export interface CircuitStatements {
  commitTransition(snapshot: CircuitSnapshot, transition: CircuitTransition, now: number): TransitionCommit;
  refreshCircuits(snapshots: readonly CircuitSnapshot[], at: number): void;
  holdCircuit(circuitName: string, hold: CircuitHold | undefined, at: number): void;
}

export function createCircuitStatements(db: Db, failures: FailureStatements): CircuitStatements {
  const find = db
    .select()
    .from(circuitBreakerStates)
    .where(eq(circuitBreakerStates.circuitName, sql.placeholder("circuitName")))
    .prepare();
  const put = prepareInsert(db, circuitBreakerStates, {
    target: [circuitBreakerStates.circuitName],
    set: [
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
    ],
  });
  const findTransition = db
    .select()
    .from(circuitTransitions)
    .where(
      and(
        eq(circuitTransitions.circuitName, sql.placeholder("circuitName")),
        eq(circuitTransitions.version, sql.placeholder("version")),
      ),
    )
    .prepare();
  const putTransition = prepareInsert(db, circuitTransitions, {
    target: [circuitTransitions.circuitName, circuitTransitions.version],
    set: ["from", "to", "reason", "at", "instance", "failureEventId"],
  });

  const get = (circuitName: string): StoredCircuit | undefined => {
    const row = find.get({ circuitName });
    return row && storedCircuitOf(row);
  };

  return {
    commitTransition(snapshot, transition, now) {
      const { circuitName, version, failureEventId } = transition;
      const stored = get(circuitName);
      if (stored && stored.version !== version - 1) {
        const already = findTransition.get({ circuitName, version });
        if (already && isSameTransition(transitionOf(already), transition)) return { committed: true };
        return { committed: false, stored };
      }
      put(circuitRowOf(transitioned(stored, snapshot, transition.at), now));
      putTransition({
        id: undefined,
        ...transition,
        failureEventId: failureEventId && (failures.storedIdOf(failureEventId) ?? failureEventId),
      });
      return { committed: true };
    },

    refreshCircuits(snapshots, at) {
      for (const snapshot of snapshots) {
        const stored = get(snapshot.name);
        put(circuitRowOf(stored ? refreshed(stored, snapshot, at) : unseen(snapshot, at), at));
      }
    },

    holdCircuit(circuitName, hold, at) {
      const stored = get(circuitName);
      if (!stored && hold === undefined) return;
      put(circuitRowOf({ ...(stored ?? heldAlone(circuitName, at)), held: hold, updatedAt: at }, at));
    },
  };
}
