/** Incidents: each with its whole story on one timeline, and how well recoveries went. */
import { TRPCError } from "@trpc/server";
import { z } from "zod";
import { INCIDENT_STATUSES, type Incident, recoveryFigures } from "../../shared/incident.js";
import { DAY_MS } from "../../shared/units.js";
import type { AlertStore } from "../ports/alert-store.js";
import type { Clock } from "../ports/clock.js";
import type { CircuitStore, FailureStore, IncidentStore, Page, RecoveryStore } from "../ports/store.js";
import { page, serviceName, timeRange } from "./inputs.js";
import { type createProcedures, router } from "./procedures.js";

export interface IncidentsDeps {
  readonly clock: Clock;
  readonly store: IncidentStore & FailureStore & RecoveryStore & CircuitStore & AlertStore;
}

/** Rows of each kind in one story; of those that there are more of, the newest. */
const MOST_TOLD = 200;

/** Rows of each kind that figures are computed from. */
const MOST_COUNTED = 10_000;

const WEEK_MS = 7 * DAY_MS;

export function createIncidentsRouter({ read }: ReturnType<typeof createProcedures>, { clock, store }: IncidentsDeps) {
  /** Failures, what was done about them, what the service's circuit did meanwhile, and who was told, each oldest first. */
  const storyOf = async (incident: Incident) => {
    const { incidentId, affectedService, startedAt, resolvedAt } = incident;
    const until = (resolvedAt ?? clock.now()) + 1;
    const failures = (await store.listFailures({ incidentId, limit: MOST_TOLD })).items.toReversed();
    const actions = await Promise.all(
      failures.map(({ eventId }) => store.listRecoveries({ failureEventId: eventId, limit: MOST_TOLD })),
    );
    const transitions = await store.listTransitions({
      circuitName: affectedService,
      from: startedAt,
      until,
      limit: MOST_TOLD,
    });
    const alerts = await store.listAlerts({ incidentId, limit: MOST_TOLD });
    return {
      incident,
      failures,
      recoveryActions: actions.flatMap(({ items }) => items).toSorted((a, b) => a.timestamp - b.timestamp),
      transitions: transitions.items.toReversed(),
      alerts: alerts.items.toReversed(),
    };
  };

  return router({
    /** Newest first. */
    list: read
      .input(
        z
          .object({ status: z.enum(INCIDENT_STATUSES), affectedService: serviceName })
          .partial()
          .extend({ ...timeRange.shape, ...page.shape })
          .strict()
          .prefault({}),
      )
      .query(({ input }) => store.listIncidents(input)),

    get: read.input(z.object({ incidentId: z.string().min(1).max(200) }).strict()).query(async ({ input }) => {
      const incident = await store.getIncident(input.incidentId);
      if (incident === undefined) {
        throw new TRPCError({ code: "NOT_FOUND", message: `there is no incident ${JSON.stringify(input.incidentId)}` });
      }
      return storyOf(incident);
    }),

    /**
     * Mean times to detect and to recover, and how many rescues and repairs succeeded, of a week by default. `complete` is
     * false when there were more rows than are counted.
     */
    figures: read.input(timeRange.strict().prefault({})).query(async ({ input }) => {
      const to = input.to ?? clock.now();
      const from = input.from ?? to - WEEK_MS;
      const incidents = await everyPage((cursor) => store.listIncidents({ from, to, cursor, limit: MOST_TOLD }));
      const actions = await everyPage((cursor) => store.listRecoveries({ from, to, cursor, limit: MOST_TOLD }));
      return {
        from,
        to,
        ...recoveryFigures(incidents.items, actions.items),
        complete: incidents.complete && actions.complete,
      };
    }),
  });
}

async function everyPage<T>(
  pageAt: (cursor: string | undefined) => Promise<Page<T>>,
): Promise<{ readonly items: readonly T[]; readonly complete: boolean }> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const { items: more, nextCursor } = await pageAt(cursor);
    items.push(...more);
    cursor = nextCursor;
  } while (cursor !== undefined && items.length < MOST_COUNTED);
  return { items, complete: cursor === undefined };
}
