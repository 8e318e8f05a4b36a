/** The series of each operation, resolved once: `<name>.duration`, `<name>.success_count`, `<name>.failure_count`. */
import type { Tags } from "../../shared/series.js";
import type { MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import type { FailedOutcome } from "./call-outcome.js";

export interface OperationSeries {
  succeeded(key: string, durationMs: number): void;
  /** Without a duration where nobody saw the call begin: then it is only counted. */
  failed(key: string, outcome: FailedOutcome, durationMs: number | undefined): void;
}

interface Handles {
  readonly name: string;
  readonly duration: SeriesHandle;
  readonly successCount: SeriesHandle;
  readonly failures: Map<string, { readonly duration: SeriesHandle; readonly count: SeriesHandle }>;
}

/**
 * `success_count` and `failure_count` together are all operations that ended; the tag `status` tells the service's failures
 * from the client's errors. Keys must be bounded: each keeps its handles.
 *
 * @param prefix what stands before the key in metric names and source
 */
export function createOperationSeries(sink: MetricSink, prefix = ""): OperationSeries {
  const byKey = new Map<string, Handles>();

  const durationOf = (name: string, tags: Tags): SeriesHandle =>
    sink.series({
      metricType: "operation",
      metricName: `${name}.duration`,
      kind: "histogram",
      unit: "ms",
      source: name,
      tags,
    });
  const countOf = (name: string, metric: "success_count" | "failure_count", tags: Tags): SeriesHandle =>
    sink.series({
      metricType: "operation",
      metricName: `${name}.${metric}`,
      kind: "counter",
      unit: "1",
      source: name,
      tags,
    });

  const create = (key: string): Handles => {
    const name = prefix + key;
    const handles: Handles = {
      name,
      duration: durationOf(name, { status: "success" }),
      successCount: countOf(name, "success_count", {}),
      failures: new Map(),
    };
    byKey.set(key, handles);
    return handles;
  };

  const createFailure = ({ name, failures }: Handles, failureKey: string, outcome: FailedOutcome) => {
    const tags = { status: outcome.status, error_type: outcome.errorType, error_category: outcome.errorCategory };
    const handles = { duration: durationOf(name, tags), count: countOf(name, "failure_count", tags) };
    failures.set(failureKey, handles);
    return handles;
  };

  return Object.freeze({
    succeeded(key: string, durationMs: number) {
      const handles = byKey.get(key) ?? create(key);
      handles.duration.record(durationMs);
      handles.successCount.record(1);
    },
    failed(key: string, outcome: FailedOutcome, durationMs: number | undefined) {
      const handles = byKey.get(key) ?? create(key);
      const failureKey = `${outcome.status} ${outcome.errorType} ${outcome.errorCategory}`;
      const failure = handles.failures.get(failureKey) ?? createFailure(handles, failureKey, outcome);
      if (durationMs !== undefined) failure.duration.record(durationMs);
      failure.count.record(1);
    },
  });
}
