/**
 * The scenarios that other libraries' tests and issues taught, on a fake clock, as `npm run conformance` plays them on those
 * libraries too. Where they disagree, a test's name states our choice.
 */
import { describe, expect, it } from "vitest";
import { paramedic } from "../conformance/circuits/paramedic.js";
import { play } from "../conformance/circuits/play.js";
import { SCENARIOS } from "../conformance/circuits/scenarios.js";

describe("a circuit breaker in scenarios", () => {
  it.each(SCENARIOS)("$id: $title", async (scenario) => {
    expect(await play(paramedic, scenario)).toEqual({ is: "passed" });
  });

  it("all 45 of them", () => {
    expect(SCENARIOS.map(({ id }) => id)).toEqual(Array.from({ length: 45 }, (_, at) => at + 1));
  });

  it("fails a scenario that asks for something else", async () => {
    const [first] = SCENARIOS;
    if (first === undefined) throw new Error("no scenarios");
    const { is } = await play(paramedic, { ...first, scripts: ["F S F F open"] });
    expect(is).toBe("failed");
  });
});
