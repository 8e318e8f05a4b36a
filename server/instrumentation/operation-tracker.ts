/** Measures any named piece of work by hand, under the same metric names as procedures. */
import { readSafely } from "../../shared/describe-error.js";
import type { ErrorCategory, JsonObject } from "../../shared/failure.js";
import { type Clock, systemClock } from "../ports/clock.js";
import type { MetricSink } from "../ports/metric-sink.js";
import { ABORTED, outcomeOfFailure } from "./call-outcome.js";
import { createOperationSeries, type SeriesOfOperation } from "./operation-series.js";

/** Work that has begun. */
export interface TrackedOperation {
  /** What is measured: `reports.render`, `trpc.users.list`. Names the series, so it must come from a bounded set. */
  readonly type: string;
  /** For whoever holds the operation; metrics do not carry it, since its values are not bounded. */
  readonly metadata: JsonObject;
  /** Monotonic milliseconds. */
  readonly startedAt: number;
}

export interface OperationTrackerDeps {
  /** @default systemClock */
  readonly clock?: Clock | undefined;
}

/**
 * Records `<type>.duration` (ms), `<type>.success_count` and `<type>.failure_count`. An operation counts once, by what is
 * recorded first. No method throws.
 *
 * @example
 * const tracker = new OperationTracker(collector);
 * const operation = tracker.startOperation("reports.render", { format: "pdf" });
 * try {
 *   await render();
 *   tracker.recordSuccess(operation);
 * } catch (error) {
 *   tracker.recordFailure(operation, error);
 *   throw error;
 * }
 */
export class OperationTracker {
  readonly #clock: Clock;
  readonly #seriesOf: SeriesOfOperation;
  readonly #ended = new WeakSet<TrackedOperation>();

  constructor(sink: MetricSink, deps: OperationTrackerDeps = {}) {
    this.#clock = deps.clock ?? systemClock;
    this.#seriesOf = createOperationSeries(sink);
  }

  startOperation(type: string, metadata: JsonObject = {}): TrackedOperation {
    return { type, metadata, startedAt: this.#clock.monotonic() };
  }

  recordSuccess(operation: TrackedOperation): void {
    if (!this.#end(operation)) return;
    this.#seriesOf(operation.type).succeeded(this.#elapsed(operation));
  }

  /**
   * @param error whatever was thrown; its tRPC code, or else its structure, tells outcome and category
   * @param category where the caller knows better than the error tells
   */
  recordFailure(operation: TrackedOperation, error: unknown, category?: ErrorCategory): void {
    if (!this.#end(operation)) return;
    const outcome = outcomeOfFailure(error, operation.type, undefined);
    const known = category === undefined ? outcome : { ...outcome, errorCategory: category };
    this.#seriesOf(operation.type).failed(known, this.#elapsed(operation));
  }

  /** Whoever waited for the work has left: neither a success nor a failure of it. */
  recordAborted(operation: TrackedOperation): void {
    if (!this.#end(operation)) return;
    this.#seriesOf(operation.type).failed(ABORTED, this.#elapsed(operation));
  }

  #end(operation: TrackedOperation): boolean {
    if (typeof readSafely(operation, "type") !== "string" || this.#ended.has(operation)) return false;
    this.#ended.add(operation);
    return true;
  }

  #elapsed(operation: TrackedOperation): number {
    return this.#clock.monotonic() - operation.startedAt;
  }
}
