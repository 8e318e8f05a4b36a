/** Writes rescues and leases repairs, in the transaction of `db`. */
import { and, eq, gt, inArray, isNotNull, isNull, lte, or } from "drizzle-orm";
import { recoveryActions } from "../../../drizzle/postgres/self-healing-schema.js";
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
import { mustStoredIdOf } from "./failure-statements.js";
import type { Db } from "./postgres-connection.js";
import { findReceipt, pruneReceipts, putReceipt } from "./receipt-statements.js";

export async function recordRescues(db: Db, actions: readonly RecoveryAction[], now: number): Promise<void> {
  for (const action of actions) await recordRescue(db, action, now);
  await pruneReceipts(db, now);
}

async function recordRescue(db: Db, given: RecoveryAction, now: number): Promise<void> {
  const action = {
    ...given,
    failureEventId: await mustStoredIdOf(db, given.failureEventId),
    leaseUntil: undefined,
  };
  const { actionId } = action;
  const receipt = await findReceipt(db, "rescue", actionId);
  if (!receipt && (await findAction(db, actionId))) return;
  const row = receipt ? await findAction(db, receipt.storedId) : await findSameRescue(db, action);
  const added = action.occurrences - (receipt?.counted ?? 0);
  if (!row) await insertAction(db, action, now);
  else if (added > 0) await updateAction(db, foldRescue(row, action, added));
  const counted = Math.max(action.occurrences, receipt?.counted ?? 0);
  await putReceipt(db, "rescue", actionId, { storedId: row?.actionId ?? actionId, counted }, now);
}

export async function leaseRepair(db: Db, given: RecoveryAction, terms: LeaseTerms, now: number): Promise<boolean> {
  checkLease(given);
  const action = { ...given, failureEventId: await mustStoredIdOf(db, given.failureEventId) };
  const own = await findAction(db, action.actionId);
  if (own) return isUnderWay(own.status);
  await abandonExpired(db, action.timestamp);
  if (await isBarred(db, action, terms)) return false;
  await insertAction(db, action, now);
  return true;
}

export async function approveRepair(
  db: Db,
  approval: Parameters<RecoveryStore["approveRepair"]>[0],
  terms: LeaseTerms,
): Promise<ApprovalOutcome> {
  const action = await findAction(db, approval.actionId);
  if (action?.status !== "pending_approval") return { approved: false, reason: "not_pending" };
  await abandonExpired(db, approval.at);
  if (await isBarred(db, action, terms)) return { approved: false, reason: "barred" };
  const begun = approvedAction(action, approval);
  await moveAction(db, begun);
  return { approved: true, action: begun };
}

export async function declineRepair(
  db: Db,
  { actionId, ...decline }: Parameters<RecoveryStore["declineRepair"]>[0],
): Promise<boolean> {
  const action = await findAction(db, actionId);
  if (action?.status !== "pending_approval") return false;
  await moveAction(db, declinedAction(action, decline));
  return true;
}

async function isBarred(db: Db, action: RecoveryAction, terms: LeaseTerms): Promise<boolean> {
  const others = await db
    .select({
      actionId: recoveryActions.actionId,
      status: recoveryActions.status,
      dryRun: recoveryActions.dryRun,
      completedAt: recoveryActions.completedAt,
    })
    .from(recoveryActions)
    .where(and(sameWork(action), isNotNull(recoveryActions.leaseUntil)));
  const alike = others.filter((other) => other.actionId !== action.actionId && other.dryRun === action.dryRun);
  if (alike.some((other) => barsRepair(other, terms))) return true;
  if (!hasTerms(terms)) return false;
  const ofTarget = await db
    .select({
      actionId: recoveryActions.actionId,
      actionStrategy: recoveryActions.actionStrategy,
      status: recoveryActions.status,
      timestamp: recoveryActions.timestamp,
    })
    .from(recoveryActions)
    .where(
      and(
        eq(recoveryActions.target, action.target),
        isNotNull(recoveryActions.leaseUntil),
        eq(recoveryActions.dryRun, false),
        or(gt(recoveryActions.timestamp, termsReachBackTo(terms)), inArray(recoveryActions.status, [...UNDER_WAY])),
      ),
    );
  return breaksTerms(action.actionId, ofTarget, terms);
}

export async function completeRepair(
  db: Db,
  { actionId, status, result, durationMs, completedAt }: Parameters<RecoveryStore["completeRepair"]>[0],
): Promise<boolean> {
  const action = await findAction(db, actionId);
  if (!action) return false;
  if (!isUnderWay(action.status)) return action.status === status && action.completedAt === completedAt;
  await updateAction(db, { ...action, status, result, durationMs, completedAt, lastAt: completedAt });
  return true;
}

export async function abandonExpired(db: Db, now: number): Promise<number> {
  const abandoned = await db
    .update(recoveryActions)
    .set({ status: "abandoned", completedAt: now })
    .where(
      and(
        inArray(recoveryActions.status, ["initiated", "in_progress"] satisfies ActionStatus[]),
        lte(recoveryActions.leaseUntil, now),
      ),
    )
    .returning({ id: recoveryActions.id });
  return abandoned.length;
}

async function findAction(db: Db, actionId: string): Promise<RecoveryAction | undefined> {
  const [row] = await db.select().from(recoveryActions).where(eq(recoveryActions.actionId, actionId));
  return row && recoveryActionOf(row);
}

async function findSameRescue(db: Db, action: RecoveryAction): Promise<RecoveryAction | undefined> {
  const [row] = await db
    .select()
    .from(recoveryActions)
    .where(
      and(
        sameWork(action),
        eq(recoveryActions.status, action.status),
        eq(recoveryActions.dryRun, action.dryRun),
        isNull(recoveryActions.leaseUntil),
      ),
    );
  return row && recoveryActionOf(row);
}

function sameWork({ failureEventId, actionStrategy, target }: RecoveryAction) {
  return and(
    eq(recoveryActions.failureEventId, failureEventId),
    eq(recoveryActions.actionStrategy, actionStrategy),
    eq(recoveryActions.target, target),
  );
}

async function insertAction(db: Db, action: RecoveryAction, now: number): Promise<void> {
  await db.insert(recoveryActions).values(recoveryRowOf(action, now));
}

/** What repeats and an end move; all else stays as it was begun. */
async function updateAction(
  db: Db,
  { actionId, status, result, durationMs, completedAt, occurrences, lastAt }: RecoveryAction,
): Promise<void> {
  await db
    .update(recoveryActions)
    .set({
      status,
      occurrences,
      lastAt,
      result: result ?? null,
      durationMs: durationMs ?? null,
      completedAt: completedAt ?? null,
    })
    .where(eq(recoveryActions.actionId, actionId));
}

/** What beginning after an approval, or ending without one, moves. */
async function moveAction(
  db: Db,
  { actionId, status, timestamp, parameters, result, completedAt, lastAt, leaseUntil, instance }: RecoveryAction,
): Promise<void> {
  await db
    .update(recoveryActions)
    .set({
      status,
      timestamp,
      lastAt,
      instance,
      parameters: parameters ?? null,
      result: result ?? null,
      completedAt: completedAt ?? null,
      leaseUntil: leaseUntil ?? null,
    })
    .where(eq(recoveryActions.actionId, actionId));
}
