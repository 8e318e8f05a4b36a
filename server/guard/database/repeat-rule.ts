/** Whether the work that failed may be done again, and how often. Pure: law 17 for statements and transactions. */
import type { Classification } from "../../../shared/classification.js";

/** What failed. */
export interface FailedWork {
  /** It is not this database that failed: what its transaction asked of somebody else did. @default false */
  readonly isForeign?: boolean;
  /** Its connection came from a pool: the next one is another. */
  readonly isPooled: boolean;
  /**
   * Until now it has had no lasting effect, or none that a second time would add to: a transaction of which no COMMIT was
   * sent, a read.
   */
  readonly isHarmless: boolean;
  /** When it fails, the database has kept nothing of it. @default true */
  readonly isAtomic?: boolean;
}

export interface Repetition {
  /** Healthy parties in each other's way, a connection that another one replaces, or one that leads to where no write goes. */
  readonly why: "contention" | "fresh_connection" | "redirected";
  /** How often it may be done again; more would be a storm upon a database that is not well. */
  readonly most: number;
  /** It costs a token of the retry budget. */
  readonly costs: boolean;
}

const CONTENTION: Repetition = { why: "contention", most: Number.POSITIVE_INFINITY, costs: false };
const RECONNECTED: Repetition = { why: "fresh_connection", most: 4, costs: true };
/** After a failover old connections lead to what is now read-only; a new one tells, so the old ones have to go first. */
const REDIRECTED: Repetition = { why: "redirected", most: 1, costs: true };

/** Undefined: not again. */
export function repetitionOf(found: Classification, work: FailedWork): Repetition | undefined {
  // Whoever it was, that another time helps is not for us to say: what was asked of him may have been done.
  if (work.isForeign === true) return undefined;
  const { isAtomic = true } = work;
  // What the database rolled back or did not let begin has had no effect; of a procedure that commits, only its last part.
  if (isContention(found)) return isAtomic ? CONTENTION : undefined;
  if (!work.isPooled) return undefined;
  if (found.failureType === "database_readonly") return isAtomic ? REDIRECTED : undefined;
  if (found.failureType !== "database_connection" || !found.retryable) return undefined;
  switch (found.reason) {
    case "connection_refused":
    case "database_unreachable":
    case "connect_timeout":
      return RECONNECTED;
    default:
      return work.isHarmless && losesConnection(found) ? RECONNECTED : undefined;
  }
}

/** The connection is gone; what was sent may have come through. */
export function losesConnection({ reason }: Pick<Classification, "reason">): boolean {
  return reason === "database_connection" || reason === "connection_reset" || reason === "network";
}

/** Contention is no failure of the database, yet an operator wants to see it. */
export function isContention({ failureType }: Pick<Classification, "failureType">): boolean {
  return failureType === "database_busy" || failureType === "database_conflict";
}

/** The connection broke, hung, or leads to where no write goes: nobody should get it again. */
export function spoilsConnection({ reason, failureType }: Classification): boolean {
  return failureType === "database_readonly" || mayHaveReached({ reason }) || reason === "unknown";
}

/** Sent, and its answer never came: what it did is not known. */
export function mayHaveReached({ reason }: Pick<Classification, "reason">): boolean {
  return (
    losesConnection({ reason }) ||
    reason === "database_outcome_unknown" ||
    reason === "stream_broken" ||
    reason === "timeout"
  );
}
