/** Incidents: the failures, transitions, recoveries and alerts of one story, and how well it went, computed from rows. Pure. */
import type { Failure, Severity } from "./failure.js";
import type { RecoveryAction } from "./recovery.js";
import { boundText } from "./redaction.js";

export const INCIDENT_STATUSES = ["open", "resolved"] as const;
export type IncidentStatus = (typeof INCIDENT_STATUSES)[number];

/** Opens with the first failure of a service, and closes once none of them is open any more and the service's circuit is closed. */
export interface Incident {
  readonly incidentId: string;
  readonly title: string;
  /** Of its worst failure. */
  readonly severity: Severity;
  readonly status: IncidentStatus;
  readonly affectedService: string;
  /** When the first failure happened. */
  readonly startedAt: number;
  /** When its row was written: from then on it can be known of. */
  readonly detectedAt: number;
  readonly lastSeenAt: number;
  readonly resolvedAt: number | undefined;
}

/** What an operator orders is no incident. */
export function opensIncident({ detectionMethod }: Pick<Failure, "detectionMethod">): boolean {
  return detectionMethod !== "manual";
}

const TITLE_LENGTH = 200;

/** The incident that a first failure opens; its id follows from the failure's, so that writing it twice is writing it once. */
export function incidentOf(failure: Failure, lastSeenAt: number, detectedAt: number): Incident {
  const { eventId, affectedService, failureType, errorMessage, severity, timestamp } = failure;
  const title = `${affectedService}: ${failureType}${errorMessage === undefined ? "" : `, ${errorMessage}`}`;
  return {
    incidentId: `incident-${eventId}`,
    title: boundText(title, TITLE_LENGTH),
    severity,
    status: "open",
    affectedService,
    startedAt: timestamp,
    detectedAt: Math.max(detectedAt, timestamp),
    lastSeenAt,
    resolvedAt: undefined,
  };
}

export interface RecoveryFigures {
  readonly incidents: number;
  readonly open: number;
  /** From the first failure until its incident could be known of; mean. Undefined without incidents. */
  readonly meanTimeToDetectMs: number | undefined;
  /** From the first failure until its incident was closed; mean over the closed ones. */
  readonly meanTimeToRecoverMs: number | undefined;
  /** Rescues that ended, folded ones counted, and the share that gave the caller an answer. */
  readonly rescues: number;
  readonly rescueRate: number | undefined;
  /** Repairs that ended, and the share that succeeded. */
  readonly repairs: number;
  readonly repairRate: number | undefined;
}

/** Dry runs and decisions against acting count as neither. */
export function recoveryFigures(
  incidents: readonly Pick<Incident, "startedAt" | "detectedAt" | "resolvedAt" | "status">[],
  actions: readonly Pick<RecoveryAction, "scope" | "status" | "occurrences" | "dryRun" | "triggeredBy">[],
): RecoveryFigures {
  const closed = incidents.flatMap(({ startedAt, resolvedAt }) =>
    resolvedAt === undefined ? [] : resolvedAt - startedAt,
  );
  const ended = actions.filter(({ dryRun, status }) => !dryRun && ENDED.some((known) => known === status));
  const rescues = ended.filter(({ scope }) => scope === "call");
  const repairs = ended.filter(({ scope, triggeredBy }) => scope === "service" && triggeredBy !== "guard");
  return {
    incidents: incidents.length,
    open: incidents.filter(({ status }) => status === "open").length,
    meanTimeToDetectMs: mean(incidents.map(({ startedAt, detectedAt }) => detectedAt - startedAt)),
    meanTimeToRecoverMs: mean(closed),
    rescues: occurrencesOf(rescues),
    rescueRate: successRate(rescues),
    repairs: occurrencesOf(repairs),
    repairRate: successRate(repairs),
  };
}

const ENDED = ["succeeded", "failed", "rolled_back", "timed_out", "abandoned"] as const;

type Counted = Pick<RecoveryAction, "status" | "occurrences">;

function occurrencesOf(actions: readonly Counted[]): number {
  return actions.reduce((sum, { occurrences }) => sum + occurrences, 0);
}

function successRate(actions: readonly Counted[]): number | undefined {
  const all = occurrencesOf(actions);
  return all === 0 ? undefined : occurrencesOf(actions.filter(({ status }) => status === "succeeded")) / all;
}

function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}
