/** One point on a cached series handle, beside DDSketch, prom-client and OpenTelemetry. */
import { DDSketch } from "@datadog/sketches-js";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { Histogram, Registry } from "prom-client";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { additionRatioOf, atMost, compare, type Scenario } from "../harness.js";
import { ReaderNobodyAsks } from "../reader-nobody-asks.js";

/** Milliseconds from 1 to 1,000, in no order: read from here, a value costs next to nothing beside recording it. */
const LATENCIES = Float64Array.from({ length: 1_024 }, (_, at) => 10 ** (((at * 389) % 1_024) / 341));

export const record: Scenario = {
  name: "record",
  processes: 5,
  async run() {
    const collector = new Collector({ clock: systemClock, stream: undefined, instance: "bench", boot: "bench" });
    const handle = collector.series({
      metricType: "operation",
      metricName: "trpc.ask.duration",
      kind: "histogram",
      unit: "ms",
      source: "trpc.ask",
      tags: { status: "success" },
    });
    const registers = [new Registry()];
    const labelNames = ["path"];
    const histogram = new Histogram({ name: "duration_seconds", help: "bench", labelNames, registers });
    const child = histogram.labels("ask");
    const sketch = new DDSketch({ relativeAccuracy: 0.01 });
    const attributes = { path: "ask" };
    const otel = new MeterProvider({ readers: [new ReaderNobodyAsks()] }).getMeter("bench").createHistogram("duration");
    let at = 0;
    const next = () => {
      at = (at + 1) % LATENCIES.length;
      return LATENCIES[at] ?? 0;
    };
    const group = await compare("one point", { name: "the value alone", run: next }, [
      { name: "paramedic handle", run: () => handle.record(next()) },
      { name: "DDSketch", run: () => sketch.accept(next()) },
      { name: "OpenTelemetry histogram", run: () => otel.record(next(), attributes) },
      { name: "prom-client child", run: () => child.observe(next()) },
      { name: "prom-client labels", run: () => histogram.observe({ path: "ask" }, next()) },
    ]);
    // Above what making the value costs.
    const toPeer = (peer: string) => additionRatioOf(group, "paramedic handle", peer);
    return {
      groups: [group],
      notes: [
        "record: one point of 1,024 latencies on a handle kept by the caller; ratios are of what is added above making the value.",
      ],
      budgets: [
        atMost("record on a handle, to DDSketch", toPeer("DDSketch"), 0.7),
        atMost("  to prom-client's child", toPeer("prom-client child"), 0.7),
      ],
    };
  },
};
