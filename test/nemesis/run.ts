/** One run: everything started, faults for a while, then peace until nothing moves, then the evidence. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";
import { migrateStore } from "../../server/store-target.js";
import { encodeBatch } from "../../shared/batch-codec.js";
import type { Accounting } from "../../shared/series.js";
import { ownKey } from "../services/own-key.js";
import { batchOf } from "../support/batches.js";
import type { ScriptBundle } from "../support/script-bundle.js";
import type { Evidence } from "./checker.js";
import { type Fleet, pause, type Role, startFleet } from "./fleet.js";
import {
  type PlannedFault,
  type ProcessFault,
  planFaults,
  processFaultsOf,
  STREAM_FAULTS,
  type StoreKind,
  type StreamFault,
} from "./plan.js";
import { type RedisPair, startRedisPair } from "./redis-pair.js";
import type { Counters } from "./reports.js";
import type { SharedStore } from "./shared-store.js";

export interface NemesisRun {
  readonly evidence: Evidence;
  /** What the processes met, added up: each a path that faults are meant to reach. */
  readonly reached: Counters;
  /** What was done, in order. */
  readonly faults: readonly string[];
}

/** More decks than anybody has time for. */
const ROUNDS = 200;
const LATENCY_MS = 120;
/** A lock is held until a commit has met it: on a busy machine none may come for a while. */
const LONGEST_LOCK_MS = 10_000;
/** Twenty batches a second come meanwhile. */
const UNREAD_FOR_MS = 2_000;
/** For four processes to start on a busy machine. */
const WARM_UP_MS = 60_000;
/** An entry that nobody can read waits for two deliveries and a pause between them. */
const DRAIN_MS = 45_000;

export interface NemesisOptions {
  readonly kind: StoreKind;
  readonly seed: number;
  readonly forMs: number;
  readonly bundle: ScriptBundle<Role>;
  /** Empty, and its own: it is broken too. */
  readonly store: SharedStore;
}

export async function runNemesis({ kind, seed, forMs, bundle, store }: NemesisOptions): Promise<NemesisRun> {
  const folder = mkdtempSync(join(tmpdir(), "paramedic-nemesis-"));
  const endings: (() => Promise<unknown>)[] = [async () => rmSync(folder, { recursive: true, force: true })];
  try {
    const streamKey = ownKey("nemesis");
    const redis = await startRedisPair(streamKey, markerOf);
    endings.push(() => redis.dispose());
    await migrateStore(store.address);
    const fleet = startFleet({ bundle, folder, redisUrl: redis.url, streamKey, store: store.address, seed });
    endings.push(() => fleet.dispose());
    await untilCommitted(fleet);

    const faults: string[] = [];
    const unreadable: string[] = [];
    const until = performance.now() + forMs;
    const plan = planFaults(seed, kind, ROUNDS);
    const lanes = await Promise.allSettled([
      executed(plan.stream, STREAM_FAULTS.length, until, faults, (fault) => onStream(fault, redis, unreadable)),
      executed(plan.process, processFaultsOf(kind).length, until, faults, (fault) => onProcesses(fault, fleet, store)),
    ]);
    // A lane that failed does not leave the other one behind.
    for (const lane of lanes) if (lane.status === "rejected") throw lane.reason;

    await loseUnread(fleet, redis);
    await untilInGaps(store);
    // What the living record from now on tells of the gaps before it; and nobody destroys these two.
    const inPeace = { pauseMs: 0, lastsMs: 0, choice: 0 };
    await onStream({ ...inPeace, fault: "entry_poisonous" }, redis, unreadable);
    await onStream({ ...inPeace, fault: "entry_of_newer_format" }, redis, unreadable);
    await pause(1_000);
    await fleet.endProducers();
    const accounting = await whenDrained(store, redis, streamKey);
    await fleet.endAggregators();
    const testimonies = fleet.testimonies();
    const evidence: Evidence = {
      testimonies,
      accounting,
      ...(await store.read()),
      destroyed: redis.destroyed,
      unreadable: {
        sent: unreadable.length,
        destroyed: unreadable.filter((marker) => redis.destroyed.has(marker)).length,
      },
    };
    return { evidence, faults, reached: reachedBy(fleet, evidence) };
  } finally {
    for (const end of endings.reverse()) await end();
  }
}

/** Batches that nobody has read are destroyed for sure: what the plan trims, aggregators may have been quick enough to read. */
async function loseUnread(fleet: Fleet, redis: RedisPair): Promise<void> {
  await Promise.all([
    ...[0, 1].map((place) => fleet.pause("aggregator", place, UNREAD_FOR_MS)),
    pause(UNREAD_FOR_MS / 2).then(() => redis.trim(0)),
  ]);
}

/** They are in a gap once what came after them is settled. A database may still be recovering. */
async function untilInGaps(store: SharedStore): Promise<void> {
  const isSo = async () => (await store.read().catch(() => undefined))?.gaps.length;
  for (const until = performance.now() + DRAIN_MS; performance.now() < until && !(await isSo()); ) await pause(250);
}

/** Fault by fault until the time is over, but the first deck to its end: a slow machine skips no kind. */
async function executed<Kind extends string>(
  plan: readonly PlannedFault<Kind>[],
  deck: number,
  until: number,
  faults: string[],
  execute: (fault: PlannedFault<Kind>) => Promise<unknown>,
): Promise<void> {
  for (const [at, fault] of plan.entries()) {
    if (at >= deck && performance.now() >= until) return;
    await pause(fault.pauseMs);
    faults.push(fault.fault);
    await execute(fault);
  }
}

async function onStream({ fault, lastsMs, choice }: PlannedFault<StreamFault>, redis: RedisPair, unreadable: string[]) {
  const { network } = redis;
  const spoiled = (fields: Readonly<Record<string, string>>) => {
    const marked = { ...fields, marker: `unreadable-${unreadable.length}` };
    unreadable.push(markerOf(marked));
    return redis.append(marked);
  };
  const whileNetwork = async (begin: () => void) => {
    begin();
    await pause(lastsMs);
    // Connections that lost bytes must not go on as if they had not.
    network.cut();
    network.resume();
  };
  switch (fault) {
    case "redis_kill":
      return redis.kill(lastsMs);
    case "redis_pause":
      return redis.pause(lastsMs);
    case "redis_failover":
      return redis.failOver(lastsMs);
    case "redis_readonly":
      return redis.refuseWrites("readonly", lastsMs);
    case "redis_out_of_memory":
      return redis.refuseWrites("out_of_memory", lastsMs);
    case "redis_cannot_save":
      return redis.refuseWrites("cannot_save", lastsMs);
    case "redis_no_replicas":
      return redis.refuseWrites("no_replicas", lastsMs);
    case "network_cut":
      return network.cut();
    case "network_refuse":
      network.refuse();
      await pause(lastsMs);
      return network.resume();
    case "network_blackhole_to_redis":
      return whileNetwork(() => network.blackhole("to_server"));
    case "network_blackhole_to_client":
      return whileNetwork(() => network.blackhole("to_client"));
    case "network_latency":
      network.slow(LATENCY_MS);
      await pause(lastsMs);
      return network.resume();
    case "entries_duplicated":
      return redis.duplicate(1 + (choice % 5));
    case "entries_trimmed":
      return redis.trim(choice % 12);
    case "entry_poisonous":
      return spoiled(choice % 2 === 0 ? { hello: "world" } : { ...encodeBatch(batchOf(1)), data: "{" });
    case "entry_of_newer_format":
      return spoiled({ ...encodeBatch(batchOf(1)), v: "99" });
  }
}

async function onProcesses({ fault, lastsMs, choice }: PlannedFault<ProcessFault>, fleet: Fleet, store: SharedStore) {
  switch (fault) {
    case "producer_kill":
      return fleet.kill("producer", choice, lastsMs);
    case "producer_pause":
      return fleet.pause("producer", choice, lastsMs + 1_000);
    case "aggregator_kill":
      return fleet.kill("aggregator", choice, lastsMs);
    case "aggregator_pause":
      return fleet.pause("aggregator", choice, lastsMs + 1_000);
    case "store_locked":
      return store.lock(async () => {
        const seen = awayOf(fleet);
        const until = performance.now() + LONGEST_LOCK_MS;
        await pause(lastsMs);
        while (awayOf(fleet) === seen && performance.now() < until) await pause(100);
      });
    case "store_kill":
      return store.kill(lastsMs);
    case "store_session_kill":
      return store.killSession(choice);
    case "store_session_pause":
      return store.pauseSession(choice, lastsMs);
  }
}

/** What an entry carries, whatever its id: `boot:seq`, or the name that the nemesis gave it. */
function markerOf({ batch = "", marker }: Readonly<Record<string, string>>): string {
  return marker ?? batch.split(":").slice(-2).join(":");
}

async function untilCommitted(fleet: Fleet): Promise<void> {
  const until = performance.now() + WARM_UP_MS;
  while ((fleet.counters().committed ?? 0) <= 20) {
    const seen = JSON.stringify(fleet.counters());
    if (performance.now() > until)
      throw new Error(`too little was committed within ${WARM_UP_MS} ms, without any fault: ${seen}`);
    await pause(100);
  }
}

/** Asks the public door, as an operator would, until nothing is in flight. */
async function whenDrained(store: SharedStore, redis: RedisPair, streamKey: string): Promise<Accounting> {
  const environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: store.url,
    PARAMEDIC_REDIS_URL: redis.url,
    METRICS_REDIS_STREAM_KEY: streamKey,
    PARAMEDIC_AGGREGATE: "false",
    INSTRUMENTATION_ENABLED: "false",
    HEALTH_MONITORING_ENABLED: "false",
  });
  const paramedic = createParamedic({ logger: false, overrides: { environment } });
  try {
    await paramedic.ready;
    const until = performance.now() + DRAIN_MS;
    for (;;) {
      const accounting = await paramedic.metrics.accounting().catch(() => undefined);
      if (accounting?.inFlight === 0 && (await redis.isEmpty())) return accounting;
      if (performance.now() > until)
        throw new Error(`not drained within ${DRAIN_MS} ms: ${JSON.stringify(accounting)}`);
      await pause(250);
    }
  } finally {
    await paramedic.shutdown();
  }
}

function awayOf(fleet: Fleet): number {
  return fleet.counters()["fault:STORE_UNAVAILABLE"] ?? 0;
}

function reachedBy(fleet: Fleet, { testimonies, accounting, destroyed, deadBatches, gaps }: Evidence): Counters {
  const counted = fleet.counters();
  return {
    batches_committed: counted.committed ?? 0,
    dedupe_hits: counted.duplicates ?? 0,
    entries_of_the_dead_reclaimed: counted.reclaimed ?? 0,
    windows_merged: testimonies.reduce((sum, { merged }) => sum + merged, 0),
    batches_sent_again: testimonies.reduce(
      (sum, { batches }) => sum + batches.filter(({ attempts }) => attempts > 1).length,
      0,
    ),
    points_lost_in_gaps: accounting.lost,
    gaps_recorded: gaps.length,
    batches_settled: counted.settled ?? 0,
    rollups_compacted: counted.compacted ?? 0,
    points_dropped: Object.values(accounting.dropped).reduce((sum, count) => sum + count, 0),
    entries_trimmed_under_a_reader: counted.lostEntries ?? 0,
    entries_destroyed: destroyed.size,
    unreadable_entries_kept: deadBatches,
    newer_format_seen: counted.newerSeen ?? 0,
    producers_killed: testimonies.filter(({ ended }) => !ended).length,
    stream_was_away: counted["fault:STREAM_UNAVAILABLE"] ?? 0,
    store_was_away: awayOf(fleet),
    invariants_broken: counted["fault:INVARIANT_BROKEN"] ?? 0,
    faults_of_no_known_kind: counted["fault:unknown"] ?? 0,
  };
}
