/** What one life of a producer did, in its own words: an append-only file that outlives kill -9, written before the deed. */
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";

/** `[name, points, sum]` of a series in one batch; values are whole, so sums are exact. */
export type SeriesShare = readonly [name: string, points: number, sum: number];

export type OracleLine =
  /** About to record up to so many points, of which so many are to be dropped. */
  | { readonly is: "recording"; readonly recorded: number; readonly dropped: Readonly<Record<string, number>> }
  /** About to send a batch, for the first time or again. */
  | {
      readonly is: "sending";
      readonly seq: number;
      readonly recorded: number;
      readonly spanMs: number;
      readonly series: readonly SeriesShare[];
    }
  /** The stream said that it has the batch. */
  | { readonly is: "sent"; readonly seq: number }
  /** It was asked to end, and everything it had is sent. */
  | { readonly is: "ended" };

export interface OracleWriter {
  write(line: OracleLine): void;
  close(): void;
}

export function openOracle(file: string): OracleWriter {
  const descriptor = openSync(file, "a");
  return {
    write: (line) => void writeSync(descriptor, `${JSON.stringify(line)}\n`),
    close: () => closeSync(descriptor),
  };
}

export interface SentBatch {
  readonly seq: number;
  /** Points the boot had recorded up to and including this batch. */
  readonly recorded: number;
  readonly series: readonly SeriesShare[];
  readonly attempts: number;
  readonly confirmed: boolean;
}

/** One life of one producer. */
export interface Testimony {
  readonly boot: string;
  readonly recorded: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly batches: readonly SentBatch[];
  /** Batches whose window is longer than a flush: windows that merged while the stream was away. */
  readonly merged: number;
  /** False when it was killed. */
  readonly ended: boolean;
}

/** A last line that was torn by a kill is left out: its deed was not done. */
export function readTestimony(boot: string, file: string, flushIntervalMs: number): Testimony {
  // One that was killed before it began has nothing to say.
  return testimonyOf(boot, existsSync(file) ? readFileSync(file, "utf8") : "", flushIntervalMs);
}

export function testimonyOf(boot: string, text: string, flushIntervalMs: number): Testimony {
  let recorded = 0;
  let dropped: Readonly<Record<string, number>> = {};
  let ended = false;
  const batches = new Map<number, SentBatch>();
  const merged = new Set<number>();
  for (const line of text.split("\n").slice(0, -1).map(parse)) {
    switch (line.is) {
      case "recording":
        ({ recorded, dropped } = line);
        break;
      case "sending": {
        const { seq, series } = line;
        const known = batches.get(seq);
        batches.set(seq, {
          seq,
          recorded: line.recorded,
          series,
          attempts: (known?.attempts ?? 0) + 1,
          confirmed: false,
        });
        if (line.spanMs > flushIntervalMs) merged.add(seq);
        break;
      }
      case "sent": {
        const known = batches.get(line.seq);
        if (known) batches.set(line.seq, { ...known, confirmed: true });
        break;
      }
      case "ended":
        ended = true;
        break;
    }
  }
  return { boot, recorded, dropped, batches: [...batches.values()], merged: merged.size, ended };
}

function parse(line: string): OracleLine {
  return JSON.parse(line);
}
