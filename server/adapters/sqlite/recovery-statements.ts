/** Writes rescues and leases repairs, in whatever transaction is open. */
import { and, eq, inArray, isNotNull, isNull, lte, sql } from "drizzle-orm";
import { recoveryActions } from "../../../drizzle/self-healing-schema.js";
import type { ActionStatus, RecoveryAction } from "../../../shared/recovery.js";
import type { RecoveryStore } from "../../ports/store.js";
import { foldRescue } from "../folding.js";
import { barsRepair, checkLease, isUnderWay } from "../recovery-leases.js";
import { recoveryActionOf, recoveryRowOf } from "../recovery-rows.js";
import type { FailureStatements } from "./failure-statements.js";
import { prepareInsert } from "./prepared-row.js";
import { createReceiptStatements } from "./receipt-statements.js";
import type { Db } from "./sqlite-connection.js";

export type RepairCompletion = Parameters<RecoveryStore["completeRepair"]>[0];

export interface RecoveryStatements {
  recordRescues(actions: readonly RecoveryAction[], now: number): void;
  leaseRepair(action: RecoveryAction, now: number): boolean;
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
    .select({ status: recoveryActions.status, dryRun: recoveryActions.dryRun })
    .from(recoveryActions)
    .where(and(sameWork, isNotNull(recoveryActions.leaseUntil)))
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

    leaseRepair(given, now) {
      checkLease(given);
      const action = { ...given, failureEventId: failures.mustStoredIdOf(given.failureEventId) };
      const own = get(action.actionId);
      if (own) return isUnderWay(own.status);
      abandon.run({ now: action.timestamp });
      const { failureEventId, actionStrategy, target } = action;
      const others = findRepairs.all({ failureEventId, actionStrategy, target });
      if (others.some(({ status, dryRun }) => dryRun === action.dryRun && barsRepair(status))) return false;
      insertAction(recoveryRowOf(action, now));
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
