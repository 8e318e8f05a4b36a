import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketsOfText, textOfBuckets } from "../../shared/buckets-text.js";
import { MAX_BUCKET_INDEX, MIN_BUCKET_INDEX } from "../../shared/histogram.js";

const count = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }));
const buckets = fc
  .uniqueArray(fc.tuple(fc.integer({ min: MIN_BUCKET_INDEX, max: MAX_BUCKET_INDEX }), count), {
    selector: ([index]) => index,
    maxLength: 300,
    size: "max",
  })
  .map((pairs) => pairs.sort(([a], [b]) => a - b).flat());

describe("buckets as text", () => {
  it("are the same buckets when they are read", () => {
    fc.assert(
      fc.property(buckets, (written) => {
        const text = textOfBuckets(written);
        expect(text).toMatch(/^[A-Za-z0-9_-]*$/);
        expect(bucketsOfText(text)).toEqual(written);
      }),
    );
  });

  it("have room for every bucket there is, each as full as can be", () => {
    const all = Array.from({ length: MAX_BUCKET_INDEX - MIN_BUCKET_INDEX + 1 }, (_, at) => [
      MIN_BUCKET_INDEX + at,
      Number.MAX_SAFE_INTEGER,
    ]).flat();
    expect(bucketsOfText(textOfBuckets(all))).toEqual(all);
  });

  it("take two characters each where they are neighbours with small counts", () => {
    expect(textOfBuckets([0, 1, 1, 31, 3, 2])).toBe("ABBfCC");
  });

  it.each([
    ["a character that is no digit", "A*"],
    ["one that no table has", "A\u2603"],
    ["a step without a count", "ABB"],
    ["a count that is cut off", "Ag"],
    ["an empty bucket", "AA"],
    ["a bucket twice", "ABAB"],
    ["a character that is no digit within a number", "Ag*B"],
    ["a bucket below the lowest", "j8DB"],
    ["a bucket above the highest", "ABgggB"],
    ["a count beyond 2^53", "Aggggggggggh"],
    ["digits without end", `A${"g".repeat(5_000)}B`],
  ])("refuse %s", (_, text) => {
    expect(bucketsOfText(text)).toBeUndefined();
  });

  it("are what they hold or nothing, whatever the text", () => {
    const digits = fc.string({ unit: fc.constantFrom(..."ABCDgh_-*"), maxLength: 12 });
    fc.assert(
      fc.property(fc.oneof(digits, fc.string({ unit: "binary" })), (text) => {
        const read = bucketsOfText(text);
        if (read === undefined) return;
        for (let at = 0; at < read.length; at += 2) {
          const index = read[at] ?? Number.NaN;
          expect(index).toBeGreaterThan(read[at - 2] ?? MIN_BUCKET_INDEX - 1);
          expect(index).toBeLessThanOrEqual(MAX_BUCKET_INDEX);
          expect(read[at + 1]).toSatisfy((points: number) => Number.isSafeInteger(points) && points >= 1);
        }
      }),
    );
  });
});
