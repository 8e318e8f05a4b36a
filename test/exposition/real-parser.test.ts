/** What we expose, read by a real Prometheus in both formats. */
import { createServer, type Server } from "node:http";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { formatFor } from "../../server/api/metrics-page.js";
import { seriesFamilies } from "../../server/api/series-families.js";
import type { CumulativeSeries } from "../../shared/cumulative-series.js";
import { EXPOSITION_CONTENT_TYPES, type MetricFamily, renderExposition } from "../../shared/exposition.js";
import { SERIES_KINDS } from "../../shared/series.js";
import { type PrometheusServer, promtoolProblems, startPrometheus } from "../services/prometheus.js";
import { runs } from "../support/property-runs.js";

/** Anything a message or a label could be: lone surrogates, controls, quotes, newlines and all planes. */
const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.string({ unit: fc.constantFrom("\\", '"', "\n", "\r", "\0", "{", "}", ",", "=", "#", " ", "\ud800", "é", "😀") }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 20 }).map((units) => String.fromCharCode(...units)),
);

const anyFamily = (name: string): fc.Arbitrary<MetricFamily> => {
  const labels = fc.dictionary(anyText, anyText, { maxKeys: 5 });
  const numbers = fc.array(
    fc.record({ labels, value: fc.oneof(fc.double(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY)) }),
    { maxLength: 8 },
  );
  const counts = fc.array(fc.record({ labels, value: fc.nat() }), { maxLength: 8 });
  const histograms = fc.array(
    fc.record({
      labels,
      bounds: fc.constant([0.005, 1, 2.5]),
      counts: fc.array(fc.nat(1_000), { minLength: 4, maxLength: 4 }),
      sum: fc.double({ min: 0, max: 1e9, noNaN: true }),
    }),
    { maxLength: 5 },
  );
  const help = anyText.map((text) => `help ${text}`);
  return fc.oneof(
    fc.record({ type: fc.constant("gauge" as const), name: fc.constant(name), help, samples: numbers }),
    fc.record({ type: fc.constant("counter" as const), name: fc.constant(name), help, samples: counts }),
    fc.record({ type: fc.constant("histogram" as const), name: fc.constant(name), help, samples: histograms }),
  );
};

const anySeries: fc.Arbitrary<CumulativeSeries> = fc
  .record({
    metricName: anyText,
    kind: fc.constantFrom(...SERIES_KINDS),
    unit: fc.oneof(fc.constantFrom("ms", "s", "By", "%", "1"), anyText),
    source: anyText,
    tags: fc.dictionary(anyText, anyText, { maxKeys: 4 }),
    metricType: fc.constantFrom("operation" as const, "custom" as const, "system" as const),
    value: fc.nat(),
  })
  .map(({ value, ...descriptor }) => ({
    descriptor,
    count: value,
    sum: value,
    last: value,
    max: value,
    distribution: descriptor.kind === "histogram" ? { bounds: [1, 2], counts: [value, 0, 1] } : undefined,
  }));

/** What is no error of parsing: the style guide has its opinions on names that users choose. */
const parseErrors = (page: string) => /error while linting|parsing error/i.exec(promtoolProblems(page))?.input;

describe("exposition, checked by promtool", () => {
  it("is really checked: a broken page is found", () => {
    expect(parseErrors('a{b="c} 1\n')).toBeDefined();
    expect(parseErrors("# TYPE a gauge\na 1\na 1\n# TYPE a counter\n")).toBeDefined();
  });

  it("parses for any label, help text and number", () => {
    fc.assert(
      fc.property(fc.tuple(anyFamily("first"), anyFamily("second")), (families) => {
        expect(parseErrors(renderExposition(families, "text"))).toBeUndefined();
      }),
      { numRuns: runs(60, 0.02) },
    );
  });

  it("parses for any series that anybody records, whatever its name", () => {
    fc.assert(
      fc.property(fc.array(anySeries, { maxLength: 30 }), (series) => {
        expect(parseErrors(renderExposition(seriesFamilies(series, ["up"]), "text"))).toBeUndefined();
      }),
      { numRuns: runs(60, 0.02) },
    );
  });
});

describe("exposition, scraped by a Prometheus server", () => {
  /** As a scraper reads them: a lone surrogate has no bytes, NUL ends a text, an empty label is no label. */
  const texts = [...new Set(fc.sample(anyText, { numRuns: 400, seed: 42 }))];
  const asRead = (text: string) => text.replace(/[\p{Surrogate}\0]/gu, "\uFFFD");
  const families: readonly MetricFamily[] = [
    {
      type: "gauge",
      name: "any_text",
      help: texts.join(""),
      samples: texts.map((text) => ({ labels: { text }, value: 1 })),
    },
    {
      type: "histogram",
      name: "waiting_seconds",
      unit: "seconds",
      help: "Waiting.",
      samples: [{ labels: { le: "a label of that name" }, bounds: [0.5, 1], counts: [1, 2, 3], sum: 9.5 }],
    },
    { type: "counter", name: "orders", help: "Orders.", samples: [{ labels: {}, value: 7 }] },
    { type: "info", name: "build", help: "Build.", samples: [{ labels: { version: "1" }, value: 1 }] },
  ];
  const servers: Server[] = [];
  let prometheus: PrometheusServer | undefined;
  const asked: string[] = [];

  const serve = async (oldOnly: boolean): Promise<string> => {
    const server = createServer((request, response) => {
      const format = oldOnly ? "text" : formatFor(request.headers.accept);
      asked.push(format);
      response.writeHead(200, { "content-type": EXPOSITION_CONTENT_TYPES[format] });
      response.end(renderExposition(families, format));
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    return `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  };

  beforeAll(async () => {
    const targets = [
      { job: "text", address: await serve(true) },
      { job: "openmetrics", address: await serve(false) },
    ];
    prometheus = await startPrometheus(targets);
    const settled = async () => {
      expect(await prometheus?.lastErrors()).toEqual({ text: "", openmetrics: "" });
      // A scrape is said to be well a moment before what it brought can be asked for.
      expect((await prometheus?.query("up"))?.map(({ value }) => value)).toEqual([1, 1]);
    };
    await vi.waitFor(settled, { timeout: 30_000, interval: 200 });
  });
  afterAll(async () => {
    await prometheus?.stop();
    for (const server of servers) server.close();
  });

  it("is asked for OpenMetrics, which it prefers", () => {
    expect(new Set(asked)).toEqual(new Set(["text", "openmetrics"]));
  });

  it.each(["text", "openmetrics"])("gives every label back as it was: %s", async (job) => {
    const found = (await prometheus?.query(`any_text{job="${job}"}`)) ?? [];
    const read = found.map(({ labels }) => labels.text ?? "");
    expect(new Set(read)).toEqual(new Set(texts.map(asRead)));
  });

  it.each(["text", "openmetrics"])("gives numbers, buckets and names as they are meant: %s", async (job) => {
    const one = async (expression: string) => (await prometheus?.query(expression))?.map(({ value }) => value);
    expect(await one(`orders_total{job="${job}"}`)).toEqual([7]);
    expect(await one(`build_info{job="${job}",version="1"}`)).toEqual([1]);
    expect(await one(`waiting_seconds_count{job="${job}",tag_le="a label of that name"}`)).toEqual([6]);
    expect(await one(`sum by (job) (waiting_seconds_bucket{job="${job}",le=~"1|1.0"})`)).toEqual([3]);
    expect(await one(`waiting_seconds_sum{job="${job}"}`)).toEqual([9.5]);
  });
});
