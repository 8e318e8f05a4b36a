/**
 * Shows our measurements to OpenTelemetry as instruments, through the API that the app hands in: this package depends on no
 * version of it. Recording costs what the app's SDK costs, on the calls themselves; without the option it costs nothing.
 */
import { boundsFor } from "../../shared/explicit-bounds.js";
import type { MetricFamily } from "../../shared/exposition.js";
import { type ConventionalSeries, conventionalSeries } from "../../shared/metric-names.js";
import type { SeriesDescriptor, Tags } from "../../shared/series.js";
import type { MetricPoint, MetricSink, SeriesHandle } from "../ports/metric-sink.js";

/** What is used of `@opentelemetry/api`: pass the module itself. */
export interface OpenTelemetryApi {
  readonly metrics: { getMeter(name: string): OpenTelemetryMeter };
  readonly trace: { getActiveSpan(): { spanContext(): { readonly traceId: string } } | undefined };
}

export interface OpenTelemetryMeter {
  createCounter(name: string, options: InstrumentOptions): { add(value: number, attributes: Tags): void };
  createHistogram(name: string, options: InstrumentOptions): { record(value: number, attributes: Tags): void };
  createGauge(name: string, options: InstrumentOptions): { record(value: number, attributes: Tags): void };
  createObservableCounter(name: string, options: InstrumentOptions): ObservableInstrument;
  createObservableGauge(name: string, options: InstrumentOptions): ObservableInstrument;
}

export interface InstrumentOptions {
  readonly unit?: string;
  readonly description?: string;
  readonly advice?: { explicitBucketBoundaries?: number[] };
}

interface ObservableInstrument {
  addCallback(callback: ObservableCallback): void;
  removeCallback(callback: ObservableCallback): void;
}

type ObservableCallback = (result: { observe(value: number, attributes?: Tags): void }) => void;

export interface OpenTelemetryDeps {
  readonly sink: MetricSink;
  /** The series that a point belongs to. May throw for what is no point. */
  readonly describe: (point: MetricPoint) => SeriesDescriptor;
  /** Paramedic's own state: circuits, health, pipeline, recovery. */
  readonly own: () => readonly MetricFamily[];
  /** Told of every fault of the SDK and of our own. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface OpenTelemetryBridge {
  /** Records into the given sink and into instruments. */
  readonly sink: MetricSink;
  /** Of the span that is active now; undefined without one. */
  traceId(): string | undefined;
  /** Begins to show Paramedic's own state. */
  start(): void;
  stop(): void;
}

/** Each instrument lives as long as its SDK: names that somebody makes up must not pile up there. */
const MOST_INSTRUMENTS = 1_000;
const NO_TRACE = /^0*$/;

/** @example createOpenTelemetryBridge(await import("@opentelemetry/api"), { sink: collector, describe, own, onFault }) */
export function createOpenTelemetryBridge(api: OpenTelemetryApi, deps: OpenTelemetryDeps): OpenTelemetryBridge {
  const { sink, describe, own, onFault } = deps;
  const meter = api.metrics.getMeter("paramedic");
  const instruments = new Map<string, (value: number, attributes: Tags) => void>();
  const undo: (() => void)[] = [];

  const guarded = (run: () => void): void => {
    try {
      run();
    } catch (error) {
      onFault(error);
    }
  };

  const recorderOf = (descriptor: SeriesDescriptor): ((value: number) => void) | undefined => {
    const conventional = conventionalSeries(descriptor);
    const key = `${descriptor.kind} ${descriptor.unit} ${conventional.name}`;
    const known = instruments.get(key);
    if (known === undefined && instruments.size >= MOST_INSTRUMENTS) return undefined;
    const record = known ?? createInstrument(meter, descriptor, conventional);
    instruments.set(key, record);
    const { attributes, divisor } = conventional;
    const isSigned = descriptor.kind === "gauge";
    return (value) => {
      if (Number.isFinite(value) && (value >= 0 || isSigned)) record(value / divisor, attributes);
    };
  };

  const bridged: MetricSink = {
    record(point) {
      sink.record(point);
      guarded(() => recorderOf(describe(point))?.(point.value));
    },
    series(descriptor): SeriesHandle {
      const handle = sink.series(descriptor);
      let record: ((value: number) => void) | undefined;
      guarded(() => {
        record = recorderOf(descriptor);
      });
      return {
        record(value) {
          handle.record(value);
          guarded(() => record?.(value));
        },
      };
    },
  };

  const show = ({ name, help, unit, type }: MetricFamily): void => {
    if (type === "histogram") return;
    const dotted = name.replace(/^paramedic_/, "paramedic.");
    const options = { description: help, ...(unit === "seconds" && { unit: "s" }) };
    const instrument =
      type === "counter"
        ? meter.createObservableCounter(dotted, options)
        : meter.createObservableGauge(dotted, options);
    const observe: ObservableCallback = (result) =>
      guarded(() => {
        const now = own().find((family) => family.name === name);
        if (now === undefined || now.type === "histogram") return;
        for (const { value, labels } of now.samples) result.observe(value, labels);
      });
    instrument.addCallback(observe);
    undo.push(() => instrument.removeCallback(observe));
  };

  return Object.freeze<OpenTelemetryBridge>({
    sink: bridged,
    traceId() {
      try {
        const traceId = api.trace.getActiveSpan()?.spanContext().traceId;
        return traceId === undefined || NO_TRACE.test(traceId) ? undefined : traceId;
      } catch (error) {
        onFault(error);
        return undefined;
      }
    },
    start: () => guarded(() => own().forEach(show)),
    stop() {
      for (const remove of undo.splice(0)) guarded(remove);
    },
  });
}

function createInstrument(
  meter: OpenTelemetryMeter,
  descriptor: SeriesDescriptor,
  { name, unit, help, divisor }: ConventionalSeries,
): (value: number, attributes: Tags) => void {
  const options = { unit, description: help };
  switch (descriptor.kind) {
    case "histogram": {
      const explicitBucketBoundaries = boundsFor(descriptor).map((bound) => bound / divisor);
      const histogram = meter.createHistogram(name, { ...options, advice: { explicitBucketBoundaries } });
      return (value, attributes) => histogram.record(value, attributes);
    }
    case "counter": {
      const counter = meter.createCounter(name, options);
      return (value, attributes) => counter.add(value, attributes);
    }
    case "gauge": {
      const gauge = meter.createGauge(name, options);
      return (value, attributes) => gauge.record(value, attributes);
    }
  }
}
