/** The two ends of a call-scoped strategy that asks the operation once: what it got, or why not. */
import type { Failure } from "../../shared/failure.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import type { Clock } from "../ports/clock.js";

/** Why a call-scoped strategy without an operation does nothing: there is no work to run, and none is made up. */
export function needsOperation(verb: string): string {
  return `nothing to ${verb}: the failure came without its operation`;
}

/**
 * Runs one way of the operation and reports it under the strategy's name, with the target that was asked. The error is kept
 * by reference, so that the caller gets the very one that the target threw.
 */
export async function runOnce(
  strategy: RecoveryStrategy & { readonly actionType: StrategyResult["actionType"] },
  failure: Failure,
  operation: RescueOperation | undefined,
  way: (operation: RescueOperation) => Promise<unknown>,
  { clock, succeeded, failed }: { readonly clock: Clock; readonly succeeded: string; readonly failed: string },
): Promise<StrategyResult> {
  const startedAt = clock.monotonic();
  const ended = (outcome: Pick<StrategyResult, "success" | "message" | "value" | "error">): StrategyResult => ({
    ...outcome,
    actionType: strategy.actionType,
    actionStrategy: strategy.name,
    durationMs: clock.monotonic() - startedAt,
    metadata: { from: failure.affectedService, target: operation?.target ?? null },
  });
  if (!operation) return ended({ success: false, message: needsOperation(strategy.actionType) });
  try {
    return ended({ success: true, message: succeeded, value: await way(operation) });
  } catch (error) {
    return ended({ success: false, message: failed, error });
  }
}
