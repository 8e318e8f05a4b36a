/** One series in this process: folds each point at once, so that its cost and memory do not grow with traffic. */
import { HistogramRecorder } from "../../shared/histogram.js";
import { finite } from "../../shared/rollup.js";
import type { SeriesDescriptor, SeriesSummary } from "../../shared/series.js";
import type { SeriesHandle } from "../ports/metric-sink.js";

/** Why a value was not counted. */
export type RefusedValue = "not_finite" | "negative";

/** What a series needs from whoever harvests it. */
export interface SeriesOwner {
  /** Told at the first point of each window. `false` once nothing is accepted any more: the owner has counted the point. */
  begin(series: LiveSeries): boolean;
  refuse(reason: RefusedValue): void;
}

const COUNT = 0;
const SUM = 1;
const MIN = 2;
const MAX = 3;
const LAST = 4;

export class LiveSeries implements SeriesHandle {
  /** In one array of floats, because a number that is no small integer costs an allocation as an object's field. */
  private readonly stats = new Float64Array(5);
  private readonly distribution: HistogramRecorder | undefined;
  private readonly lowest: number;
  /** When it last had points; monotonic milliseconds, kept by the owner. */
  lastActiveAt = 0;
  /** Kind is part of it: a distribution and a plain number of one name do not add up. */
  readonly kindKey: string;

  constructor(
    readonly key: string,
    readonly descriptor: SeriesDescriptor,
    private readonly owner: SeriesOwner,
  ) {
    this.distribution = descriptor.kind === "histogram" ? new HistogramRecorder() : undefined;
    this.kindKey = `${descriptor.kind} ${key}`;
    this.lowest = descriptor.kind === "gauge" ? -Number.MAX_VALUE : 0;
  }

  /** Counts a value; what is no finite number, or negative where nothing is, is refused and counted as such. */
  record(value: number): void {
    if (!(typeof value === "number" && value >= this.lowest && value <= Number.MAX_VALUE)) {
      this.owner.refuse(Number.isFinite(value) ? "negative" : "not_finite");
      return;
    }
    const stats = this.stats;
    const count = stats[COUNT] ?? 0;
    if (count === 0) {
      if (!this.owner.begin(this)) return;
      stats[MIN] = value;
      stats[MAX] = value;
    } else {
      if (value < (stats[MIN] ?? value)) stats[MIN] = value;
      if (value > (stats[MAX] ?? value)) stats[MAX] = value;
    }
    stats[COUNT] = count + 1;
    stats[SUM] = (stats[SUM] ?? 0) + value;
    stats[LAST] = value;
    this.distribution?.record(value);
  }

  /** Points since the last harvest. */
  get count(): number {
    return this.stats[COUNT] ?? 0;
  }

  /** Gives what this window holds and begins the next. */
  take(): SeriesSummary {
    const [count = 0, sum = 0, min = 0, max = 0, last = 0] = this.stats;
    this.stats.fill(0);
    const buckets = this.distribution?.take() ?? [];
    // Adding zero turns -0, which JSON does not keep, into 0.
    return { count, sum: finite(sum) + 0, min: min + 0, max: max + 0, last: last + 0, buckets };
  }
}
