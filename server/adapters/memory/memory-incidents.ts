/** Incidents in a map: one that is open for each service. */
import { type Incident, incidentOf, opensIncident } from "../../../shared/incident.js";
import type { FailureSighting, IncidentStore } from "../../ports/store.js";
import { foldIntoIncident } from "../folding.js";
import { forgetOldest, isWithin, type Kept, newestFirst, prune, type Slice } from "./memory-rows.js";

export interface MemoryIncidentsDeps {
  readonly nextId: () => number;
  /** Whether the circuit of a service is not closed, and nobody holds it so. */
  readonly isBroken: (service: string) => boolean;
  /** What a human was told of an incident is over. */
  readonly closeAlerts: (incidentId: string, resolvedAt: number) => void;
}

export interface MemoryIncidents {
  readonly store: IncidentStore;
  /** The open incident of a failure's service, which it opens or moves on. */
  storyOf(sighting: FailureSighting, now: number): string | undefined;
  /** Closes each that has no failure left, while its circuit works. @param unresolved incidents that have one */
  closeOver(unresolved: ReadonlySet<string>, resolvedAt: number): void;
  /** @param told incidents that a failure still names */
  prune(slice: Slice, told: ReadonlySet<string | undefined>): number;
}

export function createMemoryIncidents(deps: MemoryIncidentsDeps, capacity: number): MemoryIncidents {
  const { nextId, isBroken, closeAlerts } = deps;
  const incidents = new Map<string, Kept<Incident>>();

  return {
    store: {
      async listIncidents(query) {
        return newestFirst(
          incidents.values(),
          query,
          (row) => row.startedAt,
          (row) =>
            (query.status === undefined || row.status === query.status) &&
            (query.affectedService === undefined || row.affectedService === query.affectedService) &&
            isWithin(row.startedAt, query.from, query.to),
        );
      },
      async getIncident(incidentId) {
        return incidents.get(incidentId)?.row;
      },
    },
    storyOf(sighting, now) {
      const { failure, lastSeenAt } = sighting;
      if (!opensIncident(failure)) return undefined;
      const open = [...incidents.values()].find(
        ({ row }) => row.status === "open" && row.affectedService === failure.affectedService,
      );
      const { id, row } = open ?? { id: nextId(), row: incidentOf(failure, lastSeenAt, now) };
      incidents.set(row.incidentId, { id, row: foldIntoIncident(row, sighting) });
      forgetOldest(incidents, capacity);
      return row.incidentId;
    },
    closeOver(unresolved, resolvedAt) {
      for (const [incidentId, { id, row }] of incidents) {
        if (row.status !== "open" || unresolved.has(incidentId) || isBroken(row.affectedService)) continue;
        incidents.set(incidentId, { id, row: { ...row, status: "resolved", resolvedAt } });
        closeAlerts(incidentId, resolvedAt);
      }
    },
    prune({ before, limit }, told) {
      const isOld = ({ row }: Kept<Incident>) =>
        row.status === "resolved" && row.lastSeenAt < before && !told.has(row.incidentId);
      return prune(incidents, limit, isOld);
    },
  };
}
