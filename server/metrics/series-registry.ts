/** Which series live in this process: finds them by descriptor, holds their number down and forgets the idle ones. */
import { type SeriesDescriptor, seriesKey, type Tags } from "../../shared/series.js";
import type { Clock } from "../ports/clock.js";
import { LiveSeries, type SeriesOwner } from "./live-series.js";

export interface RegistryLimits {
  /** All series together, overflow series apart. */
  readonly maxSeries: number;
  /** Series of one metric name: one careless tag cannot take the room of all others. */
  readonly maxSeriesPerMetric: number;
}

const OVERFLOW_TAGS: Tags = Object.freeze({ overflow: "true" });
/** Longer names and tags are cut: they would be carried by every batch. */
const MAX_TEXT_LENGTH = 256;
const MAX_TAGS = 16;

export class SeriesRegistry {
  private readonly live = new Map<string, LiveSeries>();
  private readonly overflow = new Map<string, LiveSeries>();
  private readonly perMetric = new Map<string, number>();
  private refusedSeries = 0;

  constructor(
    private readonly owner: SeriesOwner,
    private readonly clock: Clock,
    private readonly limits: RegistryLimits,
  ) {}

  /** The series of a descriptor; beyond the limits its metric's overflow series, then the one of its kind. */
  find(descriptor: SeriesDescriptor): LiveSeries {
    const known = this.live.get(seriesKey(descriptor));
    if (known) return known;
    const clean = cleaned(descriptor);
    const key = seriesKey(clean);
    const cleanlyKnown = this.live.get(key);
    if (cleanlyKnown) return cleanlyKnown;
    const ofMetric = this.perMetric.get(clean.metricName) ?? 0;
    if (this.live.size >= this.limits.maxSeries) return this.overflowFor(clean, ofMetric > 0);
    if (ofMetric >= this.limits.maxSeriesPerMetric) return this.overflowFor(clean, true);
    return this.adopt(new LiveSeries(key, clean, this.owner));
  }

  /** Takes back a series that was forgotten while somebody still held its handle. */
  readopt(series: LiveSeries): void {
    if (!this.live.has(series.key) && !this.overflow.has(series.key)) this.adopt(series);
  }

  /** Forgets series without points since `before`, monotonic milliseconds. Handles to them still count. */
  forgetIdle(before: number): void {
    for (const [key, series] of this.live) {
      if (series.lastActiveAt >= before) continue;
      this.live.delete(key);
      const left = (this.perMetric.get(series.descriptor.metricName) ?? 1) - 1;
      if (left > 0) this.perMetric.set(series.descriptor.metricName, left);
      else this.perMetric.delete(series.descriptor.metricName);
    }
    for (const [key, series] of this.overflow) {
      if (series.lastActiveAt < before) this.overflow.delete(key);
    }
  }

  /** Series that live now. */
  get size(): number {
    return this.live.size + this.overflow.size;
  }

  /** How often a series was asked for that the limits had no room for. */
  get refused(): number {
    return this.refusedSeries;
  }

  private adopt(series: LiveSeries): LiveSeries {
    const { metricName } = series.descriptor;
    series.lastActiveAt = this.clock.monotonic();
    this.live.set(series.key, series);
    this.perMetric.set(metricName, (this.perMetric.get(metricName) ?? 0) + 1);
    return series;
  }

  private overflowFor(descriptor: SeriesDescriptor, metricIsKnown: boolean): LiveSeries {
    this.refusedSeries += 1;
    const { metricType, metricName, kind, unit } = descriptor;
    const folded: SeriesDescriptor = metricIsKnown
      ? { metricType, metricName, kind, unit, source: metricName, tags: OVERFLOW_TAGS }
      : {
          metricType: "custom",
          metricName: `paramedic.overflow.${kind}`,
          kind,
          unit: "1",
          source: "paramedic",
          tags: OVERFLOW_TAGS,
        };
    const key = seriesKey(folded);
    const known = this.overflow.get(key);
    if (known) return known;
    const series = new LiveSeries(key, folded, this.owner);
    series.lastActiveAt = this.clock.monotonic();
    this.overflow.set(key, series);
    return series;
  }
}

/** Bounded, and without what a database or a terminal cannot hold: lone surrogates and control characters. */
function cleaned({ metricType, metricName, kind, unit, source, tags }: SeriesDescriptor): SeriesDescriptor {
  return Object.freeze({
    metricType,
    metricName: cleanText(metricName) || "unnamed",
    kind,
    unit: cleanText(unit),
    source: cleanText(source),
    tags: Object.freeze(
      Object.fromEntries(
        Object.entries(tags)
          .slice(0, MAX_TAGS)
          .map(([name, value]) => [cleanText(name), cleanText(value)]),
      ),
    ),
  });
}

function cleanText(value: string): string {
  return String(value)
    .slice(0, MAX_TEXT_LENGTH)
    .replace(/[\p{Surrogate}\p{Control}]/gu, "\uFFFD");
}
