/** One structured line for each row of `recovery_actions`; how many lines are too many is the logger's to say. */
import type { RecoveryAction } from "../../shared/recovery.js";
import type { Logger } from "../ports/logger.js";

export function logRecovery(logger: Logger, row: RecoveryAction): void {
  const { actionId, failureEventId, actionType, actionStrategy, status, scope, target, occurrences, dryRun } = row;
  logger.info(
    {
      event: "recovery",
      actionId,
      failureEventId,
      actionType,
      actionStrategy,
      status,
      scope,
      target,
      occurrences,
      durationMs: row.durationMs ?? null,
      dryRun,
    },
    `${actionStrategy} of ${target}: ${status}${dryRun ? " (dry run)" : ""}`,
  );
}
