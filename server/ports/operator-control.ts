/** What operators may do about recovery by hand, and what they are told. */
import type { FailureType } from "../../shared/failure.js";
import type { Plan } from "../../shared/plan.js";
import type { RecoveryAction } from "../../shared/recovery.js";

/**
 * Whether a service may be repaired now, by what was done to it lately on all instances.
 *
 * free          nothing speaks against it
 * busy          a repair of it is under way, here or elsewhere
 * settling      one succeeded so recently that its effect is not judged yet
 * budget_spent  it was repaired as often as it may be in this window
 */
export type RepairGate = "free" | "busy" | "settling" | "budget_spent";

/** What would be done about a failure, if it landed now. */
export interface RecoveryPreview {
  readonly service: string;
  readonly failureType: FailureType;
  readonly plan: Plan;
  /** What was done to the service lately may speak against any repair now. */
  readonly gate: RepairGate;
  readonly stopped: boolean;
}

export const CONTROL_REFUSALS = [
  "unknown",
  "not_a_repair",
  "disabled",
  "policy",
  "maintenance",
  "outside_hours",
  "stopped",
  "mode",
  "busy",
  "not_pending",
  "elsewhere",
] as const;
export type ControlRefusal = (typeof CONTROL_REFUSALS)[number];

/** What came of it; a refusal says why nothing was done. */
export type ControlOutcome =
  | { readonly done: true; readonly action: RecoveryAction }
  | { readonly done: false; readonly reason: ControlRefusal; readonly message: string };

export interface OperatorControl {
  /** @param about a stored failure by its id, or a kind of failure of a service. Undefined when there is none of that id */
  preview(
    about: { readonly failureEventId: string } | { readonly service: string; readonly failureType: FailureType },
  ): Promise<RecoveryPreview | undefined>;
  /** Repairs a service by one strategy, whatever was done lately, and resolves with its row once it has ended. */
  trigger(order: {
    readonly service: string;
    readonly strategy: string;
    readonly by: string;
    readonly reason: string;
  }): Promise<ControlOutcome>;
  /** Begins a repair that waits for an operator, in this process, and resolves with its row once it has ended. */
  approve(approval: { readonly actionId: string; readonly by: string }): Promise<ControlOutcome>;
  /** Lets one that waits be, or waits no longer for one that is under way in this process. */
  cancel(order: { readonly actionId: string; readonly by: string; readonly reason: string }): Promise<ControlOutcome>;
}
