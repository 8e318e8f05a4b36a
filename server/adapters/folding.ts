/** How repeats become one row: what a failure event, a recovery action and a rollup look like after one more of the same. */
import { type FailureEvent, SEVERITIES, type Severity } from "../../shared/failure.js";
import type { Incident } from "../../shared/incident.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import { bucketStart, RESOLUTIONS_MS } from "../../shared/resolutions.js";
import { mergeSummaries } from "../../shared/rollup.js";
import type { SeriesSummary } from "../../shared/series.js";
import { SECOND_MS } from "../../shared/units.js";
import type { FailureSighting } from "../ports/store.js";

/** The width of the buckets into which batches are folded; compaction makes the coarser ones of them. */
export const ROLLUP_RESOLUTION_MS = RESOLUTIONS_MS[0];

/** How long a write is remembered, so that its redelivery counts once. A journal waits minutes for its store, not hours. */
export const RECEIPT_RETENTION_MS = 3_600 * SECOND_MS;

/** Start of the bucket that holds a window: the one in which its last millisecond lies. */
export function bucketOf(windowEnd: number, resolutionMs: number = ROLLUP_RESOLUTION_MS): number {
  return bucketStart(windowEnd - 1, resolutionMs);
}

/** @param incidentId of the story that it belongs to. @default none */
export function newFailureEvent(sighting: FailureSighting, incidentId?: string): FailureEvent {
  return {
    ...sighting.failure,
    fingerprint: sighting.fingerprint,
    occurrences: sighting.occurrences,
    lastSeenAt: sighting.lastSeenAt,
    resolved: false,
    resolvedAt: undefined,
    incidentId,
    instance: sighting.instance,
  };
}

/** What changes in an open event when it is seen `occurrences` times more. Its first sighting stays its story. */
export function foldSighting<T extends Pick<FailureEvent, "occurrences" | "lastSeenAt" | "severity">>(
  event: T,
  sighting: FailureSighting,
  occurrences: number,
): T {
  return {
    ...event,
    occurrences: event.occurrences + occurrences,
    lastSeenAt: Math.max(event.lastSeenAt, sighting.lastSeenAt),
    severity: worseSeverity(event.severity, sighting.failure.severity),
  };
}

/** What changes in an incident when one of its failures is seen, the first time or again. */
export function foldIntoIncident<T extends Pick<Incident, "lastSeenAt" | "severity">>(
  incident: T,
  { failure, lastSeenAt }: FailureSighting,
): T {
  return {
    ...incident,
    lastSeenAt: Math.max(incident.lastSeenAt, lastSeenAt),
    severity: worseSeverity(incident.severity, failure.severity),
  };
}

function worseSeverity(a: Severity, b: Severity): Severity {
  return SEVERITIES.indexOf(a) >= SEVERITIES.indexOf(b) ? a : b;
}

/** What changes in a rescue's row when the same was done `occurrences` times more: result and duration are the latest's. */
export function foldRescue<
  T extends Pick<RecoveryAction, "occurrences" | "lastAt" | "durationMs" | "completedAt" | "result">,
>(row: T, action: RecoveryAction, occurrences: number): T {
  const latest = action.lastAt >= row.lastAt ? action : row;
  return {
    ...row,
    occurrences: row.occurrences + occurrences,
    lastAt: latest.lastAt,
    durationMs: latest.durationMs,
    completedAt: latest.completedAt,
    result: latest.result,
  };
}

/** A summary with the end of the window that its `last` comes from, so that the order of folding changes nothing. */
export interface Rollup extends SeriesSummary {
  readonly lastAt: number;
}

/** Field by field, which a batch of a thousand series takes notice of. */
export function foldRollup(rollup: Rollup, summary: SeriesSummary, windowEnd: number): Rollup {
  const isNewer = windowEnd > rollup.lastAt || (windowEnd === rollup.lastAt && summary.last > rollup.last);
  const { count, sum, min, max, buckets } = mergeSummaries(rollup, summary);
  return {
    count,
    sum,
    min,
    max,
    last: isNewer ? summary.last : rollup.last,
    buckets,
    lastAt: isNewer ? windowEnd : rollup.lastAt,
  };
}
