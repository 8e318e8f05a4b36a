/** The transitions of one circuit that the store has not confirmed yet, oldest first, bounded. */
import type { CircuitSnapshot, CircuitTransition } from "../../shared/circuit.js";

export interface PendingTransition {
  readonly transition: CircuitTransition;
  /** The circuit right after it. */
  readonly snapshot: CircuitSnapshot;
}

export interface PendingTransitions {
  /** Beyond the bound the newest two become one, from the older one's state to the newer one's; gives how many were lost. */
  push(pending: PendingTransition): number;
  readonly first: PendingTransition | undefined;
  readonly last: PendingTransition | undefined;
  readonly size: number;
  /** Removes `pending` if it still is the first one. */
  confirm(pending: PendingTransition): void;
  /** Counts on from another version, because the store has gone on meanwhile; gives the circuit's version after the last. */
  renumber(firstVersion: number): number;
  /** The store is behind: the first one's row follows on the stored version, and brings the circuit to where it is. */
  rejoin(storedVersion: number): void;
  /** Empties it; gives how many there were. */
  clear(): number;
}

/** @param bound at least 2, so that the first one, which may be under way, is never changed */
export function createPendingTransitions(bound: number): PendingTransitions {
  let pending: PendingTransition[] = [];
  return {
    push(newest) {
      const last = pending.at(-1);
      if (last === undefined || pending.length < bound) {
        pending.push(newest);
        return 0;
      }
      const { from, version } = last.transition;
      pending[pending.length - 1] = { ...newest, transition: { ...newest.transition, from, version } };
      return 1;
    },
    get first() {
      return pending[0];
    },
    get last() {
      return pending.at(-1);
    },
    get size() {
      return pending.length;
    },
    confirm(confirmed) {
      if (pending[0] === confirmed) pending.shift();
    },
    renumber(firstVersion) {
      const by = firstVersion - (pending[0]?.transition.version ?? firstVersion);
      pending = pending.map(({ transition, snapshot }) => ({
        transition: { ...transition, version: transition.version + by },
        snapshot: { ...snapshot, version: snapshot.version + by },
      }));
      return pending.at(-1)?.snapshot.version ?? firstVersion;
    },
    rejoin(storedVersion) {
      const [first, ...rest] = pending;
      if (first === undefined) return;
      pending = [{ ...first, transition: { ...first.transition, version: storedVersion + 1 } }, ...rest];
    },
    clear() {
      const { length } = pending;
      pending = [];
      return length;
    },
  };
}
