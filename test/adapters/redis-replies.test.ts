import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { claimedOf, entriesOf, groupsOf, nextId } from "../../server/adapters/redis-replies.js";

describe("Redis replies", () => {
  it("reads entries, those without content too", () => {
    const reply = [
      [
        "key",
        [
          ["1-0", ["v", "1", "data", "{}"]],
          ["2-0", null],
        ],
      ],
    ];
    expect(entriesOf(reply)).toEqual([
      { id: "1-0", fields: { v: "1", data: "{}" } },
      { id: "2-0", fields: undefined },
    ]);
    expect(entriesOf(null)).toEqual([]);
  });

  it("reads a claim of Redis 7, which names what was trimmed", () => {
    expect(claimedOf(["5-0", [["3-0", ["v", "1"]]], ["1-0", "2-0"]])).toEqual({
      next: "5-0",
      entries: [{ id: "3-0", fields: { v: "1" } }],
      lost: ["1-0", "2-0"],
      nameless: 0,
    });
  });

  it("reads a claim of Redis 6.2, which leaves a hole where something was trimmed", () => {
    expect(claimedOf(["0-0", [null, ["3-0", ["v", "1"]], null]])).toMatchObject({
      next: "0-0",
      entries: [{ id: "3-0" }],
      lost: [],
      nameless: 2,
    });
  });

  it("keeps an odd field out and a prototype's name in", () => {
    const [entry] = entriesOf([["key", [["1-0", ["__proto__", "x", "lonely"]]]]]);
    expect(Object.entries(entry?.fields ?? {})).toEqual([["__proto__", "x"]]);
  });

  it("reads groups with and without a lag", () => {
    const flat = ["name", "g", "consumers", 1, "pending", 2, "last-delivered-id", "7-1"];
    expect(groupsOf([flat])).toEqual([{ name: "g", pending: 2, lastDelivered: "7-1", idle: 0, lag: undefined }]);
    expect(groupsOf([[...flat, "lag", 4]])[0]?.lag).toBe(4);
    expect(groupsOf([[...flat, "lag", null]])[0]?.lag).toBeUndefined();
  });

  it("finds the id after another, beyond what a float holds too", () => {
    expect(nextId("1700000000000-0")).toBe("1700000000000-1");
    expect(nextId("1-18446744073709551614")).toBe("1-18446744073709551615");
  });

  it("never throws, whatever a reply looks like", () => {
    fc.assert(
      fc.property(fc.anything(), (reply) => {
        for (const read of [entriesOf, claimedOf, groupsOf]) read(reply);
      }),
    );
  });
});
