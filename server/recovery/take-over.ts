/** Ends what the last life of this process could not end itself: the restart that led to this one. */
import type { RecoveryAction } from "../../shared/recovery.js";
import type { Clock } from "../ports/clock.js";
import type { RecoveryStore } from "../ports/store.js";
import { RESTART_STRATEGY, restartTarget } from "./restart-strategy.js";

export interface TakeOverDeps {
  readonly clock: Clock;
  readonly store: Pick<RecoveryStore, "listRecoveries" | "completeRepair">;
  readonly instance: string;
  readonly place: string | undefined;
  /** When this life began: what began later is this life's own. */
  readonly bornAt: number;
  readonly onRow: (row: RecoveryAction) => void;
}

/** Rejects while the store is away. */
export async function takeOver({ clock, store, instance, place, bornAt, onRow }: TakeOverDeps): Promise<void> {
  if (place === undefined) return;
  const query = { target: restartTarget(place), status: "in_progress", limit: 10 } as const;
  for (const row of (await store.listRecoveries(query)).items) {
    if (row.actionStrategy !== RESTART_STRATEGY || row.timestamp >= bornAt) continue;
    const completedAt = clock.now();
    const completion = {
      actionId: row.actionId,
      status: "succeeded",
      result: { message: `started anew as ${instance}`, verified: true },
      durationMs: Math.max(0, completedAt - row.timestamp),
      completedAt,
    } as const;
    if (await store.completeRepair(completion)) onRow({ ...row, ...completion, lastAt: completedAt });
  }
}
