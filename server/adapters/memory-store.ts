/**
 * A store in plain maps: nothing outlives the process. It keeps the promises of the port, in one file because it is one idea
 * told five times: apply the write to a map, and answer with what is there. Each kind of row is bounded; the oldest go first.
 */
import type { CircuitTransition } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import type { FailureEvent } from "../../shared/failure.js";
import { heatMapOf } from "../../shared/heat-map.js";
import { type Incident, incidentOf, opensIncident } from "../../shared/incident.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import {
  approvedAction,
  barsRepair,
  breaksTerms,
  checkLease,
  declinedAction,
  isOpenAction,
  isUnderWay,
  type LeaseTerms,
} from "../../shared/repair-lease.js";
import { bucketStart, coarserThan, RESOLUTIONS_MS, stretchesOf } from "../../shared/resolutions.js";
import { type SeriesDescriptor, seriesKey } from "../../shared/series.js";
import { createStepFold, pointOf, type StepSummary } from "../../shared/step-fold.js";
import { createProcedureFold } from "../../shared/top-procedures.js";
import { DAY_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type {
  AuditEntry,
  FailureSighting,
  LastGoodValue,
  RollupSlice,
  SeriesQuery,
  Store,
  StoredCircuit,
} from "../ports/store.js";
import { follows, held, isBarred, leased, refreshed, stepOf, transitioned, unseen } from "./circuit-rows.js";
import { commitEntry } from "./commit-entry.js";
import {
  bucketOf,
  foldIntoIncident,
  foldRescue,
  foldRollup,
  foldSighting,
  newFailureEvent,
  RECEIPT_RETENTION_MS,
  ROLLUP_RESOLUTION_MS,
  type Rollup,
} from "./folding.js";
import { createMemoryAlerts } from "./memory-alerts.js";
import { createMemoryLedger } from "./memory-ledger.js";
import { createMemoryMaintenance } from "./memory-maintenance.js";
import { type Kept, newestFirst } from "./memory-pages.js";
import { createMemoryReports } from "./memory-reports.js";
import { createMemorySettings } from "./memory-settings.js";
import { createMemoryTasks } from "./memory-tasks.js";
import { checkLimit } from "./page-cursor.js";
import { passesOf, type Range } from "./range-plan.js";
import { checkPrunable, checkSlice, compactedInto, foldUp } from "./rollup-slices.js";
import { canonicalTags, carriesTags, checkBands, checkStep } from "./series-steps.js";

export interface MemoryStoreOptions {
  /** Rows of one kind; beyond it the oldest are forgotten. @default 10_000 */
  readonly capacity?: number;
  /** Buckets of one series and resolution; beyond it the oldest are forgotten. @default 8_640, a day */
  readonly bucketsPerSeries?: number;
}

const DEFAULTS = { capacity: 10_000, bucketsPerSeries: 8_640 } as const;

interface KeptRollup {
  readonly rollup: Rollup;
  /** In the row of the next coarser resolution too. */
  readonly compacted: boolean;
}

interface KeptSeries {
  readonly descriptor: SeriesDescriptor;
  /** By resolution, then by start of the bucket. */
  readonly levels: ReadonlyMap<number, Map<number, KeptRollup>>;
}

interface Receipt {
  readonly storedId: string;
  readonly counted: number;
  readonly at: number;
}

/**
 * @example
 * const store = createMemoryStore({ clock: systemClock });
 * await store.open();
 */
export function createMemoryStore({ clock }: { clock: Clock }, options: MemoryStoreOptions = {}): Store {
  const capacity = options.capacity ?? DEFAULTS.capacity;
  const bucketsPerSeries = options.bucketsPerSeries ?? DEFAULTS.bucketsPerSeries;

  const series = new Map<string, KeptSeries>();
  const keptFrom = new Map<number, number>();
  const ledger = createMemoryLedger(capacity);
  const deadBatches = new Map<string, { reason: string; payload: string; at: number }>();
  const failures = new Map<string, Kept<FailureEvent>>();
  const openByFingerprint = new Map<string, string>();
  const failureReceipts = new Map<string, Receipt>();
  const actions = new Map<string, Kept<RecoveryAction>>();
  const rescueReceipts = new Map<string, Receipt>();
  const circuits = new Map<string, StoredCircuit>();
  const transitions = new Map<string, Kept<CircuitTransition>>();
  const opinionRows = new Map<string, { circuitName: string; failing: boolean; until: number }>();
  const lastGood = new Map<string, LastGoodValue>();
  const incidents = new Map<string, Kept<Incident>>();
  const audit = new Map<number, Kept<AuditEntry>>();
  const settings = createMemorySettings(capacity);
  const tasks = createMemoryTasks({ clock }, capacity);
  let lastId = 0;

  const nextId = () => {
    lastId += 1;
    return lastId;
  };
  const alerts = createMemoryAlerts({ nextId }, capacity);
  const maintenance = createMemoryMaintenance(capacity);

  /** The event of an id, or of a repeat that was folded into it. */
  const findFailure = (eventId: string) =>
    failures.get(eventId) ?? failures.get(failureReceipts.get(eventId)?.storedId ?? "");

  const readCircuit = (name: string): StoredCircuit | undefined => {
    const stored = circuits.get(name);
    return stored && { ...stored, readAt: clock.now() };
  };

  const mustFindFailure = (eventId: string): FailureEvent => {
    const found = findFailure(eventId);
    if (found) return found.row;
    throw new ParamedicError(
      "STORE_REQUEST_INVALID",
      `the failure event ${eventId} is not stored: record the failure before its recovery actions`,
    );
  };

  const putFailure = (id: number, row: FailureEvent) => {
    failures.set(row.eventId, { id, row });
    if (row.resolved) {
      if (openByFingerprint.get(row.fingerprint) === row.eventId) openByFingerprint.delete(row.fingerprint);
    } else {
      openByFingerprint.set(row.fingerprint, row.eventId);
    }
  };

  /** Transitions are written before the failure that caused them, so they may name a repeat. */
  const moveTransitions = (eventId: string, storedId: string) => {
    for (const [key, { id, row }] of transitions) {
      if (row.failureEventId === eventId) transitions.set(key, { id, row: { ...row, failureEventId: storedId } });
    }
  };

  /** The open incident of its service, which it opens or moves on. */
  const storyOf = (sighting: FailureSighting, now: number): string | undefined => {
    const { failure, lastSeenAt } = sighting;
    if (!opensIncident(failure)) return undefined;
    const open = [...incidents.values()].find(
      ({ row }) => row.status === "open" && row.affectedService === failure.affectedService,
    );
    const { id, row } = open ?? { id: nextId(), row: incidentOf(failure, lastSeenAt, now) };
    incidents.set(row.incidentId, { id, row: foldIntoIncident(row, sighting) });
    for (const old of oldest(incidents, capacity)) incidents.delete(old);
    return row.incidentId;
  };

  const closeOver = (resolvedAt: number) => {
    const unresolved = new Set(
      [...failures.values()].flatMap(({ row }) => (row.resolved ? [] : (row.incidentId ?? []))),
    );
    for (const [incidentId, { id, row }] of incidents) {
      const circuit = circuits.get(row.affectedService);
      const isBroken = circuit !== undefined && circuit.state !== "closed" && circuit.held === undefined;
      if (row.status !== "open" || unresolved.has(incidentId) || isBroken) continue;
      incidents.set(incidentId, { id, row: { ...row, status: "resolved", resolvedAt } });
      alerts.closeWith(incidentId, resolvedAt);
    }
  };

  const forgetOldestFailures = () => {
    for (const eventId of oldest(failures, capacity)) {
      const forgotten = failures.get(eventId)?.row;
      failures.delete(eventId);
      if (forgotten && openByFingerprint.get(forgotten.fingerprint) === eventId) {
        openByFingerprint.delete(forgotten.fingerprint);
      }
      for (const [actionId, { row }] of actions) if (row.failureEventId === eventId) actions.delete(actionId);
    }
  };

  const receiptsKept = (receipts: Map<string, Receipt>) => {
    const forgottenBefore = clock.now() - RECEIPT_RETENTION_MS;
    for (const [id, { at }] of receipts) {
      if (at >= forgottenBefore) break;
      receipts.delete(id);
    }
  };

  const actionsLike = (action: RecoveryAction, failureEventId: string) =>
    [...actions.values()].filter(
      ({ row }) =>
        row.failureEventId === failureEventId &&
        row.actionStrategy === action.actionStrategy &&
        row.target === action.target &&
        row.dryRun === action.dryRun,
    );

  const isHeldBack = (action: RecoveryAction, terms: LeaseTerms): boolean => {
    const { actionId } = action;
    const alike = actionsLike(action, action.failureEventId).filter(
      ({ row }) => row.actionId !== actionId && row.leaseUntil !== undefined,
    );
    if (alike.some(({ row }) => barsRepair(row, terms))) return true;
    const ofTarget = [...actions.values()]
      .map(({ row }) => row)
      .filter((row) => row.target === action.target && row.leaseUntil !== undefined && !row.dryRun);
    return breaksTerms(actionId, ofTarget, terms);
  };

  const abandon = (now: number): number => {
    let abandoned = 0;
    for (const [actionId, { id, row }] of actions) {
      if (!isUnderWay(row.status) || row.leaseUntil === undefined || row.leaseUntil > now) continue;
      actions.set(actionId, { id, row: { ...row, status: "abandoned", completedAt: now } });
      abandoned += 1;
    }
    return abandoned;
  };

  /** Adds to a row, and if that is compacted, to the one above it, and so on. */
  const foldInto = (kept: KeptSeries, resolutionMs: number, bucket: number, rollup: Rollup): void => {
    const level = kept.levels.get(resolutionMs);
    if (!level) return;
    const before = level.get(bucket);
    level.set(bucket, {
      rollup: before ? foldRollup(before.rollup, rollup, rollup.lastAt) : rollup,
      compacted: before?.compacted ?? false,
    });
    for (const old of oldest(level, bucketsPerSeries)) level.delete(old);
    const coarser = coarserThan(resolutionMs);
    if (before?.compacted && coarser !== undefined) foldInto(kept, coarser, bucketStart(bucket, coarser), rollup);
  };

  const slicedRows = ({ resolutionMs, before, limit }: RollupSlice, matches: (row: KeptRollup) => boolean) =>
    [...series.values()]
      .flatMap((kept) =>
        [...(kept.levels.get(resolutionMs) ?? [])]
          .filter(([bucket, row]) => bucket < before && matches(row))
          .map(([bucket, { rollup }]) => ({ ...rollup, seriesId: kept, bucket })),
      )
      .slice(0, limit);

  const commitBatch: Store["commitBatch"] = async (batch) => {
    if (!ledger.add(batch, clock.now())) return false;
    const bucket = bucketOf(batch.windowEnd);
    for (const one of batch.series) {
      const { metricType, metricName, kind, unit, source, tags, count, sum, min, max, last, buckets } = one;
      const descriptor = { metricType, metricName, kind, unit, source, tags };
      const key = seriesKey(descriptor);
      const kept = series.get(key) ?? { descriptor, levels: emptyLevels() };
      series.set(key, kept);
      foldInto(kept, ROLLUP_RESOLUTION_MS, bucket, { count, sum, min, max, last, buckets, lastAt: batch.windowEnd });
    }
    return true;
  };

  const rollupsIn = (kept: KeptSeries, range: Range): { bucket: number; rollup: Rollup }[] =>
    passesOf(range, keptFrom).flatMap(({ resolutionMs, from, to, onlyPending }) =>
      [...(kept.levels.get(resolutionMs) ?? [])]
        .filter(([bucket, { compacted }]) => bucket >= from && bucket < to && !(onlyPending && compacted))
        .map(([bucket, { rollup }]) => ({ bucket, rollup })),
    );

  const readSteps = ({ metricName, tags, stepMs, limit, ...range }: SeriesQuery): readonly StepSummary[] => {
    const fold = createStepFold({ stepMs: checkStep(stepMs), limit: checkLimit(limit) });
    for (const kept of series.values()) {
      if (kept.descriptor.metricName !== metricName || !carriesTags(kept.descriptor.tags, tags)) continue;
      for (const { bucket, rollup } of rollupsIn(kept, { ...range, stepMs })) fold.add(bucket, rollup);
    }
    return fold.take();
  };

  return Object.freeze<Store>({
    async open() {},
    async ping() {
      return 0;
    },
    async close() {},

    commitBatch,
    commitEntry: (fields) => commitEntry(fields, commitBatch),

    async saveDeadBatch({ entryId, reason, payload, at }) {
      if (!deadBatches.has(entryId)) deadBatches.set(entryId, { reason, payload, at });
      for (const old of oldest(deadBatches, capacity)) deadBatches.delete(old);
    },

    async listSeries({ metricName, limit }) {
      return [...series]
        .filter(([, { descriptor }]) => metricName === undefined || descriptor.metricName === metricName)
        .map(([, { descriptor }]) => ({ descriptor, place: placeOf(descriptor) }))
        .sort((a, b) => (a.place < b.place ? -1 : 1))
        .slice(0, checkLimit(limit))
        .map(({ descriptor }) => descriptor);
    },

    async readMetric(metricName) {
      const found = [...series.values()].filter(({ descriptor }) => descriptor.metricName === metricName);
      const [first] = found;
      return first && { kind: first.descriptor.kind, unit: first.descriptor.unit, series: found.length };
    },

    async readSeries(query) {
      return readSteps(query).map(pointOf);
    },

    async readHeatMap({ mostBands, ...query }) {
      return heatMapOf(readSteps(query), checkBands(mostBands));
    },

    async readTopProcedures({ from, to, by, limit }) {
      const most = checkLimit(limit);
      const fold = createProcedureFold();
      for (const kept of series.values()) {
        if (kept.descriptor.metricType !== "operation") continue;
        for (const { rollup } of rollupsIn(kept, { from, to, stepMs: DAY_MS })) fold.add(kept.descriptor, rollup);
      }
      return fold.top(by, most);
    },

    async readStretches(range) {
      return stretchesOf({ ...range, stepMs: checkStep(range.stepMs) }, keptFrom);
    },

    async compactRollups(slice) {
      const coarser = compactedInto(checkSlice(slice));
      const pending = slicedRows(slice, ({ compacted }) => !compacted);
      for (const { seriesId, bucket, rollup } of foldUp(pending, coarser)) foldInto(seriesId, coarser, bucket, rollup);
      for (const { seriesId, bucket } of pending) {
        const level = seriesId.levels.get(slice.resolutionMs);
        const kept = level?.get(bucket);
        if (kept) level?.set(bucket, { ...kept, compacted: true });
      }
      return pending.length;
    },

    async settleBatches(slice) {
      return ledger.settle(checkSlice(slice));
    },

    async pruneRollups(slice) {
      const { resolutionMs, before } = checkPrunable(slice);
      const isCoarsest = coarserThan(resolutionMs) === undefined;
      if (!isCoarsest) keptFrom.set(resolutionMs, Math.max(keptFrom.get(resolutionMs) ?? before, before));
      const old = slicedRows(slice, ({ compacted }) => isCoarsest || compacted);
      for (const { seriesId, bucket } of old) seriesId.levels.get(resolutionMs)?.delete(bucket);
      return old.length;
    },

    async pruneRecords(slice) {
      const { kind, before, limit } = checkSlice(slice);
      const deleted = (keys: readonly string[], rows: Map<string, unknown>) => {
        const first = keys.slice(0, limit);
        for (const key of first) rows.delete(key);
        return first.length;
      };
      const keysWhere = <T>(rows: ReadonlyMap<string, T>, matches: (row: T) => boolean) =>
        [...rows].filter(([, row]) => matches(row)).map(([key]) => key);
      switch (kind) {
        case "dead_batches":
          return deleted(
            keysWhere(deadBatches, ({ at }) => at < before),
            deadBatches,
          );
        case "failure_events":
          return deleted(
            keysWhere(
              failures,
              ({ row }) =>
                row.resolved &&
                row.timestamp < before &&
                row.lastSeenAt < before &&
                ![...actions.values()].some((action) => action.row.failureEventId === row.eventId),
            ),
            failures,
          );
        case "recovery_actions":
          return deleted(
            keysWhere(
              actions,
              ({ row }) =>
                row.timestamp < before &&
                row.lastAt < before &&
                !isOpenAction(row.status) &&
                failures.get(row.failureEventId)?.row.resolved === true,
            ),
            actions,
          );
        case "circuit_transitions":
          return deleted(
            keysWhere(
              transitions,
              ({ row }) => row.at < before && circuits.get(row.circuitName)?.version !== row.version,
            ),
            transitions,
          );
        case "circuits": {
          const over = keysWhere(
            circuits,
            ({ name, state, held, version, updatedAt }) =>
              state === "closed" &&
              (held === undefined || (held.until !== undefined && held.until < before)) &&
              updatedAt < before &&
              ![...transitions.values()].some(({ row }) => row.circuitName === name && row.version !== version),
          );
          const gone = new Set(over.slice(0, limit));
          deleted(
            keysWhere(transitions, ({ row }) => gone.has(row.circuitName)),
            transitions,
          );
          return deleted([...gone], circuits);
        }
        case "operator_audit":
          return pruned(
            audit,
            [...audit].filter(([, { row }]) => row.at < before),
            limit,
          );
        case "tasks":
          return tasks.prune(slice);
        case "settings_history":
          return settings.prune(slice);
        case "last_good_values":
          return pruned(
            lastGood,
            [...lastGood].filter(([, { expiresAt }]) => expiresAt < before),
            limit,
          );
        // None are written here.
        case "sessions":
        case "leases":
          return 0;
        case "alerts":
          return alerts.prune(slice);
        case "maintenance_windows":
          return maintenance.prune(slice);
        case "incidents": {
          const told = new Set([...failures.values()].map(({ row }) => row.incidentId));
          return deleted(
            keysWhere(
              incidents,
              ({ row }) => row.status === "resolved" && row.lastSeenAt < before && !told.has(row.incidentId),
            ),
            incidents,
          );
        }
        case "gaps":
          return ledger.pruneGaps(slice);
        case "boots":
          return ledger.pruneBoots(slice);
      }
    },

    async ledger() {
      return ledger.entries();
    },

    async listGaps(query) {
      return ledger.gaps({ ...query, limit: checkLimit(query.limit) });
    },

    async recordFailures(sightings) {
      const now = clock.now();
      const storedIds = new Map<string, string>();
      for (const sighting of sightings) {
        const { eventId } = sighting.failure;
        const receipt = failureReceipts.get(eventId);
        const storedId =
          receipt?.storedId ?? (failures.has(eventId) ? eventId : openByFingerprint.get(sighting.fingerprint));
        storedIds.set(eventId, storedId ?? eventId);
        const stored = failures.get(storedId ?? "");
        if (storedId === undefined) {
          putFailure(nextId(), newFailureEvent(sighting, storyOf(sighting, now)));
        } else if (stored && (receipt || storedId !== eventId)) {
          const added = Math.max(0, sighting.occurrences - (receipt?.counted ?? 0));
          if (added > 0) {
            putFailure(stored.id, foldSighting(stored.row, sighting, added));
            storyOf(sighting, now);
          }
        }
        if (storedId !== undefined && storedId !== eventId && !receipt) moveTransitions(eventId, storedId);
        const counted = Math.max(sighting.occurrences, receipt?.counted ?? 0);
        failureReceipts.set(eventId, { storedId: storedId ?? eventId, counted, at: receipt?.at ?? now });
      }
      receiptsKept(failureReceipts);
      forgetOldestFailures();
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
      return findFailure(eventId)?.row;
    },

    async resolveFailure(eventId, resolvedAt) {
      const found = failures.get(eventId);
      if (!found || found.row.resolved) return false;
      putFailure(found.id, { ...found.row, resolved: true, resolvedAt });
      closeOver(resolvedAt);
      return true;
    },

    async resolveQuietFailures(quietSince, resolvedAt) {
      const quiet = [...failures.values()].filter(({ row }) => !row.resolved && row.lastSeenAt < quietSince);
      for (const { id, row } of quiet) putFailure(id, { ...row, resolved: true, resolvedAt });
      closeOver(resolvedAt);
      return quiet.length;
    },

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

    async recordRescues(rescues) {
      const now = clock.now();
      const known = rescues.map((action) => ({
        action,
        failureEventId: mustFindFailure(action.failureEventId).eventId,
      }));
      for (const { action, failureEventId } of known) {
        const receipt = rescueReceipts.get(action.actionId);
        const row =
          actions.get(receipt?.storedId ?? action.actionId) ??
          actionsLike(action, failureEventId).find(
            ({ row }) => row.status === action.status && row.leaseUntil === undefined,
          );
        if (!row) {
          actions.set(action.actionId, { id: nextId(), row: { ...action, failureEventId, leaseUntil: undefined } });
        } else if (receipt || row.row.actionId !== action.actionId) {
          const added = Math.max(0, action.occurrences - (receipt?.counted ?? 0));
          if (added > 0) actions.set(row.row.actionId, { id: row.id, row: foldRescue(row.row, action, added) });
        }
        const counted = Math.max(action.occurrences, receipt?.counted ?? 0);
        const storedId = row?.row.actionId ?? action.actionId;
        rescueReceipts.set(action.actionId, { storedId, counted, at: receipt?.at ?? now });
      }
      receiptsKept(rescueReceipts);
      for (const old of oldest(actions, capacity)) actions.delete(old);
    },

    async leaseRepair(action, terms = {}) {
      checkLease(action);
      const failureEventId = mustFindFailure(action.failureEventId).eventId;
      const own = actions.get(action.actionId);
      if (own) return isUnderWay(own.row.status);
      abandon(action.timestamp);
      if (isHeldBack({ ...action, failureEventId }, terms)) return false;
      actions.set(action.actionId, { id: nextId(), row: { ...action, failureEventId } });
      return true;
    },

    async approveRepair(approval, terms = {}) {
      const found = actions.get(approval.actionId);
      if (found?.row.status !== "pending_approval") return { approved: false, reason: "not_pending" };
      abandon(approval.at);
      if (isHeldBack(found.row, terms)) return { approved: false, reason: "barred" };
      const begun = approvedAction(found.row, approval);
      actions.set(begun.actionId, { id: found.id, row: begun });
      return { approved: true, action: begun };
    },

    async declineRepair({ actionId, ...decline }) {
      const found = actions.get(actionId);
      if (found?.row.status !== "pending_approval") return false;
      actions.set(actionId, { id: found.id, row: declinedAction(found.row, decline) });
      return true;
    },

    async completeRepair({ actionId, status, result, durationMs, completedAt }) {
      const found = actions.get(actionId);
      if (!found) return false;
      if (!isUnderWay(found.row.status)) return found.row.status === status && found.row.completedAt === completedAt;
      const row = { ...found.row, status, result, durationMs, completedAt, lastAt: completedAt };
      actions.set(actionId, { id: found.id, row });
      return true;
    },

    async abandonExpired(now) {
      return abandon(now);
    },

    async getRecovery(actionId) {
      return actions.get(actionId)?.row;
    },

    async listRecoveries(query) {
      return newestFirst(
        actions.values(),
        query,
        (row) => row.timestamp,
        (row) =>
          (query.failureEventId === undefined || row.failureEventId === query.failureEventId) &&
          (query.actionStrategy === undefined || row.actionStrategy === query.actionStrategy) &&
          (query.status === undefined || row.status === query.status) &&
          (query.target === undefined || row.target === query.target) &&
          isWithin(row.timestamp, query.from, query.to),
      );
    },

    async loadCircuits(names) {
      const wanted = names === undefined ? [...circuits.keys()] : [...new Set(names)];
      return wanted.toSorted().flatMap((name) => readCircuit(name) ?? []);
    },

    async commitTransition(snapshot, transition, { earlier = [], at = transition.at } = {}) {
      const now = clock.now();
      const stored = readCircuit(snapshot.name);
      const step = stepOf([...earlier, transition], stored);
      const already = step.told && transitions.get(transitionKey(step.told))?.row;
      if (stored && !follows(step, stored, already)) return { committed: false, stored };
      if (step.untold.length === 0) return { committed: true };
      if (stored && isBarred(stored, transition, now)) return { committed: false, stored };
      circuits.set(snapshot.name, transitioned(stored, snapshot, transition, { at, now }));
      for (const untold of step.untold) {
        const { failureEventId } = untold;
        const row = { ...untold, failureEventId: findFailure(failureEventId ?? "")?.row.eventId ?? failureEventId };
        transitions.set(transitionKey(row), { id: nextId(), row });
      }
      for (const old of oldest(transitions, capacity)) transitions.delete(old);
      return { committed: true };
    },

    async refreshCircuits(snapshots, at) {
      const now = clock.now();
      for (const snapshot of snapshots) {
        const stored = circuits.get(snapshot.name);
        circuits.set(snapshot.name, stored ? refreshed(stored, snapshot, at) : unseen(snapshot, { at, now }));
      }
    },

    async holdCircuit(circuitName, hold, at) {
      const stored = circuits.get(circuitName);
      if (!stored && hold === undefined) return;
      circuits.set(circuitName, held(circuitName, stored, hold, { at, now: clock.now() }));
    },

    async releaseExpiredHolds() {
      const now = clock.now();
      const over = [...circuits.values()].filter(({ held }) => held?.until !== undefined && held.until <= now);
      for (const circuit of over) circuits.set(circuit.name, { ...circuit, held: undefined });
      return over.length;
    },

    async leaseProbes(lease) {
      const stored = readCircuit(lease.circuitName);
      const result = leased(stored, lease, clock.now());
      if (result === undefined) return { leased: false, stored };
      circuits.set(lease.circuitName, result);
      return { leased: true };
    },

    async recordOpinions({ instance, opinions, keepMs }) {
      const now = clock.now();
      for (const [key, { until }] of opinionRows) if (until <= now) opinionRows.delete(key);
      for (const { circuitName, failing } of opinions) {
        opinionRows.set(JSON.stringify([circuitName, instance]), { circuitName, failing, until: now + keepMs });
      }
      return opinions.map(({ circuitName }) => {
        const all = [...opinionRows.values()].filter((opinion) => opinion.circuitName === circuitName);
        return { circuitName, total: all.length, failing: all.filter(({ failing }) => failing).length };
      });
    },

    async listTransitions(query) {
      return newestFirst(
        transitions.values(),
        query,
        (row) => row.at,
        (row) =>
          (query.circuitName === undefined || row.circuitName === query.circuitName) &&
          (query.to === undefined || row.to === query.to) &&
          isWithin(row.at, query.from, query.until),
      );
    },

    async putLastGood(value, { maxEntries }) {
      lastGood.delete(lastGoodKey(value));
      lastGood.set(lastGoodKey(value), value);
      for (const [key, { expiresAt }] of lastGood) if (expiresAt <= value.storedAt) lastGood.delete(key);
      for (const old of oldest(lastGood, Math.min(maxEntries, capacity))) lastGood.delete(old);
    },

    async getLastGood(operation, key) {
      return lastGood.get(lastGoodKey({ operation, key }));
    },

    async recordAudit(entry) {
      const id = nextId();
      audit.set(id, { id, row: entry });
      for (const old of oldest(audit, capacity)) audit.delete(old);
    },

    async listAudit(query) {
      return newestFirst(
        audit.values(),
        query,
        (row) => row.at,
        () => true,
      );
    },

    ...settings.store,
    ...tasks.store,
    ...alerts.store,
    ...maintenance.store,
    ...createMemoryReports({
      actions: () => [...actions.values()].map(({ row }) => row),
      failures: () => [...failures.values()].map(({ row }) => row),
      audit: () => [...audit.values()].map(({ row }) => row),
      tasks: tasks.all,
    }),
  });
}

/** By name, then by what else identifies a series; tags in one order. */
function placeOf({ metricName, metricType, source, tags }: SeriesDescriptor): string {
  return [metricName, metricType, source, JSON.stringify(canonicalTags(tags))].join("\u0000");
}

function isWithin(time: number, from: number | undefined, to: number | undefined): boolean {
  return (from === undefined || time >= from) && (to === undefined || time < to);
}

function transitionKey({ circuitName, version }: CircuitTransition): string {
  return `${version}:${circuitName}`;
}

/** The keys that were inserted first, as many as there are too many. */
function oldest<K>(map: ReadonlyMap<K, unknown>, capacity: number): K[] {
  return map.size <= capacity ? [] : [...map.keys()].slice(0, map.size - capacity);
}

function pruned<K>(rows: Map<K, unknown>, old: readonly (readonly [K, unknown])[], limit: number): number {
  const first = old.slice(0, limit);
  for (const [key] of first) rows.delete(key);
  return first.length;
}

function emptyLevels(): KeptSeries["levels"] {
  return new Map(RESOLUTIONS_MS.map((resolutionMs) => [resolutionMs, new Map()]));
}

function lastGoodKey({ operation, key }: Pick<LastGoodValue, "operation" | "key">): string {
  return JSON.stringify([operation, key]);
}
