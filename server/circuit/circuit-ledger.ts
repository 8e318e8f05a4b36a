/** What this instance last saw of each circuit in the store, and the transitions that the store has yet to hear of. */
import type { StoredCircuit } from "../ports/store.js";
import type { Instant } from "./circuit-restore.js";
import { createPendingTransitions, type PendingTransitions } from "./pending-transitions.js";

export interface SeenCircuit {
  readonly stored: StoredCircuit;
  /** When it was read, on the clock its deadlines came by and on ours. */
  readonly instant: Instant;
}

export interface CircuitLedger {
  seen(name: string): SeenCircuit | undefined;
  /** @param monotonic when it was read */
  see(stored: StoredCircuit, monotonic: number): SeenCircuit;
  /** Undefined while nothing waits. */
  pending(name: string): PendingTransitions | undefined;
  /** Makes the queue of a circuit. */
  pendingOf(name: string): PendingTransitions;
  /** Names of circuits with transitions that wait. */
  waiting(): readonly string[];
  /** Forgets the queue of a circuit; gives how many transitions were in it. */
  drop(name: string): number;
  readonly size: number;
}

/** @param maxPending transitions of one circuit that wait */
export function createCircuitLedger(maxPending: number): CircuitLedger {
  const seen = new Map<string, SeenCircuit>();
  const queues = new Map<string, PendingTransitions>();
  return {
    seen: (name) => seen.get(name),
    see(stored, monotonic) {
      const entry = { stored, instant: { wall: stored.readAt, monotonic } };
      seen.set(stored.name, entry);
      return entry;
    },
    pending: (name) => queues.get(name),
    pendingOf(name) {
      const queue = queues.get(name) ?? createPendingTransitions(maxPending);
      queues.set(name, queue);
      return queue;
    },
    waiting: () => [...queues.keys()],
    drop(name) {
      const dropped = queues.get(name)?.clear() ?? 0;
      queues.delete(name);
      return dropped;
    },
    get size() {
      let size = 0;
      for (const queue of queues.values()) size += queue.size;
      return size;
    },
  };
}
