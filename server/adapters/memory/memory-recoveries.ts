/** Recovery actions in a map: a rescue folds into the row of its like, a repair has a lease of its own. */
import { ParamedicError } from "../../../shared/errors.js";
import type { FailureEvent } from "../../../shared/failure.js";
import type { RecoveryAction } from "../../../shared/recovery.js";
import {
  approvedAction,
  barsRepair,
  breaksTerms,
  checkLease,
  declinedAction,
  isOpenAction,
  isUnderWay,
  type LeaseTerms,
} from "../../../shared/repair-lease.js";
import type { Clock } from "../../ports/clock.js";
import type { RecoveryStore } from "../../ports/store.js";
import { foldRescue } from "../folding.js";
import { createMemoryReceipts } from "./memory-receipts.js";
import { forgetOldest, isWithin, type Kept, newestFirst, prune, type Slice } from "./memory-rows.js";

export interface MemoryRecoveriesDeps {
  readonly clock: Clock;
  readonly nextId: () => number;
  /** The event of an id, or that into which it was folded. */
  readonly findFailure: (eventId: string) => FailureEvent | undefined;
}

export interface MemoryRecoveries {
  readonly store: RecoveryStore;
  all(): readonly RecoveryAction[];
  hasActionsOf(failureEventId: string): boolean;
  forgetActionsOf(failureEventId: string): void;
  prune(slice: Slice): number;
}

export function createMemoryRecoveries(deps: MemoryRecoveriesDeps, capacity: number): MemoryRecoveries {
  const { clock, nextId, findFailure } = deps;
  const actions = new Map<string, Kept<RecoveryAction>>();
  const receipts = createMemoryReceipts({ clock });

  const all = () => [...actions.values()].map(({ row }) => row);
  const put = (id: number, row: RecoveryAction) => void actions.set(row.actionId, { id, row });

  const storedFailureOf = ({ failureEventId }: RecoveryAction): string => {
    const found = findFailure(failureEventId);
    if (found) return found.eventId;
    throw new ParamedicError(
      "STORE_REQUEST_INVALID",
      `the failure event ${failureEventId} is not stored: record the failure before its recovery actions`,
    );
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
    const ofTarget = all().filter((row) => row.target === action.target && row.leaseUntil !== undefined && !row.dryRun);
    return breaksTerms(actionId, ofTarget, terms);
  };

  const abandon = (now: number): number => {
    const expired = [...actions.values()].filter(
      ({ row }) => isUnderWay(row.status) && row.leaseUntil !== undefined && row.leaseUntil <= now,
    );
    for (const { id, row } of expired) put(id, { ...row, status: "abandoned", completedAt: now });
    return expired.length;
  };

  return {
    all,
    hasActionsOf: (failureEventId) => all().some((row) => row.failureEventId === failureEventId),
    forgetActionsOf(failureEventId) {
      for (const row of all()) if (row.failureEventId === failureEventId) actions.delete(row.actionId);
    },
    store: {
      async recordRescues(rescues) {
        const known = rescues.map((action) => ({ ...action, failureEventId: storedFailureOf(action) }));
        for (const action of known) {
          const { actionId, occurrences } = action;
          const receipt = receipts.get(actionId);
          const stored =
            actions.get(receipt?.storedId ?? actionId) ??
            actionsLike(action, action.failureEventId).find(
              ({ row }) => row.status === action.status && row.leaseUntil === undefined,
            );
          if (!stored) {
            put(nextId(), { ...action, leaseUntil: undefined });
          } else if (receipt || stored.row.actionId !== actionId) {
            const added = receipts.uncounted(actionId, occurrences);
            if (added > 0) put(stored.id, foldRescue(stored.row, action, added));
          }
          receipts.put(actionId, { storedId: stored?.row.actionId ?? actionId, occurrences });
        }
        receipts.prune();
        forgetOldest(actions, capacity);
      },
      async leaseRepair(action, terms = {}) {
        checkLease(action);
        const leased = { ...action, failureEventId: storedFailureOf(action) };
        const own = actions.get(action.actionId);
        if (own) return isUnderWay(own.row.status);
        abandon(action.timestamp);
        if (isHeldBack(leased, terms)) return false;
        put(nextId(), leased);
        return true;
      },
      async approveRepair(approval, terms = {}) {
        const found = actions.get(approval.actionId);
        if (found?.row.status !== "pending_approval") return { approved: false, reason: "not_pending" };
        abandon(approval.at);
        if (isHeldBack(found.row, terms)) return { approved: false, reason: "barred" };
        const begun = approvedAction(found.row, approval);
        put(found.id, begun);
        return { approved: true, action: begun };
      },
      async declineRepair({ actionId, ...decline }) {
        const found = actions.get(actionId);
        if (found?.row.status !== "pending_approval") return false;
        put(found.id, declinedAction(found.row, decline));
        return true;
      },
      async completeRepair({ actionId, status, result, durationMs, completedAt }) {
        const found = actions.get(actionId);
        if (!found) return false;
        if (!isUnderWay(found.row.status)) return found.row.status === status && found.row.completedAt === completedAt;
        put(found.id, { ...found.row, status, result, durationMs, completedAt, lastAt: completedAt });
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
            (query.scope === undefined || row.scope === query.scope) &&
            (query.target === undefined || row.target === query.target) &&
            isWithin(row.timestamp, query.from, query.to),
        );
      },
    },
    prune({ before, limit }) {
      const isOld = ({ row }: Kept<RecoveryAction>) =>
        row.timestamp < before &&
        row.lastAt < before &&
        !isOpenAction(row.status) &&
        findFailure(row.failureEventId)?.resolved === true;
      return prune(actions, limit, isOld);
    },
  };
}
