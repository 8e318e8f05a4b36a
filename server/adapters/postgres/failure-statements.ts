/** Writes failure events and folds their repeats, in the transaction of `db`. */
import { and, eq, lt } from "drizzle-orm";
import { circuitTransitions, failureEvents } from "../../../drizzle/postgres/self-healing-schema.js";
import { ParamedicError } from "../../../shared/errors.js";
import type { FailureSighting } from "../../ports/store.js";
import { failureRowOf } from "../failure-rows.js";
import { foldSighting, newFailureEvent } from "../folding.js";
import { closeOver, storyOf } from "./incident-statements.js";
import type { Db } from "./postgres-connection.js";
import { findReceipt, pruneReceipts, putReceipt } from "./receipt-statements.js";

export async function recordFailures(
  db: Db,
  sightings: readonly FailureSighting[],
  now: number,
): Promise<ReadonlyMap<string, string>> {
  const storedIds = new Map<string, string>();
  for (const sighting of sightings) storedIds.set(sighting.failure.eventId, await record(db, sighting, now));
  await pruneReceipts(db, now);
  return storedIds;
}

async function record(db: Db, sighting: FailureSighting, now: number): Promise<string> {
  const { eventId } = sighting.failure;
  const receipt = await findReceipt(db, "failure", eventId);
  if (!receipt && (await findEvent(db, eventId))) return eventId;
  const storedId = receipt?.storedId ?? (await findOpen(db, sighting.fingerprint));
  if (storedId === undefined) {
    const incidentId = await storyOf(db, sighting, now);
    await db.insert(failureEvents).values(failureRowOf(newFailureEvent(sighting, incidentId), now));
  } else {
    const event = await findEvent(db, storedId);
    const added = sighting.occurrences - (receipt?.counted ?? 0);
    if (event && added > 0) {
      const { occurrences, lastSeenAt, severity } = foldSighting(event, sighting, added);
      await db
        .update(failureEvents)
        .set({ occurrences, lastSeenAt, severity })
        .where(eq(failureEvents.eventId, storedId));
      // What was seen before it was resolved belongs to a story that is over, and opens none.
      if (!event.resolved) await storyOf(db, sighting, now);
    }
    if (storedId !== eventId && !receipt) {
      await db
        .update(circuitTransitions)
        .set({ failureEventId: storedId })
        .where(eq(circuitTransitions.failureEventId, eventId));
    }
  }
  const counted = Math.max(sighting.occurrences, receipt?.counted ?? 0);
  await putReceipt(db, "failure", eventId, { storedId: storedId ?? eventId, counted }, now);
  return storedId ?? eventId;
}

async function findEvent(db: Db, eventId: string) {
  const { occurrences, lastSeenAt, severity, resolved } = failureEvents;
  const [event] = await db
    .select({ occurrences, lastSeenAt, severity, resolved })
    .from(failureEvents)
    .where(eq(failureEvents.eventId, eventId));
  return event;
}

async function findOpen(db: Db, fingerprint: string): Promise<string | undefined> {
  const [open] = await db
    .select({ eventId: failureEvents.eventId })
    .from(failureEvents)
    .where(and(eq(failureEvents.fingerprint, fingerprint), eq(failureEvents.resolved, false)));
  return open?.eventId;
}

export async function resolveFailure(db: Db, eventId: string, resolvedAt: number): Promise<boolean> {
  const resolved = await db
    .update(failureEvents)
    .set({ resolved: true, resolvedAt })
    .where(and(eq(failureEvents.eventId, eventId), eq(failureEvents.resolved, false)))
    .returning({ id: failureEvents.id });
  await closeOver(db, resolvedAt);
  return resolved.length > 0;
}

export async function resolveQuietFailures(db: Db, quietSince: number, resolvedAt: number): Promise<number> {
  const resolved = await db
    .update(failureEvents)
    .set({ resolved: true, resolvedAt })
    .where(and(eq(failureEvents.resolved, false), lt(failureEvents.lastSeenAt, quietSince)))
    .returning({ id: failureEvents.id });
  await closeOver(db, resolvedAt);
  return resolved.length;
}

/** The stored event that an id means: its own, or the one that this sighting was folded into. */
export async function storedIdOf(db: Db, eventId: string): Promise<string | undefined> {
  if (await findEvent(db, eventId)) return eventId;
  const storedId = (await findReceipt(db, "failure", eventId))?.storedId;
  return storedId !== undefined && (await findEvent(db, storedId)) ? storedId : undefined;
}

/** @throws ParamedicError STORE_REQUEST_INVALID when the event is not stored */
export async function mustStoredIdOf(db: Db, eventId: string): Promise<string> {
  const storedId = await storedIdOf(db, eventId);
  if (storedId !== undefined) return storedId;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `the failure event ${eventId} is not stored: record the failure before its recovery actions`,
  );
}
