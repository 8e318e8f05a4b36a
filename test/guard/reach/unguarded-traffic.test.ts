import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createUnguardedList } from "../../../server/guard/reach/unguarded-traffic.js";

describe("the list of what goes past guards", () => {
  it("loses no count, whatever is added, and stays bounded", () => {
    const sent = fc.array(
      fc.record({
        origin: fc.nat(300).map((host) => `http://host-${host}`),
        procedure: fc.option(fc.nat(100).map(String), { nil: undefined }),
      }),
      { size: "max", maxLength: 1_000 },
    );
    fc.assert(
      fc.property(sent, (requests) => {
        const list = createUnguardedList();
        for (const [now, { origin, procedure }] of requests.entries()) list.add(origin, procedure, now);
        const listed = list.list();
        const counted = listed.reduce((sum, { count }) => sum + count, 0);
        expect(counted + list.unlisted).toBe(requests.length);
        expect(listed.length).toBeLessThanOrEqual(200);
        for (const { procedures } of listed) expect(procedures.length).toBeLessThanOrEqual(50);
        expect(listed.map(({ count }) => count)).toEqual(listed.map(({ count }) => count).sort((a, b) => b - a));
      }),
    );
  });

  it("folds by origin: how often, when last, and by which procedures", () => {
    const list = createUnguardedList();
    list.add("https://a.example", "ask", 10);
    list.add("https://b.example", undefined, 20);
    list.add("https://a.example", "ask", 30);
    list.add("https://a.example", "again", 40);
    expect(list.list()).toEqual([
      { origin: "https://a.example", guarded: false, count: 3, lastSeenAt: 40, procedures: ["again", "ask"] },
      { origin: "https://b.example", guarded: false, count: 1, lastSeenAt: 20, procedures: [] },
    ]);
  });
});
