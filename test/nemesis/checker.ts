/**
 * Holds what producers testify against what the store says. Pure: it gets both as plain data and gives every contradiction as
 * one line. Nothing is guessed: points that were in the memory of a killed producer are those its testimony has and no batch
 * in the store covers.
 */
import type { Accounting } from "../../shared/series.js";
import type { SeriesShare, Testimony } from "./oracle.js";

export interface StoredBatch {
  readonly boot: string;
  readonly seq: number;
  readonly points: number;
}

/** What the ledger keeps of a boot when most of its rows are behind a mark. */
export interface StoredBoot {
  readonly boot: string;
  readonly points: number;
  readonly batches: number;
  /** Each batch up to this one is folded, or in a gap. */
  readonly settledSeq: number;
}

/** Batches that are called lost. */
export interface StoredGap {
  readonly boot: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly points: number;
}

/** Everything the store has of one series of one boot. */
export interface StoredSeries {
  readonly boot: string;
  readonly name: string;
  readonly points: number;
  readonly sum: number;
}

export interface Stored {
  /** Rows of the ledger: batches above the marks. */
  readonly ledger: readonly StoredBatch[];
  readonly boots: readonly StoredBoot[];
  readonly gaps: readonly StoredGap[];
  readonly series: readonly StoredSeries[];
  /** Points of rows of ten seconds that are compacted, and of all rows of a minute. */
  readonly compacted: { readonly fine: number; readonly coarse: number };
  readonly deadBatches: number;
}

export interface Evidence extends Stored {
  readonly testimonies: readonly Testimony[];
  /** What Paramedic itself says, by the public door, once nothing moves any more. */
  readonly accounting: Accounting;
  /** Ids (`boot:seq`) of batches that the nemesis took out of the stream: trimmed, or lost in a failover. */
  readonly destroyed: ReadonlySet<string>;
  /** Entries that nobody can read: sent by the nemesis, and of those, taken out again, read before that or not. */
  readonly unreadable: { readonly sent: number; readonly destroyed: number };
}

export interface Findings {
  readonly violations: readonly string[];
  readonly recorded: number;
  readonly rolledUp: number;
  readonly dropped: number;
  readonly lost: number;
  /** In memory of killed producers. */
  readonly inKilledMemory: number;
}

/** @example expect(check(evidence).violations).toEqual([]) */
export function check(evidence: Evidence): Findings {
  const { testimonies, accounting, destroyed } = evidence;
  const violations: string[] = [];
  const say = (holds: boolean, line: () => string) => {
    if (!holds) violations.push(line());
  };
  const storedByBoot = groupBy(evidence.ledger, ({ boot }) => boot);
  const gapsByBoot = groupBy(evidence.gaps, ({ boot }) => boot);
  const books = new Map(evidence.boots.map((book) => [book.boot, book]));
  const boots = new Set(testimonies.map(({ boot }) => boot));
  for (const boot of new Set([...storedByBoot.keys(), ...gapsByBoot.keys(), ...books.keys()]))
    say(boots.has(boot), () => `the ledger knows a boot nobody was: ${boot}`);

  let inKilledMemory = 0;
  let gap = 0;
  for (const testimony of testimonies) {
    const { boot, batches, recorded, ended } = testimony;
    const stored = storedByBoot.get(boot) ?? [];
    const gaps = gapsByBoot.get(boot) ?? [];
    const { settledSeq = 0, ...book } = books.get(boot) ?? { points: 0, batches: 0 };
    const inStore = new Set(stored.map(({ seq }) => seq));
    const rows = inStore.size;
    for (let seq = 1; seq <= settledSeq; seq += 1) {
      say(!inStore.has(seq), () => `I2: ${boot}:${seq} is in the ledger and behind the mark`);
      if (!gaps.some(({ firstSeq, lastSeq }) => seq >= firstSeq && seq <= lastSeq)) inStore.add(seq);
    }
    const sent = new Map(batches.map((batch) => [batch.seq, batch]));

    say(rows === stored.length, () => `I2: ${boot} has a batch twice in the ledger`);
    for (const { seq, points } of stored) {
      const batch = sent.get(seq);
      say(
        batch !== undefined && pointsOf(batch.series) === points,
        () =>
          `I2: ${boot}:${seq} is in the ledger with ${points} points and was sent with ${batch ? pointsOf(batch.series) : "none"}`,
      );
    }
    for (const { seq, confirmed } of batches) {
      const isGone = confirmed && !inStore.has(seq);
      say(
        !isGone || destroyed.has(`${boot}:${seq}`),
        () => `I8: ${boot}:${seq} was confirmed, is not in the store, and nobody destroyed it`,
      );
    }

    const folded = batches.filter(({ seq }) => inStore.has(seq));
    const foldedPoints = folded.reduce((sum, { series }) => sum + pointsOf(series), 0);
    say(
      inStore.size === folded.length && book.batches === folded.length && book.points === foldedPoints,
      () =>
        `I2: ${boot} has ${book.batches} batches with ${book.points} points in the books, ${inStore.size} in the ledger, and ` +
        `sent ${folded.length} of those with ${foldedPoints}`,
    );
    for (const { firstSeq, lastSeq, points } of gaps) {
      const within = batches.filter(({ seq }) => seq >= firstSeq && seq <= lastSeq);
      const missed = within.reduce((sum, { series }) => sum + pointsOf(series), 0);
      say(
        lastSeq < settledSeq && missed === points,
        () => `I7: ${boot} has a gap of ${points} points from ${firstSeq} to ${lastSeq}, and sent ${missed} there`,
      );
    }

    const newest = stored.reduce((highest, { seq }) => Math.max(highest, seq), settledSeq);
    const covered = sent.get(newest)?.recorded ?? 0;
    const missing = batches.filter(({ seq }) => seq < newest && !inStore.has(seq));
    gap += missing.reduce((sum, { series }) => sum + pointsOf(series), 0);
    inKilledMemory += recorded - covered;
    say(recorded >= covered, () => `I1: ${boot} has ${covered} points in the books and recorded ${recorded}`);
    say(
      !ended || recorded === covered,
      () => `I1: ${boot} ended in peace and ${recorded - covered} of its points are nowhere`,
    );

    const expected = new Map<string, { points: number; sum: number }>();
    for (const { series } of folded) {
      for (const [name, points, sum] of series) {
        const known = expected.get(name) ?? { points: 0, sum: 0 };
        expected.set(name, { points: known.points + points, sum: known.sum + sum });
      }
    }
    const found = new Map(evidence.series.filter((one) => one.boot === boot).map((one) => [one.name, one]));
    for (const name of new Set([...expected.keys(), ...found.keys()])) {
      const [want, have] = [expected.get(name), found.get(name)];
      say(
        want?.points === have?.points && want?.sum === have?.sum,
        () =>
          `I2: ${boot} ${name} is ${have?.points ?? 0} points and ${have?.sum ?? 0} in rollups, its batches have ${want?.points ?? 0} and ${want?.sum ?? 0}`,
      );
    }
  }

  const recorded = testimonies.reduce((sum, testimony) => sum + testimony.recorded, 0);
  const dropped = Object.values(accounting.dropped).reduce((sum, count) => sum + count, 0);
  const { rolledUp, lost, inFlight } = accounting;
  const ledgerPoints = evidence.boots.reduce((sum, { points }) => sum + points, 0);
  say(inFlight === 0, () => `${inFlight} points are said to be in flight, and nothing moves`);
  say(
    rolledUp === ledgerPoints,
    () => `I1: ${rolledUp} points are said to be rolled up, the ledger's batches have ${ledgerPoints}`,
  );
  say(lost === gap, () => `I7: ${lost} points are said to be lost, the missing batches have ${gap}`);
  say(
    accounting.recorded === recorded - inKilledMemory,
    () =>
      `I1: ${accounting.recorded} points are said to be recorded, ${recorded - inKilledMemory} were sent or dropped`,
  );
  say(
    rolledUp + dropped + lost + inKilledMemory === recorded,
    () =>
      `I1: rolled up ${rolledUp} + dropped ${dropped} + lost ${lost} + in killed memory ${inKilledMemory} is not ${recorded}`,
  );
  for (const reason of new Set([
    ...Object.keys(accounting.dropped),
    ...testimonies.flatMap(({ dropped: of }) => Object.keys(of)),
  ])) {
    const most = testimonies.reduce((sum, testimony) => sum + (testimony.dropped[reason] ?? 0), 0);
    const least = testimonies.reduce((sum, { ended, dropped: of }) => sum + (ended ? (of[reason] ?? 0) : 0), 0);
    const told = accounting.dropped[reason] ?? 0;
    say(
      told <= most && told >= least,
      () => `I3: ${told} points are said to be dropped as ${reason}, it was between ${least} and ${most}`,
    );
  }
  const { unreadable, deadBatches, compacted } = evidence;
  say(
    compacted.fine === compacted.coarse,
    () => `I2: ${compacted.fine} points are compacted, the rows of a minute have ${compacted.coarse}`,
  );
  say(
    deadBatches <= unreadable.sent && deadBatches >= unreadable.sent - unreadable.destroyed,
    () =>
      `I11: ${deadBatches} dead batches are kept of ${unreadable.sent} unreadable entries, ${unreadable.destroyed} of them destroyed`,
  );
  return { violations, recorded, rolledUp, dropped, lost, inKilledMemory };
}

export function pointsOf(series: readonly SeriesShare[]): number {
  return series.reduce((sum, [, points]) => sum + points, 0);
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, readonly T[]> {
  const groups = new Map<string, readonly T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
