/**
 * Which level of recovery a failing service has come to. Pure.
 *
 * immediate  in the call: retry, failover, fallback
 * service    behind the call: reconnect, hold the circuit, recycle the pool, shed load
 * process    the process itself: drain and restart under a supervisor
 * human      an operator is told what was tried
 */
import {
  type ActionStatus,
  type ActionType,
  REPAIR_LEVELS,
  type RecoveryLevel,
  type RepairLevel,
  type StrategyScope,
} from "./recovery.js";

/** The level of a strategy that does not say it itself. */
export function levelOf(strategy: {
  readonly scope: StrategyScope;
  readonly actionType: ActionType;
  readonly level?: RepairLevel | undefined;
}): RecoveryLevel {
  if (strategy.scope === "call") return "immediate";
  return strategy.level ?? (strategy.actionType === "restart" ? "process" : "service");
}

/** What was done about a service lately. */
export interface PastRepair {
  readonly strategy: string;
  /** When it was last heard of; UTC milliseconds. */
  readonly at: number;
  readonly succeeded: boolean;
  /** @default succeeded or failed */
  readonly status?: ActionStatus | undefined;
  /** It was done about the very failure that is planned for: if it succeeded, it did not last. @default false */
  readonly sameFailure?: boolean | undefined;
}

export interface EscalationConfig {
  /** How often a level fails before the next one is tried. */
  readonly failuresPerLevel: number;
  /** Failures that are older count no more. */
  readonly windowMs: number;
}

export interface Escalation {
  /** The level whose strategies are tried now; undefined when none applies. */
  readonly level: RepairLevel | undefined;
  /** Levels below it that were tried and did not help, lowest first. */
  readonly exhausted: readonly { readonly level: RepairLevel; readonly failures: number }[];
}

/** It was tried, and the service is failing still, or again. */
export function didNotHelp({ succeeded, status, sameFailure = false }: PastRepair): boolean {
  switch (status) {
    case undefined:
    case "failed":
    case "rolled_back":
    case "timed_out":
    case "abandoned":
    case "succeeded":
      return succeeded ? sameFailure : true;
    case "pending_approval":
    case "initiated":
    case "in_progress":
    case "skipped":
    case "cancelled":
    case "expired":
      return false;
  }
}

/**
 * The lowest level that has an applicable strategy and has not failed too often. A level has failed as often as that of its
 * strategies which failed most often. A human is told once something was tried and nothing is left to try, not before.
 *
 * @param options.budgetSpent the service was repaired as often as it may be in its window: only a human is left
 * @example escalate([{ name: "reconnect", level: "service" }], [], { failuresPerLevel: 3, windowMs: 600_000 }, now).level // "service"
 */
export function escalate(
  applicable: readonly { readonly name: string; readonly level: RecoveryLevel }[],
  repairs: readonly PastRepair[],
  { failuresPerLevel, windowMs }: EscalationConfig,
  now: number,
  { budgetSpent = false }: { readonly budgetSpent?: boolean | undefined } = {},
): Escalation {
  const lately = repairs.filter((repair) => repair.at > now - windowMs && didNotHelp(repair));
  const failuresOf = (name: string) => lately.filter(({ strategy }) => strategy === name).length;
  const exhausted: { level: RepairLevel; failures: number }[] = [];
  for (const level of REPAIR_LEVELS) {
    const names = applicable.filter((one) => one.level === level).map(({ name }) => name);
    if (names.length === 0) continue;
    const failures = Math.max(...names.map(failuresOf));
    if (level === "human") {
      const isDue = budgetSpent || exhausted.some((one) => one.failures > 0);
      return { level: isDue ? level : undefined, exhausted };
    }
    if (failures < failuresPerLevel && !budgetSpent) return { level, exhausted };
    exhausted.push({ level, failures });
  }
  return { level: undefined, exhausted };
}
