/** One point on a cached series handle, beside prom-client. */
import { Histogram, Registry } from "prom-client";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { atMost, compare, find, ratioOf, type Scenario } from "../harness.js";

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
    let value = 0;
    const next = () => {
      value = (value * 1.37 + 0.11) % 1_000;
      return value;
    };
    const group = await compare("one point", { name: "the value alone", run: next }, [
      { name: "paramedic handle", run: () => handle.record(next()) },
      { name: "prom-client child", run: () => child.observe(next()) },
      { name: "prom-client labels", run: () => histogram.observe({ path: "ask" }, next()) },
    ]);
    return {
      groups: [group],
      budgets: [
        atMost("record on a handle, above the value alone", find(group, "paramedic handle").addedNs, 14 * 0.7, "ns"),
        atMost("  to prom-client's child", ratioOf(group, "paramedic handle", "prom-client child"), 0.7),
      ],
      notes: [
        "The budget for a record is 0.7 of DDSketch, which took 14 ns on the machine of reference: shown in ns here.",
      ],
    };
  },
};
