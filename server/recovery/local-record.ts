/**
 * What an engine keeps by itself when it is given no store: the rows of its own process, bounded, the oldest forgotten
 * first. The same promises as the store port, for as long as the process lives.
 */
import type { FailureEvent } from "../../shared/failure.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import {
  approvedAction,
  barsRepair,
  breaksTerms,
  declinedAction,
  isOpenAction,
  isUnderWay,
  type LeaseTerms,
} from "../../shared/repair-lease.js";
import type { FailureStore, RecoveryStore } from "../ports/store.js";

/** The part of the store that recovery writes to and reads from. */
export type RecoveryRecord = Pick<FailureStore, "recordFailures" | "getFailure" | "resolveQuietFailures"> &
  Pick<
    RecoveryStore,
    | "recordRescues"
    | "leaseRepair"
    | "approveRepair"
    | "declineRepair"
    | "completeRepair"
    | "abandonExpired"
    | "getRecovery"
    | "listRecoveries"
  >;

/** @param options.capacity rows of each kind. @default 1_000 */
export function createLocalRecord({ capacity = 1_000 }: { readonly capacity?: number } = {}): RecoveryRecord {
  const failures = new Map<string, FailureEvent>();
  const openByFingerprint = new Map<string, string>();
  const actions = new Map<string, RecoveryAction>();

  const alike = (action: RecoveryAction) =>
    [...actions.values()].filter(
      (other) =>
        other.failureEventId === action.failureEventId &&
        other.actionStrategy === action.actionStrategy &&
        other.target === action.target &&
        other.dryRun === action.dryRun,
    );
  const isHeldBack = (action: RecoveryAction, terms: LeaseTerms): boolean => {
    const others = [...actions.values()].filter((row) => row.leaseUntil !== undefined && !row.dryRun);
    return (
      alike(action).some(
        (row) => row.actionId !== action.actionId && row.leaseUntil !== undefined && barsRepair(row, terms),
      ) ||
      breaksTerms(
        action.actionId,
        others.filter(({ target }) => target === action.target),
        terms,
      )
    );
  };
  const abandon = (now: number): number => {
    const lapsed = [...actions.values()].filter((row) => isUnderWay(row.status) && (row.leaseUntil ?? now) <= now);
    for (const row of lapsed) actions.set(row.actionId, { ...row, status: "abandoned", completedAt: now });
    return lapsed.length;
  };

  /** What somebody may still act on stays until it ends, or its lease does. */
  const forgetOldest = () => {
    if (actions.size <= capacity) return;
    const ended = [...actions.values()].filter(({ status }) => !isOpenAction(status));
    for (const row of ended.slice(0, actions.size - capacity)) actions.delete(row.actionId);
  };

  return Object.freeze<RecoveryRecord>({
    async recordFailures(sightings) {
      const stored = new Map<string, string>();
      for (const { failure, fingerprint, occurrences, lastSeenAt, instance } of sightings) {
        const eventId = openByFingerprint.get(fingerprint) ?? failure.eventId;
        const before = failures.get(eventId);
        stored.set(failure.eventId, eventId);
        openByFingerprint.set(fingerprint, eventId);
        failures.set(eventId, {
          ...(before ?? {
            ...failure,
            fingerprint,
            instance,
            resolved: false,
            resolvedAt: undefined,
            incidentId: undefined,
          }),
          occurrences: (before?.occurrences ?? 0) + occurrences,
          lastSeenAt: Math.max(before?.lastSeenAt ?? lastSeenAt, lastSeenAt),
        });
      }
      for (const event of oldest(failures, capacity)) {
        failures.delete(event.eventId);
        if (openByFingerprint.get(event.fingerprint) === event.eventId) openByFingerprint.delete(event.fingerprint);
      }
      return stored;
    },
    async getFailure(eventId) {
      return failures.get(eventId);
    },
    async resolveQuietFailures(quietSince, resolvedAt) {
      const quiet = [...failures.values()].filter((event) => !event.resolved && event.lastSeenAt < quietSince);
      for (const event of quiet) {
        failures.set(event.eventId, { ...event, resolved: true, resolvedAt });
        openByFingerprint.delete(event.fingerprint);
      }
      return quiet.length;
    },
    async recordRescues(rescues) {
      for (const action of rescues) {
        if (actions.has(action.actionId)) continue;
        const before = alike(action).find(
          ({ status, leaseUntil }) => status === action.status && leaseUntil === undefined,
        );
        const row = before
          ? {
              ...before,
              occurrences: before.occurrences + action.occurrences,
              lastAt: Math.max(before.lastAt, action.lastAt),
            }
          : action;
        actions.set(row.actionId, row);
      }
      forgetOldest();
    },
    async leaseRepair(action, terms = {}) {
      abandon(action.timestamp);
      if (isHeldBack(action, terms)) return false;
      actions.set(action.actionId, action);
      forgetOldest();
      return true;
    },
    async approveRepair(approval, terms = {}) {
      const row = actions.get(approval.actionId);
      if (row?.status !== "pending_approval") return { approved: false, reason: "not_pending" };
      abandon(approval.at);
      if (isHeldBack(row, terms)) return { approved: false, reason: "barred" };
      const action = approvedAction(row, approval);
      actions.set(action.actionId, action);
      return { approved: true, action };
    },
    async declineRepair({ actionId, ...decline }) {
      const row = actions.get(actionId);
      if (row?.status !== "pending_approval") return false;
      actions.set(actionId, declinedAction(row, decline));
      return true;
    },
    async getRecovery(actionId) {
      return actions.get(actionId);
    },
    async completeRepair({ actionId, status, result, durationMs, completedAt }) {
      const row = actions.get(actionId);
      if (!row || !isUnderWay(row.status)) return false;
      actions.set(actionId, { ...row, status, result, durationMs, completedAt, lastAt: completedAt });
      return true;
    },
    async abandonExpired(now) {
      return abandon(now);
    },
    async listRecoveries(query) {
      const { failureEventId, actionStrategy, status, scope, target, from = 0, to = Number.POSITIVE_INFINITY } = query;
      const items = [...actions.values()]
        .filter(
          (row) =>
            (failureEventId === undefined || row.failureEventId === failureEventId) &&
            (actionStrategy === undefined || row.actionStrategy === actionStrategy) &&
            (status === undefined || row.status === status) &&
            (scope === undefined || row.scope === scope) &&
            (target === undefined || row.target === target) &&
            row.timestamp >= from &&
            row.timestamp < to,
        )
        .reverse()
        .slice(0, query.limit);
      return { items, nextCursor: undefined };
    },
  });
}

/** The rows that were inserted first, as many as there are too many. */
function oldest<T>(rows: ReadonlyMap<string, T>, capacity: number): T[] {
  return rows.size <= capacity ? [] : [...rows.values()].slice(0, rows.size - capacity);
}
