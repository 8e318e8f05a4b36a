/**
 * The bounded buffer between calls and rows. Guards and middlewares append to it while a caller waits, so appending does no
 * I/O and folds repeats at once: a storm of one failure is one entry with a count. The engine drains it; what the store did
 * not take comes back to the front, as it was.
 */
import type { CircuitTransition } from "../../shared/circuit.js";
import { type Failure, fingerprintOf, SEVERITIES } from "../../shared/failure.js";
import { type Ids, systemIds } from "../ports/ids.js";
import type { Journal, JournalEntry, RescueRecord } from "../ports/journal.js";
import { createRecentMap } from "./recent-map.js";

/** A failure with its repeats since the last drain. The event id is that of the first. */
export interface SpooledFailure {
  readonly type: "failure.observed";
  readonly failure: Failure;
  readonly fingerprint: string;
  readonly occurrences: number;
  /** How many of them were reported as rescued. */
  readonly rescued: number;
  readonly lastSeenAt: number;
}

/** Rescues alike in failure, strategy, target and status. The record is that of the last. */
export interface SpooledRescue {
  readonly type: "rescue.ended";
  /** The id of its row, given once, so that a write that is repeated changes nothing. */
  readonly actionId: string;
  readonly rescue: RescueRecord;
  /** Of the failure it answers; undefined when that one was not seen, or too long ago. */
  readonly fingerprint: string | undefined;
  readonly occurrences: number;
  /** When the first of them began. */
  readonly firstAt: number;
}

export interface SpooledTransition {
  readonly type: "circuit.transitioned";
  readonly actionId: string;
  readonly transition: CircuitTransition;
  readonly fingerprint: string | undefined;
}

export type SpooledEntry = SpooledFailure | SpooledRescue | SpooledTransition;

export interface SpoolingJournal extends Journal {
  /**
   * Takes up to `max` entries out, oldest first; at least one while there is any. What came back goes alone, so that while
   * the store is away only one batch is fixed, and everything behind it still folds.
   */
  drain(max: number): SpooledEntry[];
  /** Puts drained entries back to the front, in their order. Later repeats do not change them any more. */
  restore(entries: readonly SpooledEntry[]): void;
  /** Entries waiting. */
  readonly size: number;
  /** What did not fit, or could not be read, counted by kind since the journal exists. */
  readonly dropped: Readonly<Record<JournalEntry["type"] | "unreadable", number>>;
}

export interface JournalOptions {
  /** Distinct entries that may wait; at least 1. What was drained and comes back is always taken. @default 10_000 */
  readonly capacity?: number;
}

const DEFAULTS = { capacity: 10_000 } as const;

/** How many failures are remembered so that their rescues, which end later, find them; about 2 MB at the most. */
const REMEMBERED_FAILURES = 20_000;

/**
 * @example
 * const journal = createJournal();
 * journal.append({ type: "failure.observed", failure, rescued: false });
 * const entries = journal.drain(500);
 */
export function createJournal(
  { ids = systemIds, onFault }: { readonly ids?: Ids; readonly onFault?: (error: unknown) => void } = {},
  { capacity = DEFAULTS.capacity }: JournalOptions = {},
): SpoolingJournal {
  const fingerprints = createRecentMap<string, string>(REMEMBERED_FAILURES);
  const dropped = { "failure.observed": 0, "rescue.ended": 0, "circuit.transitioned": 0, unreadable: 0 };
  let front: SpooledEntry[] = [];
  const waiting = new Map<string, SpooledEntry>();
  let transitions = 0;

  const put = (key: string, entry: SpooledEntry): boolean => {
    if (!waiting.has(key) && front.length + waiting.size >= capacity) {
      dropped[entry.type] += 1;
      return false;
    }
    waiting.set(key, entry);
    return true;
  };

  const appendFailure = (failure: Failure, rescued: boolean) => {
    const seen = fingerprints.get(failure.eventId);
    const fingerprint = seen ?? fingerprintOf(failure);
    const key = `failure ${fingerprint}`;
    const before = waiting.get(key);
    if (seen !== undefined) {
      // The same sighting again: a guard that learnt meanwhile that the caller was rescued.
      if (before?.type === "failure.observed" && rescued) waiting.set(key, { ...before, rescued: before.rescued + 1 });
      return;
    }
    const entry = before?.type === "failure.observed" ? before : undefined;
    const taken = put(key, {
      type: "failure.observed",
      failure: entry ? worseOf(entry.failure, failure) : failure,
      fingerprint,
      occurrences: (entry?.occurrences ?? 0) + 1,
      rescued: (entry?.rescued ?? 0) + (rescued ? 1 : 0),
      lastSeenAt: Math.max(entry?.lastSeenAt ?? failure.timestamp, failure.timestamp),
    });
    if (taken) fingerprints.set(failure.eventId, fingerprint);
  };

  const appendRescue = (rescue: RescueRecord) => {
    const fingerprint = fingerprints.get(rescue.failureEventId);
    const { actionStrategy, status, target, dryRun } = rescue;
    const key = `rescue ${JSON.stringify([fingerprint ?? rescue.failureEventId, actionStrategy, target, status, dryRun])}`;
    const before = waiting.get(key);
    const entry = before?.type === "rescue.ended" ? before : undefined;
    put(key, {
      type: "rescue.ended",
      actionId: entry?.actionId ?? ids(),
      rescue,
      fingerprint,
      occurrences: (entry?.occurrences ?? 0) + 1,
      firstAt: entry?.firstAt ?? rescue.timestamp - Math.round(rescue.durationMs),
    });
  };

  const appendTransition = (transition: CircuitTransition) => {
    transitions += 1;
    const cause = transition.failureEventId;
    const fingerprint = cause === undefined ? undefined : fingerprints.get(cause);
    put(`transition ${transitions}`, { type: "circuit.transitioned", actionId: ids(), transition, fingerprint });
  };

  const append = (entry: JournalEntry) => {
    switch (entry.type) {
      case "failure.observed":
        return appendFailure(entry.failure, entry.rescued);
      case "rescue.ended":
        return appendRescue(entry.rescue);
      case "circuit.transitioned":
        return appendTransition(entry.transition);
    }
  };

  return Object.freeze<SpoolingJournal>({
    append(entry) {
      try {
        append(entry);
      } catch (error) {
        dropped.unreadable += 1;
        onFault?.(error);
      }
    },
    drain(max) {
      if (front.length > 0) return front.splice(0, max);
      const drained: SpooledEntry[] = [];
      for (const [key, entry] of waiting) {
        if (drained.length >= max) break;
        waiting.delete(key);
        drained.push(entry);
      }
      return drained;
    },
    restore(entries) {
      front = [...entries, ...front];
    },
    get size() {
      return front.length + waiting.size;
    },
    get dropped() {
      return { ...dropped };
    },
  });
}

/** The first sighting as it was, with the worse severity of the two. */
function worseOf(first: Failure, repeat: Failure): Failure {
  return SEVERITIES.indexOf(repeat.severity) > SEVERITIES.indexOf(first.severity)
    ? { ...first, severity: repeat.severity }
    : first;
}
