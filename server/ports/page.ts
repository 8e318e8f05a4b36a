/** One page of a list that is sorted newest first. */

export interface Page<T> {
  readonly items: readonly T[];
  /** Pass it back to get the next page; undefined on the last one. */
  readonly nextCursor: string | undefined;
}
