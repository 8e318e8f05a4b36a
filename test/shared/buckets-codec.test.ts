import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBuckets, encodeBuckets } from "../../shared/buckets-codec.js";

const buckets = fc
  .uniqueArray(fc.tuple(fc.integer({ min: -100_000, max: 100_000 }), fc.nat({ max: Number.MAX_SAFE_INTEGER })), {
    selector: ([index]) => index,
    maxLength: 300,
    size: "max",
  })
  .map((pairs) => pairs.sort(([a], [b]) => a - b).flat());

describe("buckets codec", () => {
  it("gives back what it packed", () => {
    fc.assert(
      fc.property(buckets, (packed) => {
        expect(decodeBuckets(encodeBuckets(packed))).toEqual(packed);
      }),
    );
  });

  it("packs neighbouring buckets with small counts into two bytes each", () => {
    const neighbours = Array.from({ length: 40 }, (_, step) => [-20 + step, 3]).flat();
    expect(encodeBuckets(neighbours)).toHaveLength(80);
  });

  it("refuses bytes that end inside a number", () => {
    const packed = encodeBuckets([5, 300]);
    expect(() => decodeBuckets(packed.subarray(0, packed.length - 1))).toThrow(RangeError);
    expect(() => decodeBuckets(packed.subarray(0, 1))).toThrow(RangeError);
  });
});
