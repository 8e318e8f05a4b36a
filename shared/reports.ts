/** What is counted over rows, before anything is concluded from it. */
import type { ActionStatus, StrategyScope } from "./recovery.js";

/** Recovery actions that have these five in common. */
export interface ActionCount {
  readonly actionStrategy: string;
  readonly scope: StrategyScope;
  readonly status: ActionStatus;
  readonly dryRun: boolean;
  /** A guard did it itself: a rescue, or a circuit that opened by what its calls say. Otherwise the engine or an operator. */
  readonly byGuard: boolean;
  /** Rows, and how often what they tell happened. */
  readonly rows: number;
  readonly occurrences: number;
}

export interface FailureSums {
  readonly events: number;
  readonly occurrences: number;
  readonly resolved: number;
  /** From the first sighting until it was over, of those that are; 0 without any. Milliseconds. */
  readonly meanRepairMs: number;
}

/** How a repair ended. */
export interface RepairEnd {
  readonly actionId: string;
  readonly actionStrategy: string;
  readonly target: string;
  readonly status: ActionStatus;
  readonly completedAt: number;
}
