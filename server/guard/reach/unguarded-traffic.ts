/** Folds what goes past every guard by where it goes. Bounded: addresses are made up at run time, by users too. */
import type { UnguardedTraffic } from "../../../shared/coverage.js";

const MOST_ORIGINS = 200;
const MOST_PROCEDURES = 50;
const MOST_CHARACTERS = 300;

export interface UnguardedList {
  /**
   * @param origin protocol, host and port
   * @param procedure the one that sent it, if it is known
   * @param now UTC milliseconds
   */
  add(origin: string, procedure: string | undefined, now: number): void;
  /** The most used first. */
  list(): readonly UnguardedTraffic[];
  /** What had no room. */
  readonly unlisted: number;
}

interface Folded {
  count: number;
  lastSeenAt: number;
  readonly procedures: Set<string>;
}

export function createUnguardedList(): UnguardedList {
  const byOrigin = new Map<string, Folded>();
  let unlisted = 0;

  const foldedOf = (origin: string): Folded | undefined => {
    const known = byOrigin.get(origin);
    if (known !== undefined || byOrigin.size >= MOST_ORIGINS) return known;
    const made: Folded = { count: 0, lastSeenAt: 0, procedures: new Set() };
    byOrigin.set(origin, made);
    return made;
  };

  return {
    add(origin, procedure, now) {
      const folded = foldedOf(origin.slice(0, MOST_CHARACTERS));
      if (folded === undefined) {
        unlisted += 1;
        return;
      }
      folded.count += 1;
      folded.lastSeenAt = now;
      if (procedure !== undefined && folded.procedures.size < MOST_PROCEDURES) folded.procedures.add(procedure);
    },
    list: () =>
      Array.from(byOrigin, ([origin, { count, lastSeenAt, procedures }]) => ({
        origin,
        guarded: false as const,
        count,
        lastSeenAt,
        procedures: [...procedures].sort(),
      })).sort((a, b) => b.count - a.count),
    get unlisted() {
      return unlisted;
    },
  };
}
