/**
 * Moves batches from the stream into the store: read, commit, and only then acknowledge. A kill at any point means
 * that an entry is delivered again, and the store knows its id. What happens to an entry:
 *
 *   folds            committed (or was already), acknowledged
 *   cannot be read   kept raw as a dead batch, acknowledged
 *   newer format     left pending for an instance that reads it; a dead batch after many deliveries
 *   trimmed away     counted as lost, acknowledged; the gap in the boot's totals says how many points
 *   store is away    held here and tried again before anything new is read
 */
import type { DecodeFailure } from "../../shared/batch-codec.js";
import { outlineOf } from "../../shared/batch-outline.js";
import { brokenInvariant, isParamedicError } from "../../shared/errors.js";
import type { Batch } from "../../shared/series.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { Logger } from "../ports/logger.js";
import type { MetricStream, StreamEntry } from "../ports/metric-stream.js";
import type { EntryOutcome, RollupStore } from "../ports/store.js";
import { createBatchWatch } from "./batch-watch.js";
import { type BlockTimes, createBlockTimes } from "./block-times.js";
import { createOutage } from "./outage.js";

export interface AggregatorDeps {
  readonly clock: Clock;
  readonly stream: MetricStream;
  readonly store: Pick<RollupStore, "commitEntry" | "commitBatch" | "saveDeadBatch">;
  readonly logger?: Logger | undefined;
  /** Told of every fault of stream and store. Must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface AggregatorOptions {
  /** Entries taken at once; 1 to 1,000. @default 50 */
  readonly readCount?: number | undefined;
  /** How long one read waits for the first entry; 1 to 60,000. @default 1_000 */
  readonly waitMs?: number | undefined;
  /** Attempts at an entry that the store refuses for its content, before it becomes a dead batch. @default 5 */
  readonly maxDeliveries?: number | undefined;
  /** Deliveries of an entry in a newer format before it becomes a dead batch. @default 100 */
  readonly maxNewerDeliveries?: number | undefined;
  /** @default 30_000 */
  readonly trimIntervalMs?: number | undefined;
}

export const AGGREGATOR_DEFAULTS = Object.freeze({
  readCount: 50,
  waitMs: SECOND_MS,
  maxDeliveries: 5,
  maxNewerDeliveries: 100,
  trimIntervalMs: 30 * SECOND_MS,
}) satisfies Required<AggregatorOptions>;

/**
 * What happened to entries so far in this process. I9: what was delivered was committed, a duplicate, dead, lost, left, or is
 * held; what `fold` was given by hand is not delivered.
 */
export interface AggregatorStats {
  /** Entries taken from the stream, those that came again included. */
  readonly delivered: number;
  readonly committed: number;
  readonly committedPoints: number;
  /** Entries that the store already had: redelivered or sent twice. */
  readonly duplicates: number;
  readonly duplicatePoints: number;
  readonly dead: number;
  /** Entries whose content was trimmed away before it was acknowledged; another may have read it before. */
  readonly lostEntries: number;
  /** Deliveries that ended without an acknowledgement: the entry waits for somebody else, or for later. */
  readonly left: number;
  /** Deliveries in a format newer than this version reads. */
  readonly newerSeen: number;
  /** Entries that wait here for the store. */
  readonly held: number;
  /** Wall time of the last commit. */
  readonly lastCommitAt: number | undefined;
  /** How long handing entries to the store held the event loop, seconds. */
  readonly blocks: BlockTimes;
}

export interface Aggregator {
  start(): void;
  /** Ends reading; what was not committed stays unacknowledged in the stream. */
  stop(): Promise<void>;
  /** Reads once without waiting and moves what it got. Never rejects. */
  runOnce(): Promise<void>;
  /** Folds a batch without the stream; `false` when the store already had it. Rejects when the store is away. */
  fold(batch: Batch): Promise<boolean>;
  /** Moves what the stream holds until it gives nothing more, the store is away or `deadlineMs` have passed. */
  drain(options: { readonly deadlineMs: number }): Promise<void>;
  /** Entries not acknowledged yet, waiting and pending. */
  lag(): Promise<number>;
  stats(): AggregatorStats;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 10 * SECOND_MS;

/** Between reads that gave nothing, for a stream that answers at once instead of waiting. */
const IDLE_MS = 20;
/** Of an entry that cannot be read, this many characters are kept. */
const MAX_DEAD_PAYLOAD = 2 ** 20;

/** An entry that was read and is not settled. */
interface Held {
  readonly entry: StreamEntry;
  attempts: number;
  /** Monotonic milliseconds. */
  notBefore: number;
}

type Settled = "acknowledge" | "leave" | "hold";

/**
 * @example
 * const aggregator = createAggregator({ clock, stream, store, logger });
 * aggregator.start();
 */
export function createAggregator(
  { clock, stream, store, logger, onFault }: AggregatorDeps,
  options: AggregatorOptions = {},
): Aggregator {
  const readCount = options.readCount ?? AGGREGATOR_DEFAULTS.readCount;
  const waitMs = options.waitMs ?? AGGREGATOR_DEFAULTS.waitMs;
  const maxDeliveries = options.maxDeliveries ?? AGGREGATOR_DEFAULTS.maxDeliveries;
  const maxNewerDeliveries = options.maxNewerDeliveries ?? AGGREGATOR_DEFAULTS.maxNewerDeliveries;
  const trimIntervalMs = options.trimIntervalMs ?? AGGREGATOR_DEFAULTS.trimIntervalMs;

  const streamOutage = createOutage({ clock, logger }, "metric stream");
  const storeOutage = createOutage({ clock, logger }, "store for rollups");
  const watch = createBatchWatch({ onFault });
  const blocks = createBlockTimes();
  const counts = {
    delivered: 0,
    committed: 0,
    committedPoints: 0,
    duplicates: 0,
    duplicatePoints: 0,
    dead: 0,
    lostEntries: 0,
    newerSeen: 0,
    left: 0,
  };
  let foldedByHand = 0;
  let unexplained = 0;
  let lastCommitAt: number | undefined;
  let held: Held[] = [];
  let failedRuns = 0;
  let lastRead = 0;
  let trimmedAt = clock.monotonic();
  let stopped = new AbortController();

  const count = (outcome: EntryOutcome): void => {
    storeOutage.succeeded();
    switch (outcome.kind) {
      case "folded":
        watch.see(outcome.batch);
        counts.committed += 1;
        counts.committedPoints += outcome.batch.points;
        lastCommitAt = clock.now();
        break;
      case "known":
        watch.see(outcome.batch);
        counts.duplicates += 1;
        counts.duplicatePoints += outcome.batch.points;
        break;
      case "unreadable":
        break;
    }
  };

  const fold = async (batch: Batch): Promise<boolean> => {
    const isNew = await store.commitBatch(batch);
    foldedByHand += 1;
    count({ kind: isNew ? "folded" : "known", batch: outlineOf(batch) });
    return isNew;
  };

  const commit = async (fields: Readonly<Record<string, string>>): Promise<EntryOutcome> => {
    const begunAt = clock.monotonic();
    const committing = store.commitEntry(fields);
    blocks.add(clock.monotonic() - begunAt);
    const outcome = await committing;
    count(outcome);
    return outcome;
  };

  const bury = async (entry: StreamEntry, reason: string): Promise<Settled> => {
    const payload = JSON.stringify(entry.fields ?? {}).slice(0, MAX_DEAD_PAYLOAD);
    // It quotes what a stranger wrote, and no database holds every character of that.
    const told = reason.replace(/[\p{Surrogate}\p{Control}]/gu, "\uFFFD");
    try {
      await store.saveDeadBatch({ entryId: entry.id, reason: told, payload, at: clock.now() });
    } catch (error) {
      if (isParamedicError(error, "STORE_UNAVAILABLE")) throw error;
      onFault?.(error);
      return "leave";
    }
    counts.dead += 1;
    return "acknowledge";
  };

  const settle = async (item: Held): Promise<Settled> => {
    const { entry } = item;
    if (entry.fields === undefined) {
      counts.lostEntries += 1;
      return "acknowledge";
    }
    try {
      const outcome = await commit(entry.fields);
      if (outcome.kind === "unreadable") return await settleUnreadable(entry, outcome.reason, outcome.detail);
      return "acknowledge";
    } catch (error) {
      if (isParamedicError(error, "STORE_UNAVAILABLE")) throw error;
      // The store is there and refuses this one: its content is at fault, and it must not hold up the others.
      onFault?.(error);
      item.attempts += 1;
      // A flood of such entries gets one attempt each: waiting for all of them would hold up what can be folded.
      if (Math.max(item.attempts, entry.deliveries) < maxDeliveries && held.length < readCount) {
        item.notBefore = clock.monotonic() + backoff(item.attempts);
        return "hold";
      }
      return bury(entry, `refused: ${error instanceof Error ? error.message : "no reason given"}`);
    }
  };

  const settleUnreadable = async (entry: StreamEntry, reason: DecodeFailure, detail: string): Promise<Settled> => {
    switch (reason) {
      case "newer_version":
        counts.newerSeen += 1;
        return entry.deliveries < maxNewerDeliveries ? "leave" : bury(entry, `${reason}: ${detail}`);
      case "missing_fields":
      case "not_json":
      case "invalid":
        return bury(entry, `${reason}: ${detail}`);
    }
  };

  /** Moves entries one by one, so that the store's transactions stay short. `false` when the store is away. */
  const move = async (items: readonly Held[]): Promise<boolean> => {
    const done: string[] = [];
    let storeIsThere = true;
    for (const [at, item] of items.entries()) {
      try {
        const outcome = await settle(item);
        if (outcome === "acknowledge") done.push(item.entry.id);
        if (outcome === "leave") counts.left += 1;
        if (outcome === "hold") held.push(item);
      } catch (error) {
        storeOutage.failed(error);
        onFault?.(error);
        held.push(...items.slice(at));
        storeIsThere = false;
        break;
      }
    }
    // When this fails the entries come again, and the store knows them.
    const acknowledged = done.filter((id) => !held.some(({ entry }) => entry.id === id));
    if (acknowledged.length > 0) await stream.acknowledge(acknowledged);
    return storeIsThere;
  };

  /** Takes out what is held and due. */
  const takeDue = (): Held[] => {
    const now = clock.monotonic();
    const due = held.filter((item) => item.notBefore <= now);
    held = held.filter((item) => item.notBefore > now);
    return due;
  };

  /** One round: what is held first, then new entries if the store is there. Gives how many it read. */
  const cycle = async (wait: number): Promise<number> => {
    let read = 0;
    let storeIsThere = false;
    try {
      storeIsThere = await move(takeDue());
      if (storeIsThere) {
        const entries = await stream.read({ count: readCount, waitMs: wait, signal: stopped.signal });
        streamOutage.succeeded();
        read = entries.length;
        const fresh = entries.filter((entry) => !held.some((item) => isSame(item.entry, entry)));
        counts.delivered += fresh.length;
        storeIsThere = await move(fresh.map((entry) => ({ entry, attempts: 0, notBefore: 0 })));
      }
      await trimWhenDue();
      failedRuns = storeIsThere ? 0 : failedRuns + 1;
    } catch (error) {
      failedRuns += 1;
      streamOutage.failed(error);
      onFault?.(error);
    }
    lastRead = read;
    checkDeliveries();
    return read;
  };

  /** I9 while it runs; told once each time the difference changes. */
  const checkDeliveries = () => {
    const { delivered, committed, duplicates, dead, lostEntries, left } = counts;
    const difference = delivered + foldedByHand - committed - duplicates - dead - lostEntries - left - held.length;
    if (difference === unexplained) return;
    unexplained = difference;
    onFault?.(brokenInvariant("I9", `nobody knows what became of ${difference} of ${delivered} delivered entries`));
  };

  const trimWhenDue = async () => {
    if (clock.monotonic() - trimmedAt < trimIntervalMs) return;
    trimmedAt = clock.monotonic();
    await stream.trim();
  };

  let started = false;
  const loop = createLoop({
    clock,
    intervalMs: () => (failedRuns > 0 ? backoff(failedRuns) : lastRead > 0 ? 0 : IDLE_MS),
    run: async () => void (await cycle(started ? waitMs : 0)),
    onError: (error) => onFault?.(error),
  });

  return Object.freeze<Aggregator>({
    start() {
      if (started) return;
      started = true;
      stopped = new AbortController();
      loop.start();
    },
    async stop() {
      started = false;
      stopped.abort();
      await loop.stop();
    },
    runOnce: () => loop.runOnce(),
    fold,
    async drain({ deadlineMs }) {
      started = false;
      stopped.abort();
      await loop.stop();
      stopped = new AbortController();
      const until = clock.monotonic() + deadlineMs;
      for (;;) {
        const failedBefore = failedRuns;
        const moved = await cycle(0);
        if (failedRuns > failedBefore || moved === 0 || clock.monotonic() >= until) return;
      }
    },
    lag: () => stream.backlog(),
    stats: () => Object.freeze({ ...counts, held: held.length, lastCommitAt, blocks: blocks.read() }),
  });
}

/** After a failover Redis gives the same id to another batch; one whose content is gone is the one that is held. */
function isSame(held: StreamEntry, delivered: StreamEntry): boolean {
  const { id, fields } = delivered;
  return held.id === id && (fields === undefined || held.fields?.batch === fields.batch);
}

function backoff(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LAST_RETRY_MS);
}
