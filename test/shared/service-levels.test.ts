import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attainmentOf, operationLevels, serviceLevelOf, sumOf, uptimeOf } from "../../shared/service-levels.js";
import type { ProcedureTotals } from "../../shared/top-procedures.js";

const nothing = { hour: attainmentOf(0, 0), sixHours: attainmentOf(0, 0) };
const totals = (procedure: string, success: number, server_error: number, client_error = 0): ProcedureTotals => ({
  procedure,
  calls: success + server_error + client_error,
  errors: server_error,
  outcomes: { success, server_error, client_error, timeout: 0, rejected: 0, aborted: 0 },
  meanMs: undefined,
  p50Ms: undefined,
  p95Ms: undefined,
  p99Ms: undefined,
  maxMs: undefined,
});

describe("a service level", () => {
  it("tells the budget and how much of it is left", () => {
    const level = serviceLevelOf("ask", 0.95, attainmentOf(960, 1_000), nothing);
    expect(level).toMatchObject({ met: true, burnRate: { hour: undefined } });
    expect(level.budget.allowed).toBeCloseTo(50);
    expect(level.budget.spent).toBe(40);
    expect(level.budget.left).toBeCloseTo(0.2);
  });

  it("burns at 1 when it fails just as often as it may", () => {
    const recent = { hour: attainmentOf(95, 100), sixHours: attainmentOf(0, 100) };
    const { burnRate } = serviceLevelOf("ask", 0.95, attainmentOf(950, 1_000), recent);
    expect(burnRate.hour).toBeCloseTo(1);
    expect(burnRate.sixHours).toBeCloseTo(20);
  });

  it("says nothing where nothing was measured", () => {
    expect(serviceLevelOf("ask", 0.95, attainmentOf(0, 0), nothing)).toMatchObject({
      met: undefined,
      budget: { allowed: 0, spent: 0, left: 1 },
    });
  });

  it("is met exactly while budget is left, whatever was measured", () => {
    fc.assert(
      fc.property(
        fc.nat(100_000),
        fc.nat(100_000),
        fc.double({ min: 0.5, max: 0.9999, noNaN: true }),
        (good, bad, objective) => {
          fc.pre(good + bad > 0);
          const { met, budget, actual } = serviceLevelOf("x", objective, attainmentOf(good, good + bad), nothing);
          fc.pre(Math.abs((actual.share ?? 0) - objective) > 1e-9);
          expect(met).toBe(budget.left >= 0);
          expect(budget.spent).toBe(bad);
        },
      ),
    );
  });

  it("of all procedures is of all their calls; the one with the least budget comes first", () => {
    const window = [totals("fine", 100, 0), totals("bad", 50, 50), totals("shaky", 98, 2)];
    const { all, procedures } = operationLevels(0.95, { window, hour: [totals("bad", 0, 10)], sixHours: [] });
    expect(procedures.map(({ name }) => name)).toEqual(["bad", "shaky", "fine"]);
    expect(procedures[0]?.burnRate.hour).toBeCloseTo(20);
    expect(all.actual).toEqual(sumOf(procedures.map(({ actual }) => actual)));
    expect(all.met).toBe(false);
  });

  it("does not count what the caller got wrong", () => {
    const { all } = operationLevels(0.95, { window: [totals("ask", 10, 0, 90)], hour: [], sixHours: [] });
    expect(all.actual).toEqual({ good: 10, total: 10, share: 1 });
  });
});

describe("uptime", () => {
  it("counts a step that was never unhealthy as up, degraded or not, and one of both by its mean", () => {
    const healthy = { count: 2, sum: 2, min: 1, max: 1 };
    const degraded = { count: 2, sum: 1, min: 0.5, max: 0.5 };
    const down = { count: 4, sum: 0, min: 0, max: 0 };
    const both = { count: 4, sum: 3, min: 0, max: 1 };
    const empty = { count: 0, sum: 0, min: 0, max: 0 };
    expect(uptimeOf([healthy, degraded, down, both, empty], 60_000)).toEqual({
      good: 2.75 * 60_000,
      total: 4 * 60_000,
      share: 2.75 / 4,
    });
    expect(uptimeOf([], 60_000).share).toBeUndefined();
  });
});
