/**
 * Packs a distribution for a row: varints of the first index (zigzag), of the step from each index to the next, and of each
 * count. Neighbouring buckets with small counts take two bytes each. No step is zero, so lists that a database joined with a
 * zero byte between them (`JOINT`) are told apart, and a thousand rows can be read as one.
 */
import type { SparseBuckets } from "./histogram.js";

/**
 * @param buckets sorted by index, no index twice; counts are whole and not negative, up to 2^53 - 1
 * @example decodeBuckets(encodeBuckets([[-3, 1], [40, 7]])) // [[-3, 1], [40, 7]]
 */
export function encodeBuckets(buckets: SparseBuckets): Uint8Array {
  const bytes: number[] = [];
  let previous: number | undefined;
  for (const [index, count] of buckets) {
    writeVarint(bytes, previous === undefined ? zigzag(index) : index - previous);
    writeVarint(bytes, count);
    previous = index;
  }
  return Uint8Array.from(bytes);
}

/** @throws RangeError when the bytes end inside a number. */
export function decodeBuckets(bytes: Uint8Array): SparseBuckets {
  const buckets: [number, number][] = [];
  addBuckets(bytes, { add: (index, count) => buckets.push([index, count]) });
  return buckets;
}

/** What stands between two lists that were joined. Neither of them is empty. */
export const JOINT = 0;

/** What buckets are added to. An object and not a function, which the compiler could not take in: half of the time. */
export interface BucketSink {
  add(index: number, count: number): void;
}

/**
 * The buckets one by one, without a list of them; of joined lists, those of one after those of another.
 *
 * @throws RangeError when the bytes end inside a number
 */
export function addBuckets(bytes: Uint8Array, sink: BucketSink): void {
  const reader = { bytes, at: 0 };
  let index: number | undefined;
  while (reader.at < bytes.length) {
    const step = readVarint(reader);
    if (index !== undefined && step === JOINT) {
      index = undefined;
      continue;
    }
    index = index === undefined ? unzigzag(step) : index + step;
    sink.add(index, readVarint(reader));
  }
}

/** Arithmetic instead of bit operations: those would cut a count to 32 bits. */
function writeVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
}

function readVarint(reader: { readonly bytes: Uint8Array; at: number }): number {
  const first = reader.bytes[reader.at];
  if (first !== undefined && first < 0x80) {
    reader.at += 1;
    return first;
  }
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = reader.bytes[reader.at];
    if (byte === undefined) throw new RangeError("the buckets end inside a number");
    reader.at += 1;
    value += (byte % 0x80) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
