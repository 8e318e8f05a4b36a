/**
 * A distribution as a short text for JSON: of each bucket its step from the one before (of the first one its index, zigzag) and
 * its count, in digits of base 32 as source maps have them, the lowest first. Most buckets take two characters, and no parser
 * looks at them: as a list of numbers they would take six, and most of what it takes to write and to read a batch.
 */
import { unzigzag, zigzag } from "./buckets-codec.js";
import { MAX_BUCKET_INDEX, MIN_BUCKET_INDEX, type SparseBuckets } from "./histogram.js";

/** The first half are the last digits of a number, the second half are followed by more. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE = 32;
const CODES = Uint8Array.from(ALPHABET, (digit) => digit.charCodeAt(0));
const DIGITS = new Int8Array(256).fill(-1);
for (const [digit, code] of CODES.entries()) DIGITS[code] = digit;
/**
 * Where a text is put together and taken apart: room for every bucket there is, with three digits for a step and eleven for
 * 2^53, and for an end.
 */
const codes = new Uint8Array((MAX_BUCKET_INDEX - MIN_BUCKET_INDEX + 1) * 14 + 1);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * @param buckets sorted by index, no index twice; counts are whole and at least 1, up to 2^53 - 1
 * @example bucketsOfText(textOfBuckets([-3, 1, 40, 7])) // [-3, 1, 40, 7]
 */
export function textOfBuckets(buckets: SparseBuckets): string {
  let end = 0;
  let previous = 0;
  for (let at = 0; at + 1 < buckets.length; at += 2) {
    const index = buckets[at] ?? 0;
    end = writeNumber(end, at === 0 ? zigzag(index) : index - previous);
    end = writeNumber(end, buckets[at + 1] ?? 0);
    previous = index;
  }
  return decoder.decode(codes.subarray(0, end));
}

/** Reads what a stranger may have written: `undefined` unless it is a text of buckets that exist, by rising index, none empty. */
export function bucketsOfText(text: string): SparseBuckets | undefined {
  const { read, written: end } = encoder.encodeInto(text, codes);
  if (read < text.length || end === codes.length) return undefined;
  // No digit: a number that is cut off ends here.
  codes[end] = 0;
  const buckets = new Array<number>(end);
  let length = 0;
  let index = MIN_BUCKET_INDEX - 1;
  let at = 0;
  while (at < end) {
    let step = digitAt(at);
    if (step < BASE) at += 1;
    else {
      const from = at;
      at = endOfNumber(from);
      step = numberIn(from, at);
    }
    let count = digitAt(at);
    if (count < BASE) at += 1;
    else {
      const from = at;
      at = endOfNumber(from);
      count = numberIn(from, at);
    }
    const next = length === 0 ? unzigzag(step) : index + step;
    if (step < 0 || next <= index || next > MAX_BUCKET_INDEX || count < 1) return undefined;
    index = next;
    buckets[length] = index;
    buckets[length + 1] = count;
    length += 2;
  }
  buckets.length = length;
  return buckets;
}

/** Arithmetic instead of bit operations: those would cut a count to 32 bits. */
function writeNumber(from: number, value: number): number {
  // Nearly every one is this small.
  if (value < BASE) {
    codes[from] = CODES[value] ?? 0;
    return from + 1;
  }
  let rest = value;
  let at = from;
  for (; rest >= BASE; at += 1) {
    codes[at] = CODES[BASE + (rest % BASE)] ?? 0;
    rest = Math.floor(rest / BASE);
  }
  codes[at] = CODES[rest] ?? 0;
  return at + 1;
}

/** -1 for a character that is none, and at the end. */
function digitAt(at: number): number {
  return DIGITS[codes[at] ?? 0] ?? -1;
}

/** Past the first digit that is the last of its number. */
function endOfNumber(from: number): number {
  let at = from;
  while (digitAt(at) >= BASE) at += 1;
  return at + 1;
}

/** A number of several digits; -1 where one of them is none, or they are more than a number holds. */
function numberIn(from: number, end: number): number {
  let value = 0;
  for (let at = end - 1; at >= from; at -= 1) {
    const digit = digitAt(at);
    if (digit < 0) return -1;
    value = value * BASE + (digit % BASE);
  }
  return Number.isSafeInteger(value) ? value : -1;
}
