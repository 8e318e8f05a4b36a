/** Any batch that a collector, or a stranger who knows the format, can write. */
import fc from "fast-check";
import { HistogramRecorder } from "../../shared/histogram.js";
import { type Batch, METRIC_TYPES, SERIES_KINDS } from "../../shared/series.js";

/** Every character but those that no database keeps, and what has hurt parsers before. */
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 50 }).map((any) => any.replaceAll("\0", "")),
  fc.constantFrom("__proto__", "constructor", "", '"\\\n', "\u0001", "\uffff", "\u{10ffff}", "x".repeat(1_024)),
);

/** JSON has no -0. */
const number = fc
  .oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(0, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, Number.MAX_SAFE_INTEGER, Number.EPSILON),
  )
  .map((value) => value + 0);

const tags = fc.array(fc.tuple(text, text), { maxLength: 20 }).map((pairs) => Object.fromEntries(pairs));

const series = fc
  .record({
    metricType: fc.constantFrom(...METRIC_TYPES),
    metricName: text.filter((name) => name !== ""),
    kind: fc.constantFrom(...SERIES_KINDS),
    unit: text,
    source: text,
    tags,
    values: fc.array(number, { minLength: 1, maxLength: 50 }),
    sum: number,
  })
  .map(({ values, ...rest }) => {
    const recorder = new HistogramRecorder();
    if (rest.kind === "histogram") for (const value of values) recorder.record(Math.abs(value));
    return {
      ...rest,
      count: values.length,
      min: Math.min(...values),
      max: Math.max(...values),
      last: values.at(-1) ?? 0,
      buckets: recorder.take(),
    };
  });

/** @param parts replaces the named ones, so that batches can be told apart */
export function anyBatch(parts: Partial<Batch> = {}): fc.Arbitrary<Batch> {
  return fc
    .record({
      instance: text.filter((instance) => instance !== "" && instance.length <= 200),
      boot: text.map((boot) => boot.replaceAll(":", "_").slice(0, 200)).filter((boot) => boot !== ""),
      seq: fc.integer({ min: 1, max: 2 ** 40 }),
      from: fc.integer({ min: 0, max: 4e12 }),
      length: fc.integer({ min: 0, max: 1e9 }),
      recordedTotal: fc.maxSafeNat(),
      dropped: fc.array(fc.tuple(text, fc.maxSafeNat()), { maxLength: 5 }),
      series: fc.array(series, { maxLength: 5 }),
    })
    .map(({ from, length, dropped, ...rest }) => ({
      version: 1,
      windowStart: from,
      windowEnd: from + length,
      droppedTotal: Object.fromEntries(dropped),
      ...rest,
      ...parts,
    }));
}
