import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { SEVERITIES } from "../../shared/failure.js";
import { CRITICALITIES } from "../../shared/health.js";
import { assess, severityAt } from "../../shared/severity.js";
import { aFailure } from "../recovery/a-failure.js";

const procedures = (count: number) => Array.from({ length: count }, (_, index) => `orders.p${index}`);

describe("severity", () => {
  it("rises with what the app needs most and with what stands on the service, and stays within its words", () => {
    expect(severityAt("medium", {})).toBe("medium");
    expect(severityAt("medium", { criticality: "critical" })).toBe("high");
    expect(severityAt("medium", { criticality: "optional" })).toBe("low");
    expect(severityAt("medium", { procedures: procedures(4) })).toBe("medium");
    expect(severityAt("medium", { procedures: procedures(5) })).toBe("high");
    expect(severityAt("medium", { procedures: procedures(20) })).toBe("critical");
    expect(severityAt("critical", { criticality: "critical", procedures: procedures(50) })).toBe("critical");
    expect(severityAt("low", { criticality: "optional" })).toBe("low");
  });

  it("never falls when more procedures stand on the service", () => {
    const stakes = fc.record({ criticality: fc.constantFrom(...CRITICALITIES), count: fc.nat({ max: 40 }) });
    fc.assert(
      fc.property(
        fc.constantFrom(...SEVERITIES),
        stakes,
        fc.nat({ max: 40 }),
        (severity, { criticality, count }, more) => {
          const at = (reach: number) =>
            SEVERITIES.indexOf(severityAt(severity, { criticality, procedures: procedures(reach) }));
          expect(at(count + more)).toBeGreaterThanOrEqual(at(count));
        },
      ),
    );
  });

  it("says in the event what is at stake, and leaves alone what nobody knows about", () => {
    const failure = aFailure({ context: { path: "orders.list" } });
    expect(assess(failure, {})).toBe(failure);
    expect(assess(failure, { criticality: "critical", procedures: procedures(30) })).toMatchObject({
      severity: "critical",
      context: { path: "orders.list", criticality: "critical", blastRadius: 30, procedures: procedures(20) },
    });
  });
});
