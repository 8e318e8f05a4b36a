/** Asks on another session what was asked on one that had ended in the pool, unseen until then. */
import { isSessionOver } from "./postgres-errors.js";

/** Each attempt uses up one ended session; by the next few the pool has heard of the others. */
const MOST_ATTEMPTS = 4;

/** @param ask does nothing that an ended session could have kept: a read, or the beginning of a transaction */
export async function onLiveSession<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await ask();
    } catch (error) {
      if (attempts >= MOST_ATTEMPTS || !isSessionOver(error)) throw error;
    }
  }
}
