import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escalate, type PastRepair } from "../../shared/escalation.js";
import { FAILURE_TYPES, type Failure } from "../../shared/failure.js";
import { permitsOf } from "../../shared/mode.js";
import { type PlanConfig, plan, type StrategyDescriptor } from "../../shared/plan.js";
import { REPAIR_LEVELS } from "../../shared/recovery.js";

const MINUTE = 60_000;
const config = { failuresPerLevel: 3, windowMs: 10 * MINUTE };
const ladder = [
  { name: "reconnect", level: "service" },
  { name: "restart", level: "process" },
  { name: "alert", level: "human" },
] as const;
const failed = (strategy: string, at: number, more: Partial<PastRepair> = {}): PastRepair => ({
  strategy,
  at,
  succeeded: false,
  ...more,
});
const times = (count: number, strategy: string, more: Partial<PastRepair> = {}) =>
  Array.from({ length: count }, (_, index) => failed(strategy, index * MINUTE, more));

describe("escalation", () => {
  const levelAfter = (repairs: readonly PastRepair[], now = 5 * MINUTE) => escalate(ladder, repairs, config, now).level;

  it("stays at the service until it failed three times, then goes to the process, then to a human", () => {
    expect(levelAfter([])).toBe("service");
    expect(levelAfter(times(2, "reconnect"))).toBe("service");
    expect(levelAfter(times(3, "reconnect"))).toBe("process");
    expect(levelAfter([...times(3, "reconnect"), ...times(2, "restart")])).toBe("process");
    expect(levelAfter([...times(3, "reconnect"), ...times(3, "restart")])).toBe("human");
  });

  it("comes down again as failures leave the window", () => {
    const repairs = times(3, "reconnect");
    expect(levelAfter(repairs, 10 * MINUTE - 1)).toBe("process");
    expect(levelAfter(repairs, 10 * MINUTE + 1)).toBe("service");
  });

  it("counts a success that did not last for the same failure, and no success of another one", () => {
    expect(levelAfter(times(3, "reconnect", { succeeded: true, sameFailure: true }))).toBe("process");
    expect(levelAfter(times(3, "reconnect", { succeeded: true }))).toBe("service");
  });

  it("does not count what never began or is not over", () => {
    for (const status of ["pending_approval", "in_progress", "cancelled", "expired", "skipped"] as const) {
      expect(levelAfter(times(3, "reconnect", { status }))).toBe("service");
    }
  });

  it("tells a human when the budget is spent, and nobody when nothing was tried", () => {
    expect(escalate(ladder, [], config, 0, { budgetSpent: true }).level).toBe("human");
    expect(escalate([{ name: "alert", level: "human" }], [], config, 0).level).toBeUndefined();
  });

  it("begins with the process where nothing can be done about the service", () => {
    expect(escalate(ladder.slice(1), [], config, 0).level).toBe("process");
  });

  it("never names a level without a strategy, nor one below a level that is not exhausted", () => {
    const repairs = fc.array(
      fc.record({
        strategy: fc.constantFrom("reconnect", "restart", "alert"),
        at: fc.nat({ max: 20 * MINUTE }),
        succeeded: fc.boolean(),
        sameFailure: fc.boolean(),
      }),
      { size: "max", maxLength: 30 },
    );
    fc.assert(
      fc.property(fc.subarray([...ladder]), repairs, fc.nat({ max: 30 * MINUTE }), (some, past, now) => {
        const { level, exhausted } = escalate(some, past, config, now);
        if (level !== undefined) expect(some.map((one) => one.level)).toContain(level);
        const below = exhausted.map((one) => REPAIR_LEVELS.indexOf(one.level));
        expect(below).toEqual(below.toSorted());
        for (const one of exhausted) expect(one.failures).toBeGreaterThanOrEqual(config.failuresPerLevel);
        if (level !== undefined) for (const at of below) expect(at).toBeLessThan(REPAIR_LEVELS.indexOf(level));
      }),
      { numRuns: 500 },
    );
  });
});

describe("the plan of a repair by levels", () => {
  const failure: Failure = {
    eventId: "f1",
    timestamp: 0,
    failureCategory: "database",
    failureType: "database_connection",
    severity: "high",
    affectedService: "db:main",
    detectionMethod: "exception",
  };
  const descriptor = (name: string, more: Partial<StrategyDescriptor>): StrategyDescriptor => ({
    name,
    scope: "service",
    priority: 1,
    actionType: "custom",
    applicableFailureTypes: FAILURE_TYPES,
    ...more,
  });
  const strategies = [
    descriptor("reconnect", { actionType: "reconnect" }),
    descriptor("restart", { actionType: "restart" }),
    descriptor("alert", { level: "human" }),
  ];
  const given: PlanConfig = {
    strategies,
    permits: permitsOf("full", "db:main"),
    minRetryMs: 0,
    repairCooldownMs: 30_000,
    escalation: config,
  };
  const planAfter = (repairs: readonly PastRepair[], now = 5 * MINUTE, more: Partial<PlanConfig> = {}) =>
    plan(failure, { scope: "service", repairs, stopped: false }, { ...given, ...more }, now);
  const reasons = (made: ReturnType<typeof planAfter>) =>
    Object.fromEntries(made.refused.map(({ strategy, reason }) => [strategy, reason]));

  it("says its level, what was exhausted and why each other strategy has to wait", () => {
    expect(planAfter([])).toMatchObject({ steps: ["reconnect"], level: "service", exhausted: [] });
    expect(reasons(planAfter([]))).toEqual({ restart: "level_not_reached", alert: "level_not_reached" });
    const second = planAfter(times(3, "reconnect"));
    expect(second).toMatchObject({
      steps: ["restart"],
      level: "process",
      exhausted: [{ level: "service", failures: 3 }],
    });
    expect(reasons(second)).toEqual({ reconnect: "level_exhausted", alert: "level_not_reached" });
  });

  it("tells a human at once of what is configured wrong, beside whatever holds it back", () => {
    const wrongKey: Failure = { ...failure, failureCategory: "configuration", failureType: "auth_failed" };
    const planned = (repairs: readonly PastRepair[], more: Partial<PlanConfig> = {}) =>
      plan(wrongKey, { scope: "service", repairs, stopped: false }, { ...given, ...more }, 5 * MINUTE).steps;
    expect(planned([])).toEqual(["alert", "reconnect"]);
    expect(planned([], { strategies: strategies.slice(2) })).toEqual(["alert"]);
    expect(planned([failed("alert", 5 * MINUTE - 1)])).toEqual(["reconnect"]);
  });

  it("gives what was done below the time to take effect before it touches the process", () => {
    const repairs = [failed("reconnect", 5 * MINUTE - 29_999), ...times(2, "reconnect")];
    expect(reasons(planAfter(repairs))).toMatchObject({ restart: "cooldown" });
    expect(planAfter(repairs, 5 * MINUTE + 1).steps).toEqual(["restart"]);
  });

  it("lets a strategy that a policy keeps back not hold up the next level", () => {
    const [reconnect = descriptor("reconnect", {}), ...others] = strategies;
    const kept = { ...reconnect, policy: { type: "refused", reason: "policy" } } as const;
    const made = planAfter([], 0, { strategies: [kept, ...others] });
    expect(made.steps).toEqual(["restart"]);
    expect(reasons(made)).toMatchObject({ reconnect: "policy" });
  });

  it("names the steps that wait for an operator, and asks once for one failure", () => {
    const asks = strategies.map((one) => ({ ...one, policy: { type: "needs_approval" } as const }));
    expect(planAfter([], 0, { strategies: asks }).approvals).toEqual(["reconnect"]);
    const waiting = failed("reconnect", 0, { status: "pending_approval", sameFailure: true });
    expect(reasons(planAfter([waiting], MINUTE, { strategies: asks }))).toMatchObject({
      reconnect: "awaiting_approval",
    });
    const declined = failed("reconnect", 0, { status: "expired", sameFailure: true });
    expect(reasons(planAfter([declined], MINUTE, { strategies: asks }))).toMatchObject({ reconnect: "declined" });
    expect(planAfter([declined], 11 * MINUTE, { strategies: asks }).steps).toEqual(["reconnect"]);
  });

  it("keeps a strategy to what a policy says of how often", () => {
    const limited = strategies.map((one) => ({
      ...one,
      policy: { type: "allowed", limit: { most: 1, windowMs: 60 * MINUTE } } as const,
    }));
    const once = [failed("reconnect", 0, { succeeded: true })];
    expect(reasons(planAfter(once, 59 * MINUTE, { strategies: limited }))).toMatchObject({ reconnect: "budget" });
    expect(planAfter(once, 61 * MINUTE, { strategies: limited }).steps).toEqual(["reconnect"]);
  });
});
