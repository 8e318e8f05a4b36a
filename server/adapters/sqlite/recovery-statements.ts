/** Writes rescues and leases repairs, in whatever transaction is open. */
import { and, eq, gt, inArray, isNotNull, isNull, lte, or, sql } from "drizzle-orm";
import { recoveryActions } from "../../../drizzle/self-healing-schema.js";
import type { ActionStatus, RecoveryAction } from "../../../shared/recovery.js";
import {
  approvedAction,
  barsRepair,
  breaksTerms,
  checkLease,
  declinedAction,
  hasTerms,
  isUnderWay,
  type LeaseTerms,
  termsReachBackTo,
  UNDER_WAY,
} from "../../../shared/repair-lease.js";
import type { ApprovalOutcome, RecoveryStore } from "../../ports/store.js";
import { foldRescue } from "../folding.js";
import { recoveryActionOf, recoveryRowOf } from "../recovery-rows.js";
import type { FailureStatements } from "./failure-statements.js";
import { prepareInsert } from "./prepared-row.js";
import { createReceiptStatements } from "./receipt-statements.js";
import type { Db } from "./sqlite-connection.js";

export type RepairCompletion = Parameters<RecoveryStore["completeRepair"]>[0];

export type RepairApproval = Parameters<RecoveryStore["approveRepair"]>[0];
export type RepairDecline = Parameters<RecoveryStore["declineRepair"]>[0];

export interface RecoveryStatements {
  recordRescues(actions: readonly RecoveryAction[], now: number): void;
  leaseRepair(action: RecoveryAction, terms: LeaseTerms, now: number): boolean;
  approveRepair(approval: RepairApproval, terms: LeaseTerms): ApprovalOutcome;
  declineRepair(decline: RepairDecline): boolean;
  completeRepair(completion: RepairCompletion): boolean;
  abandonExpired(now: number): number;
}

export function createRecoveryStatements(db: Db, failures: FailureStatements): RecoveryStatements {
  const receipts = createReceiptStatements(db, "rescue");
  const insertAction = prepareInsert(db, recoveryActions);
  const putAction = prepareInsert(db, recoveryActions, {
    target: [recoveryActions.actionId],
    set: ["status", "result", "durationMs", "completedAt", "occurrences", "lastAt"],
  });
  const moveAction = prepareInsert(db, recoveryActions, {
    target: [recoveryActions.actionId],
    set: ["status", "timestamp", "parameters", "result", "completedAt", "lastAt", "leaseUntil", "instance"],
  });

  const findAction = db
    .select()
    .from(recoveryActions)
    .where(eq(recoveryActions.actionId, sql.placeholder("actionId")))
    .prepare();
  const sameWork = and(
    eq(recoveryActions.failureEventId, sql.placeholder("failureEventId")),
    eq(recoveryActions.actionStrategy, sql.placeholder("actionStrategy")),
    eq(recoveryActions.target, sql.placeholder("target")),
  );
  const findRescue = db
    .select()
    .from(recoveryActions)
    .where(
      and(
        sameWork,
        eq(recoveryActions.status, sql.placeholder("status")),
        eq(recoveryActions.dryRun, sql`${sql.placeholder("dryRun")}`),
        isNull(recoveryActions.leaseUntil),
      ),
    )
    .prepare();
  const findRepairs = db
    .select({
      actionId: recoveryActions.actionId,
      status: recoveryActions.status,
      dryRun: recoveryActions.dryRun,
      completedAt: recoveryActions.completedAt,
    })
    .from(recoveryActions)
    .where(and(sameWork, isNotNull(recoveryActions.leaseUntil)))
    .prepare();
  const findOfTarget = db
    .select({
      actionId: recoveryActions.actionId,
      actionStrategy: recoveryActions.actionStrategy,
      status: recoveryActions.status,
      timestamp: recoveryActions.timestamp,
    })
    .from(recoveryActions)
    .where(
      and(
        eq(recoveryActions.target, sql.placeholder("target")),
        isNotNull(recoveryActions.leaseUntil),
        eq(recoveryActions.dryRun, false),
        or(gt(recoveryActions.timestamp, sql.placeholder("since")), inArray(recoveryActions.status, [...UNDER_WAY])),
      ),
    )
    .prepare();
  const abandon = db
    .update(recoveryActions)
    .set({ status: "abandoned", completedAt: sql`${sql.placeholder("now")}` })
    .where(
      and(
        inArray(recoveryActions.status, ["initiated", "in_progress"] satisfies ActionStatus[]),
        lte(recoveryActions.leaseUntil, sql.placeholder("now")),
      ),
    )
    .prepare();

  const get = (actionId: string): RecoveryAction | undefined => {
    const row = findAction.get({ actionId });
    return row && recoveryActionOf(row);
  };

  const isBarred = (action: RecoveryAction, terms: LeaseTerms): boolean => {
    const { actionId, failureEventId, actionStrategy, target } = action;
    const others = findRepairs
      .all({ failureEventId, actionStrategy, target })
      .filter((other) => other.actionId !== actionId && other.dryRun === action.dryRun);
    if (others.some((other) => barsRepair(other, terms))) return true;
    if (!hasTerms(terms)) return false;
    return breaksTerms(actionId, findOfTarget.all({ target, since: termsReachBackTo(terms) }), terms);
  };

  const recordRescue = (given: RecoveryAction, now: number) => {
    const action = { ...given, failureEventId: failures.mustStoredIdOf(given.failureEventId), leaseUntil: undefined };
    const { actionId, failureEventId, actionStrategy, target, status } = action;
    const receipt = receipts.find(actionId);
    if (!receipt && get(actionId)) return;
    const found = findRescue.get({ failureEventId, actionStrategy, target, status, dryRun: action.dryRun ? 1 : 0 });
    const row = receipt ? get(receipt.storedId) : found && recoveryActionOf(found);
    const added = action.occurrences - (receipt?.counted ?? 0);
    if (!row) insertAction(recoveryRowOf(action, now));
    else if (added > 0) putAction(recoveryRowOf(foldRescue(row, action, added), now));
    const counted = Math.max(action.occurrences, receipt?.counted ?? 0);
    receipts.put(actionId, { storedId: row?.actionId ?? actionId, counted }, now);
  };

  return {
    recordRescues(actions, now) {
      for (const action of actions) recordRescue(action, now);
      receipts.prune(now);
    },

    leaseRepair(given, terms, now) {
      checkLease(given);
      const action = { ...given, failureEventId: failures.mustStoredIdOf(given.failureEventId) };
      const own = get(action.actionId);
      if (own) return isUnderWay(own.status);
      abandon.run({ now: action.timestamp });
      if (isBarred(action, terms)) return false;
      insertAction(recoveryRowOf(action, now));
      return true;
    },

    approveRepair(approval, terms) {
      const { actionId, at } = approval;
      const action = get(actionId);
      if (action?.status !== "pending_approval") return { approved: false, reason: "not_pending" };
      abandon.run({ now: at });
      if (isBarred(action, terms)) return { approved: false, reason: "barred" };
      const begun = approvedAction(action, approval);
      moveAction(recoveryRowOf(begun, at));
      return { approved: true, action: begun };
    },

    declineRepair({ actionId, ...decline }) {
      const action = get(actionId);
      if (action?.status !== "pending_approval") return false;
      moveAction(recoveryRowOf(declinedAction(action, decline), decline.at));
      return true;
    },

    completeRepair({ actionId, status, result, durationMs, completedAt }) {
      const action = get(actionId);
      if (!action) return false;
      if (!isUnderWay(action.status)) return action.status === status && action.completedAt === completedAt;
      putAction(
        recoveryRowOf({ ...action, status, result, durationMs, completedAt, lastAt: completedAt }, completedAt),
      );
      return true;
    },

    abandonExpired: (now) => abandon.run({ now }).changes,
  };
}
