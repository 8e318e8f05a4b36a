import { describe, expect, it } from "vitest";
import { atMost } from "../../bench/harness.js";
import { ratiosOf, readRecord, worseThan } from "../../bench/record.js";

describe("the bench's record", () => {
  it("lets a ratio be up to 10 % worse, and names the one that is more", () => {
    const record = { a: 1, b: 0.5 };
    expect(worseThan(record, { a: 1.1, b: 0.2 })).toEqual([]);
    expect(worseThan(record, { a: 1.11, b: 0.551 })).toEqual(["a: 1.11, recorded 1", "b: 0.551, recorded 0.5"]);
  });

  it("names what it does not know", () => {
    expect(worseThan({}, { a: 1 })).toEqual(["a: 1, and no record of it; write one with --record"]);
  });

  it("keeps ratios, and no nanoseconds", () => {
    const budgets = [atMost("  a ratio", 0.51234, 1), atMost("a time", 12, 20, "ns")];
    expect(ratiosOf({ groups: [], budgets })).toEqual({ "a ratio": 0.5123 });
  });

  it("is there, and can be read", () => {
    expect(Object.keys(readRecord())).toContain("record");
  });
});
