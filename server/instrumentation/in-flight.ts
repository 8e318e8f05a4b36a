/** Knows how many calls of each procedure run now; a sample says how many, and how many at most since the last one. */
import type { MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import type { OperationSeries, SeriesOfOperation } from "./operation-series.js";

/** The running calls of one procedure: looked up once a call, so what else a call needs of its procedure is kept here too. */
export class Activity {
  running = 0;
  /** The most since the last sample. */
  peak = 0;
  /** What the last sample said. */
  sampled = 0;
  gauge: SeriesHandle | undefined = undefined;

  /** @param series how its calls end */
  constructor(
    readonly path: string,
    readonly series: OperationSeries,
  ) {}

  /** A call begins. Each leaves once, when it ended. */
  enter(): void {
    this.running += 1;
    if (this.running > this.peak) this.peak = this.running;
  }

  leave(): void {
    this.running -= 1;
  }
}

export interface InFlight {
  /** The calls of a path, which must be one of a bounded set. */
  of(path: string): Activity;
  /**
   * Records `trpc.<path>.in_flight`, the peak first and what runs now last, so that the gauge's maximum shows bursts between
   * samples. A procedure at rest is told once and then left out.
   */
  sample(): void;
}

/** Entering and leaving count and nothing else, so that a call pays a few nanoseconds. */
export function createInFlight(sink: MetricSink, seriesOf: SeriesOfOperation): InFlight {
  const byPath = new Map<string, Activity>();

  const create = (path: string): Activity => {
    const activity = new Activity(path, seriesOf(path));
    byPath.set(path, activity);
    return activity;
  };
  const gaugeOf = (path: string): SeriesHandle => {
    const source = `trpc.${path}`;
    const metricName = `${source}.in_flight`;
    return sink.series({ metricType: "operation", metricName, kind: "gauge", unit: "1", source, tags: {} });
  };

  return Object.freeze({
    of: (path: string) => byPath.get(path) ?? create(path),
    sample() {
      for (const [path, activity] of byPath) {
        const { running, peak, sampled } = activity;
        if (peak === 0 && sampled === 0) continue;
        activity.gauge ??= gaugeOf(path);
        const { gauge } = activity;
        if (peak > running) gauge.record(peak);
        gauge.record(running);
        activity.sampled = running;
        activity.peak = running;
      }
    },
  });
}
