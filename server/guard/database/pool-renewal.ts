/** Gives up the connections of a pool that were made before now, through what every pool can do: lend, and tell of new ones. */
import type { Clock } from "../../ports/clock.js";
import type { DatabaseDriver, LentConnection } from "./database-driver.js";

export interface RenewablePool {
  /** The most connections that the pool has at once. */
  readonly size: number;
  lend(): Promise<LentConnection>;
  /** Calls `note` with each connection that is made from now on. */
  watch(note: (made: unknown) => void): void;
  /** What `watch` calls a connection that was lent. */
  madeAs(connection: LentConnection): unknown;
}

/** Lends until it is lent a connection that was made since, and destroys the others. Those that are busy stay as they are. */
export function renewalOf({ size, lend, watch, madeAs }: RenewablePool): DatabaseDriver["renew"] {
  /** Which renewal a connection came after; of those made before the first one nothing is known, nor needed. */
  const madeAfter = new WeakMap<object, number>();
  let renewals = 0;

  return async (_clock: Clock) => {
    if (renewals === 0) {
      watch((made) => {
        if (typeof made === "object" && made !== null) madeAfter.set(made, renewals);
      });
    }
    renewals += 1;
    const renewal = renewals;
    for (let left = size; ; left -= 1) {
      const connection = await lend();
      const made = madeAs(connection);
      const after = typeof made === "object" && made !== null ? (madeAfter.get(made) ?? 0) : 0;
      if (after >= renewal || left <= 0) return connection;
      connection.destroy();
    }
  };
}
