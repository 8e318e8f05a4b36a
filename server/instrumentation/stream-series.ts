/** The series of each streaming procedure, resolved once: `<name>.first_event`, `<name>.event_count`, `<name>.lifetime`. */
import type { MetricSink, SeriesHandle } from "../ports/metric-sink.js";
import type { StreamEnd } from "./observe-stream.js";

/** Why a stream ended: by itself, because its reader had enough, because the client left, or with an error. */
export type EndReason = "completed" | "returned" | "aborted" | "failed";

export interface StreamSeries {
  /** @param waitedMs from the call's begin, for the first event of a stream only */
  event(path: string, waitedMs: number | undefined): void;
  ended(path: string, end: StreamEnd, lifetimeMs: number): void;
}

interface Handles {
  readonly firstEvent: SeriesHandle;
  readonly events: SeriesHandle;
  readonly lifetimes: Partial<Record<EndReason, SeriesHandle>>;
}

/** Paths must be bounded: each keeps its handles. */
export function createStreamSeries(sink: MetricSink): StreamSeries {
  const byPath = new Map<string, Handles>();

  const create = (path: string): Handles => {
    const source = `trpc.${path}`;
    const base = { metricType: "operation", source } as const;
    const handles: Handles = {
      firstEvent: sink.series({
        ...base,
        metricName: `${source}.first_event`,
        kind: "histogram",
        unit: "ms",
        tags: {},
      }),
      events: sink.series({ ...base, metricName: `${source}.event_count`, kind: "counter", unit: "1", tags: {} }),
      lifetimes: {},
    };
    byPath.set(path, handles);
    return handles;
  };
  const createLifetime = (path: string, end_reason: EndReason): SeriesHandle => {
    const source = `trpc.${path}`;
    const metricName = `${source}.lifetime`;
    return sink.series({
      metricType: "operation",
      metricName,
      kind: "histogram",
      unit: "ms",
      source,
      tags: { end_reason },
    });
  };
  const handlesOf = (path: string) => byPath.get(path) ?? create(path);

  return Object.freeze({
    event(path: string, waitedMs: number | undefined) {
      const { firstEvent, events } = handlesOf(path);
      events.record(1);
      if (waitedMs !== undefined) firstEvent.record(waitedMs);
    },
    ended(path: string, end: StreamEnd, lifetimeMs: number) {
      const { lifetimes } = handlesOf(path);
      const reason = endReasonOf(end);
      lifetimes[reason] ??= createLifetime(path, reason);
      lifetimes[reason].record(lifetimeMs);
    },
  });
}

function endReasonOf(end: StreamEnd): EndReason {
  switch (end.type) {
    case "completed":
      return end.by === "reader" ? "returned" : "completed";
    case "aborted":
    case "failed":
      return end.type;
  }
}
