/**
 * Records the decisions of recovery that the tests of one file lead to, in this process, as a history to be replayed:
 * `RECORD_HISTORY=<name> npx vitest run <file>` writes test/recovery/histories/<name>.json and keeps the story that it tells.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, vi } from "vitest";
import type * as Planning from "../../shared/plan.js";
import type * as Policies from "../../shared/recovery-policy.js";
import type * as Safety from "../../shared/safety.js";
import type * as Severities from "../../shared/severity.js";
import { type Decision, type History, historyFromJson, historyToJson } from "../recovery/decisions.js";

/** Of one kind. */
const MOST_DECISIONS = 40;

type Parameter<F extends (...args: never[]) => unknown, N extends number> = Parameters<F>[N];
type Failure = Parameter<typeof Planning.plan, 0>;

const recorder = vi.hoisted(() => {
  const failures = new Map<string, { index: number; failure: object }>();
  const configs = new Map<string, { index: number; config: object }>();
  const decisions = new Map<string, object>();
  const counts = new Map<string, number>();
  return { failures, configs, decisions, counts };
});

/** What a decision depends on, without what is different in every run. */
function failureIndex(failure: Failure): number {
  const { errorStack: _stack, eventId: _id, timestamp: _at, userId: _user, requestId: _request, ...kind } = failure;
  const key = JSON.stringify(kind);
  const known = recorder.failures.get(key) ?? {
    index: recorder.failures.size,
    failure: { ...failure, errorStack: undefined },
  };
  recorder.failures.set(key, known);
  return known.index;
}

function configIndex(config: Parameter<typeof Planning.plan, 2>): number {
  const key = JSON.stringify(config);
  const known = recorder.configs.get(key) ?? { index: recorder.configs.size, config };
  recorder.configs.set(key, known);
  return known.index;
}

/** @param about what tells it from those that are kept */
function note(decides: Decision["decides"], about: readonly unknown[], decisionOf: () => Decision): void {
  const kind = JSON.stringify([decides, ...about]);
  const count = recorder.counts.get(decides) ?? 0;
  if (recorder.decisions.has(kind) || count >= MOST_DECISIONS) return;
  recorder.counts.set(decides, count + 1);
  recorder.decisions.set(kind, structuredClone(decisionOf()));
}

vi.mock("../../shared/plan.js", async (original) => {
  const real = await original<typeof Planning>();
  const plan: typeof Planning.plan = (failure, known, config, now) => {
    const follows = real.plan(failure, known, config, now);
    note("plan", [failure.failureType, known.scope, follows], () => ({
      decides: "plan",
      failure: failureIndex(failure),
      config: configIndex(config),
      known,
      now,
      follows,
    }));
    return follows;
  };
  return { ...real, plan };
});
vi.mock("../../shared/recovery-policy.js", async (original) => {
  const real = await original<typeof Policies>();
  const judgePolicy: typeof Policies.judgePolicy = (policies, known) => {
    const follows = real.judgePolicy(policies, known);
    note("policy", [known.strategy, known.by, follows], () => ({ decides: "policy", policies, known, follows }));
    return follows;
  };
  return { ...real, judgePolicy };
});
vi.mock("../../shared/severity.js", async (original) => {
  const real = await original<typeof Severities>();
  const assess: typeof Severities.assess = (failure, known) => {
    const assessed = real.assess(failure, known);
    note("severity", [failure.severity, known.criticality, assessed.severity], () => ({
      decides: "severity",
      failure: failureIndex(failure),
      known,
      follows: assessed.severity,
    }));
    return assessed;
  };
  return { ...real, assess };
});
vi.mock("../../shared/safety.js", async (original) => {
  const real = await original<typeof Safety>();
  const judgeSafety: typeof Safety.judgeSafety = (known, config) => {
    const follows = real.judgeSafety(known, config);
    note("safety", [known, follows], () => ({ decides: "safety", known, config, follows }));
    return follows;
  };
  return { ...real, judgeSafety };
});

afterAll(() => {
  if (recorder.decisions.size === 0) return;
  const file = new URL(`../recovery/histories/${process.env.RECORD_HISTORY}.json`, import.meta.url);
  const story = existsSync(file) ? historyFromJson(readFileSync(file, "utf8")).story : "";
  const history = {
    story,
    failures: [...recorder.failures.values()].map(({ failure }) => failure),
    configs: [...recorder.configs.values()].map(({ config }) => config),
    decisions: [...recorder.decisions.values()],
  } as History;
  writeFileSync(file, historyToJson(history));
});
