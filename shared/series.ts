/** A metric with its tags, what one window holds of it, and what one flush sends. */
import type { SparseBuckets } from "./histogram.js";

export const METRIC_TYPES = ["operation", "health_check", "system", "custom"] as const;
export type MetricType = (typeof METRIC_TYPES)[number];

/** `value` of a row is the mean of a histogram, the sum of a counter, the last of a gauge. */
export const SERIES_KINDS = ["counter", "gauge", "histogram"] as const;
export type SeriesKind = (typeof SERIES_KINDS)[number];

export type Tags = Readonly<Record<string, string>>;

/** What identifies a series. Two descriptors are the same series when type, name, source and tags are equal. */
export interface SeriesDescriptor {
  readonly metricType: MetricType;
  readonly metricName: string;
  readonly kind: SeriesKind;
  readonly unit: string;
  readonly source: string;
  readonly tags: Tags;
}

/** What one window, or one bucket of a rollup, holds of one series. `count` is a whole number of points. */
export interface SeriesSummary {
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  readonly last: number;
  /** Empty for counters and gauges. */
  readonly buckets: SparseBuckets;
}

/** Summaries of several series added up: they have no last point in common. */
export type MergedSummary = Omit<SeriesSummary, "last">;

/** What one flush sends: frozen until it settles. */
export interface Batch {
  readonly version: 1;
  readonly instance: string;
  /** Names one life of one process. */
  readonly boot: string;
  /** 1, 2, 3 … within one boot: a gap is a loss. */
  readonly seq: number;
  /** UTC milliseconds of the window. */
  readonly windowStart: number;
  readonly windowEnd: number;
  /** Points recorded by this boot up to and including this batch, dropped ones too. */
  readonly recordedTotal: number;
  /** Points dropped by this boot up to this batch, by reason. */
  readonly droppedTotal: Readonly<Record<string, number>>;
  readonly series: readonly (SeriesDescriptor & SeriesSummary)[];
}

/** `instance:boot:seq`, the key that makes a batch count once. */
export function batchId(batch: Pick<Batch, "instance" | "boot" | "seq">): string {
  return `${batch.instance}:${batch.boot}:${batch.seq}`;
}

/** Points that a batch carries. */
export function pointsIn(batch: Pick<Batch, "series">): number {
  return batch.series.reduce((sum, series) => sum + series.count, 0);
}

/** Batches of one boot that did not arrive: what they held is lost, unless they come after all and close the gap. */
export interface BatchGap {
  readonly instance: string;
  readonly boot: string;
  /** The first and the last batch that is missing. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Their points were recorded within [from, to]: by the windows of the batches before and after them, UTC milliseconds. */
  readonly from: number;
  readonly to: number;
  /** By the cumulative counts of the batches before and after them. 0 when they carried nothing but counts of drops. */
  readonly points: number;
}

/** Law 5 for one process life, or summed over all: recorded = rolledUp + dropped + lost + inFlight. */
export interface Accounting {
  readonly recorded: number;
  readonly rolledUp: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** Points in gaps. */
  readonly lost: number;
  readonly inFlight: number;
  /** The latest gaps, at most 100, newest first. */
  readonly gaps: readonly BatchGap[];
}

export interface SeriesPoint {
  /** Start of the bucket, UTC milliseconds. */
  readonly timestamp: number;
  readonly count: number;
  readonly sum: number;
  readonly min: number;
  readonly max: number;
  /** Of a histogram; undefined otherwise. */
  readonly p50: number | undefined;
  readonly p95: number | undefined;
  readonly p99: number | undefined;
}

/**
 * One string for one series: equal when type, name, source and tags are, whatever the order of the tags. Kind and unit do
 * not take part: the first descriptor of a series decides them.
 */
export function seriesKey(descriptor: Pick<SeriesDescriptor, "metricType" | "metricName" | "source" | "tags">): string {
  const parts = [descriptor.metricType, descriptor.metricName, descriptor.source];
  for (const name of Object.keys(descriptor.tags).sort()) parts.push(name, descriptor.tags[name] ?? "");
  return JSON.stringify(parts);
}
