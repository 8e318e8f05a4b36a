/** Closes a circuit that only other instances use, on behalf of an operator: in the store, where those hear of it. */
import type { Clock } from "../ports/clock.js";
import type { ControlChannel } from "../ports/control-channel.js";
import type { CircuitStore } from "../ports/store.js";

export interface OperatorResetDeps {
  readonly store: Pick<CircuitStore, "loadCircuits" | "commitTransition">;
  readonly channel: Pick<ControlChannel, "publish">;
  readonly clock: Clock;
  readonly instance: string;
}

/** Says whether it is stored to be closed now; undefined when the store does not know it. Rejects when the store is away. */
export async function resetStored(
  name: string,
  { store, channel, clock, instance }: OperatorResetDeps,
): Promise<{ readonly stored: boolean } | undefined> {
  const [stored] = await store.loadCircuits([name]);
  if (stored === undefined) return undefined;
  const { state: from, version: before } = stored;
  if (from === "closed") return { stored: true };
  const at = clock.now();
  const version = before + 1;
  const moved = { from, to: "closed", reason: "operator", version, at, instance, failureEventId: undefined } as const;
  const transition = { circuitName: name, ...moved };
  const counts = { failureCount: 0, successCount: 0, openedAt: undefined, nextRetryAt: undefined };
  const closed = { ...stored, ...counts, state: "closed", version } as const;
  const { committed } = await store.commitTransition(closed, transition);
  if (committed) channel.publish({ type: "circuit.transitioned", transition });
  return { stored: committed };
}
