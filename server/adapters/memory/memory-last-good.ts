/** Last good values in a map; those that were stored first are forgotten first. */
import type { LastGoodStore, LastGoodValue } from "../../ports/store.js";
import { forgetOldest, prune, type Slice } from "./memory-rows.js";

export interface MemoryLastGood {
  readonly store: LastGoodStore;
  prune(slice: Slice): number;
}

export function createMemoryLastGood(capacity: number): MemoryLastGood {
  const values = new Map<string, LastGoodValue>();
  return {
    store: {
      async putLastGood(value, { maxEntries }) {
        values.delete(keyOf(value));
        values.set(keyOf(value), value);
        for (const [key, { expiresAt }] of values) if (expiresAt <= value.storedAt) values.delete(key);
        forgetOldest(values, Math.min(maxEntries, capacity));
      },
      async getLastGood(operation, key) {
        return values.get(keyOf({ operation, key }));
      },
    },
    prune: ({ before, limit }) => prune(values, limit, ({ expiresAt }) => expiresAt < before),
  };
}

function keyOf({ operation, key }: Pick<LastGoodValue, "operation" | "key">): string {
  return JSON.stringify([operation, key]);
}
