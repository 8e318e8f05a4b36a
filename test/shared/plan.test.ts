import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FAILURE_TYPES, type Failure } from "../../shared/failure.js";
import { MODES, permitsOf } from "../../shared/mode.js";
import { type PlanConfig, type PlanHistory, plan, REFUSALS, type StrategyDescriptor } from "../../shared/plan.js";
import { ACTION_TYPES, STRATEGY_SCOPES } from "../../shared/recovery.js";

type CallHistory = Extract<PlanHistory, { scope: "call" }>;

const failureOf = (failureType: Failure["failureType"]): Failure => ({
  eventId: "id",
  timestamp: 0,
  failureCategory: "external_dependency",
  failureType,
  severity: "high",
  affectedService: "llm:openai",
  detectionMethod: "exception",
});

const descriptor = (more: Partial<StrategyDescriptor> & Pick<StrategyDescriptor, "name">): StrategyDescriptor => ({
  scope: "call",
  priority: 1,
  actionType: "custom",
  applicableFailureTypes: FAILURE_TYPES,
  ...more,
});

const retry = descriptor({ name: "retry", priority: 1, actionType: "retry" });
const failover = descriptor({ name: "failover", priority: 2, actionType: "failover" });
const fallback = descriptor({ name: "fallback", priority: 3, actionType: "fallback" });
const repair = descriptor({ name: "repair", scope: "service", actionType: "reconnect" });

const config: PlanConfig = {
  strategies: [fallback, failover, retry, repair],
  permits: permitsOf("full", "llm:openai"),
  minRetryMs: 1,
  repairCooldownMs: 30_000,
};

const history: CallHistory = {
  scope: "call",
  tried: [],
  targetsLeft: 1,
  hasFallback: true,
  idempotent: true,
  nothingSent: false,
  outputDelivered: false,
  aborted: false,
  remainingMs: 10_000,
  holdMs: undefined,
  retryable: true,
  failover: true,
  budgetLeft: true,
};

const stepsFor = (failureType: Failure["failureType"], more: Partial<CallHistory> = {}) =>
  plan(failureOf(failureType), { ...history, ...more }, config, 0).steps;
const refusalOf = (strategy: string, failureType: Failure["failureType"], more: Partial<CallHistory> = {}) =>
  plan(failureOf(failureType), { ...history, ...more }, config, 0).refused.find((one) => one.strategy === strategy)
    ?.reason;

describe("the plan of a rescue", () => {
  it("goes by priority, whatever order strategies were registered in", () => {
    expect(stepsFor("server_error")).toEqual(["retry", "failover", "fallback"]);
  });

  it("settles equal priorities by name, so that every instance plans alike", () => {
    const strategies = ["b", "c", "a"].map((name) => descriptor({ name }));
    expect(plan(failureOf("unknown"), history, { ...config, strategies }, 0).steps).toEqual(["a", "b", "c"]);
  });

  it("prefers another target to one that hung, refused or rests", () => {
    for (const type of ["api_timeout", "connection_refused", "rate_limit"] as const) {
      expect(refusalOf("retry", type)).toBe("alternative_preferred");
      expect(stepsFor(type, { targetsLeft: 0 })[0]).toBe("retry");
    }
    expect(refusalOf("retry", "service_unavailable", { holdMs: 10 })).toBe("alternative_preferred");
  });

  it.each<[string, string, Partial<CallHistory>]>([
    ["already_tried", "retry", { tried: ["retry"] }],
    ["aborted", "fallback", { aborted: true }],
    ["output_delivered", "fallback", { outputDelivered: true }],
    ["no_fallback", "fallback", { hasFallback: false }],
    ["unsafe", "failover", { idempotent: false }],
    ["unsafe", "retry", { idempotent: false }],
    ["deadline", "failover", { remainingMs: 0 }],
    ["deadline", "retry", { remainingMs: 0.5, targetsLeft: 0 }],
    ["not_applicable", "failover", { failover: false }],
    ["not_applicable", "retry", { retryable: false }],
    ["no_target_left", "failover", { targetsLeft: 0 }],
    ["budget", "retry", { budgetLeft: false }],
    ["budget", "failover", { budgetLeft: false }],
    ["budget", "failover", { failoverBudgetLeft: false }],
    ["nested", "retry", { nested: true }],
    ["hold_exceeds_deadline", "retry", { holdMs: 10_000, targetsLeft: 0 }],
    ["hold_exceeds_deadline", "retry", { holdMs: 60_001, targetsLeft: 0, remainingMs: Number.POSITIVE_INFINITY }],
  ])("refuses with %s: %s", (reason, strategy, more) => {
    expect(refusalOf(strategy, "server_error", more)).toBe(reason);
  });

  it("pays for a failover from its own part of the budget", () => {
    expect(stepsFor("server_error", { budgetLeft: false, failoverBudgetLeft: true })).toEqual(["failover", "fallback"]);
  });

  it("lets unsafe work run again on proof that nothing was sent", () => {
    expect(stepsFor("server_error", { idempotent: false, nothingSent: true })).toEqual([
      "retry",
      "failover",
      "fallback",
    ]);
  });

  it("respects a strategy's flag, its own word and its list of types", () => {
    const strategies = [
      descriptor({ name: "off", enabled: false }),
      descriptor({ name: "no", applies: false }),
      descriptor({ name: "other", applicableFailureTypes: ["disk_full"] }),
    ];
    const { steps, refused } = plan(failureOf("unknown"), history, { ...config, strategies }, 0);
    expect(steps).toEqual([]);
    expect(Object.fromEntries(refused.map(({ strategy, reason }) => [strategy, reason]))).toEqual({
      off: "disabled",
      no: "not_applicable",
      other: "not_applicable",
    });
  });
});

describe("the plan of a repair", () => {
  const repairs = (more: Partial<Extract<PlanHistory, { scope: "service" }>>, now = 0) =>
    plan(failureOf("unknown"), { scope: "service", repairs: [], stopped: false, ...more }, config, now);

  it("waits while stopped, and after the same strategy's last repair", () => {
    expect(repairs({}).steps).toEqual(["repair"]);
    expect(repairs({ stopped: true }).refused).toEqual([{ strategy: "repair", reason: "stopped" }]);
    const done = [{ strategy: "repair", at: 1_000, succeeded: true }];
    expect(repairs({ repairs: done }, 30_999).refused).toEqual([{ strategy: "repair", reason: "cooldown" }]);
    expect(repairs({ repairs: done }, 31_000).steps).toEqual(["repair"]);
    expect(repairs({ repairs: [{ strategy: "another", at: 30_000, succeeded: true }] }, 31_000).steps).toEqual([
      "repair",
    ]);
  });

  it("has no effect where the mode permits none", () => {
    const limited = { ...config, permits: permitsOf("limited", "llm:openai") };
    const history = { scope: "service", repairs: [], stopped: false } as const;
    expect(plan(failureOf("unknown"), history, limited, 0)).toMatchObject({ steps: ["repair"], dryRun: true });
  });
});

describe("any plan", () => {
  const strategies = fc.uniqueArray(
    fc.record({
      name: fc.string({ minLength: 1, maxLength: 8 }),
      scope: fc.constantFrom(...STRATEGY_SCOPES),
      priority: fc.integer({ min: -3, max: 3 }),
      actionType: fc.constantFrom(...ACTION_TYPES),
      applicableFailureTypes: fc.subarray([...FAILURE_TYPES]),
      applies: fc.option(fc.boolean(), { nil: undefined }),
      enabled: fc.option(fc.boolean(), { nil: undefined }),
    }),
    { selector: ({ name }) => name, size: "max", maxLength: 12 },
  );
  const calls = fc.record({
    scope: fc.constant("call" as const),
    tried: fc.array(fc.string({ maxLength: 8 })),
    targetsLeft: fc.nat({ max: 3 }),
    hasFallback: fc.boolean(),
    idempotent: fc.boolean(),
    nothingSent: fc.boolean(),
    outputDelivered: fc.boolean(),
    aborted: fc.boolean(),
    remainingMs: fc.oneof(fc.integer({ min: -10, max: 10_000 }), fc.constant(Number.POSITIVE_INFINITY)),
    holdMs: fc.option(fc.nat({ max: 20_000 }), { nil: undefined }),
    retryable: fc.boolean(),
    failover: fc.boolean(),
    budgetLeft: fc.boolean(),
    failoverBudgetLeft: fc.option(fc.boolean(), { nil: undefined }),
    nested: fc.option(fc.boolean(), { nil: undefined }),
  });

  it("accounts for every strategy of its scope once, in order, by rules that hold", () => {
    fc.assert(
      fc.property(
        strategies,
        calls,
        fc.constantFrom(...FAILURE_TYPES),
        fc.constantFrom(...MODES),
        (registered, known, failureType, mode) => {
          const permits = permitsOf(mode, "http:billing");
          const given = { strategies: registered, permits, minRetryMs: 1, repairCooldownMs: 1 };
          const made = plan(failureOf(failureType), known, given, 0);
          expect(plan(failureOf(failureType), known, given, 0)).toEqual(made);

          const inScope = registered.filter(({ scope }) => scope === "call").map(({ name }) => name);
          expect([...made.steps, ...made.refused.map(({ strategy }) => strategy)].sort()).toEqual(inScope.sort());
          for (const { reason } of made.refused) expect(REFUSALS).toContain(reason);
          expect(made.dryRun).toBe(!permits.rescues);

          const chosen = made.steps.map((name) => registered.find((one) => one.name === name));
          const priorities = chosen.map((one) => one?.priority ?? Number.NaN);
          expect(priorities).toEqual(priorities.toSorted((a, b) => a - b));
          for (const one of chosen) {
            expect(known.aborted || known.outputDelivered).toBe(false);
            expect(known.tried).not.toContain(one?.name);
            expect(one?.applicableFailureTypes).toContain(failureType);
            if (one?.actionType === "fallback") expect(known.hasFallback).toBe(true);
            else {
              expect(known.idempotent || known.nothingSent).toBe(true);
              expect(known.remainingMs).toBeGreaterThan(0);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
