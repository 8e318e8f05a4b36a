/** Deletes old rows of what happened, oldest first and a bounded number at a time; what is still open stays. */
import { and, asc, eq, gt, inArray, isNull, lt, ne, notExists, notInArray, or, type SQL, sql } from "drizzle-orm";
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core";
import { alias } from "drizzle-orm/sqlite-core";
import {
  alerts,
  circuitBreakerStates,
  circuitTransitions,
  deadBatches,
  failureEvents,
  incidents,
  ingestGaps,
  lastGoodValues,
  leases,
  maintenanceWindows,
  operatorAudit,
  recoveryActions,
  sessions,
  settingsHistory,
  tasks,
} from "../../../drizzle/self-healing-schema.js";
import { OPEN_ACTIONS } from "../../../shared/repair-lease.js";
import type { PrunableKind } from "../../ports/store.js";
import { checkSlice } from "../rollup-slices.js";
import type { RollupStatements } from "./rollup-statements.js";
import type { Db } from "./sqlite-connection.js";

export interface PruneStatements {
  pruneRecords(slice: { readonly kind: PrunableKind; readonly before: number; readonly limit: number }): number;
}

export function createPruneStatements(db: Db, { pruneBoots }: Pick<RollupStatements, "pruneBoots">): PruneStatements {
  const before = sql.placeholder("before");
  const oldest = (table: SQLiteTable, id: SQLiteColumn, at: SQLiteColumn, isOver?: SQL) => {
    const ids = db
      .select({ id })
      .from(table)
      .where(and(lt(at, before), isOver))
      .orderBy(asc(at))
      .limit(sql.placeholder("limit"));
    return db.delete(table).where(inArray(id, ids)).prepare();
  };
  /** Of a table without an id of one column. */
  const oldestRows = (table: SQLiteTable, at: SQLiteColumn) =>
    db
      .delete(table)
      .where(
        sql`rowid in (select rowid from ${table} where ${lt(at, before)} order by ${at} limit ${sql.placeholder("limit")})`,
      )
      .prepare();
  const resolvedEvent = db
    .select({ eventId: failureEvents.eventId })
    .from(failureEvents)
    .where(and(eq(failureEvents.eventId, recoveryActions.failureEventId), eq(failureEvents.resolved, true)));
  const actionsOfEvent = db
    .select({ id: recoveryActions.id })
    .from(recoveryActions)
    .where(eq(recoveryActions.failureEventId, failureEvents.eventId));
  const failuresOfIncident = db
    .select({ id: failureEvents.id })
    .from(failureEvents)
    .where(eq(failureEvents.incidentId, incidents.incidentId));
  const presentState = db
    .select({ id: circuitBreakerStates.id })
    .from(circuitBreakerStates)
    .where(
      and(
        eq(circuitBreakerStates.circuitName, circuitTransitions.circuitName),
        eq(circuitBreakerStates.version, circuitTransitions.version),
      ),
    );
  const otherTransition = db
    .select({ id: circuitTransitions.id })
    .from(circuitTransitions)
    .where(
      and(
        eq(circuitTransitions.circuitName, circuitBreakerStates.circuitName),
        ne(circuitTransitions.version, circuitBreakerStates.version),
      ),
    );
  const isLeft = and(
    eq(circuitBreakerStates.state, "closed"),
    or(isNull(circuitBreakerStates.heldState), lt(circuitBreakerStates.heldUntil, before)),
    notExists(otherTransition),
  );
  const namesLeft = db
    .select({ name: circuitBreakerStates.circuitName })
    .from(circuitBreakerStates)
    .where(and(lt(circuitBreakerStates.updatedAt, before), isLeft))
    .orderBy(asc(circuitBreakerStates.updatedAt), asc(circuitBreakerStates.id))
    .limit(sql.placeholder("limit"));
  const lastTransitions = db
    .delete(circuitTransitions)
    .where(inArray(circuitTransitions.circuitName, namesLeft))
    .prepare();
  const circuitsLeft = db
    .delete(circuitBreakerStates)
    .where(inArray(circuitBreakerStates.circuitName, namesLeft))
    .prepare();

  const later = alias(settingsHistory, "later");
  const laterChange = db
    .select({ id: later.id })
    .from(later)
    .where(and(eq(later.name, settingsHistory.name), gt(later.version, settingsHistory.version)));

  const statements = {
    dead_batches: oldest(deadBatches, deadBatches.id, deadBatches.at),
    failure_events: oldest(
      failureEvents,
      failureEvents.id,
      failureEvents.timestamp,
      and(eq(failureEvents.resolved, true), lt(failureEvents.lastSeenAt, before), notExists(actionsOfEvent)),
    ),
    recovery_actions: oldest(
      recoveryActions,
      recoveryActions.id,
      recoveryActions.timestamp,
      and(
        lt(recoveryActions.lastAt, before),
        notInArray(recoveryActions.status, [...OPEN_ACTIONS]),
        sql`exists ${resolvedEvent}`,
      ),
    ),
    circuit_transitions: oldest(
      circuitTransitions,
      circuitTransitions.id,
      circuitTransitions.at,
      notExists(presentState),
    ),
    tasks: oldest(tasks, tasks.id, tasks.startedAt, and(ne(tasks.status, "running"), lt(tasks.endedAt, before))),
    settings_history: oldest(
      settingsHistory,
      settingsHistory.id,
      settingsHistory.changedAt,
      sql`exists ${laterChange}`,
    ),
    operator_audit: oldest(operatorAudit, operatorAudit.id, operatorAudit.at),
    last_good_values: oldestRows(lastGoodValues, lastGoodValues.expiresAt),
    sessions: oldest(sessions, sessions.id, sessions.expiresAt),
    leases: oldestRows(leases, leases.leaseUntil),
    gaps: oldestRows(ingestGaps, ingestGaps.windowEnd),
    incidents: oldest(
      incidents,
      incidents.id,
      incidents.startedAt,
      and(eq(incidents.status, "resolved"), lt(incidents.lastSeenAt, before), notExists(failuresOfIncident)),
    ),
    alerts: oldest(alerts, alerts.id, alerts.startedAt, lt(alerts.resolvedAt, before)),
    maintenance_windows: oldest(maintenanceWindows, maintenanceWindows.id, maintenanceWindows.endsAt),
  } satisfies Record<Exclude<PrunableKind, "boots" | "circuits">, unknown>;

  return {
    pruneRecords(slice) {
      const { kind, before: until, limit } = checkSlice(slice);
      if (kind === "boots") return pruneBoots({ before: until, limit });
      if (kind === "circuits") {
        lastTransitions.run({ before: until, limit });
        return circuitsLeft.run({ before: until, limit }).changes;
      }
      return statements[kind].run({ before: until, limit }).changes;
    },
  };
}
