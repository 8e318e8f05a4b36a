/** The pure decisions of recovery as data: what was known, and what followed. Recorded in real runs, replayed by `histories.test.ts`. */
import type { Failure } from "../../shared/failure.js";
import { type Plan, type PlanConfig, type PlanHistory, plan } from "../../shared/plan.js";
import {
  judgePolicy,
  type PolicyQuestion,
  type PolicyVerdict,
  type RecoveryPolicy,
} from "../../shared/recovery-policy.js";
import { judgeSafety, type OwnRate, type SafetyConfig, type SafetyVerdict } from "../../shared/safety.js";
import { assess, type Stake } from "../../shared/severity.js";

export type Decision =
  | {
      readonly decides: "plan";
      /** Index into the history's `failures`, and into its `configs`. */
      readonly failure: number;
      readonly config: number;
      readonly known: PlanHistory;
      /** UTC milliseconds. */
      readonly now: number;
      readonly follows: Plan;
    }
  | {
      readonly decides: "policy";
      readonly policies: readonly RecoveryPolicy[];
      readonly known: PolicyQuestion;
      readonly follows: PolicyVerdict;
    }
  | {
      readonly decides: "severity";
      readonly failure: number;
      readonly known: Stake;
      readonly follows: Failure["severity"];
    }
  | {
      readonly decides: "safety";
      readonly known: OwnRate;
      readonly config: SafetyConfig;
      readonly follows: SafetyVerdict;
    };

export interface History {
  /** What happened, in a sentence. */
  readonly story: string;
  readonly failures: readonly Failure[];
  readonly configs: readonly PlanConfig[];
  /** In the order in which they were made. */
  readonly decisions: readonly Decision[];
}

/** What follows today. */
export function decide(
  decision: Decision,
  { failures, configs }: Pick<History, "failures" | "configs">,
): Decision["follows"] {
  switch (decision.decides) {
    case "plan":
      return plan(at(failures, decision.failure), decision.known, at(configs, decision.config), decision.now);
    case "policy":
      return judgePolicy(decision.policies, decision.known);
    case "severity":
      return assess(at(failures, decision.failure), decision.known).severity;
    case "safety":
      return judgeSafety(decision.known, decision.config);
  }
}

/** One line for whoever reads that it came out otherwise. */
export function describeDecision(decision: Decision, { failures }: Pick<History, "failures">): string {
  switch (decision.decides) {
    case "plan": {
      const { failureType, affectedService } = at(failures, decision.failure);
      const scope = decision.known.scope === "call" ? "rescue" : "repair";
      return `${scope} of ${failureType} of ${affectedService}`;
    }
    case "policy":
      return `policy on ${decision.known.strategy} of ${decision.known.service} by ${decision.known.by}`;
    case "severity": {
      const { failureType, affectedService } = at(failures, decision.failure);
      return `severity of ${failureType} of ${affectedService}`;
    }
    case "safety":
      return `safety at ${decision.known.failed} failures of ${decision.known.ended}`;
  }
}

/** One line for each entry, so that a change reads as one. JSON has no infinity, and a caller without a deadline has one. */
export function historyToJson({ story, ...lists }: History): string {
  const line = (entry: unknown) =>
    JSON.stringify(entry, (_key, value: unknown) => (value === Number.POSITIVE_INFINITY ? INFINITE : value));
  const listed = Object.entries(lists).map(([name, entries]) => `"${name}": [\n${entries.map(line).join(",\n")}\n]`);
  return `{\n${[`"story": ${line(story)}`, ...listed].join(",\n")}\n}\n`;
}

export function historyFromJson(json: string): History {
  return JSON.parse(json, (_key, value: unknown) => (value === INFINITE ? Number.POSITIVE_INFINITY : value));
}

const INFINITE = "Infinity";

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new Error(`the history has no entry ${index}`);
  return found;
}
