/** Opens and closes incidents with their failures, in the transaction of `db`. */
import { and, desc, eq, isNull, ne, notExists } from "drizzle-orm";
import { circuitBreakerStates, failureEvents, incidents } from "../../../drizzle/postgres/self-healing-schema.js";
import { type Incident, incidentOf, opensIncident } from "../../../shared/incident.js";
import type { FailureSighting, IncidentQuery, Page } from "../../ports/store.js";
import { foldIntoIncident } from "../folding.js";
import { incidentOfRow, incidentRowOf } from "../incident-rows.js";
import { incidentFilters } from "../list-filters.js";
import { closeOperatorAlerts } from "./alert-statements.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./postgres-connection.js";

/** The open incident of its service, which it opens or moves on. */
export async function storyOf(db: Db, sighting: FailureSighting, now: number): Promise<string | undefined> {
  const { failure, lastSeenAt: seenAt } = sighting;
  if (!opensIncident(failure)) return undefined;
  const [open] = await db
    .select()
    .from(incidents)
    .where(and(eq(incidents.affectedService, failure.affectedService), eq(incidents.status, "open")))
    .orderBy(desc(incidents.startedAt))
    .limit(1);
  if (open) {
    const { lastSeenAt, severity } = foldIntoIncident(open, sighting);
    await db.update(incidents).set({ lastSeenAt, severity }).where(eq(incidents.incidentId, open.incidentId));
    return open.incidentId;
  }
  const incident = incidentOf(failure, seenAt, now);
  await db.insert(incidents).values(incidentRowOf(incident));
  return incident.incidentId;
}

/** Closes those of which no failure is open any more and whose circuit, if there is one, is closed. */
export async function closeOver(db: Db, resolvedAt: number): Promise<void> {
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
  const closed = await db
    .update(incidents)
    .set({ status: "resolved", resolvedAt })
    .where(and(eq(incidents.status, "open"), notExists(openFailure), notExists(openCircuit)))
    .returning({ id: incidents.id });
  if (closed.length > 0) await closeOperatorAlerts(db, resolvedAt);
}

export function createIncidentQueries(db: Db) {
  return {
    listIncidents(query: IncidentQuery): Promise<Page<Incident>> {
      return readPage(
        query,
        { time: incidents.startedAt, id: incidents.id },
        incidentFilters(query, incidents),
        (where, orderBy, limit) =>
          db
            .select()
            .from(incidents)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit),
        ({ startedAt: timestamp, id }) => ({ timestamp, id }),
        incidentOfRow,
      );
    },
    async getIncident(incidentId: string): Promise<Incident | undefined> {
      const [row] = await db.select().from(incidents).where(eq(incidents.incidentId, incidentId));
      return row && incidentOfRow(row);
    },
  };
}
