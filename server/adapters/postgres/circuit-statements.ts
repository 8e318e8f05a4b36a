/** Writes circuits by compare-and-set, and their transitions, in the transaction of `db`. */
import { and, eq, getTableColumns, sql } from "drizzle-orm";
import { circuitBreakerStates, circuitTransitions } from "../../../drizzle/postgres/self-healing-schema.js";
import type { CircuitHold, CircuitSnapshot, CircuitTransition } from "../../../shared/circuit.js";
import type { StoredCircuit } from "../../ports/store.js";
import { circuitRowOf, storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { heldAlone, isSameTransition, refreshed, transitioned, unseen } from "../circuit-rows.js";
import { storedIdOf } from "./failure-statements.js";
import type { Db } from "./postgres-connection.js";

export type TransitionCommit =
  | { readonly committed: true }
  | { readonly committed: false; readonly stored: StoredCircuit };

export async function commitTransition(
  db: Db,
  snapshot: CircuitSnapshot,
  transition: CircuitTransition,
  now: number,
): Promise<TransitionCommit> {
  const { circuitName, version, failureEventId } = transition;
  const stored = await find(db, circuitName);
  if (stored && stored.version !== version - 1) {
    const [already] = await db
      .select()
      .from(circuitTransitions)
      .where(and(eq(circuitTransitions.circuitName, circuitName), eq(circuitTransitions.version, version)));
    if (already && isSameTransition(transitionOf(already), transition)) return { committed: true };
    return { committed: false, stored };
  }
  await put(db, transitioned(stored, snapshot, transition.at), now);
  const { from, to, reason, at, instance } = transition;
  const told = {
    from,
    to,
    reason,
    at,
    instance,
    failureEventId: failureEventId === undefined ? null : ((await storedIdOf(db, failureEventId)) ?? failureEventId),
  };
  await db
    .insert(circuitTransitions)
    .values({ circuitName, version, ...told })
    .onConflictDoUpdate({ target: [circuitTransitions.circuitName, circuitTransitions.version], set: told });
  return { committed: true };
}

export async function refreshCircuits(db: Db, snapshots: readonly CircuitSnapshot[], at: number): Promise<void> {
  for (const snapshot of snapshots) {
    const stored = await find(db, snapshot.name);
    await put(db, stored ? refreshed(stored, snapshot, at) : unseen(snapshot, at), at);
  }
}

export async function holdCircuit(
  db: Db,
  circuitName: string,
  hold: CircuitHold | undefined,
  at: number,
): Promise<void> {
  const stored = await find(db, circuitName);
  if (!stored && hold === undefined) return;
  await put(db, { ...(stored ?? heldAlone(circuitName, at)), held: hold, updatedAt: at }, at);
}

async function find(db: Db, circuitName: string): Promise<StoredCircuit | undefined> {
  const [row] = await db.select().from(circuitBreakerStates).where(eq(circuitBreakerStates.circuitName, circuitName));
  return row && storedCircuitOf(row);
}

/** When a row began and who probes stays as it is stored. */
const WRITTEN_ANEW = [
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
] as const;

async function put(db: Db, circuit: StoredCircuit, now: number): Promise<void> {
  const columns = getTableColumns(circuitBreakerStates);
  await db
    .insert(circuitBreakerStates)
    .values(circuitRowOf(circuit, now))
    .onConflictDoUpdate({
      target: circuitBreakerStates.circuitName,
      set: Object.fromEntries(
        WRITTEN_ANEW.map((field) => [field, sql`excluded.${sql.identifier(columns[field].name)}`]),
      ),
    });
}
