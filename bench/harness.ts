/**
 * Measures contenders against a baseline in one process, in turns: short batches, interleaved, so that a busy neighbour hits
 * all alike. What counts are medians of ratios and of differences between neighbouring batches; nanoseconds alone say little.
 * Loops are warm: these are floors, and a cold call costs several times more.
 */
import { performance } from "node:perf_hooks";

export interface Contender {
  readonly name: string;
  /** Awaited when it gives a promise. */
  readonly run: () => unknown;
}

export interface Measurement {
  readonly name: string;
  /** Median over the rounds. */
  readonly nsPerOp: number;
  /** To the baseline. */
  readonly ratio: number;
  /** Above the baseline. */
  readonly addedNs: number;
  /** Per round, for comparisons with another contender. */
  readonly rounds: readonly number[];
}

export interface Group {
  readonly title: string;
  /** The baseline first, then the baseline again (what noise alone does), then the contenders. */
  readonly measurements: readonly Measurement[];
}

/** A promise about a ratio or a difference, and whether this run kept it. */
export interface Budget {
  readonly what: string;
  readonly limit: string;
  readonly measured: string;
  readonly met: boolean;
  /** Where the promise is about a ratio: comparable between machines, within limits. */
  readonly ratio?: number | undefined;
}

export interface ScenarioResult {
  readonly groups: readonly Group[];
  readonly budgets: readonly Budget[];
  readonly notes?: readonly string[];
}

export interface Scenario {
  readonly name: string;
  run(): Promise<ScenarioResult>;
}

const ROUNDS = 31;
const WARM_UP_ROUNDS = 5;
const BATCH_MS = 6;

export async function compare(title: string, baseline: Contender, contenders: readonly Contender[]): Promise<Group> {
  const lanes = [baseline, { ...baseline, name: `${baseline.name} (again)` }, ...contenders].map((contender) => ({
    ...contender,
    size: 1,
    rounds: [] as number[],
  }));
  for (const lane of lanes) lane.size = await batchSizeOf(lane.run);
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
    for (let turn = 0; turn < lanes.length; turn += 1) {
      const lane = lanes[(turn + round + WARM_UP_ROUNDS) % lanes.length];
      if (lane === undefined) continue;
      const ns = await batch(lane.run, lane.size);
      if (round >= 0) lane.rounds.push(ns);
      // Timers, and garbage of others, get their turn between batches and not within them.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const base = lanes[0]?.rounds ?? [];
  return {
    title,
    measurements: lanes.map(({ name, rounds }) => ({
      name,
      nsPerOp: median(rounds),
      ratio: median(rounds.map((ns, at) => ns / (base[at] ?? ns))),
      addedNs: median(rounds.map((ns, at) => ns - (base[at] ?? ns))),
      rounds,
    })),
  };
}

/** The median over the rounds of one contender's cost divided by another's. */
export function ratioOf(group: Group, name: string, peer: string): number {
  const [a, b] = [find(group, name), find(group, peer)];
  return median(a.rounds.map((ns, at) => ns / (b.rounds[at] ?? ns)));
}

export function find(group: Group, name: string): Measurement {
  const found = group.measurements.find((measurement) => measurement.name === name);
  if (found === undefined) throw new Error(`no contender "${name}" in "${group.title}"`);
  return found;
}

export function atMost(what: string, measured: number, limit: number, unit = "×"): Budget {
  const show = (value: number) =>
    unit === "×" ? `${value.toFixed(limit < 0.1 ? 3 : 2)} ×` : `${Math.round(value)} ${unit}`;
  return {
    what,
    limit: `≤ ${show(limit)}`,
    measured: show(measured),
    met: measured <= limit,
    ratio: unit === "×" ? measured : undefined,
  };
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

async function batchSizeOf(run: () => unknown): Promise<number> {
  let size = 64;
  for (;;) {
    const ns = await batch(run, size);
    if (ns * size >= (BATCH_MS * 1e6) / 2) return Math.max(1, Math.round((BATCH_MS * 1e6) / ns));
    size *= 2;
  }
}

/** Nanoseconds per run. Promises are awaited one after another; what is no promise is not. */
async function batch(run: () => unknown, size: number): Promise<number> {
  const isAsync = run() instanceof Promise;
  const startedAt = performance.now();
  if (isAsync) for (let i = 0; i < size; i += 1) await run();
  else for (let i = 0; i < size; i += 1) run();
  return ((performance.now() - startedAt) * 1e6) / size;
}
