/** Sparse buckets: sorted `[index, count]` pairs. */
export type SparseBuckets = readonly (readonly [index: number, count: number])[];
