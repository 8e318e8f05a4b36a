import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { encodeBatch } from "../../shared/batch-codec.js";
import { batchDataOf } from "../../shared/batch-data.js";
import { bucketsOfText } from "../../shared/buckets-text.js";
import { countOf } from "../../shared/histogram.js";
import { METRIC_TYPES, SERIES_KINDS } from "../../shared/series.js";
import { anyBatch } from "../support/arbitrary-batches.js";
import { runs } from "../support/property-runs.js";

/** The format, as a schema says it. */
const whole = z.int().nonnegative();
const time = whole.max(8.64e15);
const isStorable = (value: unknown) =>
  typeof value === "string" && value.length <= 1_024 && !/\p{Surrogate}/u.test(value) && !value.includes("\0");
const text = z.custom<string>(isStorable);
const mapOf = (item: z.ZodType) =>
  z.custom<object>(
    (input) =>
      z.object({}).safeParse(input).success &&
      Object.keys(Object(input)).length <= 64 &&
      Object.entries(Object(input)).every(([key, value]) => isStorable(key) && item.safeParse(value).success),
  );
const schema = z
  .object({
    from: time,
    to: time,
    recorded: whole,
    dropped: mapOf(whole),
    series: z
      .array(
        z
          .object({
            type: z.enum(METRIC_TYPES),
            name: text.refine((name) => name !== ""),
            kind: z.enum(SERIES_KINDS),
            unit: text,
            source: text,
            tags: mapOf(text),
            count: whole.min(1),
            sum: z.number(),
            min: z.number(),
            max: z.number(),
            last: z.number(),
            buckets: z.string().optional(),
          })
          .refine(({ min, max }) => min <= max)
          .refine(({ kind, count, buckets = "" }) => {
            const read = bucketsOfText(buckets);
            return read !== undefined && countOf(read) === (kind === "histogram" ? count : 0);
          }),
      )
      .max(10_000),
  })
  .refine(({ from, to }) => from <= to);

const MISSING = Symbol("missing");
const odd = fc.oneof(
  fc.constantFrom<unknown>(MISSING, null, undefined, "", "x", "\0", "\ud800", "x".repeat(1_024), "x".repeat(1_025)),
  fc.constantFrom<unknown>(0, -0, -1, 1, 1.5, 8.64e15, 8.64e15 + 2, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, "1"),
  fc.constantFrom<unknown>(true, [], {}, [1], { a: "b" }, { a: 1 }, { a: -1 }, { "\0": "b" }, "counter", "system"),
  fc.constantFrom(64, 65).map((length) => Object.fromEntries(Array.from({ length }, (_, at) => [`k${at}`, "v"]))),
  fc.jsonValue({ maxDepth: 1 }),
);
const FIELDS = ["from", "to", "recorded", "dropped", "series"];
const SERIES_FIELDS = [
  "type",
  "name",
  "kind",
  "unit",
  "source",
  "tags",
  "count",
  "sum",
  "min",
  "max",
  "last",
  "buckets",
];

function changed(map: Record<string, unknown>, name: string, value: unknown) {
  if (value === MISSING) delete map[name];
  else map[name] = value;
}

describe("batchDataOf", () => {
  it("takes what the format allows, and nothing else", () => {
    const place = fc.constantFrom(...FIELDS, ...SERIES_FIELDS.map((name) => `series.${name}`));
    fc.assert(
      fc.property(anyBatch(), fc.array(fc.tuple(place, odd), { maxLength: 2 }), (batch, changes) => {
        const data = JSON.parse(encodeBatch(batch).data);
        const [first] = data.series;
        for (const [name, value] of changes) {
          if (!name.startsWith("series.")) changed(data, name, value);
          else if (first !== undefined) changed(first, name.slice("series.".length), value);
        }
        expect(typeof batchDataOf(data) !== "string").toBe(schema.safeParse(data).success);
      }),
      { numRuns: runs(1_000) },
    );
  });

  it.each([null, 1, "text", [], [{}], true])("refuses %j in the place of a batch and of a series", (value) => {
    expect(batchDataOf(value)).toBeTypeOf("string");
    expect(batchDataOf({ from: 1, to: 2, recorded: 0, dropped: {}, series: [value] })).toMatch(/^series\.0\b/);
  });

  it("refuses more series than it reads", () => {
    const [one] = JSON.parse(encodeBatch({ ...emptyBatch, series: [gauge] }).data).series;
    const data = { from: 1, to: 2, recorded: 0, dropped: {} };
    expect(batchDataOf({ ...data, series: Array(10_000).fill(one) })).toBeTypeOf("object");
    expect(batchDataOf({ ...data, series: Array(10_001).fill(one) })).toMatch(/^series: /);
  });

  it("passes over what it does not know", () => {
    const data = JSON.parse(encodeBatch({ ...emptyBatch, series: [gauge] }).data);
    data.mood = "fine";
    data.series[0].colour = "red";
    expect(batchDataOf(data)).toMatchObject({ series: [gauge] });
    expect(batchDataOf(data)).not.toHaveProperty("mood");
    expect(batchDataOf(data)).not.toHaveProperty("series.0.colour");
  });
});

const emptyBatch = {
  version: 1,
  instance: "web-1",
  boot: "b1",
  seq: 1,
  windowStart: 1,
  windowEnd: 2,
  recordedTotal: 0,
  droppedTotal: {},
  series: [],
} as const;
const gauge = {
  metricType: "custom",
  metricName: "queue",
  kind: "gauge",
  unit: "",
  source: "",
  tags: {},
  count: 1,
  sum: 3,
  min: 3,
  max: 3,
  last: 3,
  buckets: [],
} as const;
