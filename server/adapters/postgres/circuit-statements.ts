/** Writes circuits by compare-and-set, their transitions, and what instances think of them, in the transaction of `db`. */
import { and, count, eq, getTableColumns, gt, inArray, lte, sql } from "drizzle-orm";
import {
  circuitBreakerStates,
  circuitOpinions,
  circuitTransitions,
} from "../../../drizzle/postgres/self-healing-schema.js";
import type { CircuitHold, CircuitSnapshot, CircuitTransition } from "../../../shared/circuit.js";
import type { CircuitStore, OpinionTally, StoredCircuit, TransitionCommit } from "../../ports/store.js";
import { CIRCUIT_FIELDS, circuitRowOf, storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { follows, held, isBarred, leased, refreshed, stepOf, transitioned, unseen } from "../circuit-rows.js";
import { databaseNow } from "./database-clock.js";
import { storedIdOf } from "./failure-statements.js";
import type { Db } from "./postgres-connection.js";

type Args<Method extends keyof CircuitStore> = Parameters<CircuitStore[Method]>;

export async function commitTransition(
  db: Db,
  ...[snapshot, transition, { earlier = [], at = transition.at } = {}]: Args<"commitTransition">
): Promise<TransitionCommit> {
  const now = await databaseNow(db);
  const stored = await find(db, transition.circuitName, now);
  const step = stepOf([...earlier, transition], stored);
  const already = step.told && (await findTransition(db, step.told));
  if (stored && !follows(step, stored, already)) return { committed: false, stored };
  if (step.untold.length === 0) return { committed: true };
  if (stored && isBarred(stored, transition, now)) return { committed: false, stored };
  await put(db, [transitioned(stored, snapshot, transition, { at, now })]);
  for (const row of step.untold) await putTransition(db, row);
  return { committed: true };
}

async function findTransition(
  db: Db,
  { circuitName, version }: CircuitTransition,
): Promise<CircuitTransition | undefined> {
  const [row] = await db
    .select()
    .from(circuitTransitions)
    .where(and(eq(circuitTransitions.circuitName, circuitName), eq(circuitTransitions.version, version)));
  return row && transitionOf(row);
}

async function putTransition(db: Db, { circuitName, version, failureEventId, ...row }: CircuitTransition) {
  const told = {
    ...row,
    failureEventId: failureEventId === undefined ? null : ((await storedIdOf(db, failureEventId)) ?? failureEventId),
  };
  await db
    .insert(circuitTransitions)
    .values({ circuitName, version, ...told })
    .onConflictDoUpdate({ target: [circuitTransitions.circuitName, circuitTransitions.version], set: told });
}

/** All rows at once: a round trip for each would take longer than the flush that brings them. */
export async function refreshCircuits(db: Db, snapshots: readonly CircuitSnapshot[], at: number): Promise<void> {
  const now = await databaseNow(db);
  const byName = new Map(snapshots.map((snapshot) => [snapshot.name, snapshot]));
  const rows = await db
    .select()
    .from(circuitBreakerStates)
    .where(inArray(circuitBreakerStates.circuitName, [...byName.keys()]));
  const known = new Map(rows.map((row) => [row.circuitName, storedCircuitOf(row, now)]));
  await put(
    db,
    [...byName.values()].map((snapshot) => {
      const stored = known.get(snapshot.name);
      return stored ? refreshed(stored, snapshot, at) : unseen(snapshot, { at, now });
    }),
  );
}

export async function holdCircuit(
  db: Db,
  circuitName: string,
  hold: CircuitHold | undefined,
  at: number,
): Promise<void> {
  const now = await databaseNow(db);
  const stored = await find(db, circuitName, now);
  if (stored || hold !== undefined) await put(db, [held(circuitName, stored, hold, { at, now })]);
}

export async function leaseProbes(
  db: Db,
  ...[lease]: Args<"leaseProbes">
): Promise<Awaited<ReturnType<CircuitStore["leaseProbes"]>>> {
  const now = await databaseNow(db);
  const stored = await find(db, lease.circuitName, now);
  const result = leased(stored, lease, now);
  if (result === undefined) return { leased: false, stored };
  await put(db, [result]);
  return { leased: true };
}

export async function releaseExpiredHolds(db: Db): Promise<number> {
  const released = await db
    .update(circuitBreakerStates)
    .set({ heldState: null, heldBy: null, heldReason: null, heldUntil: null })
    .where(lte(circuitBreakerStates.heldUntil, await databaseNow(db)));
  return released.rowCount ?? 0;
}

export async function recordOpinions(
  db: Db,
  ...[{ instance, opinions, keepMs }]: Args<"recordOpinions">
): Promise<readonly OpinionTally[]> {
  if (opinions.length === 0) return [];
  const now = await databaseNow(db);
  await db.delete(circuitOpinions).where(lte(circuitOpinions.until, now));
  await db
    .insert(circuitOpinions)
    .values(opinions.map((opinion) => ({ ...opinion, instance, until: now + keepMs })))
    .onConflictDoUpdate({
      target: [circuitOpinions.circuitName, circuitOpinions.instance],
      set: { failing: sql`excluded.failing`, until: sql`excluded.until` },
    });
  return db
    .select({
      circuitName: circuitOpinions.circuitName,
      total: count(),
      failing: count(sql`case when ${circuitOpinions.failing} then 1 end`),
    })
    .from(circuitOpinions)
    .where(
      and(
        inArray(
          circuitOpinions.circuitName,
          opinions.map(({ circuitName }) => circuitName),
        ),
        gt(circuitOpinions.until, now),
      ),
    )
    .groupBy(circuitOpinions.circuitName);
}

async function find(db: Db, circuitName: string, now: number): Promise<StoredCircuit | undefined> {
  const [row] = await db.select().from(circuitBreakerStates).where(eq(circuitBreakerStates.circuitName, circuitName));
  return row && storedCircuitOf(row, now);
}

/** PostgreSQL takes 65,535 parameters at most. */
const ROWS_AT_ONCE = 1_000;

async function put(db: Db, circuits: readonly StoredCircuit[]): Promise<void> {
  const columns = getTableColumns(circuitBreakerStates);
  const set = Object.fromEntries(
    CIRCUIT_FIELDS.map((field) => [field, sql`excluded.${sql.identifier(columns[field].name)}`]),
  );
  for (let from = 0; from < circuits.length; from += ROWS_AT_ONCE) {
    const rows = circuits.slice(from, from + ROWS_AT_ONCE).map((circuit) => circuitRowOf(circuit, circuit.readAt));
    await db
      .insert(circuitBreakerStates)
      .values(rows)
      .onConflictDoUpdate({ target: circuitBreakerStates.circuitName, set });
  }
}
