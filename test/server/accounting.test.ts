import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { closeAccounts, impossibleIn } from "../../server/accounting.js";

const nothing = { backlog: 0, unsettledPoints: 0 };

describe("the accounting of law 5", () => {
  it("I7: counts what this process holds as in flight, and what never arrived as lost", () => {
    const ledger = [{ boot: "old", recorded: 100, dropped: { not_finite: 1 }, rolledUp: 90, lost: 0 }];
    expect(
      closeAccounts(ledger, { boot: "new", recorded: 10, dropped: {} }, { backlog: 0, unsettledPoints: 10 }, []),
    ).toEqual({
      recorded: 110,
      rolledUp: 90,
      dropped: { not_finite: 1 },
      lost: 9,
      inFlight: 10,
      gaps: [],
    });
  });

  it("calls nothing lost while the stream still holds entries", () => {
    const ledger = [{ boot: "a", recorded: 100, dropped: {}, rolledUp: 40, lost: 0 }];
    const accounts = closeAccounts(
      ledger,
      { boot: "a", recorded: 100, dropped: {} },
      { backlog: 1, unsettledPoints: 0 },
      [],
    );
    expect(accounts).toMatchObject({ lost: 0, inFlight: 60 });
  });

  it("calls lost what is in a gap, whatever the stream still holds, and shows the gaps", () => {
    const gap = { instance: "web-1", boot: "a", firstSeq: 4, lastSeq: 5, from: 1_000, to: 3_000, points: 25 };
    const ledger = [{ boot: "a", recorded: 100, dropped: {}, rolledUp: 40, lost: 25 }];
    expect(
      closeAccounts(
        ledger,
        { boot: "b", recorded: 0, dropped: {} },
        { backlog: Number.POSITIVE_INFINITY, unsettledPoints: 0 },
        [gap],
      ),
    ).toEqual({ recorded: 100, rolledUp: 40, dropped: {}, lost: 25, inFlight: 35, gaps: [gap] });
  });

  it("believes the ledger where a batch committed after this process was asked", () => {
    const ledger = [{ boot: "a", recorded: 12, dropped: {}, rolledUp: 12, lost: 0 }];
    expect(closeAccounts(ledger, { boot: "a", recorded: 10, dropped: {} }, nothing, [])).toMatchObject({
      recorded: 12,
      lost: 0,
    });
  });

  it("I1 I7: are told to be impossible when points were counted twice or a boot's numbers came again", () => {
    const twice = [{ boot: "a", recorded: 10, dropped: {}, rolledUp: 20, lost: 0 }];
    const accounts = closeAccounts(twice, { boot: "b", recorded: 0, dropped: {} }, nothing, []);
    expect(impossibleIn(accounts)).toMatchObject({ code: "INVARIANT_BROKEN", message: expect.stringContaining("I7") });
    expect(impossibleIn({ recorded: 5, rolledUp: 4, dropped: {}, lost: 0, inFlight: 0, gaps: [] })?.message).toContain(
      "I1",
    );
    expect(
      impossibleIn({ recorded: 5, rolledUp: 2, dropped: { negative: 1 }, lost: 1, inFlight: 1, gaps: [] }),
    ).toBeUndefined();
  });

  it("I1 I7: always closes: recorded = rolled up + dropped + lost + in flight", () => {
    const count = fc.nat({ max: 1_000 });
    const boot = fc
      .record({
        boot: fc.constantFrom("a", "b", "c"),
        rolledUp: count,
        notRolledUp: count,
        lost: count,
        invalid: count,
      })
      .map(({ boot, rolledUp, notRolledUp, lost, invalid }) => ({
        boot,
        rolledUp,
        lost,
        recorded: rolledUp + notRolledUp + lost + invalid,
        dropped: { invalid },
      }));
    fc.assert(
      fc.property(
        fc.uniqueArray(boot, { selector: (entry) => entry.boot }),
        fc.record({ more: count, dropped: count, backlog: fc.nat({ max: 3 }), unsettledPoints: count }),
        (ledger, { more, dropped, ...arriving }) => {
          const before = ledger.find((entry) => entry.boot === "a");
          const live = {
            boot: "a",
            recorded: (before?.recorded ?? 0) + more + dropped,
            dropped: { invalid: (before?.dropped.invalid ?? 0) + dropped },
          };
          const accounts = closeAccounts(ledger, live, arriving, []);
          expect(impossibleIn(accounts)).toBeUndefined();
          const { recorded, rolledUp, dropped: lostBy, lost, inFlight } = accounts;
          const droppedSum = Object.values(lostBy).reduce((sum, points) => sum + points, 0);
          expect(rolledUp + droppedSum + lost + inFlight).toBe(recorded);
          expect(Math.min(lost, inFlight)).toBeGreaterThanOrEqual(0);
        },
      ),
    );
  });
});
