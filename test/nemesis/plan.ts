/** What the nemesis does and when, as a function of its seed: the same seed gives the same schedule. */
import { seededRandom } from "../../examples/seeded-random.js";

export const STORE_KINDS = ["sqlite", "postgres"] as const;
export type StoreKind = (typeof STORE_KINDS)[number];

/** Faults of the stream and the way to it. */
export const STREAM_FAULTS = [
  "redis_kill",
  "redis_pause",
  "redis_failover",
  "redis_readonly",
  "redis_out_of_memory",
  "redis_cannot_save",
  "redis_no_replicas",
  "network_cut",
  "network_refuse",
  "network_blackhole_to_redis",
  "network_blackhole_to_client",
  "network_latency",
  "entries_duplicated",
  "entries_trimmed",
  "entry_poisonous",
  "entry_of_newer_format",
] as const;

/** Faults of the processes and of the store they share. */
const PROCESS_FAULTS = ["producer_kill", "producer_pause", "aggregator_kill", "aggregator_pause"] as const;
const STORE_FAULTS = {
  sqlite: ["store_locked"],
  postgres: ["store_locked", "store_kill", "store_session_kill", "store_session_pause"],
} as const satisfies Record<StoreKind, readonly string[]>;

export type StreamFault = (typeof STREAM_FAULTS)[number];
export type ProcessFault = (typeof PROCESS_FAULTS)[number] | (typeof STORE_FAULTS)[StoreKind][number];

export interface PlannedFault<Kind> {
  readonly fault: Kind;
  /** Quiet before it. */
  readonly pauseMs: number;
  /** How long it lasts, where it lasts. */
  readonly lastsMs: number;
  /** Which of two processes, or how many entries: whoever executes it takes the remainder. */
  readonly choice: number;
}

/** Two lanes that run beside each other, so that faults meet; within a lane one ends before the next begins. */
export interface NemesisPlan {
  readonly stream: readonly PlannedFault<StreamFault>[];
  readonly process: readonly PlannedFault<ProcessFault>[];
}

const SHORTEST_PAUSE_MS = 150;
const LONGEST_PAUSE_MS = 700;
const SHORTEST_FAULT_MS = 400;
const LONGEST_FAULT_MS = 2_000;

export function processFaultsOf(store: StoreKind): readonly ProcessFault[] {
  return [...PROCESS_FAULTS, ...STORE_FAULTS[store]];
}

/**
 * Each lane is one shuffled deck of all its kinds after another, so that the first round already has every kind.
 *
 * @param rounds decks per lane; more than there is time for does no harm
 */
export function planFaults(seed: number, store: StoreKind, rounds: number): NemesisPlan {
  const random = seededRandom(seed);
  const lane = <Kind>(kinds: readonly Kind[]): readonly PlannedFault<Kind>[] =>
    Array.from({ length: rounds }, () => shuffled(kinds, random)).flatMap((deck) =>
      deck.map((fault) => ({
        fault,
        pauseMs: between(SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS, random),
        lastsMs: between(SHORTEST_FAULT_MS, LONGEST_FAULT_MS, random),
        choice: Math.floor(random() * 2 ** 16),
      })),
    );
  return { stream: lane(STREAM_FAULTS), process: lane(processFaultsOf(store)) };
}

function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  return items
    .map((item) => ({ item, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

function between(least: number, most: number, random: () => number): number {
  return Math.round(least + random() * (most - least));
}
