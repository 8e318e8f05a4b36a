/** The transitions of one circuit that the store has not confirmed yet, oldest first, bounded. */
import type { CircuitSnapshot, CircuitTransition } from "../../shared/circuit.js";
import type { Instant } from "./circuit-restore.js";

export interface PendingTransition {
  readonly transition: CircuitTransition;
  /** The circuit right after it. */
  readonly snapshot: CircuitSnapshot;
  /** When that was. */
  readonly instant: Instant;
}

export interface PendingTransitions {
  /**
   * Beyond the bound the newest two become one, from the older one's state to the newer one's, or none where that is the same;
   * gives how many were lost.
   */
  push(pending: PendingTransition): number;
  /**
   * What to write next, as one step. Until `confirm` it only grows, so that a write whose answer was lost can be repeated, and
   * what came meanwhile is written with it.
   */
  take(): readonly PendingTransition[];
  /** What was taken is stored. */
  confirm(): void;
  readonly first: PendingTransition | undefined;
  readonly last: PendingTransition | undefined;
  readonly size: number;
  /** Empties it; gives how many there were. */
  clear(): number;
}

/** @param bound of those that were not taken yet, and of those that a step may grow to; 2 or more */
export function createPendingTransitions(bound: number): PendingTransitions {
  let taken: readonly PendingTransition[] = [];
  let waiting: PendingTransition[] = [];
  return {
    push(newest) {
      const last = waiting.at(-1);
      if (last === undefined || waiting.length < bound) {
        waiting.push(newest);
        return 0;
      }
      const { from } = last.transition;
      const before = waiting.at(-2);
      if (from === newest.transition.to && before !== undefined) {
        waiting.splice(-2, 2, { ...newest, transition: before.transition });
        return 2;
      }
      waiting[waiting.length - 1] = { ...newest, transition: { ...newest.transition, from } };
      return 1;
    },
    take() {
      if (taken.length + waiting.length <= bound) {
        taken = [...taken, ...waiting];
        waiting = [];
      }
      return taken;
    },
    confirm() {
      taken = [];
    },
    get first() {
      return taken[0] ?? waiting[0];
    },
    get last() {
      return waiting.at(-1) ?? taken.at(-1);
    },
    get size() {
      return taken.length + waiting.length;
    },
    clear() {
      const { length } = [...taken, ...waiting];
      taken = [];
      waiting = [];
      return length;
    },
  };
}
