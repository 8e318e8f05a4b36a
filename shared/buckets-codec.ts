/**
 * Packs a distribution for a row: varints of the first index (zigzag), of the step from each index to the next, and of each
 * count. Neighbouring buckets with small counts take two bytes each. No step is zero, so lists that a database joined with a
 * zero byte between them (`JOINT`) are told apart, and a thousand rows can be read as one.
 */
import { forEachBucket, type SparseBuckets } from "./histogram.js";

/**
 * @param buckets sorted by index, no index twice; counts are whole and not negative, up to 2^53 - 1
 * @example decodeBuckets(encodeBuckets([-3, 1, 40, 7])) // [-3, 1, 40, 7]
 */
export function encodeBuckets(buckets: SparseBuckets): Uint8Array {
  const bytes: number[] = [];
  let previous: number | undefined;
  forEachBucket(buckets, (index, count) => {
    writeVarint(bytes, previous === undefined ? zigzag(index) : index - previous);
    writeVarint(bytes, count);
    previous = index;
  });
  return Uint8Array.from(bytes);
}

/** @throws RangeError when the bytes end inside a number. */
export function decodeBuckets(bytes: Uint8Array): SparseBuckets {
  const buckets: number[] = [];
  addBuckets(bytes, { counts: NO_COUNTS, first: 0, add: (index, count) => void buckets.push(index, count) });
  return buckets;
}

/** What stands between two lists that were joined. Neither of them is empty. */
export const JOINT = 0;

/** A byte from here on is not the last of its number. */
const CONTINUED = 0x80;

const NO_COUNTS = new Float64Array(0);

/** What buckets are added to. Its counts lie open, because a call for each bucket would take half of the time. */
export interface BucketSink {
  /** Of the buckets from `first` on. */
  readonly counts: Float64Array;
  readonly first: number;
  /** Takes a bucket that `counts` does not reach; they may be others afterwards. */
  add(index: number, count: number): void;
}

/**
 * The buckets one by one, without a list of them; of joined lists, those of one after those of another.
 *
 * @throws RangeError when the bytes end inside a number
 */
export function addBuckets(bytes: Uint8Array, sink: BucketSink): void {
  const end = bytes.length;
  let { counts, first } = sink;
  let index = 0;
  let isFirst = true;
  let at = 0;
  while (at < end) {
    let step = bytes[at] ?? 0;
    if (step < CONTINUED) at += 1;
    else {
      step = longVarint(bytes, at);
      at = endOfVarint(bytes, at);
    }
    if (isFirst) index = unzigzag(step);
    else if (step === JOINT) {
      isFirst = true;
      continue;
    } else index += step;
    isFirst = false;
    let count = bytes[at] ?? CONTINUED;
    if (count < CONTINUED) at += 1;
    else {
      count = longVarint(bytes, at);
      at = endOfVarint(bytes, at);
    }
    const place = index - first;
    if (place >= 0 && place < counts.length) counts[place] = (counts[place] ?? 0) + count;
    else {
      sink.add(index, count);
      ({ counts, first } = sink);
    }
  }
}

/** Arithmetic instead of bit operations: those would cut a count to 32 bits. */
function writeVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= CONTINUED) {
    bytes.push((rest % CONTINUED) + CONTINUED);
    rest = Math.floor(rest / CONTINUED);
  }
  bytes.push(rest);
}

/** A number of more than one byte, or one that is cut off. Most are not: those are read where they stand. */
function longVarint(bytes: Uint8Array, from: number): number {
  let value = 0;
  let scale = 1;
  for (let at = from; ; at += 1) {
    const byte = bytes[at];
    if (byte === undefined) throw new RangeError("the buckets end inside a number");
    value += (byte % CONTINUED) * scale;
    if (byte < CONTINUED) return value;
    scale *= CONTINUED;
  }
}

function endOfVarint(bytes: Uint8Array, from: number): number {
  let at = from;
  while ((bytes[at] ?? 0) >= CONTINUED) at += 1;
  return at + 1;
}

/** Whole numbers of either sign as whole numbers from zero on: 0, -1, 1, -2, 2 … */
export function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value;
}

export function unzigzag(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
