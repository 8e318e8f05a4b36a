/** What guards cover and what goes past them, as one instance has seen it since it started. */

export interface Coverage {
  /** Outgoing calls are watched: instrumentation is on, and the instance runs. */
  readonly watching: boolean;
  /** UTC milliseconds; nothing earlier is known. */
  readonly since: number;
  /** By procedure, then by service. */
  readonly reaches: readonly ServiceUse[];
  /** The most used first. */
  readonly unguarded: readonly UnguardedTraffic[];
  /**
   * Outgoing calls of no procedure that began while guarded work of no procedure was under way: they may have been its own,
   * and are in no list.
   */
  readonly undecided: number;
  /** What no longer fitted into the lists, which are bounded. */
  readonly unlisted: { readonly reaches: number; readonly unguarded: number };
}

/** A procedure uses a guarded service. */
export interface ServiceUse {
  readonly procedure: string;
  readonly service: string;
  /** How often the service was asked for it, retries and refusals included. */
  readonly count: number;
  readonly lastSeenAt: number;
}

/** What was sent to one place past every guard. */
export interface UnguardedTraffic {
  /** Protocol, host and port, and never more: `https://api.example.com`, `mysql://db.internal:3306`. */
  readonly origin: string;
  readonly guarded: false;
  readonly count: number;
  readonly lastSeenAt: number;
  /** Those that were seen to send it, at most 50; empty where nothing links it to a call. */
  readonly procedures: readonly string[];
}

/** While nothing was seen. */
export const NO_COVERAGE: Coverage = Object.freeze({
  watching: false,
  since: 0,
  reaches: [],
  unguarded: [],
  undecided: 0,
  unlisted: { reaches: 0, unguarded: 0 },
});

/** Requests of Paramedic itself say so in this header's value, so that they count as nobody's. */
export const OWN_USER_AGENT = "paramedic";
