/** When a repair is under way, when it was carried out, and what a lease must say: the same for every store. */
import { ParamedicError } from "./errors.js";
import type { ActionStatus, RecoveryAction } from "./recovery.js";

/** What else must be so for a repair to begin; read in the transaction that writes its row, so that it holds over all instances. */
export interface LeaseTerms {
  /** A repair that was carried out for the same failure and ended before this bars no other. @default each bars another */
  readonly endedBefore?: number | undefined;
  /** No other repair of the target may be under way. @default false */
  readonly alone?: boolean | undefined;
  /** Fewer than `most` repairs of the target, by one strategy or by any, may have begun since. */
  readonly limits?: readonly RepairLimit[] | undefined;
}

export interface RepairLimit {
  /** @default any */
  readonly strategy?: string | undefined;
  /** UTC milliseconds. */
  readonly since: number;
  readonly most: number;
}

export const UNDER_WAY = ["initiated", "in_progress"] as const satisfies readonly ActionStatus[];

export function isUnderWay(status: ActionStatus): boolean {
  return UNDER_WAY.some((known) => known === status);
}

/** Its effect was had, or at least tried: the same repair of the same failure does not run twice. */
const CARRIED_OUT = ["succeeded", "failed", "rolled_back", "timed_out"] as const satisfies readonly ActionStatus[];

/** An instance that wants the same repair of the same failure must let it be. */
export function barsRepair({ status, completedAt }: EndedRepair, { endedBefore }: LeaseTerms = {}): boolean {
  if (isUnderWay(status)) return true;
  const isOver = endedBefore !== undefined && (completedAt ?? endedBefore) < endedBefore;
  return !isOver && CARRIED_OUT.some((known) => known === status);
}

type EndedRepair = Pick<RecoveryAction, "status"> & { readonly completedAt: number | null | undefined };

/** Repairs of one target, leased and not only tried out, as far as the terms ask about them. */
export type TargetRepair = Pick<RecoveryAction, "actionId" | "actionStrategy" | "status" | "timestamp">;

/** Whether the other repairs of its target speak against one more. */
export function breaksTerms(actionId: string, repairs: readonly TargetRepair[], terms: LeaseTerms): boolean {
  const others = repairs.filter((repair) => repair.actionId !== actionId);
  if (terms.alone === true && others.some(({ status }) => isUnderWay(status))) return true;
  return (terms.limits ?? []).some(({ strategy, since, most }) => {
    const begun = others.filter(
      (repair) =>
        repair.timestamp > since &&
        (strategy === undefined || repair.actionStrategy === strategy) &&
        (isUnderWay(repair.status) || repair.status === "abandoned" || barsRepair({ ...repair, completedAt: null })),
    );
    return begun.length >= most;
  });
}

/** From when on the terms ask about repairs that have ended. */
export function termsReachBackTo({ limits = [] }: LeaseTerms): number {
  return Math.min(...limits.map(({ since }) => since), Number.MAX_SAFE_INTEGER);
}

export function hasTerms({ alone, limits = [] }: LeaseTerms): boolean {
  return alone === true || limits.length > 0;
}

/** A repair that waited for an operator, as it begins. */
export function approvedAction(
  action: RecoveryAction,
  { approvedBy, instance, at, leaseUntil }: { approvedBy: string; instance: string; at: number; leaseUntil: number },
): RecoveryAction {
  return {
    ...action,
    status: "in_progress",
    timestamp: at,
    lastAt: at,
    leaseUntil,
    instance,
    completedAt: undefined,
    parameters: { ...action.parameters, approvedBy, requestedAt: action.timestamp },
  };
}

/** One that ends without its effect. Its lease is over as soon as it begins, so that no later one folds into it. */
export function declinedAction(
  action: RecoveryAction,
  { status, at, result }: Pick<RecoveryAction, "status" | "result"> & { readonly at: number },
): RecoveryAction {
  return { ...action, status, result: { ...action.result, ...result }, completedAt: at, lastAt: at, leaseUntil: at };
}

/** @throws ParamedicError STORE_REQUEST_INVALID without the time until which the repair is held */
export function checkLease(action: RecoveryAction): void {
  if (action.leaseUntil !== undefined && isUnderWay(action.status)) return;
  throw new ParamedicError(
    "STORE_REQUEST_INVALID",
    `the repair ${action.actionStrategy} of ${action.target} cannot be held: its status must be ${UNDER_WAY.join(" or ")} and leaseUntil set`,
  );
}

/** Somebody may still act on it: retention leaves it. */
export function isOpenAction(status: ActionStatus): boolean {
  return OPEN_ACTIONS.some((known) => known === status);
}

export const OPEN_ACTIONS = ["pending_approval", ...UNDER_WAY] as const satisfies readonly ActionStatus[];
