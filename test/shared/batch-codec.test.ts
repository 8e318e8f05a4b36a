import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBatch, encodeBatch, MAX_DATA_LENGTH } from "../../shared/batch-codec.js";
import { textOfBuckets } from "../../shared/buckets-text.js";
import type { Batch } from "../../shared/series.js";
import { anyBatch } from "../support/arbitrary-batches.js";
import { runs } from "../support/property-runs.js";

const sample: Batch = {
  version: 1,
  instance: "host:4000",
  boot: "b1",
  seq: 7,
  windowStart: 1_000,
  windowEnd: 2_000,
  recordedTotal: 12,
  droppedTotal: { not_finite: 2 },
  series: [
    {
      metricType: "operation",
      metricName: "trpc.ask.duration",
      kind: "histogram",
      unit: "ms",
      source: "trpc.ask",
      tags: { status: "success" },
      count: 3,
      sum: 6,
      min: 1,
      max: 3,
      last: 3,
      buckets: [-1, 1, 31, 1, 50, 1],
    },
  ],
};

/** The sample with one thing in its data replaced. */
function tampered(change: (data: Record<string, unknown>, series: Record<string, unknown>) => void) {
  const fields = encodeBatch(sample);
  const data = JSON.parse(fields.data);
  change(data, data.series[0]);
  return { ...fields, data: JSON.stringify(data) };
}

describe("a batch as a stream entry", () => {
  it("comes back equal, whatever the tags and numbers", () => {
    fc.assert(
      fc.property(anyBatch(), (batch) => {
        const decoded = decodeBatch(encodeBatch(batch));
        expect(decoded).toEqual({ ok: true, batch });
        if (!decoded.ok) return;
        for (const [at, one] of decoded.batch.series.entries()) {
          expect(Object.entries(one.tags)).toEqual(Object.entries(batch.series[at]?.tags ?? {}));
          expect(Object.getPrototypeOf(one.tags)).toBe(Object.prototype);
        }
      }),
      { numRuns: runs(200) },
    );
  });

  it("is readable: a version, an id and JSON with names", () => {
    const fields = encodeBatch(sample);
    expect(fields.v).toBe("1");
    expect(fields.batch).toBe("host:4000:b1:7");
    expect(JSON.parse(fields.data)).toMatchObject({ from: 1_000, to: 2_000, recorded: 12, dropped: { not_finite: 2 } });
    expect(JSON.parse(fields.data).series[0]).toMatchObject({
      name: "trpc.ask.duration",
      tags: { status: "success" },
      count: 3,
      sum: 6,
      min: 1,
      max: 3,
      last: 3,
      buckets: textOfBuckets(sample.series[0]?.buckets ?? []),
    });
  });
});

describe("decodeBatch", () => {
  it.each<[string, Record<string, string>, string]>([
    ["no fields at all", {}, "missing_fields"],
    ["one field missing", { v: "1", batch: "i:b:1" }, "missing_fields"],
    ["a later format", { ...encodeBatch(sample), v: "2" }, "newer_version"],
    ["a version that is no number", { ...encodeBatch(sample), v: "one" }, "invalid"],
    ["version zero", { ...encodeBatch(sample), v: "0" }, "invalid"],
    ["an id without its parts", { ...encodeBatch(sample), batch: "host" }, "invalid"],
    ["a sequence of zero", { ...encodeBatch(sample), batch: "i:b:0" }, "invalid"],
    ["an endless id", { ...encodeBatch(sample), batch: `${"i".repeat(600)}:b:1` }, "invalid"],
    ["truncated JSON", { ...encodeBatch(sample), data: encodeBatch(sample).data.slice(0, -5) }, "not_json"],
    ["JSON that is no object", { ...encodeBatch(sample), data: "[]" }, "invalid"],
    ["null", { ...encodeBatch(sample), data: "null" }, "invalid"],
    ["nesting without end", { ...encodeBatch(sample), data: "[".repeat(50_000) }, "not_json"],
  ])("refuses %s", (_, fields, reason) => {
    expect(decodeBatch(fields)).toMatchObject({ ok: false, reason });
  });

  it("refuses more data than it is willing to parse", () => {
    const data = " ".repeat(MAX_DATA_LENGTH + 1);
    expect(decodeBatch({ ...encodeBatch(sample), data })).toMatchObject({ ok: false, reason: "invalid" });
  });

  it.each<[string, (data: Record<string, unknown>, series: Record<string, unknown>) => void]>([
    ["a window that ends before it begins", (data) => Object.assign(data, { from: 3_000 })],
    ["a time before 1970", (data) => Object.assign(data, { from: -1 })],
    ["a time that no Date holds", (data) => Object.assign(data, { to: 9e15 })],
    ["a fractional total", (data) => Object.assign(data, { recorded: 1.5 })],
    ["a total beyond 2^53", (data) => Object.assign(data, { recorded: 2 ** 60 })],
    ["a negative drop count", (data) => Object.assign(data, { dropped: { closed: -1 } })],
    ["drops that are no map", (data) => Object.assign(data, { dropped: [1] })],
    ["series that are no list", (data) => Object.assign(data, { series: {} })],
    ["an unknown type", (_, series) => Object.assign(series, { type: "gossip" })],
    ["an unknown kind", (_, series) => Object.assign(series, { kind: "summary" })],
    ["no name", (_, series) => Object.assign(series, { name: "" })],
    ["an endless name", (_, series) => Object.assign(series, { name: "n".repeat(5_000) })],
    ["a tag that is no text", (_, series) => Object.assign(series, { tags: { status: 1 } })],
    ["an endless tag", (_, series) => Object.assign(series, { tags: { status: "x".repeat(5_000) } })],
    ["a hundred tags", (_, series) => Object.assign(series, { tags: { ...Array(100).fill("x") } })],
    ["no points", (_, series) => Object.assign(series, { count: 0, buckets: [] })],
    ["a negative count", (_, series) => Object.assign(series, { count: -3 })],
    ["a fractional count", (_, series) => Object.assign(series, { count: 2.5 })],
    ["NaN, which JSON writes as null", (_, series) => Object.assign(series, { sum: Number.NaN })],
    ["text for a number", (_, series) => Object.assign(series, { sum: "6" })],
    ["min above max", (_, series) => Object.assign(series, { min: 9 })],
    ["buckets that hold other points than counted", (_, series) => Object.assign(series, { buckets: "BB" })],
    ["a histogram without buckets", (_, series) => Object.assign(series, { buckets: undefined })],
    ["buckets that are no text", (_, series) => Object.assign(series, { buckets: [-1, 1, 31, 1, 50, 1] })],
    ["a bucket twice", (_, series) => Object.assign(series, { buckets: `${textOfBuckets([31, 1])}AC` })],
    ["buckets in a counter", (_, series) => Object.assign(series, { kind: "counter" })],
  ])("refuses %s", (_, change) => {
    expect(decodeBatch(tampered(change))).toMatchObject({ ok: false, reason: "invalid" });
  });

  it("refuses infinity, written as a number too large for a float", () => {
    const fields = encodeBatch(sample);
    const data = fields.data.replace('"sum":6', '"sum":1e999');
    expect(decodeBatch({ ...fields, data })).toMatchObject({ ok: false, reason: "invalid" });
  });

  it.each(["\u0000", "a\ud800", "\udc00b"])("refuses a text that not every database keeps: %j", (text) => {
    for (const place of ["name", "unit", "source"]) {
      expect(decodeBatch(tampered((_, series) => Object.assign(series, { [place]: text }))).ok).toBe(false);
    }
    for (const tags of [{ [text]: "value" }, { name: text }]) {
      expect(decodeBatch(tampered((_, series) => Object.assign(series, { tags }))).ok).toBe(false);
    }
  });

  it("never throws, whatever stands in the fields", () => {
    const anything = fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.constantFrom("1", "i:b:1"));
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom("v", "batch", "data"), anything), (fields) => {
        expect(typeof decodeBatch(fields).ok).toBe("boolean");
      }),
    );
  });

  it("says where the fault is, in one short line", () => {
    const decoded = decodeBatch(tampered((_, series) => Object.assign(series, { count: -3 })));
    expect(decoded).toMatchObject({ ok: false, detail: expect.stringMatching(/^data\.series\.0\.count: .{5,150}$/) });
  });
});
