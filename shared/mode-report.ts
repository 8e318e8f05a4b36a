/** What the present mode did or would have done, and whether the next one is earned. Pure, over counted rows. */
import { MODES, type Mode } from "./mode.js";
import { NO_STRATEGY, type StrategyScope } from "./recovery.js";
import type { ActionCount } from "./reports.js";
import { isFailedAction } from "./safety.js";
import { DAY_MS } from "./units.js";

export const MODE_REPORT_DEFAULTS = Object.freeze({
  /** How long a mode is looked at before the next one can be earned. */
  leastMs: DAY_MS,
  /** So many decisions at least: what was done, and what would have been. */
  leastDecisions: 20,
  /** Failures that operators marked as none, of all failures, at most. */
  mostFalseAlarms: 0.05,
  /** Of what was carried out, at least so much succeeded. */
  leastSuccess: 0.8,
});

/** What one strategy did. */
export interface StrategyReport {
  readonly strategy: string;
  readonly scope: StrategyScope;
  readonly succeeded: number;
  readonly failed: number;
  /** 0 to 1; undefined where nothing ended. */
  readonly successRate: number | undefined;
}

export interface ModeReport {
  readonly mode: Mode;
  /** UTC milliseconds. */
  readonly from: number;
  readonly to: number;
  readonly did: readonly StrategyReport[];
  /** Decided and not carried out, for the mode did not permit it. */
  readonly wouldHaveDone: readonly {
    readonly strategy: string;
    readonly scope: StrategyScope;
    readonly times: number;
  }[];
  readonly decisions: number;
  readonly failures: number;
  readonly falseAlarms: number;
  readonly next: {
    /** Undefined at the top, or at the environment's ceiling. */
    readonly mode: Mode | undefined;
    readonly earned: boolean;
    /** What is missing; empty when it is earned. */
    readonly missing: readonly string[];
  };
}

export interface ModeFacts {
  readonly mode: Mode;
  /** The environment's. */
  readonly ceiling: Mode;
  readonly from: number;
  readonly to: number;
  /** Since when the mode is in force. */
  readonly since: number;
  readonly actions: readonly ActionCount[];
  readonly failures: number;
  /** Marked by operators. */
  readonly falseAlarms: number;
}

/** @example modeReport(facts).next // { mode: "limited", earned: false, missing: ["3 of 20 decisions"] } */
export function modeReport(facts: ModeFacts): ModeReport {
  const { mode, from, to, failures, falseAlarms } = facts;
  const actions = facts.actions.filter(({ actionStrategy }) => actionStrategy !== NO_STRATEGY);
  const did = strategyReports(actions.filter(({ dryRun }) => !dryRun));
  const wouldHaveDone = sumBy(actions.filter(({ dryRun }) => dryRun)).map(({ strategy, scope, counts }) => ({
    strategy,
    scope,
    times: timesOf(counts),
  }));
  const decisions =
    did.reduce((sum, { succeeded, failed }) => sum + succeeded + failed, 0) +
    wouldHaveDone.reduce((sum, { times }) => sum + times, 0);
  const next = facts.mode === facts.ceiling ? undefined : MODES[MODES.indexOf(mode) + 1];
  const missing = next === undefined ? [] : whatIsMissing(facts, did, decisions);
  return {
    mode,
    from,
    to,
    did,
    wouldHaveDone,
    decisions,
    failures,
    falseAlarms,
    next: { mode: next, earned: next !== undefined && missing.length === 0, missing },
  };
}

function whatIsMissing(facts: ModeFacts, did: readonly StrategyReport[], decisions: number): string[] {
  const { leastMs, leastDecisions, mostFalseAlarms, leastSuccess } = MODE_REPORT_DEFAULTS;
  const { to, since, failures, falseAlarms } = facts;
  const missing: string[] = [];
  const hours = (ms: number) => Math.floor(ms / 3_600_000);
  if (to - since < leastMs) missing.push(`in force for ${hours(to - since)} of ${hours(leastMs)} hours`);
  if (decisions < leastDecisions) missing.push(`${decisions} of ${leastDecisions} decisions`);
  if (falseAlarms > mostFalseAlarms * failures) {
    missing.push(`${falseAlarms} false alarms of ${failures} failures; at most ${mostFalseAlarms * 100} %`);
  }
  for (const { strategy, successRate } of did) {
    if (successRate === undefined || successRate >= leastSuccess) continue;
    missing.push(`${strategy} succeeds in ${Math.floor(successRate * 100)} %; at least ${leastSuccess * 100} %`);
  }
  return missing;
}

function strategyReports(actions: readonly ActionCount[]): StrategyReport[] {
  return sumBy(actions).flatMap(({ strategy, scope, counts }) => {
    const succeeded = timesOf(counts.filter(({ status }) => status === "succeeded"));
    const failed = timesOf(counts.filter(({ status }) => isFailedAction(status)));
    const ended = succeeded + failed;
    return ended === 0 ? [] : [{ strategy, scope, succeeded, failed, successRate: succeeded / ended }];
  });
}

function sumBy(actions: readonly ActionCount[]) {
  const groups = new Map<string, { strategy: string; scope: StrategyScope; counts: ActionCount[] }>();
  for (const count of actions) {
    const { actionStrategy: strategy, scope } = count;
    const key = `${strategy}\0${scope}`;
    const group = groups.get(key) ?? { strategy, scope, counts: [] };
    group.counts.push(count);
    groups.set(key, group);
  }
  return [...groups.values()];
}

function timesOf(counts: readonly ActionCount[]): number {
  return counts.reduce((sum, { occurrences }) => sum + occurrences, 0);
}
