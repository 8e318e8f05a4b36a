/**
 * Measures contenders against a baseline in one process, in turns: many short batches, interleaved, so that a busy neighbour
 * hits all alike and a preemption spoils one batch of hundreds. What counts are medians of ratios and of differences between
 * neighbouring batches; nanoseconds alone say little. Loops are warm and collections of garbage fall out of a median: these
 * are floors, and a cold call costs several times more.
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
  /** The ratios of the processes that this is the median of. */
  readonly spread?: Spread | undefined;
}

/** What several processes measured, from the lowest to the highest. */
export interface Spread {
  readonly lowest: number;
  readonly highest: number;
}

export interface Group {
  readonly title: string;
  /** The baseline first, then the baseline again (what noise alone does), then the contenders. */
  readonly measurements: readonly Measurement[];
}

export type Unit = "×" | "ns" | "µs" | "ms" | "bytes" | "timers";

/** A promise about a ratio or a number, and what this run found. Ratios are comparable between machines, within limits. */
export interface Budget {
  readonly what: string;
  readonly limit: number;
  readonly measured: number;
  readonly unit: Unit;
  readonly spread?: Spread | undefined;
}

export interface ScenarioResult {
  readonly groups: readonly Group[];
  readonly budgets: readonly Budget[];
  /** What is compared with what. */
  readonly notes?: readonly string[];
}

export interface Scenario {
  readonly name: string;
  /** It runs in this many, one after another, and medians count: one process compiles and lays out its code by chance. @default 1 */
  readonly processes?: number;
  /** Options of Node's for them. */
  readonly execArgv?: readonly string[];
  run(): Promise<ScenarioResult>;
}

const ROUNDS = 500;
const BATCH_NS = 0.5e6;
/** Processor time, because on a busy machine as much time by the clock may be nothing. */
const WARM_UP_US = 120_000;

export async function compare(title: string, baseline: Contender, contenders: readonly Contender[]): Promise<Group> {
  const again = { ...baseline, name: `${baseline.name} (again)` };
  const lanes: Lane[] = [];
  for (const contender of [baseline, again, ...contenders]) lanes.push(await laneOf(contender));
  // The compiler undoes what it knew when the next lane comes: each settles once more, now that all were seen.
  for (const lane of lanes) await warmUp(lane);
  const [first, second] = lanes;
  if (first && second) second.size = first.size;
  for (let round = 0; round < ROUNDS; round += 1) {
    // Forwards and backwards in turns: nobody always follows, and cleans up after, the same neighbour.
    for (const lane of round % 2 === 0 ? lanes : lanes.toReversed()) {
      lane.rounds.push(await batch(lane));
      await turn();
    }
  }
  return groupOf(title, lanes);
}

/** @param lanes the baseline first; the costs of each per round, in nanoseconds, and rounds of all lie side by side in time */
export function groupOf(title: string, lanes: readonly Pick<Measurement, "name" | "rounds">[]): Group {
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

/** What one contender adds above the baseline, to what another adds. */
export function additionRatioOf(group: Group, name: string, peer: string): number {
  return find(group, name).addedNs / find(group, peer).addedNs;
}

export function find(group: Group, name: string): Measurement {
  const found = group.measurements.find((measurement) => measurement.name === name);
  if (found === undefined) throw new Error(`no contender "${name}" in "${group.title}"`);
  return found;
}

export function atMost(what: string, measured: number, limit: number, unit: Unit = "×"): Budget {
  return { what, measured, limit, unit };
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

interface Lane extends Contender {
  readonly isAsync: boolean;
  /** Runs in a batch. */
  size: number;
  readonly rounds: number[];
}

async function laneOf(contender: Contender): Promise<Lane> {
  const given = contender.run();
  const lane: Lane = { ...contender, isAsync: given instanceof Promise, size: 16, rounds: [] };
  await given;
  await warmUp(lane);
  return lane;
}

/** Runs it until the compiler has settled, and sees how many runs fill a batch then. */
async function warmUp(lane: Lane): Promise<void> {
  const startedAt = process.cpuUsage();
  const costs: number[] = [];
  for (;;) {
    costs.push(await batch(lane));
    await turn();
    lane.size = Math.max(1, Math.round(BATCH_NS / median(costs.slice(-25))));
    const { user, system } = process.cpuUsage(startedAt);
    if (user + system >= WARM_UP_US) return;
  }
}

/** Timers, and garbage of others, get their turn between batches and not within them. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Nanoseconds per run. Promises are awaited one after another; what is no promise is not. */
async function batch({ run, isAsync, size }: Lane): Promise<number> {
  const startedAt = performance.now();
  if (isAsync) for (let i = 0; i < size; i += 1) await run();
  else for (let i = 0; i < size; i += 1) run();
  return ((performance.now() - startedAt) * 1e6) / size;
}
