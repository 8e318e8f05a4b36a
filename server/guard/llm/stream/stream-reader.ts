/** Reads a stream's items for what they mean to whoever waits: each API has a grammar, and a reader knows one. */

/** What came so far. */
export interface Received {
  /** Empty where the reader keeps none. */
  readonly text: string;
  /** A part of a tool call came: the caller may have acted on it. */
  readonly toolCalls: boolean;
}

/** For one stream. */
export interface StreamReader<T> {
  /**
   * Called for each item in its order. Says whether the item has content, as against a greeting, a ping or an end.
   *
   * @throws what the item says went wrong
   */
  read(item: T): boolean;
  /** The stream said itself that it is whole. */
  readonly finished: boolean;
  /** Nothing in its grammar says that it is whole: an orderly end of the connection has to do. @default false */
  readonly endsWithConnection?: boolean;
  readonly received: Received;
  /** The tokens that it said it used, as its API spells them. */
  readonly usage: unknown;
}
