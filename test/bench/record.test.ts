import { describe, expect, it } from "vitest";
import { atMost, type Budget } from "../../bench/harness.js";
import { merged } from "../../bench/processes.js";
import { compareWith, isPassed, ratiosOf, readRecord } from "../../bench/record.js";

const resultOf = (...budgets: Budget[]) => ({ groups: [], budgets });
const verdicts = (recorded: Record<string, number>, ...budgets: Budget[]) =>
  compareWith(recorded, resultOf(...budgets)).map(({ what, verdict }) => `${what}: ${verdict}`);

describe("the bench's record", () => {
  it("lets a ratio be up to 10 % worse, and names the one that is more", () => {
    const record = { a: 1, b: 0.5 };
    expect(verdicts(record, atMost("a", 1.1, 2), atMost("b", 0.2, 1))).toEqual(["a: held", "b: held"]);
    expect(verdicts(record, atMost("a", 1.11, 2), atMost("  b", 0.551, 1))).toEqual(["a: worse", "b: worse"]);
  });

  it("names what it does not know, and what was not measured", () => {
    expect(verdicts({ b: 1 }, atMost("a", 1, 1))).toEqual(["a: new", "b: gone"]);
  });

  it("passes a check only while each ratio is known, measured and held", () => {
    const passes = (recorded: Record<string, number>, ...budgets: Budget[]) =>
      isPassed(compareWith(recorded, resultOf(...budgets)));
    expect(passes({ a: 1 }, atMost("a", 1.1, 2), atMost("a time", 12, 20, "ns"))).toBe(true);
    expect(passes({ a: 1 }, atMost("a", 1.11, 2))).toBe(false);
    expect(passes({}, atMost("a", 1, 2))).toBe(false);
    expect(passes({ a: 1 })).toBe(false);
  });

  it("says which rows it skips: nothing but a ratio is comparable between machines", () => {
    expect(verdicts({}, atMost("a time", 12, 20, "ns"))).toEqual(["a time: skipped"]);
  });

  it("keeps ratios, and no nanoseconds", () => {
    const result = resultOf(atMost("  a ratio", 0.51234, 1), atMost("a time", 12, 20, "ns"));
    expect(ratiosOf(result)).toEqual({ "a ratio": 0.5123 });
  });

  it("takes the median of several processes, and keeps how far they lie apart", () => {
    const [budget] = merged([1.2, 9, 1.1].map((ratio) => resultOf(atMost("a", ratio, 2)))).budgets;
    expect(budget).toMatchObject({ what: "a", limit: 2, measured: 1.2, spread: { lowest: 1.1, highest: 9 } });
  });

  it("is there, and can be read", () => {
    expect(Object.keys(readRecord())).toContain("record");
  });
});
