/**
 * Keeps the store small in the background: deletes what is past its time, replaces the ledger's rows by marks, which is where
 * losses are found, and makes coarse rollups of fine ones. Deleting
 * comes first and asks for less where the store refuses, because on a full disk it is what makes room. Every step is one
 * short transaction and may be the last one: the next run goes on from what is there.
 */
import { describeError } from "../../shared/describe-error.js";
import { ParamedicError } from "../../shared/errors.js";
import { bucketStart, coarserThan, RESOLUTIONS_MS } from "../../shared/resolutions.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import { type Logger, silentLogger } from "../ports/logger.js";
import { type CompactionStore, PRUNABLE_KINDS, type PrunableKind, type RollupStore } from "../ports/store.js";
import { type ClockTrust, judgeClock } from "./trusted-clock.js";

export interface CompactionDeps {
  readonly clock: Clock;
  readonly store: CompactionStore & Pick<RollupStore, "ledger">;
  readonly logger?: Logger | undefined;
  /** Told of every fault of the store. Must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/** How long rows are kept. A coarser resolution is kept at least as long as a finer one. */
export interface Retention {
  /** @default 1 day */
  readonly tenSecondsMs: number;
  /** @default 14 days */
  readonly minutesMs: number;
  /** @default 400 days, so that a year can be compared with the one before */
  readonly hoursMs: number;
  /** @default 10 years */
  readonly daysMs: number;
  /**
   * Rows of each table of what happened that `tables` does not name, unless they are still open. Gaps are kept as long as
   * hours, so that a chart shows its losses. @default 30 days
   */
  readonly recordsMs: number;
  /**
   * Tables whose rows are kept for another time. A failure event stays as long as one of its recovery actions, an incident as
   * long as one of its failure events. @default none
   * @example { operator_audit: 400 * DAY_MS, recovery_actions: 90 * DAY_MS, failure_events: 90 * DAY_MS }
   */
  readonly tables: Readonly<Partial<Record<RetainedTable, number>>>;
}

/** Tables of what happened, with a time each. */
export const RETAINED_TABLES = [
  "dead_batches",
  "recovery_actions",
  "failure_events",
  "incidents",
  "circuit_transitions",
  "circuits",
  "tasks",
  "settings_history",
  "operator_audit",
  "alerts",
  "maintenance_windows",
] as const satisfies readonly PrunableKind[];
export type RetainedTable = (typeof RETAINED_TABLES)[number];

export interface CompactionOptions {
  readonly retention?: Partial<Retention> | undefined;
  /** @default 60_000 */
  readonly intervalMs?: number | undefined;
  /** A batch that is missing for this long after a later one was folded is called lost, until it comes. @default 10 minutes */
  readonly settleAfterMs?: number | undefined;
  /** Rows of one transaction; 1 to 10,000. @default 500 */
  readonly batchRows?: number | undefined;
  /** Rows deleted of one resolution or kind in one run; the rest waits for the next. @default 50_000 */
  readonly mostRowsPerRun?: number | undefined;
}

export const RETENTION_DEFAULTS: Retention = Object.freeze({
  tenSecondsMs: DAY_MS,
  minutesMs: 14 * DAY_MS,
  hoursMs: 400 * DAY_MS,
  daysMs: 3_650 * DAY_MS,
  recordsMs: 30 * DAY_MS,
  tables: Object.freeze({}),
});

const DEFAULTS = {
  intervalMs: MINUTE_MS,
  // A reader that died has its entries for a minute, and so may the next one; after ten of them something is wrong.
  settleAfterMs: 10 * MINUTE_MS,
  batchRows: 500,
  mostRowsPerRun: 50_000,
} as const;

/**
 * A boot not heard of for this long has ended: a live one is heard of each day. What a stream delivers later than that, from a
 * backup of Redis say, is refused. Told by the newest commit, so that nothing ends while everything is down.
 */
const BOOT_KEPT_MS = 7 * DAY_MS;

/** A lease's number goes on rising while a late owner may still be told by it. */
const LEASE_KEPT_MS = DAY_MS;

/** Buckets are compacted when nothing is expected for them any more; what comes later is folded into both rows. */
const GRACE_MS = 30 * SECOND_MS;
/** A store that refuses to delete even this many rows is left alone until the next run. */
const SMALLEST_BATCH = 10;

export interface CompactionStats {
  readonly compacted: number;
  readonly deleted: number;
  /** Batches of the ledger that are behind a mark now. */
  readonly settled: number;
  /** Runs that deleted nothing because the clock could not be believed. */
  readonly refused: number;
}

export interface Compaction {
  start(): void;
  stop(): Promise<void>;
  /** Never rejects. */
  runOnce(): Promise<void>;
  stats(): CompactionStats;
}

/**
 * @throws ParamedicError CONFIGURATION_INVALID for a time that is not positive, or a coarser one that is shorter
 * @example
 * const compaction = createCompaction({ clock, store, logger });
 * compaction.start();
 */
export function createCompaction(deps: CompactionDeps, options: CompactionOptions = {}): Compaction {
  const { clock, store, onFault } = deps;
  const logger = deps.logger ?? silentLogger;
  const retention = { ...RETENTION_DEFAULTS, ...options.retention };
  const intervalMs = options.intervalMs ?? DEFAULTS.intervalMs;
  const batchRows = options.batchRows ?? DEFAULTS.batchRows;
  const mostRowsPerRun = options.mostRowsPerRun ?? DEFAULTS.mostRowsPerRun;
  const settleAfterMs = options.settleAfterMs ?? DEFAULTS.settleAfterMs;
  const stats = { compacted: 0, deleted: 0, settled: 0, refused: 0 };
  checkRetention(retention);
  let trust: ClockTrust | undefined;
  let stopped = false;

  const kept = [retention.tenSecondsMs, retention.minutesMs, retention.hoursMs, retention.daysMs];

  /** Repeats one step until it finds less than it may take, or the store refuses even a small one; gives the rows. */
  const repeat = async (step: (limit: number) => Promise<number>, most: number): Promise<number> => {
    let limit = batchRows;
    let done = 0;
    while (!stopped && done < most) {
      try {
        const rows = await step(limit);
        done += rows;
        if (rows < limit) return done;
      } catch (error) {
        if (limit <= SMALLEST_BATCH) {
          onFault?.(error);
          logger.warn({ event: "compaction", subject: "store" }, `${describeError(error).message} (trying again)`);
          return done;
        }
        limit = Math.max(SMALLEST_BATCH, Math.floor(limit / 4));
      }
    }
    return done;
  };

  const deleteOld = async (now: number, newestCommit: number) => {
    const oldest: Readonly<Record<Exclude<PrunableKind, RetainedTable>, number>> = {
      last_good_values: now,
      sessions: now,
      leases: now - LEASE_KEPT_MS,
      gaps: now - retention.hoursMs,
      boots: Math.min(now, newestCommit) - BOOT_KEPT_MS,
    };
    for (const kind of PRUNABLE_KINDS) {
      const before = isRetained(kind) ? now - (retention.tables[kind] ?? retention.recordsMs) : oldest[kind];
      stats.deleted += await repeat((limit) => store.pruneRecords({ kind, before, limit }), mostRowsPerRun);
    }
    for (const [level, resolutionMs] of RESOLUTIONS_MS.entries()) {
      const width = coarserThan(resolutionMs) ?? resolutionMs;
      const before = bucketStart(now - (kept[level] ?? retention.daysMs), width);
      const step = (limit: number) => store.pruneRollups({ resolutionMs, before, limit });
      stats.deleted += await repeat(step, mostRowsPerRun);
    }
  };

  const compact = async (now: number) => {
    for (const resolutionMs of RESOLUTIONS_MS) {
      const width = coarserThan(resolutionMs);
      if (width === undefined) return;
      const before = bucketStart(now - GRACE_MS, width);
      const step = (limit: number) => store.compactRollups({ resolutionMs, before, limit });
      stats.compacted += await repeat(step, Number.POSITIVE_INFINITY);
    }
  };

  const run = async () => {
    const lives = await store.ledger();
    const newest = lives.length === 0 ? undefined : Math.max(...lives.map(({ lastAt }) => lastAt));
    const now = clock.now();
    const judged = judgeClock(trust, { now, monotonic: clock.monotonic() }, newest);
    trust = judged.trust;
    if (judged.verdict.trusted) {
      await deleteOld(now, newest ?? now);
    } else {
      stats.refused += 1;
      logger.warn(
        { event: "compaction", subject: "clock" },
        `nothing is deleted: ${judged.verdict.reason}; check this machine's time`,
      );
    }
    // Whatever the clock says: a batch that is called lost too early closes its gap when it comes.
    const settle = (limit: number) => store.settleBatches({ before: now - settleAfterMs, limit });
    stats.settled += await repeat(settle, Number.POSITIVE_INFINITY);
    await compact(now);
  };

  const loop = createLoop({ clock, intervalMs, run, onError: (error) => onFault?.(error) });
  return Object.freeze<Compaction>({
    start() {
      stopped = false;
      loop.start();
    },
    async stop() {
      stopped = true;
      await loop.stop();
    },
    runOnce: () => loop.runOnce(),
    stats: () => Object.freeze({ ...stats }),
  });
}

function isRetained(kind: PrunableKind): kind is RetainedTable {
  return RETAINED_TABLES.some((table) => table === kind);
}

function checkRetention({ tenSecondsMs, minutesMs, hoursMs, daysMs, recordsMs, tables }: Retention): void {
  const isRising = tenSecondsMs <= minutesMs && minutesMs <= hoursMs && hoursMs <= daysMs;
  const records = [recordsMs, ...Object.values(tables)];
  const areLegal = [tenSecondsMs, daysMs, ...records].every((ms) => Number.isFinite(ms) && ms >= HOUR_MS);
  if (isRising && areLegal) return;
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `retention must be at least an hour and must not be shorter for coarser rollups, got ${tenSecondsMs}, ${minutesMs}, ${hoursMs} and ${daysMs} ms, and ${records.join(", ")} ms for records`,
  );
}
