/** Writes circuits by compare-and-set, their transitions, and what instances think of them, in whatever transaction is open. */
import { and, count, eq, gt, inArray, lte, sql } from "drizzle-orm";
import { circuitBreakerStates, circuitOpinions, circuitTransitions } from "../../../drizzle/self-healing-schema.js";
import type { CircuitHold, CircuitSnapshot } from "../../../shared/circuit.js";
import type { CircuitStore, OpinionTally, StoredCircuit, TransitionCommit } from "../../ports/store.js";
import { CIRCUIT_FIELDS, circuitRowOf, storedCircuitOf, transitionOf } from "../circuit-columns.js";
import { follows, held, isBarred, leased, refreshed, stepOf, transitioned, unseen } from "../circuit-rows.js";
import { prepareDatabaseClock } from "./database-clock.js";
import type { FailureStatements } from "./failure-statements.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

type Args<Method extends keyof CircuitStore> = Parameters<CircuitStore[Method]>;

export interface CircuitStatements {
  commitTransition(...args: Args<"commitTransition">): TransitionCommit;
  refreshCircuits(snapshots: readonly CircuitSnapshot[], at: number): void;
  holdCircuit(circuitName: string, hold: CircuitHold | undefined, at: number): void;
  releaseExpiredHolds(): number;
  leaseProbes(...args: Args<"leaseProbes">): Awaited<ReturnType<CircuitStore["leaseProbes"]>>;
  recordOpinions(...args: Args<"recordOpinions">): readonly OpinionTally[];
}

export function createCircuitStatements(db: Db, failures: FailureStatements): CircuitStatements {
  const databaseNow = prepareDatabaseClock(db);
  const find = db
    .select()
    .from(circuitBreakerStates)
    .where(eq(circuitBreakerStates.circuitName, sql.placeholder("circuitName")))
    .prepare();
  const insert = prepareInsert(db, circuitBreakerStates, {
    target: [circuitBreakerStates.circuitName],
    set: CIRCUIT_FIELDS,
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
  const putOpinion = prepareInsert(db, circuitOpinions, {
    target: [circuitOpinions.circuitName, circuitOpinions.instance],
    set: ["failing", "until"],
  });
  const forgetOpinions = db
    .delete(circuitOpinions)
    .where(lte(circuitOpinions.until, sql.placeholder("now")))
    .prepare();

  const releaseHolds = db
    .update(circuitBreakerStates)
    .set({ heldState: null, heldBy: null, heldReason: null, heldUntil: null })
    .where(lte(circuitBreakerStates.heldUntil, sql.placeholder("now")))
    .prepare();

  const get = (circuitName: string, now: number): StoredCircuit | undefined => {
    const row = find.get({ circuitName });
    return row && storedCircuitOf(row, now);
  };
  const put = (circuit: StoredCircuit) => insert(circuitRowOf(circuit, circuit.readAt));

  return {
    commitTransition(snapshot, transition, { earlier = [], at = transition.at } = {}) {
      const { circuitName } = transition;
      const now = databaseNow();
      const stored = get(circuitName, now);
      const step = stepOf([...earlier, transition], stored);
      const already = step.told && findTransition.get({ circuitName, version: step.told.version });
      if (stored && !follows(step, stored, already && transitionOf(already))) return { committed: false, stored };
      if (step.untold.length === 0) return { committed: true };
      if (stored && isBarred(stored, transition, now)) return { committed: false, stored };
      put(transitioned(stored, snapshot, transition, { at, now }));
      for (const row of step.untold) {
        const { failureEventId } = row;
        putTransition({
          id: undefined,
          ...row,
          failureEventId: failureEventId && (failures.storedIdOf(failureEventId) ?? failureEventId),
        });
      }
      return { committed: true };
    },

    refreshCircuits(snapshots, at) {
      const now = databaseNow();
      for (const snapshot of snapshots) {
        const stored = get(snapshot.name, now);
        put(stored ? refreshed(stored, snapshot, at) : unseen(snapshot, { at, now }));
      }
    },

    holdCircuit(circuitName, hold, at) {
      const now = databaseNow();
      const stored = get(circuitName, now);
      if (stored || hold !== undefined) put(held(circuitName, stored, hold, { at, now }));
    },

    releaseExpiredHolds: () => releaseHolds.run({ now: databaseNow() }).changes,

    leaseProbes(lease) {
      const now = databaseNow();
      const stored = get(lease.circuitName, now);
      const result = leased(stored, lease, now);
      if (result === undefined) return { leased: false, stored };
      put(result);
      return { leased: true };
    },

    recordOpinions({ instance, opinions, keepMs }) {
      const now = databaseNow();
      forgetOpinions.run({ now });
      for (const opinion of opinions) putOpinion({ ...opinion, instance, until: now + keepMs });
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
        .groupBy(circuitOpinions.circuitName)
        .all();
    },
  };
}
