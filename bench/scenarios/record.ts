/** One point on a cached series handle, beside DDSketch, prom-client and OpenTelemetry. */
import { DDSketch } from "@datadog/sketches-js";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { Histogram, Registry } from "prom-client";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { atMost, compare, find, type Scenario } from "../harness.js";
import { ReaderNobodyAsks } from "../reader-nobody-asks.js";

export const record: Scenario = {
  name: "record",
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
    let value = 0;
    const next = () => {
      value = (value * 1.37 + 0.11) % 1_000;
      return value;
    };
    const group = await compare("one point", { name: "the value alone", run: next }, [
      { name: "paramedic handle", run: () => handle.record(next()) },
      { name: "DDSketch", run: () => sketch.accept(next()) },
      { name: "OpenTelemetry histogram", run: () => otel.record(next(), attributes) },
      { name: "prom-client child", run: () => child.observe(next()) },
      { name: "prom-client labels", run: () => histogram.observe({ path: "ask" }, next()) },
    ]);
    // Above what making the value costs.
    const oursNs = find(group, "paramedic handle").addedNs;
    return {
      groups: [group],
      budgets: [
        atMost("record on a handle, to DDSketch", oursNs / find(group, "DDSketch").addedNs, 0.7),
        atMost("  to prom-client's child", oursNs / find(group, "prom-client child").addedNs, 0.7),
      ],
    };
  },
};
