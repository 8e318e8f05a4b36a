/** What was harvested and not sent yet: one summary per series, however long the stream is away. */
import { mergeSummaries } from "../../shared/rollup.js";
import type { SeriesDescriptor, SeriesSummary } from "../../shared/series.js";
import type { LiveSeries } from "./live-series.js";

type MeasuredSeries = SeriesDescriptor & SeriesSummary;

/** Half of what a reader is willing to parse, because escaping can double a text. */
const MAX_WEIGHT = 4 * 2 ** 20;

export class UnsentWindow {
  private readonly series = new Map<string, { readonly descriptor: SeriesDescriptor; summary: SeriesSummary }>();
  private pointCount = 0;
  private from = Number.POSITIVE_INFINITY;
  private to = Number.NEGATIVE_INFINITY;

  /** Points held. */
  get points(): number {
    return this.pointCount;
  }

  /** Series held. */
  get size(): number {
    return this.series.size;
  }

  /** When the oldest point held was recorded at the earliest, UTC milliseconds; undefined without any. */
  get since(): number | undefined {
    return this.pointCount > 0 ? this.from : undefined;
  }

  /** Adds one window's harvest; windows may come in any order. `seen` gets each series' share of it. */
  add(
    harvest: Iterable<LiveSeries>,
    from: number,
    to: number,
    seen?: (key: string, descriptor: SeriesDescriptor, summary: SeriesSummary) => void,
  ): void {
    this.from = Math.min(this.from, from);
    this.to = Math.max(this.to, to);
    for (const live of harvest) {
      const summary = live.take();
      this.pointCount += summary.count;
      seen?.(live.kindKey, live.descriptor, summary);
      const known = this.series.get(live.kindKey);
      if (known) known.summary = mergeSummaries(known.summary, summary);
      else this.series.set(live.kindKey, { descriptor: live.descriptor, summary });
    }
  }

  /** Empties into parts of at most `batchSize` series each; none when nothing was recorded. */
  take(batchSize: number): { readonly from: number; readonly to: number; readonly parts: readonly MeasuredSeries[][] } {
    const taken = { from: this.from, to: this.to, parts: this.split(batchSize) };
    this.series.clear();
    this.pointCount = 0;
    this.from = Number.POSITIVE_INFINITY;
    this.to = Number.NEGATIVE_INFINITY;
    return taken;
  }

  private split(batchSize: number): MeasuredSeries[][] {
    const parts: MeasuredSeries[][] = [];
    let part: MeasuredSeries[] = [];
    let weight = 0;
    for (const { descriptor, summary } of this.series.values()) {
      const added = weightOf(descriptor, summary);
      if (part.length >= batchSize || (part.length > 0 && weight + added > MAX_WEIGHT)) {
        parts.push(part);
        part = [];
        weight = 0;
      }
      part.push(measured(descriptor, summary));
      weight += added;
    }
    if (part.length > 0) parts.push(part);
    return parts;
  }
}

/** Field by field, which a thousand series a second take notice of. */
function measured(descriptor: SeriesDescriptor, summary: SeriesSummary): MeasuredSeries {
  const { metricType, metricName, kind, unit, source, tags } = descriptor;
  const { count, sum, min, max, last, buckets } = summary;
  return { metricType, metricName, kind, unit, source, tags, count, sum, min, max, last, buckets };
}

/** About how many characters a series takes in an entry at most. */
function weightOf(descriptor: SeriesDescriptor, summary: SeriesSummary): number {
  let weight = 300 + descriptor.metricName.length + descriptor.source.length + summary.buckets.length * 8;
  for (const name in descriptor.tags) weight += name.length + (descriptor.tags[name]?.length ?? 0) + 6;
  return weight;
}
