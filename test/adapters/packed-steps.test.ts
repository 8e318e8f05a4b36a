import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { foldSteps } from "../../server/adapters/packed-steps.js";
import { encodeBuckets } from "../../shared/buckets-codec.js";
import { mergeSummaries } from "../../shared/rollup.js";
import type { SeriesSummary } from "../../shared/series.js";
import { summaryOf } from "../conformance/store-fixtures.js";

const rollups = fc
  .uniqueArray(
    fc.record({
      place: fc.nat({ max: 200 }),
      values: fc.array(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 1, maxLength: 20 }),
    }),
    { selector: ({ place }) => place, maxLength: 60, size: "max" },
  )
  .map((parts) =>
    parts
      .sort((a, b) => a.place - b.place)
      .map(({ place, values }) => ({ bucket: place * 10_000, ...summaryOf(values) })),
  );

describe("packed steps", () => {
  it("hold what merging the rollups one by one gives", () => {
    fc.assert(
      fc.property(rollups, fc.integer({ min: 1, max: 30 }), (parts, ratio) => {
        const stepMs = ratio * 10_000;
        const expected = new Map<number, SeriesSummary>();
        for (const { bucket, ...summary } of parts) {
          const start = Math.floor(bucket / stepMs) * stepMs;
          const before = expected.get(start);
          expected.set(start, before ? mergeSummaries(before, summary) : summary);
        }
        const packed = parts.map((part) => ({ ...part, buckets: encodeBuckets(part.buckets) }));
        expect(foldSteps(packed, stepMs)).toEqual([...expected].map(([bucket, summary]) => ({ bucket, ...summary })));
      }),
    );
  });

  it("hold nothing of nothing", () => {
    expect(foldSteps([], 10_000)).toEqual([]);
  });
});
