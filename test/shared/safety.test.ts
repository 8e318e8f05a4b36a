import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HEALTH_STATUSES } from "../../shared/health.js";
import { ACTION_STATUSES, STRATEGY_SCOPES } from "../../shared/recovery.js";
import {
  type CheckStreaks,
  countChecks,
  failedInARow,
  isFailedAction,
  judgeSafety,
  ownRate,
  SAFETY_DEFAULTS,
} from "../../shared/safety.js";

const nobody = { succeeded: 0, failed: 0, reset: 0 };
const repairs = (status: (typeof ACTION_STATUSES)[number], rows: number) =>
  ({
    actionStrategy: "reconnect",
    scope: "service",
    status,
    dryRun: false,
    byGuard: false,
    rows,
    occurrences: rows,
  }) as const;
const anyCount = fc.record({
  actionStrategy: fc.constantFrom("a", "b"),
  scope: fc.constantFrom(...STRATEGY_SCOPES),
  status: fc.constantFrom(...ACTION_STATUSES),
  dryRun: fc.boolean(),
  byGuard: fc.boolean(),
  rows: fc.nat(50),
  occurrences: fc.nat(1_000_000),
});

describe("the rate of own failures", () => {
  it("does not move with rescues, dry runs or what was never carried out, however many there are", () => {
    fc.assert(
      fc.property(fc.array(anyCount), fc.array(anyCount), (counts, noise) => {
        const silent = noise.filter(
          ({ scope, dryRun, byGuard, status }) =>
            byGuard || scope === "call" || dryRun || !(status === "succeeded" || isFailedAction(status)),
        );
        expect(ownRate([...counts, ...silent], nobody, SAFETY_DEFAULTS)).toEqual(
          ownRate(counts, nobody, SAFETY_DEFAULTS),
        );
      }),
    );
  });

  it("lies between none and all, and is unknown below the least number of samples", () => {
    fc.assert(
      fc.property(
        fc.array(anyCount),
        fc.record({ succeeded: fc.nat(9), failed: fc.nat(9), reset: fc.nat(9) }),
        (counts, tasks) => {
          const { ended, failed, rate } = ownRate(counts, tasks, SAFETY_DEFAULTS);
          expect(failed).toBeLessThanOrEqual(ended);
          expect(rate === undefined).toBe(ended < SAFETY_DEFAULTS.minSamples);
          if (rate !== undefined) expect(rate).toBeCloseTo(failed / ended);
        },
      ),
    );
  });

  it.each([
    [5, 5, "normal"],
    [6, 5, "safety"],
    [8, 2, "safety"],
    [9, 2, "critical"],
    [9, 0, "normal"],
    [10, 0, "critical"],
  ] as const)("of %i failed and %i succeeded repairs is %s", (failed, succeeded, verdict) => {
    const rate = ownRate([repairs("failed", failed), repairs("succeeded", succeeded)], nobody, SAFETY_DEFAULTS);
    expect(judgeSafety(rate, SAFETY_DEFAULTS)).toBe(verdict);
  });

  it("counts tasks that were reset or failed as failures of what is watched", () => {
    const rate = ownRate([repairs("succeeded", 4)], { succeeded: 0, failed: 3, reset: 4 }, SAFETY_DEFAULTS);
    expect(rate).toMatchObject({ ended: 11, failed: 7 });
    expect(judgeSafety(rate, SAFETY_DEFAULTS)).toBe("safety");
  });
});

describe("repairs in a row", () => {
  const end = (status: (typeof ACTION_STATUSES)[number], index: number) => ({
    actionId: String(index),
    actionStrategy: "reconnect",
    target: "db:main",
    status,
    completedAt: index,
  });

  it("are counted from the newest back to the first that succeeded; what was never carried out is no link", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ACTION_STATUSES)), (statuses) => {
        let expected = 0;
        for (const status of statuses) {
          if (status === "succeeded") break;
          if (isFailedAction(status)) expected += 1;
        }
        expect(failedInARow(statuses.map(end))).toBe(expected);
      }),
    );
  });
});

describe("that a human was told", () => {
  it("is no repair: it neither ends a row of failures nor makes their share smaller", () => {
    const told = {
      actionId: "t",
      actionStrategy: "alert_operator",
      target: "db",
      completedAt: 1,
      status: "succeeded",
    } as const;
    const failed = { ...told, actionStrategy: "reconnect", status: "failed" } as const;
    expect(failedInARow([told, failed, told, failed])).toBe(2);
    const counts = [repairs("failed", 10), { ...repairs("succeeded", 50), actionStrategy: "alert_operator" }];
    expect(ownRate(counts, nobody, SAFETY_DEFAULTS)).toEqual({ ended: 10, failed: 10, rate: 1 });
  });
});

describe("failed checks in a row", () => {
  const anyResult = fc.record({
    name: fc.constantFrom("database", "redis"),
    status: fc.constantFrom(...HEALTH_STATUSES),
    criticality: fc.constantFrom("critical" as const, "important" as const),
    checkedAt: fc.integer({ min: 1, max: 20 }),
  });

  it("count each result once, only of critical checks, and none beyond the results that there were", () => {
    fc.assert(
      fc.property(fc.array(anyResult, { size: "max", maxLength: 40 }), (results) => {
        let streaks: CheckStreaks = new Map();
        let expected = 0;
        let lastAt = 0;
        const ofOne = results.filter(({ name, criticality }) => name === "database" && criticality === "critical");
        for (const result of ofOne) {
          if (result.status !== "unknown" && result.checkedAt > lastAt) {
            expected = result.status === "unhealthy" ? expected + 1 : 0;
            lastAt = result.checkedAt;
          }
          streaks = countChecks(streaks, [result]);
          expect(streaks.get("database")?.failures).toBe(expected);
        }
        const others = results.filter(({ criticality }) => criticality !== "critical");
        expect(countChecks(new Map(), others).size).toBe(0);
      }),
    );
  });

  it("forget a check that is registered no more", () => {
    const result = { name: "database", status: "unhealthy", criticality: "critical", checkedAt: 1 } as const;
    expect(countChecks(countChecks(new Map(), [result]), []).size).toBe(0);
  });
});
