/**
 * What must outlive the process. Each method is one transaction and settles; a rejection is a `ParamedicError` with code
 * `STORE_UNAVAILABLE` (try later), `STORE_CORRUPT`, or `STORE_REQUEST_INVALID` (repeating it never helps: a malformed cursor,
 * an unknown failure event), and left nothing half done. Writes are redeliverable: doing one twice with the same ids changes
 * nothing. Deliberately absent: `transaction(callback)`, SQL, dialects.
 */
import type { AuditOutcome } from "../../shared/access.js";
import type { DecodeFailure } from "../../shared/batch-codec.js";
import type { BatchOutline } from "../../shared/batch-outline.js";
import type { CircuitHold, CircuitSnapshot, CircuitState, CircuitTransition } from "../../shared/circuit.js";
import type {
  DetectionMethod,
  Failure,
  FailureCategory,
  FailureEvent,
  FailureType,
  Json,
  JsonObject,
  Severity,
} from "../../shared/failure.js";
import type { HeatMap } from "../../shared/heat-map.js";
import type { Incident, IncidentStatus } from "../../shared/incident.js";
import type { ActionStatus, RecoveryAction, StrategyScope } from "../../shared/recovery.js";
import type { LeaseTerms } from "../../shared/repair-lease.js";
import type { Stretch } from "../../shared/resolutions.js";
import type { Batch, BatchGap, SeriesDescriptor, SeriesKind, SeriesPoint } from "../../shared/series.js";
import type { ProcedureTotals, TopOrder } from "../../shared/top-procedures.js";
import type { AlertStore } from "./alert-store.js";
import type { MaintenanceStore } from "./maintenance-store.js";
import type { Page } from "./page.js";
import type { ReportStore } from "./report-store.js";
import type { SettingsStore } from "./settings-store.js";
import type { TaskStore } from "./task-store.js";

export type { Page } from "./page.js";

/** What the ledger says of one life of one process; without a name, of all that ended long ago. */
export interface LedgerEntry {
  readonly instance: string;
  readonly boot: string;
  /** Points recorded up to the newest batch folded, dropped ones too. */
  readonly recorded: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** Points folded. */
  readonly rolledUp: number;
  readonly batches: number;
  /** Points in gaps. */
  readonly lost: number;
  /** Wall time of the last commit. */
  readonly lastAt: number;
}

/** Rows of rollups of one resolution (one of `RESOLUTIONS_MS`), the oldest of them. */
export interface RollupSlice {
  readonly resolutionMs: number;
  /** UTC milliseconds. */
  readonly before: number;
  /** 1 to 10,000: one transaction each. */
  readonly limit: number;
}

/**
 * Rows that retention deletes by age, in this order: a failure event goes after its recovery actions, an incident after its
 * failure events, a circuit after its transitions but the last one, which goes with it. A circuit's age is how long nobody
 * refreshed it; it goes when it is closed and not held. A boot's counts stay, in the entry of the ledger that has no name; so
 * does the last change of each setting. Last-good values, sessions and leases go by when they expired.
 */
export const PRUNABLE_KINDS = [
  "dead_batches",
  "recovery_actions",
  "failure_events",
  "circuit_transitions",
  "circuits",
  "tasks",
  "settings_history",
  "operator_audit",
  "last_good_values",
  "sessions",
  "leases",
  "gaps",
  "boots",
  "incidents",
  "alerts",
  "maintenance_windows",
] as const;
export type PrunableKind = (typeof PRUNABLE_KINDS)[number];

/** What became of a stream entry. */
export type EntryOutcome =
  | { readonly kind: "folded"; readonly batch: BatchOutline }
  /** It was folded before. */
  | { readonly kind: "known"; readonly batch: BatchOutline }
  | { readonly kind: "unreadable"; readonly reason: DecodeFailure; readonly detail: string };

export interface RollupStore {
  /**
   * Reads a stream entry, which is untrusted, and folds its batch as `commitBatch` does. Reading it costs more than all else
   * that is done with it, so a store that has a thread of its own reads it there.
   */
  commitEntry(fields: Readonly<Record<string, string>>): Promise<EntryOutcome>;
  /**
   * Folds a batch exactly once: its id and its rollups commit together. `false` when it was already there. One that comes
   * late, out of a gap, is folded and the gap closes around it. One of a boot that is forgotten is refused, as nobody can tell
   * whether it was folded: `STORE_REQUEST_INVALID`.
   */
  commitBatch(batch: Batch): Promise<boolean>;
  /** Keeps what cannot be folded, raw, so that an operator can look at it. Once per entry id. */
  saveDeadBatch(dead: { entryId: string; reason: string; payload: string; at: number }): Promise<void>;
  listSeries(filter: { metricName?: string | undefined; limit: number }): Promise<readonly SeriesDescriptor[]>;
  /** Law 5 by the ledger, one entry a boot; what is missing there beyond `lost` is in flight. */
  ledger(): Promise<readonly LedgerEntry[]>;
  /** Gaps whose time touches [from, to), the latest first, at most `limit`: what a chart of that range lacks. */
  listGaps(query: { from?: number | undefined; to?: number | undefined; limit: number }): Promise<readonly BatchGap[]>;
}

/** One metric over [from, to), the series that carry all of `tags` merged, in steps of time. */
export interface SeriesQuery {
  readonly metricName: string;
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** UTC milliseconds. */
  readonly from: number;
  readonly to: number;
  /** A multiple of the finest resolution. */
  readonly stepMs: number;
  /** Steps at most, 1 to 10,000: those that hold anything, oldest first. */
  readonly limit: number;
}

/** What is known of a metric. */
export interface MetricSummary {
  /** Of its first series. */
  readonly kind: SeriesKind;
  readonly unit: string;
  /** Up to 50,000. */
  readonly series: number;
}

/**
 * Ranges of stored rollups. Each is read from the coarsest rows that fit the step; where finer ones are deleted, a step is as
 * wide as what is kept. However many series there are, a read does not hold up the thread that serves calls.
 */
export interface RangeStore {
  /** Undefined where no series has that name. */
  readMetric(metricName: string): Promise<MetricSummary | undefined>;
  /** Oldest first. */
  readSeries(query: SeriesQuery): Promise<readonly SeriesPoint[]>;
  /** The same steps with their distributions in at most `mostBands` bands, 2 to 1,000. */
  readHeatMap(query: SeriesQuery & { readonly mostBands: number }): Promise<HeatMap>;
  /** The procedures that come first, at most `limit`, 1 to 10,000. */
  readTopProcedures(query: {
    readonly from: number;
    readonly to: number;
    readonly by: TopOrder;
    readonly limit: number;
  }): Promise<readonly ProcedureTotals[]>;
  /** Which resolution tells which part of a range that is read in such steps, oldest first. */
  readStretches(range: {
    readonly from: number;
    readonly to: number;
    readonly stepMs: number;
  }): Promise<readonly Stretch[]>;
}

/** What keeps a store from growing without bound. */
export interface CompactionStore {
  /**
   * Goes through at most `limit` batches of the ledger that were committed before `before`, boot by boot in their order, and
   * replaces their rows by the mark of their boot; batches that are missing before one of them become a gap. Gives how many.
   */
  settleBatches(slice: { before: number; limit: number }): Promise<number>;
  /**
   * Folds at most `limit` rows of one resolution into the next coarser one, of buckets that begin before `before` and are not
   * in it yet, and remembers that they are; gives how many. Rows that change afterwards change the coarser row with them.
   */
  compactRollups(slice: RollupSlice): Promise<number>;
  /**
   * Deletes at most `limit` rows of one resolution whose buckets begin before `before`, but none that the next coarser one
   * lacks; gives how many. From then on the next coarser resolution tells that time, so `before` is a multiple of it.
   */
  pruneRollups(slice: RollupSlice): Promise<number>;
  /** Deletes at most `limit` rows of one kind from before `before`, but none that is still open; gives how many. */
  pruneRecords(slice: { kind: PrunableKind; before: number; limit: number }): Promise<number>;
  /** Forgets holds of circuits whose time is over by the database's clock; gives how many. */
  releaseExpiredHolds(): Promise<number>;
}

export interface FailureQuery {
  readonly failureCategory?: FailureCategory | undefined;
  readonly failureType?: FailureType | undefined;
  readonly severity?: Severity | undefined;
  readonly affectedService?: string | undefined;
  readonly detectionMethod?: DetectionMethod | undefined;
  readonly resolved?: boolean | undefined;
  readonly incidentId?: string | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}

/** A failure with how often it was seen since it was last written. */
export interface FailureSighting {
  readonly failure: Failure;
  readonly fingerprint: string;
  readonly occurrences: number;
  readonly lastSeenAt: number;
  readonly instance: string;
}

export interface FailureStore {
  /**
   * Writes new failures and counts repeats into the open event of the same fingerprint. Maps each sighting's event id to
   * the id under which it is stored. A sighting that is delivered again adds only what its `occurrences` grew by.
   */
  recordFailures(sightings: readonly FailureSighting[]): Promise<ReadonlyMap<string, string>>;
  /** Newest first. */
  listFailures(query: FailureQuery): Promise<Page<FailureEvent>>;
  /** By its own id, or by the id of a sighting that was folded into it within the last hour. */
  getFailure(eventId: string): Promise<FailureEvent | undefined>;
  /** `false` when there is no open event of that id. */
  resolveFailure(eventId: string, resolvedAt: number): Promise<boolean>;
  /** Resolves open events not seen since `quietSince`; gives how many. Incidents that are over by then are closed. */
  resolveQuietFailures(quietSince: number, resolvedAt: number): Promise<number>;
}

export interface IncidentQuery {
  readonly status?: IncidentStatus | undefined;
  readonly affectedService?: string | undefined;
  /** Of when it began. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}

/** They open and close with their failures: recording one opens or finds its service's, resolving the last one closes it. */
export interface IncidentStore {
  /** Newest first. */
  listIncidents(query: IncidentQuery): Promise<Page<Incident>>;
  getIncident(incidentId: string): Promise<Incident | undefined>;
}

export interface RecoveryQuery {
  readonly failureEventId?: string | undefined;
  readonly actionStrategy?: string | undefined;
  readonly status?: ActionStatus | undefined;
  readonly scope?: StrategyScope | undefined;
  readonly target?: string | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly cursor?: string | undefined;
  readonly limit: number;
}

export type ApprovalOutcome =
  | { readonly approved: true; readonly action: RecoveryAction }
  | { readonly approved: false; readonly reason: "not_pending" | "barred" };

export interface RecoveryStore {
  /**
   * Writes rescues; one whose (failure event, strategy, target, status, dry run) has a row adds to its `occurrences`. One
   * that is delivered again adds only what its own grew by. Its failure may be named by a folded sighting's id.
   */
  recordRescues(actions: readonly RecoveryAction[]): Promise<void>;
  /**
   * Writes the lease row of a repair before its effect. `false` when another instance holds a lease for the same
   * (failure event, strategy, target), when it was already carried out for that event, or when the terms are not met.
   */
  leaseRepair(action: RecoveryAction, terms?: LeaseTerms): Promise<boolean>;
  /**
   * Begins a repair that waited for an operator: its row is its lease from now on, and `at` its begin. `not_pending` when it
   * does not wait (any more), `barred` when it could not be leased now; then it goes on waiting.
   */
  approveRepair(
    approval: {
      readonly actionId: string;
      readonly approvedBy: string;
      readonly instance: string;
      readonly at: number;
      readonly leaseUntil: number;
    },
    terms?: LeaseTerms,
  ): Promise<ApprovalOutcome>;
  /** Ends a repair that waits for an operator without its effect. `false` when it does not wait (any more). */
  declineRepair(decline: {
    readonly actionId: string;
    readonly status: Extract<ActionStatus, "cancelled" | "expired">;
    readonly at: number;
    readonly result: JsonObject | undefined;
  }): Promise<boolean>;
  getRecovery(actionId: string): Promise<RecoveryAction | undefined>;
  /** Ends a repair. `false` when the lease was lost meanwhile: the row already says so. */
  completeRepair(completion: {
    actionId: string;
    status: Exclude<ActionStatus, "pending_approval" | "initiated" | "in_progress">;
    result: JsonObject | undefined;
    durationMs: number;
    completedAt: number;
  }): Promise<boolean>;
  /** Marks rows whose lease ran out before `now` as abandoned; gives how many. */
  abandonExpired(now: number): Promise<number>;
  /** Newest first. */
  listRecoveries(query: RecoveryQuery): Promise<Page<RecoveryAction>>;
}

/** Who may probe a circuit for all instances, and until when. */
export interface ProbeLease {
  /** An instance. */
  readonly owner: string;
  readonly until: number;
}

/**
 * A circuit as it is kept. `openedAt` and its deadlines (`nextRetryAt`, the ends of hold and lease) are by the database's
 * clock, as `readAt` is: what is left of them is their difference to `readAt`, whatever other clocks say.
 */
export interface StoredCircuit extends CircuitSnapshot {
  readonly updatedAt: number;
  /** The last lease, also when it is over; undefined once the circuit has left half-open. */
  readonly probeLease: ProbeLease | undefined;
  /** What the database's clock said when this was read. */
  readonly readAt: number;
}

export type TransitionCommit =
  | { readonly committed: true }
  | { readonly committed: false; readonly stored: StoredCircuit };

/** How many instances count a circuit as failing, of those whose opinion counts. */
export interface OpinionTally {
  readonly circuitName: string;
  readonly failing: number;
  readonly total: number;
}

export interface CircuitStore {
  /** @param names of the circuits to load. @default all */
  loadCircuits(names?: readonly string[]): Promise<readonly StoredCircuit[]>;
  /**
   * Writes where a circuit is and the rows of how it came there, when the stored version is the one before the first of
   * them, or there is no row yet. Of a step that is written again, because its answer was lost, only what is not stored yet is
   * written. Gives the stored circuit when another instance was faster, and when another one holds the
   * lease to probe: only its owner half-opens the circuit and leaves half-open again; an operator may always.
   *
   * @param options `earlier`: transitions before `transition` that have no row yet, oldest first; `at`: what the clock that
   *   made `snapshot` says now. @default none, and `transition.at`
   */
  commitTransition(
    snapshot: CircuitSnapshot,
    transition: CircuitTransition,
    options?: { readonly earlier?: readonly CircuitTransition[] | undefined; readonly at?: number | undefined },
  ): Promise<TransitionCommit>;
  /** Refreshes counts and last times; state and version stay as they are. Creates rows that are missing. */
  refreshCircuits(snapshots: readonly CircuitSnapshot[], at: number): Promise<void>;
  /** Places a hold, or releases it. @param at what the clock that made `hold` says now */
  holdCircuit(circuitName: string, hold: CircuitHold | undefined, at: number): Promise<void>;
  /**
   * Lets `owner` alone probe for `leaseMs` by the database's clock, or prolongs that. Not while another lease lasts, nor when
   * `version` is not the stored one; then it gives what is stored. A lease is not believed to last longer than `leaseMs`
   * twice. Whether the circuit's time to probe has come is for the instance to know, which did not count it by this clock.
   */
  leaseProbes(lease: {
    readonly circuitName: string;
    readonly owner: string;
    readonly version: number;
    readonly leaseMs: number;
  }): Promise<{ readonly leased: true } | { readonly leased: false; readonly stored: StoredCircuit | undefined }>;
  /**
   * Notes for `keepMs` what an instance thinks of circuits, instead of what it thought before, and tells what all instances
   * think of each of them.
   */
  recordOpinions(report: {
    readonly instance: string;
    readonly opinions: readonly { readonly circuitName: string; readonly failing: boolean }[];
    readonly keepMs: number;
  }): Promise<readonly OpinionTally[]>;
  /** Newest first. */
  listTransitions(query: {
    circuitName?: string | undefined;
    to?: CircuitState | undefined;
    from?: number | undefined;
    until?: number | undefined;
    cursor?: string | undefined;
    limit: number;
  }): Promise<Page<CircuitTransition>>;
}

/** The last good answer of an operation that opted in. */
export interface LastGoodValue {
  readonly operation: string;
  /** Digest of the arguments. */
  readonly key: string;
  readonly value: Json;
  readonly storedAt: number;
  readonly expiresAt: number;
}

export interface LastGoodStore {
  /** Puts it in the place of an older one, and forgets what has expired and, beyond `maxEntries`, the oldest. */
  putLastGood(value: LastGoodValue, limits: { readonly maxEntries: number }): Promise<void>;
  getLastGood(operation: string, key: string): Promise<LastGoodValue | undefined>;
}

export interface AuditEntry {
  readonly at: number;
  readonly actor: string;
  /** `failure.resolve`, `circuit.hold`, … */
  readonly action: string;
  readonly subject: string;
  readonly reason: string;
  readonly outcome: AuditOutcome;
  readonly detail: JsonObject | undefined;
}

export interface AuditStore {
  recordAudit(entry: AuditEntry): Promise<void>;
  listAudit(query: { cursor?: string | undefined; limit: number }): Promise<Page<AuditEntry>>;
}

export interface Store
  extends RollupStore,
    RangeStore,
    CompactionStore,
    FailureStore,
    IncidentStore,
    RecoveryStore,
    CircuitStore,
    LastGoodStore,
    AuditStore,
    SettingsStore,
    TaskStore,
    AlertStore,
    MaintenanceStore,
    ReportStore {
  /** Migrates where it must, and is ready for calls. Rejects with `STORE_UNAVAILABLE`, `STORE_SCHEMA_NEWER`, `STORE_CORRUPT`. */
  open(): Promise<void>;
  /** Round trip through the writer; milliseconds. */
  ping(): Promise<number>;
  close(): Promise<void>;
}
