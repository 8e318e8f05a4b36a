import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bucketIndex,
  bucketUpperBound,
  countOf,
  HistogramRecorder,
  MAX_BUCKET_INDEX,
  MIN_BUCKET_INDEX,
  mergeBuckets,
  quantile,
  type SparseBuckets,
} from "../../shared/histogram.js";
import { runs } from "../support/property-runs.js";

const inRange = fc.double({ min: 2 ** -30, max: 2 ** 50, noNaN: true });
const anyValue = fc.double({ min: 0, noNaN: true, noDefaultInfinity: true });
const buckets: fc.Arbitrary<SparseBuckets> = fc
  .dictionary(
    fc.integer({ min: MIN_BUCKET_INDEX, max: MAX_BUCKET_INDEX }).map(String),
    fc.integer({ min: 1, max: 1e6 }),
  )
  .map((counts) =>
    Object.entries(counts)
      .map(([index, count]) => [Number(index), count] as const)
      .sort((a, b) => a[0] - b[0])
      .flat(),
  );

function recorded(values: readonly number[]): SparseBuckets {
  const recorder = new HistogramRecorder();
  for (const value of values) recorder.record(value);
  return recorder.take();
}

describe("bucketIndex", () => {
  it("finds the bucket whose bounds hold the value, the upper one included", () => {
    fc.assert(
      fc.property(inRange, (value) => {
        const index = bucketIndex(value);
        expect(value).toBeLessThanOrEqual(bucketUpperBound(index) * (1 + 1e-12));
        if (index > MIN_BUCKET_INDEX) expect(value).toBeGreaterThan(bucketUpperBound(index - 1) * (1 - 1e-12));
      }),
      { numRuns: runs(5_000) },
    );
  });

  it("puts each power of two at the top of its bucket", () => {
    for (let exponent = -29; exponent <= 50; exponent += 1) {
      expect(bucketIndex(2 ** exponent)).toBe(exponent * 32 - 1);
      expect(bucketIndex(2 ** exponent * (1 + Number.EPSILON))).toBe(exponent < 50 ? exponent * 32 : MAX_BUCKET_INDEX);
    }
  });

  it("never falls when the value rises", () => {
    fc.assert(
      fc.property(anyValue, anyValue, (a, b) => {
        expect(bucketIndex(Math.min(a, b))).toBeLessThanOrEqual(bucketIndex(Math.max(a, b)));
      }),
      { numRuns: runs(2_000) },
    );
  });

  it("keeps zero, the tiny and the huge in the outermost buckets", () => {
    expect([0, -0, 5e-324, 2 ** -30].map(bucketIndex)).toEqual(Array(4).fill(MIN_BUCKET_INDEX));
    expect([2 ** 50 + 1, 1e300, Number.MAX_VALUE].map(bucketIndex)).toEqual(Array(3).fill(MAX_BUCKET_INDEX));
  });
});

describe("quantile", () => {
  it("is within 1.2 % of the exact nearest rank", () => {
    fc.assert(
      fc.property(
        fc.array(inRange, { minLength: 1, maxLength: 300, size: "max" }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, q) => {
          const sorted = [...values].sort((a, b) => a - b);
          const exact = sorted[Math.max(Math.ceil(q * sorted.length), 1) - 1] ?? Number.NaN;
          const seen = { min: sorted[0] ?? 0, max: sorted.at(-1) ?? 0 };
          const answer = quantile(recorded(values), q, seen) ?? Number.NaN;
          expect(Math.abs(answer - exact) / exact).toBeLessThanOrEqual(0.012);
        },
      ),
    );
  });

  it("I4: rises with the share and stays within what was seen", () => {
    fc.assert(
      fc.property(fc.array(anyValue, { minLength: 1, maxLength: 300, size: "max" }), (values) => {
        const seen = { min: Math.min(...values), max: Math.max(...values) };
        const asked = [0, 0.5, 0.95, 0.99, 1].map((q) => quantile(recorded(values), q, seen) ?? Number.NaN);
        expect(asked).toEqual([...asked].sort((a, b) => a - b));
        expect(asked[0]).toBe(seen.min);
        expect(asked.at(-1)).toBe(seen.max);
      }),
    );
  });

  it("is undefined for no points and refuses a share outside [0, 1]", () => {
    expect(quantile([], 0.5, { min: 0, max: 0 })).toBeUndefined();
    expect(() => quantile([], 95, { min: 0, max: 0 })).toThrow(RangeError);
    expect(() => quantile([], Number.NaN, { min: 0, max: 0 })).toThrow("[0, 1]");
  });
});

describe("mergeBuckets", () => {
  it("I4 I6: does not depend on order or grouping, and loses no point", () => {
    fc.assert(
      fc.property(buckets, buckets, buckets, (a, b, c) => {
        expect(mergeBuckets(a, b)).toEqual(mergeBuckets(b, a));
        expect(mergeBuckets(mergeBuckets(a, b), c)).toEqual(mergeBuckets(a, mergeBuckets(b, c)));
        expect(countOf(mergeBuckets(a, b))).toBe(countOf(a) + countOf(b));
      }),
    );
  });

  it("gives what recording everything in one place gives", () => {
    fc.assert(
      fc.property(
        fc.array(anyValue, { maxLength: 300, size: "max" }),
        fc.array(anyValue, { maxLength: 300, size: "max" }),
        (a, b) => {
          expect(mergeBuckets(recorded(a), recorded(b))).toEqual(recorded([...a, ...b]));
        },
      ),
    );
  });
});

describe("HistogramRecorder", () => {
  it("counts every value in its bucket, in rising order", () => {
    fc.assert(
      fc.property(fc.array(anyValue, { maxLength: 300, size: "max" }), (values) => {
        const expected = new Map<number, number>();
        for (const value of values) expected.set(bucketIndex(value), (expected.get(bucketIndex(value)) ?? 0) + 1);
        expect(recorded(values)).toEqual([...expected].sort((a, b) => a[0] - b[0]).flat());
      }),
    );
  });

  it("begins again at nothing after it was taken from", () => {
    const recorder = new HistogramRecorder();
    recorder.record(3);
    recorder.take();
    expect(recorder.take()).toEqual([]);
    recorder.record(500);
    expect(recorder.take()).toEqual([bucketIndex(500), 1]);
  });

  it("counts beyond what an int holds", () => {
    const recorder = new HistogramRecorder();
    for (const [index, times] of [2 ** 31 - 1, 2 ** 31, 2 ** 40 + 1].entries()) recorder.add(index, times);
    expect(recorder.take()).toEqual([0, 2 ** 31 - 1, 1, 2 ** 31, 2, 2 ** 40 + 1]);
  });
});
