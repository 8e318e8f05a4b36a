/** The checker finds each thing that can go wrong: one planted fault per property. */
import { describe, expect, it } from "vitest";
import { check, type Evidence } from "./checker.js";
import { type OracleLine, testimonyOf } from "./oracle.js";

const FLUSH_MS = 100;

function lived(boot: string, lines: readonly OracleLine[], torn = "") {
  return testimonyOf(boot, lines.map((line) => `${JSON.stringify(line)}\n`).join("") + torn, FLUSH_MS);
}

const recording = (recorded: number, negative = 0): OracleLine => ({
  is: "recording",
  recorded,
  dropped: { negative },
});
const sending = (seq: number, recorded: number, points: number): OracleLine => ({
  is: "sending",
  seq,
  recorded,
  spanMs: FLUSH_MS,
  series: [["m", points, points * 10]],
});

/**
 * Boot `a` ended in peace: 3 + 4 + 2 points sent, the second batch trimmed away, 1 dropped. Boot `b` was killed: 5 sent and 6
 * in memory.
 */
const sound: Evidence = {
  testimonies: [
    lived("a", [
      recording(3),
      sending(1, 3, 3),
      { is: "sent", seq: 1 },
      recording(10, 1),
      sending(2, 7, 4),
      { is: "sent", seq: 2 },
      sending(3, 10, 2),
      sending(3, 10, 2),
      { is: "sent", seq: 3 },
      { is: "ended" },
    ]),
    lived("b", [recording(5), sending(1, 5, 5), recording(11)], '{"is":"sen'),
  ],
  ledger: [
    { boot: "a", seq: 1, points: 3 },
    { boot: "a", seq: 3, points: 2 },
    { boot: "b", seq: 1, points: 5 },
  ],
  series: [
    { boot: "a", name: "m", points: 5, sum: 50 },
    { boot: "b", name: "m", points: 5, sum: 50 },
  ],
  accounting: { recorded: 15, rolledUp: 10, dropped: { negative: 1 }, lost: 4, inFlight: 0, gaps: [] },
  destroyed: new Set(["a:2"]),
  unreadable: { sent: 3, destroyed: 1 },
  deadBatches: 2,
};

describe("the checker", () => {
  it("finds nothing where everything is accounted for", () => {
    expect(check(sound)).toEqual({
      violations: [],
      recorded: 21,
      rolledUp: 10,
      dropped: 1,
      lost: 4,
      inKilledMemory: 6,
    });
  });

  it.each<[string, string, Partial<Evidence>]>([
    [
      "a point that was counted twice",
      "I2: a m",
      { series: [{ boot: "a", name: "m", points: 6, sum: 60 }, ...sound.series.slice(1)] },
    ],
    [
      "a sum that is off",
      "I2: b m",
      { series: [...sound.series.slice(0, 1), { boot: "b", name: "m", points: 5, sum: 51 }] },
    ],
    [
      "a batch that is in the ledger twice",
      "I2: a has a batch twice",
      { ledger: [...sound.ledger, { boot: "a", seq: 3, points: 2 }] },
    ],
    ["a batch that nobody sent", "I2: a:9", { ledger: [...sound.ledger, { boot: "a", seq: 9, points: 2 }] }],
    ["a boot that nobody was", "a boot nobody was", { ledger: [...sound.ledger, { boot: "z", seq: 1, points: 2 }] }],
    ["a confirmed batch that is gone", "I8: a:2", { destroyed: new Set() }],
    [
      "points that are nowhere",
      "I1: a ended in peace",
      { ledger: sound.ledger.filter(({ boot, seq }) => boot !== "a" || seq !== 3) },
    ],
    ["a loss that is not told", "I7: 0 points", { accounting: { ...sound.accounting, lost: 0 } }],
    ["a drop that is not told", "I3: 0 points", { accounting: { ...sound.accounting, dropped: {} } }],
    ["books that do not add up", "I1: rolled up", { accounting: { ...sound.accounting, rolledUp: 11 } }],
    ["points that never settle", "in flight", { accounting: { ...sound.accounting, inFlight: 1 } }],
    ["an unreadable entry that was not kept", "I11: 1 dead", { deadBatches: 1 }],
    ["an unreadable entry that was kept twice", "I11: 4 dead", { deadBatches: 4 }],
  ])("finds %s", (_, violation, fault) => {
    expect(check({ ...sound, ...fault }).violations).toEqual(
      expect.arrayContaining([expect.stringContaining(violation)]),
    );
  });
});
