import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CRITICALITIES, HEALTH_STATUSES, healthValue, overallHealth } from "../../shared/health.js";

const check = fc.record({
  status: fc.constantFrom(...HEALTH_STATUSES),
  criticality: fc.constantFrom(...CRITICALITIES),
});

describe("overallHealth", () => {
  it.each([
    [[], "unknown"],
    [[["critical", "healthy"]], "healthy"],
    [[["critical", "unhealthy"]], "unhealthy"],
    [[["important", "unhealthy"]], "degraded"],
    [
      [
        ["optional", "unhealthy"],
        ["critical", "healthy"],
      ],
      "healthy",
    ],
    [[["critical", "degraded"]], "degraded"],
    [[["important", "degraded"]], "degraded"],
    [
      [
        ["important", "unknown"],
        ["critical", "healthy"],
      ],
      "unknown",
    ],
    [[["optional", "unhealthy"]], "healthy"],
  ] as const)("of %j is %s", (checks, expected) => {
    expect(overallHealth(checks.map(([criticality, status]) => ({ criticality, status })))).toBe(expected);
  });

  it("does not depend on the order, and no optional check moves it", () => {
    fc.assert(
      fc.property(fc.array(check, { minLength: 1 }), check, (checks, extra) => {
        const overall = overallHealth(checks);
        expect(overallHealth(checks.toReversed())).toBe(overall);
        expect(overallHealth([...checks, { ...extra, criticality: "optional" }])).toBe(overall);
      }),
    );
  });

  it("is healthy only when every critical and important check is", () => {
    fc.assert(
      fc.property(fc.array(check, { minLength: 1 }), (checks) => {
        const counted = checks.filter(({ criticality }) => criticality !== "optional");
        const allWell = counted.every(({ status }) => status === "healthy");
        expect(overallHealth(checks) === "healthy").toBe(allWell);
      }),
    );
  });

  it("has a value for each status, and unknown is not a healthy one", () => {
    expect(HEALTH_STATUSES.map(healthValue)).toEqual([1, 0.5, 0, 0]);
  });
});
