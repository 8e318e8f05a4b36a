/** Circuits, their transitions and what instances think of them, in maps. */
import type { CircuitTransition } from "../../../shared/circuit.js";
import type { FailureEvent } from "../../../shared/failure.js";
import type { Clock } from "../../ports/clock.js";
import type { CircuitStore, CompactionStore, StoredCircuit } from "../../ports/store.js";
import { follows, held, isBarred, leased, refreshed, stepOf, transitioned, unseen } from "../circuit-rows.js";
import { forgetOldest, isWithin, type Kept, newestFirst, prune, type Slice } from "./memory-rows.js";

export interface MemoryCircuitsDeps {
  readonly clock: Clock;
  readonly nextId: () => number;
  /** The event of an id, or that into which it was folded. */
  readonly findFailure: (eventId: string) => FailureEvent | undefined;
}

export interface MemoryCircuits {
  readonly store: CircuitStore & Pick<CompactionStore, "releaseExpiredHolds">;
  /** Whether a circuit is not closed, and nobody holds it so. */
  isBroken(circuitName: string): boolean;
  /** Transitions are written before the failure that caused them, so they may name a repeat. */
  moveTransitions(eventId: string, storedId: string): void;
  pruneTransitions(slice: Slice): number;
  /** With their transitions. */
  pruneCircuits(slice: Slice): number;
}

export function createMemoryCircuits(deps: MemoryCircuitsDeps, capacity: number): MemoryCircuits {
  const { clock, nextId, findFailure } = deps;
  const circuits = new Map<string, StoredCircuit>();
  const transitions = new Map<string, Kept<CircuitTransition>>();
  const opinionRows = new Map<string, { circuitName: string; failing: boolean; until: number }>();

  const readCircuit = (name: string): StoredCircuit | undefined => {
    const stored = circuits.get(name);
    return stored && { ...stored, readAt: clock.now() };
  };
  const isLast = ({ circuitName, version }: CircuitTransition) => circuits.get(circuitName)?.version === version;

  return {
    isBroken(circuitName) {
      const circuit = circuits.get(circuitName);
      return circuit !== undefined && circuit.state !== "closed" && circuit.held === undefined;
    },
    moveTransitions(eventId, storedId) {
      for (const [key, { id, row }] of transitions) {
        if (row.failureEventId === eventId) transitions.set(key, { id, row: { ...row, failureEventId: storedId } });
      }
    },
    store: {
      async loadCircuits(names) {
        const wanted = names === undefined ? [...circuits.keys()] : [...new Set(names)];
        return wanted.toSorted().flatMap((name) => readCircuit(name) ?? []);
      },
      async commitTransition(snapshot, transition, { earlier = [], at = transition.at } = {}) {
        const now = clock.now();
        const stored = readCircuit(snapshot.name);
        const step = stepOf([...earlier, transition], stored);
        const already = step.told && transitions.get(transitionKey(step.told))?.row;
        if (stored && !follows(step, stored, already)) return { committed: false, stored };
        if (step.untold.length === 0) return { committed: true };
        if (stored && isBarred(stored, transition, now)) return { committed: false, stored };
        circuits.set(snapshot.name, transitioned(stored, snapshot, transition, { at, now }));
        for (const untold of step.untold) {
          const { failureEventId } = untold;
          const row = { ...untold, failureEventId: findFailure(failureEventId ?? "")?.eventId ?? failureEventId };
          transitions.set(transitionKey(row), { id: nextId(), row });
        }
        forgetOldest(transitions, capacity);
        return { committed: true };
      },
      async refreshCircuits(snapshots, at) {
        const now = clock.now();
        for (const snapshot of snapshots) {
          const stored = circuits.get(snapshot.name);
          circuits.set(snapshot.name, stored ? refreshed(stored, snapshot, at) : unseen(snapshot, { at, now }));
        }
      },
      async holdCircuit(circuitName, hold, at) {
        const stored = circuits.get(circuitName);
        if (!stored && hold === undefined) return;
        circuits.set(circuitName, held(circuitName, stored, hold, { at, now: clock.now() }));
      },
      async releaseExpiredHolds() {
        const now = clock.now();
        const over = [...circuits.values()].filter(({ held }) => held?.until !== undefined && held.until <= now);
        for (const circuit of over) circuits.set(circuit.name, { ...circuit, held: undefined });
        return over.length;
      },
      async leaseProbes(lease) {
        const stored = readCircuit(lease.circuitName);
        const result = leased(stored, lease, clock.now());
        if (result === undefined) return { leased: false, stored };
        circuits.set(lease.circuitName, result);
        return { leased: true };
      },
      async recordOpinions({ instance, opinions, keepMs }) {
        const now = clock.now();
        for (const [key, { until }] of opinionRows) if (until <= now) opinionRows.delete(key);
        for (const { circuitName, failing } of opinions) {
          opinionRows.set(JSON.stringify([circuitName, instance]), { circuitName, failing, until: now + keepMs });
        }
        return opinions.map(({ circuitName }) => {
          const all = [...opinionRows.values()].filter((opinion) => opinion.circuitName === circuitName);
          return { circuitName, total: all.length, failing: all.filter(({ failing }) => failing).length };
        });
      },
      async listTransitions(query) {
        return newestFirst(
          transitions.values(),
          query,
          (row) => row.at,
          (row) =>
            (query.circuitName === undefined || row.circuitName === query.circuitName) &&
            (query.to === undefined || row.to === query.to) &&
            isWithin(row.at, query.from, query.until),
        );
      },
    },
    pruneTransitions: ({ before, limit }) => prune(transitions, limit, ({ row }) => row.at < before && !isLast(row)),
    pruneCircuits({ before, limit }) {
      const rows = [...transitions.values()].map(({ row }) => row);
      const isOver = ({ name, state, held, updatedAt }: StoredCircuit) =>
        state === "closed" &&
        (held === undefined || (held.until !== undefined && held.until < before)) &&
        updatedAt < before &&
        !rows.some((row) => row.circuitName === name && !isLast(row));
      const pruned = prune(circuits, limit, isOver);
      prune(transitions, capacity, ({ row }) => !circuits.has(row.circuitName));
      return pruned;
    },
  };
}

function transitionKey({ circuitName, version }: CircuitTransition): string {
  return `${version}:${circuitName}`;
}
