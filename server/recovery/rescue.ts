/**
 * Carries out rescues for whoever hands the engine a failure together with its operation. Guards do the same in their own
 * attempts; here the operation's methods keep the rules of safety, deadline and budget.
 */

import type { Failure } from "../../shared/failure.js";
import { type Plan, type PlanConfig, type PlanHistory, plan } from "../../shared/plan.js";
import {
  NO_STRATEGY,
  type RecoveryStrategy,
  type RescueOperation,
  type StrategyResult,
} from "../../shared/recovery.js";
import { SECOND_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { Journal, RescueRecord } from "../ports/journal.js";
import { type AttemptedStrategy, attemptStrategy, doubtOf } from "./attempt-strategy.js";
import { storable } from "./recovery-rows.js";

export interface AttemptedRescue {
  readonly record: RescueRecord;
  readonly result: StrategyResult;
}

/** What a strategy may take beyond the caller's deadline: a fallback is local and still runs when all else took too long. */
const GRACE_MS = SECOND_MS;

/** Runs strategies until one succeeds or none is left, and journals each. Never rejects. */
export async function rescue(
  failure: Failure,
  operation: RescueOperation,
  {
    clock,
    journal,
    strategyOf,
    config,
  }: {
    readonly clock: Clock;
    readonly journal: Journal;
    readonly strategyOf: (name: string) => RecoveryStrategy | undefined;
    readonly config: PlanConfig;
  },
): Promise<{ readonly plan: Plan; readonly attempts: readonly AttemptedRescue[] }> {
  const tried: string[] = [];
  const attempts: AttemptedRescue[] = [];
  const ended = (record: RescueRecord, result: StrategyResult) => {
    attempts.push({ record, result });
    journal.append({ type: "rescue.ended", rescue: record });
  };
  journal.append({ type: "failure.observed", failure, rescued: false });
  const first = plan(failure, historyOf(failure, operation, tried), config, clock.now());

  for (let planned = first; ; planned = plan(failure, historyOf(failure, operation, tried), config, clock.now())) {
    const strategy = strategyOf(planned.steps[0] ?? NO_STRATEGY);
    if (strategy === undefined || planned.dryRun) {
      if (attempts.length > 0) return { plan: first, attempts };
      const skipped = skippedResult(strategy);
      const refused = Object.fromEntries(planned.refused.map((refusal) => [refusal.strategy, refusal.reason]));
      const record = recordOf(failure, skipped, "skipped", clock.now(), {
        target: failure.affectedService,
        metadata: { refused },
        dryRun: planned.dryRun && strategy !== undefined,
      });
      ended(record, skipped);
      return { plan: first, attempts };
    }
    const leftBefore = operation.targetsLeft;
    const timeoutMs = Math.max(operation.remainingMs(), 0) + GRACE_MS;
    const { status, result } = await attemptVerified(strategy, failure, operation, { clock, timeoutMs });
    const target = operation.target ?? failure.affectedService;
    const metadata = result.metadata ? storable(result.metadata) : undefined;
    const ending = status === "failed" && operation.signal.aborted ? "cancelled" : status;
    ended(recordOf(failure, result, ending, clock.now(), { target, metadata, dryRun: false }), result);
    if (status === "succeeded") {
      journal.append({ type: "failure.observed", failure, rescued: true });
      return { plan: first, attempts };
    }
    // A failover may go on as long as it gets further; everything else has had its chance.
    const gotFurther = strategy.actionType === "failover" && operation.targetsLeft < leftBefore;
    if (!gotFurther) tried.push(strategy.name);
  }
}

/** As with a repair, success is what its own verification says too. */
async function attemptVerified(
  strategy: RecoveryStrategy,
  failure: Failure,
  operation: RescueOperation,
  options: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<AttemptedStrategy> {
  const attempted = await attemptStrategy(strategy, failure, operation, options);
  if (attempted.status !== "succeeded" || strategy.verify === undefined) return attempted;
  const doubt = await doubtOf(options.clock, options.timeoutMs, async () => strategy.verify?.(failure));
  if (doubt === undefined) return attempted;
  const { value: _unconfirmed, ...result } = attempted.result;
  return { status: "failed", result: { ...result, success: false, message: `${result.message}; ${doubt}` } };
}

function historyOf(failure: Failure, operation: RescueOperation, tried: readonly string[]): PlanHistory {
  const hold = failure.context?.holdMs;
  return {
    scope: "call",
    tried,
    targetsLeft: operation.targetsLeft,
    hasFallback: operation.hasFallback,
    idempotent: true,
    nothingSent: false,
    outputDelivered: false,
    aborted: operation.signal.aborted,
    remainingMs: operation.remainingMs(),
    holdMs: typeof hold === "number" ? hold : undefined,
    retryable: true,
    failover: true,
    budgetLeft: true,
  };
}

function skippedResult(strategy: RecoveryStrategy | undefined): StrategyResult {
  return {
    success: false,
    actionType: strategy?.actionType ?? "custom",
    actionStrategy: strategy?.name ?? NO_STRATEGY,
    durationMs: 0,
    message: strategy ? "the mode decides and records only" : "no strategy applies",
  };
}

function recordOf(
  failure: Failure,
  { actionType, actionStrategy, durationMs, message }: StrategyResult,
  status: RescueRecord["status"],
  timestamp: number,
  rest: Pick<RescueRecord, "target" | "metadata" | "dryRun">,
): RescueRecord {
  return {
    failureEventId: failure.eventId,
    timestamp,
    actionType,
    actionStrategy,
    status,
    durationMs,
    message,
    ...rest,
  };
}
