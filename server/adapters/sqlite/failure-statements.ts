/** Writes failure events and folds their repeats, in whatever transaction is open. */
import { and, eq, lt, sql } from "drizzle-orm";
import { circuitTransitions, failureEvents } from "../../../drizzle/self-healing-schema.js";
import { ParamedicError } from "../../../shared/errors.js";
import type { FailureSighting } from "../../ports/store.js";
import { failureRowOf } from "../failure-rows.js";
import { foldSighting, newFailureEvent } from "../folding.js";
import { createIncidentStatements } from "./incident-statements.js";
import { prepareInsert } from "./prepared-row.js";
import { createReceiptStatements } from "./receipt-statements.js";
import type { Db } from "./sqlite-connection.js";

export interface FailureStatements {
  recordFailures(sightings: readonly FailureSighting[], now: number): ReadonlyMap<string, string>;
  resolveFailure(eventId: string, resolvedAt: number): boolean;
  resolveQuietFailures(quietSince: number, resolvedAt: number): number;
  /** The stored event that an id means: its own, or the one that this sighting was folded into. */
  storedIdOf(eventId: string): string | undefined;
  /** @throws ParamedicError STORE_REQUEST_INVALID when the event is not stored */
  mustStoredIdOf(eventId: string): string;
}

export function createFailureStatements(db: Db): FailureStatements {
  const receipts = createReceiptStatements(db, "failure");
  const incidents = createIncidentStatements(db);
  const insertEvent = prepareInsert(db, failureEvents);

  const folded = {
    occurrences: failureEvents.occurrences,
    lastSeenAt: failureEvents.lastSeenAt,
    severity: failureEvents.severity,
    resolved: failureEvents.resolved,
  };
  const findEvent = db
    .select(folded)
    .from(failureEvents)
    .where(eq(failureEvents.eventId, sql.placeholder("eventId")))
    .prepare();
  const findOpen = db
    .select({ eventId: failureEvents.eventId })
    .from(failureEvents)
    .where(and(eq(failureEvents.fingerprint, sql.placeholder("fingerprint")), sql`resolved = 0`))
    .prepare();
  const updateFolded = db
    .update(failureEvents)
    .set({
      occurrences: sql`${sql.placeholder("occurrences")}`,
      lastSeenAt: sql`${sql.placeholder("lastSeenAt")}`,
      severity: sql`${sql.placeholder("severity")}`,
    })
    .where(eq(failureEvents.eventId, sql.placeholder("eventId")))
    .prepare();
  const moveTransitions = db
    .update(circuitTransitions)
    .set({ failureEventId: sql`${sql.placeholder("storedId")}` })
    .where(eq(circuitTransitions.failureEventId, sql.placeholder("eventId")))
    .prepare();
  const resolve = db
    .update(failureEvents)
    .set({ resolved: true, resolvedAt: sql`${sql.placeholder("resolvedAt")}` })
    .where(and(eq(failureEvents.eventId, sql.placeholder("eventId")), sql`resolved = 0`))
    .prepare();
  const resolveQuiet = db
    .update(failureEvents)
    .set({ resolved: true, resolvedAt: sql`${sql.placeholder("resolvedAt")}` })
    .where(and(sql`resolved = 0`, lt(failureEvents.lastSeenAt, sql.placeholder("quietSince"))))
    .prepare();

  const record = (sighting: FailureSighting, now: number): string => {
    const { eventId } = sighting.failure;
    const receipt = receipts.find(eventId);
    if (!receipt && findEvent.get({ eventId })) return eventId;
    const storedId = receipt?.storedId ?? findOpen.get({ fingerprint: sighting.fingerprint })?.eventId;
    if (storedId === undefined) {
      insertEvent(failureRowOf(newFailureEvent(sighting, incidents.storyOf(sighting, now)), now));
    } else {
      const event = findEvent.get({ eventId: storedId });
      const added = sighting.occurrences - (receipt?.counted ?? 0);
      if (event && added > 0) {
        const { occurrences, lastSeenAt, severity } = foldSighting(event, sighting, added);
        updateFolded.run({ eventId: storedId, occurrences, lastSeenAt, severity });
        // What was seen before it was resolved belongs to a story that is over, and opens none.
        if (!event.resolved) incidents.storyOf(sighting, now);
      }
      if (storedId !== eventId && !receipt) moveTransitions.run({ eventId, storedId });
    }
    const counted = Math.max(sighting.occurrences, receipt?.counted ?? 0);
    receipts.put(eventId, { storedId: storedId ?? eventId, counted }, now);
    return storedId ?? eventId;
  };

  const storedIdOf = (eventId: string): string | undefined => {
    if (findEvent.get({ eventId })) return eventId;
    const storedId = receipts.find(eventId)?.storedId;
    return storedId !== undefined && findEvent.get({ eventId: storedId }) ? storedId : undefined;
  };

  return {
    recordFailures(sightings, now) {
      const storedIds = new Map(sightings.map((sighting) => [sighting.failure.eventId, record(sighting, now)]));
      receipts.prune(now);
      return storedIds;
    },
    resolveFailure(eventId, resolvedAt) {
      const { changes } = resolve.run({ eventId, resolvedAt });
      incidents.closeOver(resolvedAt);
      return changes > 0;
    },
    resolveQuietFailures(quietSince, resolvedAt) {
      const { changes } = resolveQuiet.run({ quietSince, resolvedAt });
      incidents.closeOver(resolvedAt);
      return changes;
    },
    storedIdOf,
    mustStoredIdOf(eventId) {
      const storedId = storedIdOf(eventId);
      if (storedId !== undefined) return storedId;
      throw new ParamedicError(
        "STORE_REQUEST_INVALID",
        `the failure event ${eventId} is not stored: record the failure before its recovery actions`,
      );
    },
  };
}
