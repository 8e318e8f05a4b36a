/** What the plan of a repair is made from: strategies as operators allow them, and rows as the past they tell. Pure but for `appliesTo`. */

import type { PastRepair } from "../../shared/escalation.js";
import type { Failure } from "../../shared/failure.js";
import type { ModePermits } from "../../shared/mode.js";
import { type Plan, type PlanConfig, plan } from "../../shared/plan.js";
import type { RecoveryAction, RecoveryStrategy } from "../../shared/recovery.js";
import { ENGINE, judgePolicy, type PolicyVerdict, type RecoveryPolicy } from "../../shared/recovery-policy.js";
import type { LeaseTerms } from "../../shared/repair-lease.js";
import { type RepairGateOptions, repairGate } from "./repair-gate.js";
import { describeStrategies } from "./strategy-registry.js";

export interface RepairPlanningDeps {
  readonly strategies: () => readonly RecoveryStrategy[];
  readonly permits: (service: string) => ModePermits;
  readonly isEnabled: (strategyName: string) => boolean;
  /** Announced work is under way on a service: its repairs rest. */
  readonly inMaintenance: (service: string, now: number) => boolean;
  readonly onFault: (error: unknown) => void;
}

export interface RepairPlanningOptions extends RepairGateOptions {
  readonly escalateAfter: number;
  readonly policies: readonly RecoveryPolicy[];
}

/** What is known of one service before it is repaired. */
export interface ServiceHistory {
  /** Rows of the service and of whatever else its strategies act upon, newest first. */
  readonly rows: readonly RecoveryAction[];
  readonly stopped: boolean;
}

export interface RepairPlanning {
  planConfig(failure: Failure, now: number, by?: string): PlanConfig;
  planRepair(failure: Failure, history: ServiceHistory, now: number): Plan;
  policyOf(strategy: RecoveryStrategy, service: string, now: number, by: string): PolicyVerdict;
  /** What must hold over all instances when `strategy` begins. */
  termsOf(
    strategy: RecoveryStrategy,
    failure: Failure,
    seen: { readonly now: number; readonly lastSeenAt: number },
  ): LeaseTerms;
}

export function createRepairPlanning(
  { strategies, permits, isEnabled, inMaintenance, onFault }: RepairPlanningDeps,
  options: RepairPlanningOptions,
): RepairPlanning {
  const policyOf = (strategy: RecoveryStrategy, service: string, now: number, by: string): PolicyVerdict =>
    judgePolicy(options.policies, {
      service,
      strategy: strategy.name,
      by,
      inMaintenance: inMaintenance(service, now),
      asksForApproval: strategy.needsApproval === true,
      now,
    });

  const planConfig = (failure: Failure, now: number, by = ENGINE): PlanConfig => ({
    strategies: describeStrategies(strategies(), failure, {
      isEnabled,
      policyOf: (strategy) => policyOf(strategy, failure.affectedService, now, by),
      onFault,
    }),
    permits: permits(failure.affectedService),
    minRetryMs: 0,
    repairCooldownMs: options.repairCooldownMs,
    escalation: { failuresPerLevel: options.escalateAfter, windowMs: options.repairWindowMs },
  });

  return Object.freeze<RepairPlanning>({
    planConfig,
    policyOf,
    planRepair(failure, { rows, stopped }, now) {
      const ofService = rows.filter(({ target }) => target === failure.affectedService);
      const budgetSpent = repairGate(ofService, now, options) === "budget_spent";
      const repairs = rows.filter(isPastRepair).map((row) => pastRepairOf(row, failure));
      return plan(failure, { scope: "service", repairs, stopped, budgetSpent }, planConfig(failure, now), now);
    },
    termsOf(strategy, failure, { now, lastSeenAt }) {
      const { limit } = withLimit(policyOf(strategy, failure.affectedService, now, ENGINE));
      const own = [limit, strategy.limit].flatMap((one) =>
        one === undefined ? [] : [{ strategy: strategy.name, since: now - one.windowMs, most: one.most }],
      );
      const since = now - options.repairWindowMs;
      const endedBefore = Math.min(now - (strategy.cooldownMs ?? options.repairCooldownMs), lastSeenAt);
      if (strategy.level === "human") return { endedBefore, limits: own };
      return { endedBefore, alone: true, limits: [...own, { since, most: options.maxRepairsPerWindow }] };
    },
  });
}

function withLimit(verdict: PolicyVerdict): { readonly limit?: { most: number; windowMs: number } | undefined } {
  return verdict.type === "refused" ? {} : verdict;
}

/** Really done from behind, or asked of an operator. */
function isPastRepair({ scope, dryRun, status }: RecoveryAction): boolean {
  return scope === "service" && !dryRun && status !== "skipped";
}

/** What a guard did by itself, such as opening a circuit, was meant to hold back and not to mend. */
function pastRepairOf(row: RecoveryAction, failure: Failure): PastRepair {
  const { actionStrategy, lastAt, status, failureEventId, triggeredBy } = row;
  return {
    strategy: actionStrategy,
    at: lastAt,
    succeeded: status === "succeeded",
    status,
    sameFailure: failureEventId === failure.eventId && triggeredBy !== "guard",
  };
}
