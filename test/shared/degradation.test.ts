import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { degradationOf } from "../../shared/degradation.js";

const circuit = (name: string, state: "closed" | "open" | "half_open" = "open") => ({ name, state, held: undefined });
const check = (name: string, status = "unhealthy") => ({ name, status });

describe("the degradation level", () => {
  it.each([
    [0, "normal"],
    [1, "partial"],
    [2, "partial"],
    [3, "severe"],
    [9, "severe"],
  ] as const)("with %i parts on their fallback is %s", (count, level) => {
    const circuits = Array.from({ length: count }, (_, index) => circuit(`llm:${index}`));
    expect(degradationOf({ circuits, checks: [], storeAway: false })).toMatchObject({ level });
  });

  it("counts a part once, from however many sides it is known", () => {
    const facts = { circuits: [circuit("db:main")], checks: [check("db:main"), check("store")], storeAway: true };
    expect(degradationOf(facts)).toEqual({ level: "partial", parts: ["db:main", "store"] });
  });

  it("counts a circuit that is held open by hand, and none that is held otherwise, whatever its state", () => {
    const held = (state: "forced_open" | "disabled" | "metrics_only") => ({
      ...circuit("db:main", state === "forced_open" ? "closed" : "open"),
      held: { state, by: "ada", reason: "upgrade", until: undefined },
    });
    const partsOf = (one: ReturnType<typeof held>) =>
      degradationOf({ circuits: [one], checks: [], storeAway: false }).parts;
    expect(partsOf(held("forced_open"))).toEqual(["db:main"]);
    expect(partsOf(held("disabled"))).toEqual([]);
    expect(partsOf(held("metrics_only"))).toEqual([]);
  });

  it("never falls when one more part fails", () => {
    const levels = ["normal", "partial", "severe"];
    const names = fc.array(fc.constantFrom("a", "b", "c", "d", "e"));
    fc.assert(
      fc.property(names, names, fc.boolean(), (open, failing, storeAway) => {
        const facts = {
          circuits: open.map((name) => circuit(name)),
          checks: failing.map((name) => check(name)),
          storeAway,
        };
        const more = { ...facts, circuits: [...facts.circuits, circuit("f", "half_open")] };
        expect(levels.indexOf(degradationOf(more).level)).toBeGreaterThanOrEqual(
          levels.indexOf(degradationOf(facts).level),
        );
        expect(degradationOf(facts).parts).toHaveLength(
          new Set([...open, ...failing, ...(storeAway ? ["store"] : [])]).size,
        );
      }),
    );
  });
});
