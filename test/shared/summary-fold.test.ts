import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeBuckets, JOINT } from "../../shared/buckets-codec.js";
import { countOf, MAX_BUCKET_INDEX, MIN_BUCKET_INDEX } from "../../shared/histogram.js";
import { EMPTY_SUMMARY, mergeSummaries } from "../../shared/rollup.js";
import type { SeriesSummary } from "../../shared/series.js";
import { SummaryFold } from "../../shared/summary-fold.js";
import { summaryOf } from "../conformance/store-fixtures.js";

const summaries = fc.array(
  fc.array(fc.integer({ min: 0, max: 1_000_000 }), { minLength: 1, maxLength: 20 }).map(summaryOf),
  { maxLength: 30, size: "max" },
);

const withoutLast = ({ last: _, ...rest }: SeriesSummary) => rest;
const merged = (parts: readonly SeriesSummary[]) => withoutLast(parts.reduce(mergeSummaries, EMPTY_SUMMARY));

function folded(parts: Iterable<Parameters<SummaryFold["add"]>[0]>) {
  const fold = new SummaryFold();
  for (const part of parts) fold.add(part);
  return fold.take();
}

describe("a summary fold", () => {
  it("holds what merging the summaries one by one gives, in any order, packed or not", () => {
    fc.assert(
      fc.property(summaries, (parts) => {
        const packed = parts.map((part) => ({ ...part, buckets: encodeBuckets(part.buckets) }));
        expect(folded(parts)).toEqual(merged(parts));
        expect(folded(packed.toReversed())).toEqual(merged(parts));
      }),
    );
  });

  it("I4: holds as many points in its buckets as it counts, and a sum and a range that fit them", () => {
    fc.assert(
      fc.property(summaries, (parts) => {
        const { count, sum, min, max, buckets } = folded(parts);
        expect(countOf(buckets)).toBe(count);
        expect(sum).toBeGreaterThanOrEqual(count * min);
        expect(sum).toBeLessThanOrEqual(count * max);
      }),
    );
  });

  it("takes what a database has joined as the sum of its parts, whatever their first bucket", () => {
    const lists = fc.array(
      fc.uniqueArray(fc.tuple(fc.integer({ min: -40, max: 40 }), fc.integer({ min: 0, max: 300 })), {
        selector: ([index]) => index,
        minLength: 1,
        maxLength: 10,
      }),
      { maxLength: 10 },
    );
    fc.assert(
      fc.property(lists, (parts) => {
        const sorted = parts.map((pairs) => pairs.toSorted(([a], [b]) => a - b).flat());
        const packed = sorted.map((buckets) => encodeBuckets(buckets));
        const joined = Buffer.concat(packed.flatMap((bytes, at) => (at === 0 ? [bytes] : [Buffer.of(JOINT), bytes])));
        const part = { count: 1, sum: 1, min: 1, max: 1 };
        expect(folded([{ ...part, buckets: joined }]).buckets).toEqual(
          folded(sorted.map((buckets) => ({ ...part, buckets }))).buckets,
        );
      }),
    );
  });

  it("keeps what lies beyond the outermost bucket in it, and a sum finite", () => {
    const part = { count: 2, sum: Number.MAX_VALUE, min: 0, max: 1e300 };
    const beyond = { ...part, buckets: [MIN_BUCKET_INDEX - 9, 1, MAX_BUCKET_INDEX + 9, 1] };
    const { sum, buckets } = folded([beyond, beyond]);
    expect(sum).toBe(Number.MAX_VALUE);
    expect(buckets).toEqual([MIN_BUCKET_INDEX, 2, MAX_BUCKET_INDEX, 2]);
  });

  it("begins again at nothing once it was taken from", () => {
    const fold = new SummaryFold();
    fold.add(summaryOf([1, 2]));
    fold.take();
    expect(fold.take()).toEqual(withoutLast(EMPTY_SUMMARY));
    fold.add(EMPTY_SUMMARY);
    fold.add(summaryOf([7]));
    expect(fold.take()).toMatchObject({ count: 1, min: 7, max: 7 });
  });
});
