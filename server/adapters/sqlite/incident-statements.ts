/** Opens and closes incidents with their failures, in whatever transaction is open. */
import { and, desc, eq, isNull, ne, notExists, sql } from "drizzle-orm";
import { circuitBreakerStates, failureEvents, incidents } from "../../../drizzle/self-healing-schema.js";
import { type Incident, incidentOf, opensIncident } from "../../../shared/incident.js";
import type { FailureSighting, IncidentQuery, Page } from "../../ports/store.js";
import { foldIntoIncident } from "../folding.js";
import { incidentOfRow, incidentRowOf } from "../incident-rows.js";
import { incidentFilters } from "../list-filters.js";
import { closeOperatorAlerts } from "./alert-statements.js";
import { readPage } from "./page-conditions.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

export interface IncidentStatements {
  /** The open incident of its service, which it opens or moves on. */
  storyOf(sighting: FailureSighting, now: number): string | undefined;
  /** Closes those of which no failure is open any more and whose circuit, if there is one, is closed. */
  closeOver(resolvedAt: number): void;
}

export function createIncidentStatements(db: Db): IncidentStatements {
  const insertIncident = prepareInsert(db, incidents);
  const findOpen = db
    .select()
    .from(incidents)
    .where(and(eq(incidents.affectedService, sql.placeholder("service")), eq(incidents.status, "open")))
    .orderBy(desc(incidents.startedAt))
    .limit(1)
    .prepare();
  const move = db
    .update(incidents)
    .set({ lastSeenAt: sql`${sql.placeholder("lastSeenAt")}`, severity: sql`${sql.placeholder("severity")}` })
    .where(eq(incidents.incidentId, sql.placeholder("incidentId")))
    .prepare();
  const openFailure = db
    .select({ id: failureEvents.id })
    .from(failureEvents)
    .where(and(eq(failureEvents.incidentId, incidents.incidentId), eq(failureEvents.resolved, false)));
  const openCircuit = db
    .select({ id: circuitBreakerStates.id })
    .from(circuitBreakerStates)
    .where(
      and(
        eq(circuitBreakerStates.circuitName, incidents.affectedService),
        ne(circuitBreakerStates.state, "closed"),
        isNull(circuitBreakerStates.heldState),
      ),
    );
  const close = db
    .update(incidents)
    .set({ status: "resolved", resolvedAt: sql`${sql.placeholder("resolvedAt")}` })
    .where(and(eq(incidents.status, "open"), notExists(openFailure), notExists(openCircuit)))
    .prepare();

  return {
    storyOf(sighting, now) {
      const { failure, lastSeenAt } = sighting;
      if (!opensIncident(failure)) return undefined;
      const open = findOpen.get({ service: failure.affectedService });
      if (open) {
        const moved = foldIntoIncident(open, sighting);
        move.run({ incidentId: open.incidentId, lastSeenAt: moved.lastSeenAt, severity: moved.severity });
        return open.incidentId;
      }
      const incident = incidentOf(failure, lastSeenAt, now);
      insertIncident(incidentRowOf(incident));
      return incident.incidentId;
    },
    closeOver(resolvedAt) {
      if (close.run({ resolvedAt }).changes > 0) closeOperatorAlerts(db, resolvedAt);
    },
  };
}

export interface IncidentQueries {
  listIncidents(query: IncidentQuery): Page<Incident>;
  getIncident(incidentId: string): Incident | undefined;
}

export function createIncidentQueries(db: Db): IncidentQueries {
  const find = db
    .select()
    .from(incidents)
    .where(eq(incidents.incidentId, sql.placeholder("incidentId")))
    .prepare();
  return {
    listIncidents: (query) =>
      readPage(
        query,
        { time: incidents.startedAt, id: incidents.id },
        incidentFilters(query, incidents),
        (where, orderBy, limit) =>
          db
            .select()
            .from(incidents)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit)
            .all(),
        ({ startedAt: timestamp, id }) => ({ timestamp, id }),
        incidentOfRow,
      ),
    getIncident(incidentId) {
      const row = find.get({ incidentId });
      return row && incidentOfRow(row);
    },
  };
}
