/** When a repair is under way, when it was carried out, and what a lease must say: the same for every store. */
import { ParamedicError } from "../../shared/errors.js";
import type { ActionStatus, RecoveryAction } from "../../shared/recovery.js";

export const UNDER_WAY = ["initiated", "in_progress"] as const satisfies readonly ActionStatus[];

export function isUnderWay(status: ActionStatus): boolean {
  return UNDER_WAY.some((known) => known === status);
}

/** Its effect was had, or at least tried: the same repair of the same failure does not run twice. */
const CARRIED_OUT = ["succeeded", "failed", "rolled_back", "timed_out"] as const satisfies readonly ActionStatus[];

/** An instance that wants the same repair of the same failure must let it be. */
export function barsRepair(status: ActionStatus): boolean {
  return isUnderWay(status) || CARRIED_OUT.some((known) => known === status);
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
