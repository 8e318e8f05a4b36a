/** Whether a service may be repaired now, by what was done to it lately on all instances. Pure. */
import type { ActionStatus, RecoveryAction } from "../../shared/recovery.js";
import type { RepairGate } from "../ports/operator-control.js";

export interface RepairGateOptions {
  readonly repairCooldownMs: number;
  readonly maxRepairsPerWindow: number;
  readonly repairWindowMs: number;
}

/** @param rows recovery actions of one target */
export function repairGate(rows: readonly RecoveryAction[], now: number, options: RepairGateOptions): RepairGate {
  const repairs = rows.filter(isRepair);
  if (repairs.some((row) => isUnderWay(row) && (row.leaseUntil ?? 0) > now)) return "busy";
  const settlesAfter = now - options.repairCooldownMs;
  if (repairs.some((row) => row.status === "succeeded" && (row.completedAt ?? row.timestamp) > settlesAfter)) {
    return "settling";
  }
  const inWindow = repairs.filter((row) => row.timestamp > now - options.repairWindowMs);
  return inWindow.length >= options.maxRepairsPerWindow ? "budget_spent" : "free";
}

/** Something that was really done to the service from behind; a circuit that opened by itself is not the engine's doing. */
function isRepair(row: RecoveryAction): boolean {
  return row.scope === "service" && !row.dryRun && row.triggeredBy !== "guard" && !NEVER_BEGUN.has(row.status);
}

const NEVER_BEGUN: ReadonlySet<ActionStatus> = new Set(["skipped", "pending_approval", "expired", "cancelled"]);

function isUnderWay({ status }: RecoveryAction): boolean {
  return status === "initiated" || status === "in_progress";
}
