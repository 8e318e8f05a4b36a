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
  boots: [
    { boot: "a", points: 5, batches: 2, settledSeq: 0 },
    { boot: "b", points: 5, batches: 1, settledSeq: 0 },
  ],
  gaps: [],
  series: [
    { boot: "a", name: "m", points: 5, sum: 50 },
    { boot: "b", name: "m", points: 5, sum: 50 },
  ],
  compacted: { fine: 5, coarse: 5 },
  accounting: { recorded: 15, rolledUp: 10, dropped: { negative: 1 }, lost: 4, inFlight: 0, gaps: [] },
  destroyed: new Set(["a:2"]),
  unreadable: { sent: 3, destroyed: 1 },
  deadBatches: 2,
};

/** The same once the ledger's rows of boot `a` are behind its mark, and what was trimmed away is a gap. */
const settled: Evidence = {
  ...sound,
  ledger: [{ boot: "b", seq: 1, points: 5 }],
  boots: [{ boot: "a", points: 5, batches: 2, settledSeq: 3 }, ...sound.boots.slice(1)],
  gaps: [{ boot: "a", firstSeq: 2, lastSeq: 2, points: 4 }],
};

describe("the checker", () => {
  it("finds nothing where everything is accounted for", () => {
    const findings = { violations: [], recorded: 21, rolledUp: 10, dropped: 1, lost: 4, inKilledMemory: 6 };
    expect(check(sound)).toEqual(findings);
    expect(check(settled)).toEqual(findings);
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

  it.each<[string, string, Partial<Evidence>]>([
    [
      "a gap with other points than were sent",
      "I7: a has a gap of 3",
      { gaps: [{ boot: "a", firstSeq: 2, lastSeq: 2, points: 3 }] },
    ],
    ["a batch that is neither folded nor in a gap", "I2: a has 2 batches", { gaps: [] }],
    [
      "a batch that is in the ledger and behind the mark",
      "I2: a:3",
      { ledger: [...settled.ledger, { boot: "a", seq: 3, points: 2 }] },
    ],
    [
      "books of a boot that are off",
      "I2: a has 2 batches with 6",
      { boots: [{ boot: "a", points: 6, batches: 2, settledSeq: 3 }, ...settled.boots.slice(1)] },
    ],
    [
      "a gap of a boot nobody was",
      "a boot nobody was",
      { gaps: [...settled.gaps, { boot: "z", firstSeq: 1, lastSeq: 1, points: 1 }] },
    ],
    ["a minute that is not the sum of its parts", "I2: 5 points are compacted", { compacted: { fine: 5, coarse: 4 } }],
  ])("finds, once batches are settled, %s", (_, violation, fault) => {
    expect(check({ ...settled, ...fault }).violations).toEqual(
      expect.arrayContaining([expect.stringContaining(violation)]),
    );
  });
});
