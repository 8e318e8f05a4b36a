/** The middleware for who wants the metrics alone: no journal, no call context, no composition. */
import { readSafely } from "../../shared/describe-error.js";
import type { MetricSink } from "../ports/metric-sink.js";
import type { Middleware } from "./middleware.js";
import { observeStream, type StreamEnd } from "./observe-stream.js";
import { OperationTracker, type TrackedOperation } from "./operation-tracker.js";
import { isFailure, isStream, isSuccess, withData } from "./procedure-result.js";

/**
 * Measures each call as the operation `trpc.<path>` of a tracker. Changes no result and no error; a stream is measured to
 * its end.
 *
 * @param collector where the calls are recorded
 * @param tracker records them; one on `collector` unless given
 * @example
 * const collector = new MetricsCollector(redis);
 * const procedure = t.procedure.use(createInstrumentationMiddleware(collector, new OperationTracker(collector)));
 */
export function createInstrumentationMiddleware(
  collector: MetricSink,
  tracker: OperationTracker = new OperationTracker(collector),
): Middleware {
  const names = new Map<string, string>();
  const nameOf = (path: string): string => {
    const known = names.get(path);
    if (known !== undefined) return known;
    const name = `trpc.${path}`;
    names.set(path, name);
    return name;
  };

  const recordFailure = (operation: TrackedOperation, error: unknown, signal: AbortSignal | undefined): void => {
    if (readSafely(signal, "aborted") === true) tracker.recordAborted(operation);
    else tracker.recordFailure(operation, error);
  };

  const recordEnd = (operation: TrackedOperation, end: StreamEnd): void => {
    switch (end.type) {
      case "completed":
        tracker.recordSuccess(operation);
        break;
      case "aborted":
        tracker.recordAborted(operation);
        break;
      case "failed":
        tracker.recordFailure(operation, end.error);
        break;
    }
  };

  return async function instrumentation(opts) {
    const { path, type, signal } = opts;
    const operation = tracker.startOperation(nameOf(path), { type });
    let result: Awaited<ReturnType<typeof opts.next>>;
    try {
      result = await opts.next();
    } catch (error) {
      recordFailure(operation, error, signal);
      throw error;
    }
    if (isFailure(result)) {
      recordFailure(operation, result.error, signal);
    } else if (isSuccess(result)) {
      if (isStream(result.data, type)) {
        const onEnd = (end: StreamEnd) => recordEnd(operation, end);
        return withData(result, observeStream(result.data, { signal, run: (step) => step(), onEnd }));
      }
      tracker.recordSuccess(operation);
    }
    return result;
  };
}
