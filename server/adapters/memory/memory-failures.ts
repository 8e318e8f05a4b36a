/** Failure events in a map: repeats of one that is open are counted in its row. */
import type { FailureEvent } from "../../../shared/failure.js";
import type { Clock } from "../../ports/clock.js";
import type { FailureStore } from "../../ports/store.js";
import { foldSighting, newFailureEvent } from "../folding.js";
import type { MemoryIncidents } from "./memory-incidents.js";
import { createMemoryReceipts } from "./memory-receipts.js";
import { isWithin, type Kept, newestFirst, oldest, prune, type Slice } from "./memory-rows.js";

export interface MemoryFailuresDeps {
  readonly clock: Clock;
  readonly nextId: () => number;
  readonly incidents: Pick<MemoryIncidents, "storyOf" | "closeOver">;
  /** An event became part of another one's row. */
  readonly onFolded: (eventId: string, storedId: string) => void;
  /** There was no room for an event any more. */
  readonly onForgotten: (eventId: string) => void;
  /** Whether something was done about an event. */
  readonly hasActions: (eventId: string) => boolean;
}

export interface MemoryFailures {
  readonly store: FailureStore;
  /** The event of an id, or that into which it was folded. */
  find(eventId: string): FailureEvent | undefined;
  all(): readonly FailureEvent[];
  prune(slice: Slice): number;
}

export function createMemoryFailures(deps: MemoryFailuresDeps, capacity: number): MemoryFailures {
  const { clock, nextId, incidents, onFolded, onForgotten, hasActions } = deps;
  const failures = new Map<string, Kept<FailureEvent>>();
  const openByFingerprint = new Map<string, string>();
  const receipts = createMemoryReceipts({ clock });

  const find = (eventId: string) => (failures.get(eventId) ?? failures.get(receipts.get(eventId)?.storedId ?? ""))?.row;
  const all = () => [...failures.values()].map(({ row }) => row);

  const isOpenOne = ({ eventId, fingerprint }: FailureEvent) => openByFingerprint.get(fingerprint) === eventId;
  const put = (id: number, row: FailureEvent) => {
    failures.set(row.eventId, { id, row });
    if (!row.resolved) openByFingerprint.set(row.fingerprint, row.eventId);
    else if (isOpenOne(row)) openByFingerprint.delete(row.fingerprint);
  };
  const resolve = ({ id, row }: Kept<FailureEvent>, resolvedAt: number) =>
    put(id, { ...row, resolved: true, resolvedAt });

  const closeIncidents = (resolvedAt: number) => {
    const unresolved = all().flatMap((row) => (row.resolved ? [] : (row.incidentId ?? [])));
    incidents.closeOver(new Set(unresolved), resolvedAt);
  };

  const forgetOldest = () => {
    for (const eventId of oldest(failures, capacity)) {
      const forgotten = failures.get(eventId)?.row;
      failures.delete(eventId);
      if (forgotten && isOpenOne(forgotten)) openByFingerprint.delete(forgotten.fingerprint);
      onForgotten(eventId);
    }
  };

  return {
    find,
    all,
    store: {
      async recordFailures(sightings) {
        const now = clock.now();
        const storedIds = new Map<string, string>();
        for (const sighting of sightings) {
          const { eventId } = sighting.failure;
          const { occurrences } = sighting;
          const receipt = receipts.get(eventId);
          const known =
            receipt?.storedId ?? (failures.has(eventId) ? eventId : openByFingerprint.get(sighting.fingerprint));
          const storedId = known ?? eventId;
          const stored = failures.get(storedId);
          if (known === undefined) {
            put(nextId(), newFailureEvent(sighting, incidents.storyOf(sighting, now)));
          } else if (stored && (receipt || storedId !== eventId)) {
            const added = receipts.uncounted(eventId, occurrences);
            if (added > 0) {
              put(stored.id, foldSighting(stored.row, sighting, added));
              // What was seen before it was resolved belongs to a story that is over, and opens none.
              if (!stored.row.resolved) incidents.storyOf(sighting, now);
            }
          }
          if (storedId !== eventId && !receipt) onFolded(eventId, storedId);
          receipts.put(eventId, { storedId, occurrences });
          storedIds.set(eventId, storedId);
        }
        receipts.prune();
        forgetOldest();
        return storedIds;
      },
      async listFailures(query) {
        return newestFirst(
          failures.values(),
          query,
          (row) => row.timestamp,
          (row) =>
            (query.failureCategory === undefined || row.failureCategory === query.failureCategory) &&
            (query.failureType === undefined || row.failureType === query.failureType) &&
            (query.severity === undefined || row.severity === query.severity) &&
            (query.affectedService === undefined || row.affectedService === query.affectedService) &&
            (query.detectionMethod === undefined || row.detectionMethod === query.detectionMethod) &&
            (query.resolved === undefined || row.resolved === query.resolved) &&
            (query.incidentId === undefined || row.incidentId === query.incidentId) &&
            isWithin(row.timestamp, query.from, query.to),
        );
      },
      async getFailure(eventId) {
        return find(eventId);
      },
      async resolveFailure(eventId, resolvedAt) {
        const found = failures.get(eventId);
        if (!found || found.row.resolved) return false;
        resolve(found, resolvedAt);
        closeIncidents(resolvedAt);
        return true;
      },
      async resolveQuietFailures(quietSince, resolvedAt) {
        const quiet = [...failures.values()].filter(({ row }) => !row.resolved && row.lastSeenAt < quietSince);
        for (const failure of quiet) resolve(failure, resolvedAt);
        closeIncidents(resolvedAt);
        return quiet.length;
      },
    },
    prune({ before, limit }) {
      const isOld = ({ row }: Kept<FailureEvent>) =>
        row.resolved && row.timestamp < before && row.lastSeenAt < before && !hasActions(row.eventId);
      return prune(failures, limit, isOld);
    },
  };
}
