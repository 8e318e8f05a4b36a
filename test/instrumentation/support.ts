/** What instrumentation tests share: a sink, a journal and a fault list that remember everything. */
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import { createInstrumentation } from "../../server/instrumentation/instrumentation.js";
import type { Identify } from "../../server/instrumentation/procedure-call.js";
import type { CallContext } from "../../server/ports/call-context.js";
import { type Clock, systemClock } from "../../server/ports/clock.js";
import type { Journal, JournalEntry } from "../../server/ports/journal.js";
import type { MetricPoint, MetricSink } from "../../server/ports/metric-sink.js";
import type { Failure } from "../../shared/failure.js";
import type { SeriesDescriptor } from "../../shared/series.js";

export interface RecordingSink extends MetricSink {
  readonly descriptors: SeriesDescriptor[];
  readonly points: MetricPoint[];
  /** Values recorded under a metric name, of the series that carry all of `tags`. */
  values(metricName: string, tags?: Record<string, string>): number[];
  sum(metricName: string, tags?: Record<string, string>): number;
  /** Metric names with at least one value. */
  names(): string[];
}

export function createRecordingSink(): RecordingSink {
  const recorded: { descriptor: SeriesDescriptor; value: number }[] = [];
  const descriptors: SeriesDescriptor[] = [];
  const points: MetricPoint[] = [];
  const values = (metricName: string, tags: Record<string, string> = {}) => [
    ...recorded
      .filter(
        ({ descriptor }) =>
          descriptor.metricName === metricName &&
          Object.entries(tags).every(([key, value]) => descriptor.tags[key] === value),
      )
      .map(({ value }) => value),
    ...points
      .filter(
        (point) =>
          point.metricName === metricName && Object.entries(tags).every(([key, value]) => point.tags?.[key] === value),
      )
      .map(({ value }) => value),
  ];
  return {
    descriptors,
    points,
    values,
    sum: (metricName, tags) => values(metricName, tags).reduce((sum, value) => sum + value, 0),
    names: () => [
      ...new Set([
        ...recorded.map(({ descriptor }) => descriptor.metricName),
        ...points.map(({ metricName }) => metricName),
      ]),
    ],
    record: (point) => void points.push(point),
    series(descriptor) {
      descriptors.push(descriptor);
      return { record: (value) => void recorded.push({ descriptor, value }) };
    },
  };
}

export interface RecordingJournal extends Journal {
  readonly entries: JournalEntry[];
  readonly failures: Failure[];
}

export function createRecordingJournal(): RecordingJournal {
  const entries: JournalEntry[] = [];
  return {
    entries,
    get failures() {
      return entries.flatMap((entry) => (entry.type === "failure.observed" ? [entry.failure] : []));
    },
    append: (entry) => void entries.push(entry),
  };
}

export interface Harness extends ReturnType<typeof createInstrumentation> {
  readonly sink: RecordingSink;
  readonly journal: RecordingJournal;
  readonly callContext: CallContext;
  readonly faults: unknown[];
  /** How the calls of a path ended, by status, with how many of each. */
  ended(path: string): Record<string, number>;
}

export function createHarness(options: { clock?: Clock; identify?: Identify; linked?: boolean } = {}): Harness {
  const sink = createRecordingSink();
  const journal = createRecordingJournal();
  const callContext = createAsyncCallContext();
  if (options.linked ?? true) callContext.enable();
  const faults: unknown[] = [];
  let lastId = 0;
  const instrumentation = createInstrumentation({
    sink,
    journal,
    callContext,
    clock: options.clock ?? systemClock,
    ids: () => {
      lastId += 1;
      return `event-${lastId}`;
    },
    identify: options.identify,
    onFault: (fault) => void faults.push(fault),
  });
  return {
    ...instrumentation,
    sink,
    journal,
    callContext,
    faults,
    ended(path) {
      const counts: Record<string, number> = {};
      const successes = sink.sum(`trpc.${path}.success_count`);
      if (successes > 0) counts.success = successes;
      for (const status of ["client_error", "server_error", "timeout", "rejected", "aborted"]) {
        const count = sink.sum(`trpc.${path}.failure_count`, { status });
        if (count > 0) counts[status] = count;
      }
      return counts;
    },
  };
}
