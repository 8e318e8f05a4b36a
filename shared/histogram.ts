/**
 * Distributions that merge: base-2 exponential buckets at one fixed scale, so that any two windows add up exactly.
 *
 * Bucket `i` covers `(2^(i/32), 2^((i+1)/32)]`, which keeps a quantile within 1.1 % of the truth. The lowest bucket also
 * holds zero and everything below 2^-30, the highest everything above 2^50. Negative values have no bucket: whoever records
 * rejects them.
 */

/** OpenTelemetry's scale 5: 32 buckets for each doubling. */
export const HISTOGRAM_SCALE = 5;

/**
 * The buckets that hold anything, as index, count, index, count …, by rising index. One list of numbers, because a window of a
 * busy process has thousands of buckets: as pairs they would take eight times the memory.
 */
export type SparseBuckets = readonly number[];

const PER_DOUBLING = 2 ** HISTOGRAM_SCALE;
const LOWEST_EXPONENT = -30;
const HIGHEST_EXPONENT = 50;

/** Zero and everything up to 2^-30. */
export const MIN_BUCKET_INDEX = LOWEST_EXPONENT * PER_DOUBLING - 1;
/** Everything above 2^50. */
export const MAX_BUCKET_INDEX = HIGHEST_EXPONENT * PER_DOUBLING;

const LOWEST = 2 ** LOWEST_EXPONENT;
const HIGHEST = 2 ** HIGHEST_EXPONENT;

/** Where the buckets of one doubling begin: 2^(0/32), 2^(1/32), …, 2. */
const BOUNDS = Float64Array.from({ length: PER_DOUBLING + 1 }, (_, step) => 2 ** (step / PER_DOUBLING));

/**
 * The bucket, within its doubling, of the smallest mantissa with the given leading 8 bits. A slot is narrower than any
 * bucket, so it holds at most one bound and a single comparison settles the rest.
 */
const FIRST_IN_SLOT = Int8Array.from({ length: 256 }, (_, slot) => {
  const mantissa = 1 + slot / 256;
  return BOUNDS.findIndex((bound) => bound >= mantissa) - 1;
});

const asFloat = new Float64Array(1);
const asWords = new Uint32Array(asFloat.buffer);
asFloat[0] = 1;
/** The word with sign, exponent and the mantissa's leading 20 bits; 1.0 has all its set bits there. */
const HIGH_WORD = asWords[0] === 0 ? 1 : 0;
const LOW_WORD = 1 - HIGH_WORD;

/** The mantissas of the bounds as two whole numbers: comparing those is cheaper than putting a float together again. */
const BOUND_HIGH = new Int32Array(PER_DOUBLING + 1);
const BOUND_LOW = new Float64Array(PER_DOUBLING + 1);
for (const [step, bound] of BOUNDS.entries()) {
  asFloat[0] = bound;
  BOUND_HIGH[step] = bound === 2 ? 0x100000 : (asWords[HIGH_WORD] ?? 0) & 0xfffff;
  BOUND_LOW[step] = asWords[LOW_WORD] ?? 0;
}

/**
 * The bucket of a finite value >= 0, read from the bits of the float: no logarithm, no allocation.
 *
 * @example bucketIndex(1) // -1, because the upper bound belongs to the bucket
 */
export function bucketIndex(value: number): number {
  if (!(value > LOWEST)) return MIN_BUCKET_INDEX;
  if (value > HIGHEST) return MAX_BUCKET_INDEX;
  asFloat[0] = value;
  const high = asWords[HIGH_WORD] ?? 0;
  const mantissa = high & 0xfffff;
  const first = FIRST_IN_SLOT[mantissa >> 12] ?? 0;
  const bound = BOUND_HIGH[first + 1] ?? 0;
  const isAbove = mantissa > bound || (mantissa === bound && (asWords[LOW_WORD] ?? 0) > (BOUND_LOW[first + 1] ?? 0));
  return ((high >> 20) - 1023) * PER_DOUBLING + first + (isAbove ? 1 : 0);
}

/** The upper bound of a bucket, itself included; infinite for the highest. */
export function bucketUpperBound(index: number): number {
  return index >= MAX_BUCKET_INDEX ? Number.POSITIVE_INFINITY : 2 ** ((index + 1) / PER_DOUBLING);
}

/** From a lower bound to the value whose relative distance to both bounds is the same, hence the smallest possible error. */
const TO_MIDDLE = 2 / (1 + 2 ** (-1 / PER_DOUBLING));

function representative(index: number): number {
  if (index <= MIN_BUCKET_INDEX) return 0;
  if (index >= MAX_BUCKET_INDEX) return Number.POSITIVE_INFINITY;
  return 2 ** (index / PER_DOUBLING) * TO_MIDDLE;
}

/** Adds two distributions. Commutative and associative. */
export function mergeBuckets(a: SparseBuckets, b: SparseBuckets): SparseBuckets {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  // Of the length that it has at most: growing item by item takes three times as long.
  const merged = new Array<number>(a.length + b.length);
  let i = 0;
  let j = 0;
  let at = 0;
  while (i < a.length && j < b.length) {
    const left = a[i] ?? 0;
    const right = b[j] ?? 0;
    let count = 0;
    if (left <= right) {
      count = a[i + 1] ?? 0;
      i += 2;
    }
    if (right <= left) {
      count += b[j + 1] ?? 0;
      j += 2;
    }
    merged[at] = left <= right ? left : right;
    merged[at + 1] = count;
    at += 2;
  }
  for (; i < a.length; i += 1, at += 1) merged[at] = a[i] ?? 0;
  for (; j < b.length; j += 1, at += 1) merged[at] = b[j] ?? 0;
  merged.length = at;
  return merged;
}

/** The buckets one by one. */
export function forEachBucket(buckets: SparseBuckets, visit: (index: number, count: number) => void): void {
  for (let at = 0; at + 1 < buckets.length; at += 2) visit(buckets[at] ?? 0, buckets[at + 1] ?? 0);
}

/** Points in all buckets. */
export function countOf(buckets: SparseBuckets): number {
  let sum = 0;
  for (let at = 1; at < buckets.length; at += 2) sum += buckets[at] ?? 0;
  return sum;
}

/**
 * The value below or at which a share `q` of the points lies (nearest rank), never outside the range that was seen.
 *
 * @param q share of the points, 0 to 1; 0 is the minimum, 1 the maximum
 * @returns undefined for an empty distribution
 * @throws RangeError when `q` is not in [0, 1]
 * @example quantile(buckets, 0.95, { min: 3, max: 812 })
 */
export function quantile(
  buckets: SparseBuckets,
  q: number,
  seen: { readonly min: number; readonly max: number },
): number | undefined {
  return quantiles(buckets, [q], seen)[0];
}

/**
 * Several at once, which costs hardly more than one.
 *
 * @param shares rising
 * @throws RangeError when a share is not in [0, 1]
 */
export function quantiles(
  buckets: SparseBuckets,
  shares: readonly number[],
  seen: { readonly min: number; readonly max: number },
): readonly (number | undefined)[] {
  const total = countOf(buckets);
  let below = 0;
  let next = 0;
  return shares.map((q) => {
    if (!(q >= 0 && q <= 1)) throw new RangeError(`a quantile is asked for as a share in [0, 1], got ${q}`);
    if (total === 0) return undefined;
    const rank = Math.ceil(q * total);
    if (rank <= 1) return seen.min;
    if (rank >= total) return seen.max;
    while (below < rank && next < buckets.length) {
      below += buckets[next + 1] ?? 0;
      next += 2;
    }
    return Math.min(Math.max(representative(buckets[next - 2] ?? MAX_BUCKET_INDEX), seen.min), seen.max);
  });
}

/** Counts of one window, dense around what was seen, so that counting is one addition and allocates nothing. */
export class HistogramRecorder {
  /** Of the buckets from `first` on: never of one that is none. Whoever has many to add may count here. */
  counts = new Float64Array(0);
  first = 0;

  /** Counts a finite value >= 0. */
  record(value: number): void {
    const index = bucketIndex(value);
    let at = index - this.first;
    if (at < 0 || at >= this.counts.length) {
      this.coverAlso(index);
      at = index - this.first;
    }
    this.counts[at] = (this.counts[at] ?? 0) + 1;
  }

  /** Counts points whose bucket is known; one beyond the outermost bucket counts there. */
  add(index: number, times: number): void {
    const at = index - this.first;
    const counts = this.counts;
    if (at < 0 || at >= counts.length) {
      this.addAnywhere(index, times);
    } else {
      counts[at] = (counts[at] ?? 0) + times;
    }
  }

  /** Gives what was counted and begins again at nothing. */
  take(): SparseBuckets {
    const { counts, first } = this;
    // No float where an int will do: whoever reads such a list takes less time.
    const taken: number[] = [];
    for (let at = 0; at < counts.length; at += 1) {
      const count = counts[at] ?? 0;
      if (count === 0) continue;
      const int = count | 0;
      taken.push(first + at, int === count ? int : count);
    }
    counts.fill(0);
    return taken;
  }

  private addAnywhere(index: number, times: number): void {
    const within = Math.min(Math.max(index, MIN_BUCKET_INDEX), MAX_BUCKET_INDEX);
    this.coverAlso(within);
    const at = within - this.first;
    this.counts[at] = (this.counts[at] ?? 0) + times;
  }

  /** Grows by whole doublings: a series that moves a little does not grow again. */
  private coverAlso(index: number): void {
    const doubling = Math.floor(index / PER_DOUBLING) * PER_DOUBLING;
    const empty = this.counts.length === 0;
    const first = Math.max(empty ? doubling : Math.min(this.first, doubling), MIN_BUCKET_INDEX);
    const end = empty ? doubling : this.first + this.counts.length;
    const grown = new Float64Array(Math.min(Math.max(end, doubling + PER_DOUBLING), MAX_BUCKET_INDEX + 1) - first);
    grown.set(this.counts, empty ? 0 : this.first - first);
    this.counts = grown;
    this.first = first;
  }
}
