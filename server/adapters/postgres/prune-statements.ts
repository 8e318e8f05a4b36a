/** Deletes old rows of what happened, oldest first and a bounded number at a time; what is still open stays. */
import {
  and,
  asc,
  eq,
  exists,
  gt,
  inArray,
  isNull,
  lt,
  ne,
  notExists,
  notInArray,
  or,
  type SQL,
  sql,
} from "drizzle-orm";
import { type AnyPgColumn, alias, type PgTable } from "drizzle-orm/pg-core";
import {
  alerts,
  circuitBreakerStates,
  circuitTransitions,
  deadBatches,
  failureEvents,
  incidents,
  lastGoodValues,
  leases,
  maintenanceWindows,
  operatorAudit,
  recoveryActions,
  sessions,
  settingsHistory,
  tasks,
} from "../../../drizzle/postgres/self-healing-schema.js";
import { OPEN_ACTIONS } from "../../../shared/repair-lease.js";
import type { CompactionStore, PrunableKind } from "../../ports/store.js";
import { checkSlice } from "../rollup-slices.js";
import { pruneBoots, pruneGaps } from "./ledger-statements.js";
import type { Db } from "./postgres-connection.js";
import type { Lane } from "./write-transactions.js";

type Slice = Parameters<CompactionStore["pruneRecords"]>[0];

/** Where the rows of a kind are written, and so deleted. */
export const LANE_OF_KIND: Readonly<Record<PrunableKind, Lane>> = {
  dead_batches: "rollups",
  recovery_actions: "story",
  failure_events: "story",
  circuit_transitions: "story",
  circuits: "story",
  tasks: "audit",
  settings_history: "audit",
  operator_audit: "audit",
  last_good_values: "audit",
  sessions: "audit",
  leases: "audit",
  gaps: "rollups",
  boots: "rollups",
  incidents: "story",
  alerts: "story",
  maintenance_windows: "audit",
};

export async function pruneRecords(db: Db, slice: Slice): Promise<number> {
  const { kind, before } = checkSlice(slice);
  const oldest = async (table: PgTable, id: AnyPgColumn, at: AnyPgColumn, isOver?: SQL): Promise<number> => {
    const ids = db
      .select({ id })
      .from(table)
      .where(and(lt(at, before), isOver))
      .orderBy(asc(at))
      .limit(slice.limit);
    return (await db.delete(table).where(inArray(id, ids))).rowCount ?? 0;
  };
  switch (kind) {
    case "incidents": {
      const failures = db
        .select({ id: failureEvents.id })
        .from(failureEvents)
        .where(eq(failureEvents.incidentId, incidents.incidentId));
      const isOver = and(eq(incidents.status, "resolved"), lt(incidents.lastSeenAt, before), notExists(failures));
      return oldest(incidents, incidents.id, incidents.startedAt, isOver);
    }
    case "dead_batches":
      return oldest(deadBatches, deadBatches.id, deadBatches.at);
    case "recovery_actions": {
      const resolvedEvent = db
        .select({ eventId: failureEvents.eventId })
        .from(failureEvents)
        .where(and(eq(failureEvents.eventId, recoveryActions.failureEventId), eq(failureEvents.resolved, true)));
      const isOver = and(
        lt(recoveryActions.lastAt, before),
        notInArray(recoveryActions.status, [...OPEN_ACTIONS]),
        exists(resolvedEvent),
      );
      return oldest(recoveryActions, recoveryActions.id, recoveryActions.timestamp, isOver);
    }
    case "failure_events": {
      const actionsOfEvent = db
        .select({ id: recoveryActions.id })
        .from(recoveryActions)
        .where(eq(recoveryActions.failureEventId, failureEvents.eventId));
      const isOver = and(
        eq(failureEvents.resolved, true),
        lt(failureEvents.lastSeenAt, before),
        notExists(actionsOfEvent),
      );
      return oldest(failureEvents, failureEvents.id, failureEvents.timestamp, isOver);
    }
    case "circuit_transitions": {
      const presentState = db
        .select({ id: circuitBreakerStates.id })
        .from(circuitBreakerStates)
        .where(
          and(
            eq(circuitBreakerStates.circuitName, circuitTransitions.circuitName),
            eq(circuitBreakerStates.version, circuitTransitions.version),
          ),
        );
      return oldest(circuitTransitions, circuitTransitions.id, circuitTransitions.at, notExists(presentState));
    }
    case "circuits":
      return pruneCircuits(db, slice);
    case "tasks":
      return oldest(tasks, tasks.id, tasks.startedAt, and(ne(tasks.status, "running"), lt(tasks.endedAt, before)));
    case "settings_history": {
      const later = alias(settingsHistory, "later");
      const laterChange = db
        .select({ id: later.id })
        .from(later)
        .where(and(eq(later.name, settingsHistory.name), gt(later.version, settingsHistory.version)));
      return oldest(settingsHistory, settingsHistory.id, settingsHistory.changedAt, exists(laterChange));
    }
    case "operator_audit":
      return oldest(operatorAudit, operatorAudit.id, operatorAudit.at);
    case "last_good_values": {
      const { operation, key, expiresAt } = lastGoodValues;
      const expired = db
        .select({ operation, key })
        .from(lastGoodValues)
        .where(lt(expiresAt, before))
        .orderBy(asc(expiresAt))
        .limit(slice.limit);
      return (await db.delete(lastGoodValues).where(sql`(${operation}, ${key}) in ${expired}`)).rowCount ?? 0;
    }
    case "alerts":
      return oldest(alerts, alerts.id, alerts.startedAt, lt(alerts.resolvedAt, before));
    case "maintenance_windows":
      return oldest(maintenanceWindows, maintenanceWindows.id, maintenanceWindows.endsAt);
    case "sessions":
      return oldest(sessions, sessions.id, sessions.expiresAt);
    case "leases":
      return oldest(leases, leases.name, leases.leaseUntil);
    case "gaps":
      return pruneGaps(db, slice);
    case "boots":
      return pruneBoots(db, slice);
  }
}

/** Locked, so that nobody refreshes one of them before its last transition and it are gone. */
async function pruneCircuits(db: Db, { before, limit }: Slice): Promise<number> {
  const otherTransition = db
    .select({ id: circuitTransitions.id })
    .from(circuitTransitions)
    .where(
      and(
        eq(circuitTransitions.circuitName, circuitBreakerStates.circuitName),
        ne(circuitTransitions.version, circuitBreakerStates.version),
      ),
    );
  const rows = await db
    .select({ name: circuitBreakerStates.circuitName })
    .from(circuitBreakerStates)
    .where(
      and(
        lt(circuitBreakerStates.updatedAt, before),
        eq(circuitBreakerStates.state, "closed"),
        or(isNull(circuitBreakerStates.heldState), lt(circuitBreakerStates.heldUntil, before)),
        notExists(otherTransition),
      ),
    )
    .orderBy(asc(circuitBreakerStates.updatedAt), asc(circuitBreakerStates.circuitName))
    .limit(limit)
    .for("update");
  if (rows.length === 0) return 0;
  const names = rows.map(({ name }) => name);
  await db.delete(circuitTransitions).where(inArray(circuitTransitions.circuitName, names));
  return (await db.delete(circuitBreakerStates).where(inArray(circuitBreakerStates.circuitName, names))).rowCount ?? 0;
}
