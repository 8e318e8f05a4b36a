/**
 * Carries batches from collectors to aggregators, at least once. An entry is delivered to one consumer and, when that one
 * dies, to another; it is gone only after `acknowledge`. Order is not promised. Deliberately absent: commands, connections
 * and entry parsing; entries from outside are untrusted and are parsed by whoever reads them.
 */
import type { Batch } from "../../shared/series.js";

export interface StreamEntry {
  readonly id: string;
  /** `undefined` when the stream was trimmed under a pending entry: the content is lost. */
  readonly fields: Readonly<Record<string, string>> | undefined;
  /** 1 at first delivery. */
  readonly deliveries: number;
}

export interface MetricStream {
  /** Resolves once the stream has the batch. After a rejection the batch may or may not be there: send it again. */
  append(batch: Batch): Promise<void>;
  /**
   * Up to `count` entries for this consumer, entries of dead consumers included; waits up to `waitMs` for the first one.
   * Resolves with an empty list when there is none or `signal` aborts.
   */
  read(options: { count: number; waitMs: number; signal: AbortSignal }): Promise<readonly StreamEntry[]>;
  acknowledge(ids: readonly string[]): Promise<void>;
  /** Entries not acknowledged yet, waiting ones and pending ones. */
  backlog(): Promise<number>;
  /** Drops what every consumer has acknowledged. */
  trim(): Promise<void>;
  close(): Promise<void>;
}
