/** Knows how many calls of each procedure run now; a sample says how many, and how many at most since the last one. */
import type { MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import type { OperationSeries } from "./operation-series.js";

/** The running calls of one procedure: looked up once a call, so what else a call needs of its procedure is kept here too. */
export interface Activity {
  readonly path: string;
  running: number;
  /** The most since the last sample. */
  peak: number;
  /** What the last sample said. */
  sampled: number;
  gauge: SeriesHandle | undefined;
  /** How its calls end; known from the first success on. */
  series: OperationSeries | undefined;
}

export interface InFlight {
  /** The calls of a path, which must be one of a bounded set. */
  of(path: string): Activity;
  /** A call begins. Each is left once, when it ended. */
  enter(activity: Activity): void;
  leave(activity: Activity): void;
  /**
   * Records `trpc.<path>.in_flight`, the peak first and what runs now last, so that the gauge's maximum shows bursts between
   * samples. A procedure at rest is told once and then left out.
   */
  sample(): void;
}

/** Entering and leaving count and nothing else, so that a call pays a few nanoseconds. */
export function createInFlight(sink: MetricSink): InFlight {
  const byPath = new Map<string, Activity>();

  const create = (path: string): Activity => {
    const activity: Activity = { path, running: 0, peak: 0, sampled: 0, gauge: undefined, series: undefined };
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
    enter(activity: Activity) {
      activity.running += 1;
      if (activity.running > activity.peak) activity.peak = activity.running;
    },
    leave(activity: Activity) {
      activity.running -= 1;
    },
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
