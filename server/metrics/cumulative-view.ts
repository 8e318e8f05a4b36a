/** Totals of every series since the process began, fed once a window: a scraper's view, which the hot path never touches. */
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import { addToBounds, boundsFor } from "../../shared/explicit-bounds.js";
import { finite } from "../../shared/rollup.js";
import type { SeriesDescriptor, SeriesSummary } from "../../shared/series.js";

interface Total {
  readonly descriptor: SeriesDescriptor;
  count: number;
  sum: number;
  last: number;
  max: number;
  readonly distribution: { readonly bounds: readonly number[]; readonly counts: Float64Array } | undefined;
}

/**
 * Unlike live series, totals survive idleness: an error that comes once an hour must not begin at one each time. Beyond
 * `maxSeries` the series that has been quiet longest is let go; a scraper sees it end and, later, a counter that was reset.
 */
export class CumulativeView {
  /** The quietest first. */
  private readonly totals = new Map<string, Total>();
  private forgottenSeries = 0;

  constructor(private readonly limits: { readonly maxSeries: number }) {}

  /** @param key the same for the same series and kind */
  add(key: string, descriptor: SeriesDescriptor, summary: SeriesSummary): void {
    const total = this.totals.get(key) ?? this.begin(descriptor);
    total.count += summary.count;
    total.sum = finite(total.sum + summary.sum);
    total.max = total.count === summary.count ? summary.max : Math.max(total.max, summary.max);
    total.last = summary.last;
    if (total.distribution) addToBounds(total.distribution, summary.buckets);
    this.totals.delete(key);
    this.totals.set(key, total);
  }

  series(): readonly CumulativeSeries[] {
    return [...this.totals.values()];
  }

  /** How many series had to make room. */
  get forgotten(): number {
    return this.forgottenSeries;
  }

  private begin(descriptor: SeriesDescriptor): Total {
    if (this.totals.size >= this.limits.maxSeries) {
      for (const quietest of this.totals.keys()) {
        this.totals.delete(quietest);
        this.forgottenSeries += 1;
        break;
      }
    }
    const bounds = boundsFor(descriptor);
    const distribution =
      descriptor.kind === "histogram" ? { bounds, counts: new Float64Array(bounds.length + 1) } : undefined;
    return { descriptor, count: 0, sum: 0, last: 0, max: 0, distribution };
  }
}
