/**
 * Keeps the store small in the background: deletes what is past its time, then makes coarse rollups of fine ones. Deleting
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
import { type CompactionStore, PRUNABLE_KINDS, type RollupStore } from "../ports/store.js";
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
  /** Dead batches, failure events, recovery actions and transitions, unless they are still open. @default 30 days */
  readonly recordsMs: number;
}

export interface CompactionOptions {
  readonly retention?: Partial<Retention> | undefined;
  /** @default 60_000 */
  readonly intervalMs?: number | undefined;
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
});

const DEFAULTS = { intervalMs: MINUTE_MS, batchRows: 500, mostRowsPerRun: 50_000 } as const;

/** Buckets are compacted when nothing is expected for them any more; what comes later is folded into both rows. */
const GRACE_MS = 30 * SECOND_MS;
/** A store that refuses to delete even this many rows is left alone until the next run. */
const SMALLEST_BATCH = 10;

export interface CompactionStats {
  readonly compacted: number;
  readonly deleted: number;
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
  const stats = { compacted: 0, deleted: 0, refused: 0 };
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

  const deleteOld = async (now: number) => {
    for (const kind of PRUNABLE_KINDS) {
      const before = now - retention.recordsMs;
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
      await deleteOld(now);
    } else {
      stats.refused += 1;
      logger.warn(
        { event: "compaction", subject: "clock" },
        `nothing is deleted: ${judged.verdict.reason}; check this machine's time`,
      );
    }
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

function checkRetention({ tenSecondsMs, minutesMs, hoursMs, daysMs, recordsMs }: Retention): void {
  const isRising = tenSecondsMs <= minutesMs && minutesMs <= hoursMs && hoursMs <= daysMs;
  if (isRising && tenSecondsMs >= HOUR_MS && recordsMs >= HOUR_MS && Number.isFinite(daysMs + recordsMs)) return;
  throw new ParamedicError(
    "CONFIGURATION_INVALID",
    `retention must be at least an hour and must not be shorter for coarser rollups, got ${tenSecondsMs}, ${minutesMs}, ${hoursMs} and ${daysMs} ms, and ${recordsMs} ms for records`,
  );
}
