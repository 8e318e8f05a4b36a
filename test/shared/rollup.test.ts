import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countOf, HistogramRecorder } from "../../shared/histogram.js";
import { EMPTY_SUMMARY, finite, mergeSummaries, seriesPoint, summaryValue } from "../../shared/rollup.js";
import { type SeriesSummary, seriesKey } from "../../shared/series.js";

function summaryOf(values: readonly number[]): SeriesSummary {
  if (values.length === 0) return EMPTY_SUMMARY;
  const recorder = new HistogramRecorder();
  for (const value of values) recorder.record(value);
  return {
    count: values.length,
    sum: finite(values.reduce((sum, value) => sum + value, 0)),
    min: Math.min(...values),
    max: Math.max(...values),
    last: values.at(-1) ?? 0,
    buckets: recorder.take(),
  };
}

/** Whole numbers add up exactly, so that order shows no float noise. */
const summaries = fc.array(fc.integer({ min: 0, max: 1e6 }), { maxLength: 300, size: "max" }).map(summaryOf);
const orderless = ({ last: _, ...rest }: SeriesSummary) => rest;

describe("mergeSummaries", () => {
  it("I6: does not depend on order or grouping, but for last", () => {
    fc.assert(
      fc.property(summaries, summaries, summaries, (a, b, c) => {
        expect(orderless(mergeSummaries(a, b))).toEqual(orderless(mergeSummaries(b, a)));
        expect(mergeSummaries(mergeSummaries(a, b), c)).toEqual(mergeSummaries(a, mergeSummaries(b, c)));
      }),
    );
  });

  it("gives what one window over both gives", () => {
    const values = fc.array(fc.integer({ min: 0, max: 1e6 }), { maxLength: 300, size: "max" });
    fc.assert(
      fc.property(values, values, (a, b) => {
        expect(mergeSummaries(summaryOf(a), summaryOf(b))).toEqual(summaryOf([...a, ...b]));
      }),
    );
  });

  it("I4: holds every point in one bucket, between min and max, whatever was merged", () => {
    const anyValues = fc.array(fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }), {
      maxLength: 100,
      size: "max",
    });
    fc.assert(
      fc.property(fc.array(anyValues, { minLength: 1, maxLength: 5 }), (windows) => {
        const { count, sum, min, max, buckets } = windows.map(summaryOf).reduce(mergeSummaries);
        expect(countOf(buckets)).toBe(count);
        expect(count).toBe(windows.flat().length);
        if (count === 0) return;
        const slack = 1e-9 * count * max;
        expect(sum).toBeGreaterThanOrEqual(Math.min(count * min, Number.MAX_VALUE) - slack);
        expect(sum).toBeLessThanOrEqual(count * max + slack);
        const { p50, p95, p99 } = seriesPoint(0, { count, sum, min, max, buckets });
        const rising = [min, p50 ?? Number.NaN, p95 ?? Number.NaN, p99 ?? Number.NaN, max];
        expect(rising).toEqual([...rising].sort((a, b) => a - b));
      }),
    );
  });

  it("keeps a sum finite", () => {
    const huge = { ...summaryOf([1]), sum: Number.MAX_VALUE };
    expect(mergeSummaries(huge, huge).sum).toBe(Number.MAX_VALUE);
    const low = { ...huge, sum: -Number.MAX_VALUE };
    expect(mergeSummaries(low, low).sum).toBe(-Number.MAX_VALUE);
  });
});

describe("what a reader gets", () => {
  it("is the mean of a histogram, the sum of a counter, the last of a gauge", () => {
    const summary = summaryOf([1, 2, 6]);
    expect(summaryValue("histogram", summary)).toBe(3);
    expect(summaryValue("counter", summary)).toBe(9);
    expect(summaryValue("gauge", summary)).toBe(6);
    expect(summaryValue("histogram", EMPTY_SUMMARY)).toBe(0);
  });

  it("has percentiles where there is a distribution", () => {
    const point = seriesPoint(1_000, summaryOf(Array.from({ length: 100 }, (_, i) => i + 1)));
    expect(point).toMatchObject({ timestamp: 1_000, count: 100, sum: 5_050, min: 1, max: 100 });
    expect((point.p50 ?? 0) / 50).toBeCloseTo(1, 1);
    expect((point.p95 ?? 0) / 95).toBeCloseTo(1, 1);
    expect((point.p99 ?? 0) / 99).toBeCloseTo(1, 1);
    expect(seriesPoint(1_000, { ...EMPTY_SUMMARY, count: 3 }).p95).toBeUndefined();
  });
});

describe("seriesKey", () => {
  const series = { metricType: "custom", metricName: "m", source: "s", tags: { a: "1", b: "2" } } as const;

  it("is the same whatever the order of the tags", () => {
    expect(seriesKey(series)).toBe(seriesKey({ ...series, tags: { b: "2", a: "1" } }));
  });

  it("differs when type, name, source or a tag differs, and cannot be forged by joining", () => {
    const others = [
      { ...series, metricType: "system" as const },
      { ...series, metricName: "n" },
      { ...series, source: "t" },
      { ...series, tags: { a: "1" } },
      { ...series, tags: { a: "1", b: "3" } },
      { ...series, tags: { 'a","1': "b" } },
    ];
    expect(new Set([series, ...others].map(seriesKey)).size).toBe(others.length + 1);
  });
});
