/** Puts transitions that wait after what is stored: numbers their rows, or finds that they make no sense there. Pure. */
import type { CircuitSnapshot, CircuitTransition } from "../../shared/circuit.js";
import type { SeenCircuit } from "./circuit-ledger.js";
import type { Instant } from "./circuit-restore.js";
import type { PendingTransition } from "./pending-transitions.js";

/** What one write brings to the store. */
export type TransitionStep =
  | {
      readonly type: "write";
      readonly snapshot: CircuitSnapshot;
      readonly transition: CircuitTransition;
      readonly earlier: readonly CircuitTransition[];
    }
  /** Nothing that the store should know: it probes where others probe by turns. */
  | { readonly type: "joined" }
  /** Another instance moved the circuit to where these do not begin. */
  | { readonly type: "superseded"; readonly by: SeenCircuit };

/**
 * Versions are the store's: they count on from what is stored, whatever the circuit here counted meanwhile. Without a row
 * they are the circuit's own.
 *
 * While an instance probes, the others wait as open: what they do then begins at half-open in the store.
 *
 * @param now the deadline in the snapshot is told by this instant's wall clock, from what is left of it by the monotonic one
 */
export function stepFrom(
  seen: SeenCircuit | undefined,
  pending: readonly PendingTransition[],
  now: Instant,
): TransitionStep {
  const rows = pending.map(({ transition }) => transition);
  const [first] = rows;
  if (first?.from === "open" && seen?.stored.state === "half_open") {
    if (first.to === "half_open") rows.shift();
    else rows[0] = { ...first, from: "half_open" };
  }
  const last = pending.at(-1);
  const [begin] = rows;
  if (last === undefined || begin === undefined) return { type: "joined" };
  if (seen !== undefined && begin.from !== seen.stored.state) return { type: "superseded", by: seen };
  const before = seen?.stored.version ?? begin.version - 1;
  const numbered = rows.map((row, index) => ({ ...row, version: before + 1 + index }));
  const transition = numbered.at(-1) ?? begin;
  const snapshot = { ...last.snapshot, version: transition.version, nextRetryAt: retryAt(last, now) };
  return { type: "write", snapshot, transition, earlier: numbered.slice(0, -1) };
}

function retryAt({ snapshot, instant }: PendingTransition, now: Instant): number | undefined {
  if (snapshot.nextRetryAt === undefined) return undefined;
  const leftMs = snapshot.nextRetryAt - instant.wall - (now.monotonic - instant.monotonic);
  return Math.round(now.wall + leftMs);
}
