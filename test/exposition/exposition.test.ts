import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seriesFamilies } from "../../server/api/series-families.js";
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import { EXPOSITION_FORMATS, type MetricFamily, namesTaken, renderExposition } from "../../shared/exposition.js";
import { SERIES_KINDS, type SeriesDescriptor } from "../../shared/series.js";

const series = (descriptor: Partial<SeriesDescriptor>, sum = 1): CumulativeSeries => ({
  descriptor: {
    metricType: "custom",
    metricName: "orders",
    kind: "counter",
    unit: "1",
    source: descriptor.metricName ?? "orders",
    tags: {},
    ...descriptor,
  },
  count: 1,
  sum,
  last: sum,
  max: sum,
  distribution: descriptor.kind === "histogram" ? { bounds: [5, 10], counts: Float64Array.from([1, 1, 1]) } : undefined,
});

describe("renderExposition", () => {
  const orders: MetricFamily = {
    type: "counter",
    name: "orders",
    help: 'Orders\nby "shop" \\',
    samples: [{ labels: { shop: 'a"b\\c\nd' }, value: 3 }],
  };

  it("writes the older text", () => {
    expect(renderExposition([orders], "text")).toBe(
      '# HELP orders_total Orders\\nby "shop" \\\\\n# TYPE orders_total counter\norders_total{shop="a\\"b\\\\c\\nd"} 3\n',
    );
  });

  it("writes OpenMetrics: the family by its bare name, and an end", () => {
    expect(renderExposition([orders], "openmetrics")).toBe(
      '# TYPE orders counter\n# HELP orders Orders\\nby \\"shop\\" \\\\\norders_total{shop="a\\"b\\\\c\\nd"} 3\n# EOF\n',
    );
  });

  it("writes histograms cumulatively, with bounds as floats where OpenMetrics wants them", () => {
    const waiting: MetricFamily = {
      type: "histogram",
      name: "waiting_seconds",
      unit: "seconds",
      help: "Waiting.",
      samples: [{ labels: {}, bounds: [0.5, 1], counts: [1, 2, 3], sum: 9 }],
    };
    expect(renderExposition([waiting], "text").split("\n").slice(2, -1)).toEqual([
      'waiting_seconds_bucket{le="0.5"} 1',
      'waiting_seconds_bucket{le="1"} 3',
      'waiting_seconds_bucket{le="+Inf"} 6',
      "waiting_seconds_sum 9",
      "waiting_seconds_count 6",
    ]);
    const modern = renderExposition([waiting], "openmetrics");
    expect(modern).toContain('le="1.0"} 3\n');
    expect(modern).toContain("# UNIT waiting_seconds seconds\n");
  });

  it("adds up samples that a scraper could not tell apart", () => {
    const samples = [
      { labels: { "a.b": "x", empty: "" }, value: 1 },
      { labels: { a_b: "x" }, value: 2 },
    ];
    const text = renderExposition([{ type: "counter", name: "same", help: "", samples }], "text");
    expect(text.split("\n").filter((line) => line.startsWith("same"))).toEqual(['same_total{a_b="x"} 3']);
  });

  it("leaves out families without samples", () => {
    expect(renderExposition([{ type: "gauge", name: "none", help: "", samples: [] }], "text")).toBe("\n");
  });
});

describe("seriesFamilies", () => {
  it("gives procedures OpenTelemetry's name, seconds, and an error type only where a call failed", () => {
    const duration = (tags: SeriesDescriptor["tags"]) =>
      series(
        {
          metricType: "operation",
          metricName: "trpc.users.list.duration",
          source: "trpc.users.list",
          kind: "histogram",
          unit: "ms",
          tags,
        },
        2_500,
      );
    const [family] = seriesFamilies([
      duration({ status: "success" }),
      duration({ status: "client_error", error_type: "NOT_FOUND", error_category: "trpc_error" }),
    ]);
    expect(family).toMatchObject({ type: "histogram", name: "rpc_server_call_duration_seconds", unit: "seconds" });
    const text = renderExposition(family === undefined ? [] : [family], "text");
    expect(text).toContain(
      'rpc_server_call_duration_seconds_sum{outcome="success",rpc_method="users.list",rpc_system_name="trpc"} 2.5\n',
    );
    expect(text).toContain(
      'rpc_server_call_duration_seconds_bucket{error_type="NOT_FOUND",outcome="client_error",rpc_method="users.list",rpc_status_code="NOT_FOUND",rpc_system_name="trpc",le="0.005"} 1\n',
    );
  });

  it("counts calls by outcome, guarded services and tracked operations under names of ours", () => {
    const operation = (metricName: string, source: string, kind: SeriesDescriptor["kind"], tags = {}) =>
      series({ metricType: "operation", metricName, source, kind, unit: kind === "histogram" ? "ms" : "1", tags });
    const text = renderExposition(
      seriesFamilies([
        operation("trpc.a.success_count", "trpc.a", "counter"),
        operation("trpc.a.failure_count", "trpc.a", "counter", { status: "timeout", error_type: "procedure_timeout" }),
        operation("guard.llm:openai.duration", "guard.llm:openai", "histogram", { outcome: "success" }),
        operation("reports.render.failure_count", "reports.render", "counter", { status: "server_error" }),
        operation("trpc.a.first_event", "trpc.a", "histogram"),
      ]),
      "text",
    );
    for (const line of [
      'paramedic_procedure_calls_total{outcome="success",rpc_method="a"} 1',
      'paramedic_procedure_calls_total{error_type="procedure_timeout",outcome="timeout",rpc_method="a"} 1',
      'paramedic_service_call_duration_seconds_count{outcome="success",service="llm:openai"} 3',
      'paramedic_operation_calls_total{operation="reports.render",outcome="server_error"} 1',
      'paramedic_procedure_first_event_seconds_count{rpc_method="a"} 3',
    ]) {
      expect(text.split("\n")).toContain(line);
    }
  });

  it("keeps the family of a metric whose series overflowed", () => {
    const overflow = series({
      metricType: "operation",
      metricName: "trpc.a.duration",
      source: "trpc.a.duration",
      kind: "histogram",
      unit: "ms",
      tags: { overflow: "true" },
    });
    expect(seriesFamilies([overflow])[0]?.name).toBe("rpc_server_call_duration_seconds");
  });

  it("never takes a reserved name, whoever records it", () => {
    const mine = [series({ metricName: "up", kind: "gauge" }), series({ metricName: "up_total" })];
    const names = seriesFamilies(mine, ["up"]).map(({ name }) => name);
    expect(names).toEqual(["up_2", "up_3"]);
  });

  it("gives any series a family of its own names, and no line twice", () => {
    const text = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom("a", "a_sum", "a_total", "a.b", "a_b", "a_bucket"),
    );
    const anyOne = fc
      .record({
        metricName: text,
        kind: fc.constantFrom(...SERIES_KINDS),
        unit: fc.constantFrom("ms", "s", "By", "1"),
        source: text,
        tags: fc.dictionary(text, text, { maxKeys: 3 }),
      })
      .map((descriptor) => series(descriptor));
    fc.assert(
      fc.property(fc.array(anyOne, { size: "max", maxLength: 60 }), (all) => {
        const families = seriesFamilies(all, ["a_count"]);
        const taken = ["a_count", ...families.map(({ name }) => name)].flatMap((name) =>
          name === "a_count" ? [name] : namesTaken(name),
        );
        expect(new Set(taken).size).toBe(taken.length);
        for (const format of EXPOSITION_FORMATS) {
          const keys = renderExposition(families, format)
            .split("\n")
            .filter((line) => line !== "" && !line.startsWith("#"))
            .map((line) => line.slice(0, line.lastIndexOf(" ")));
          expect(new Set(keys).size).toBe(keys.length);
        }
      }),
    );
  });
});
