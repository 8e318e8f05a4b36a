/** Whether a store's error speaks of the store, so that waiting may help, and not of what it was asked. */
import { isParamedicError } from "../../shared/errors.js";

const ABOUT_THE_STORE = ["STORE_UNAVAILABLE", "STORE_CORRUPT", "STORE_SCHEMA_NEWER", "CLOSED"] as const;

export function isStoreAway(error: unknown): boolean {
  return ABOUT_THE_STORE.some((code) => isParamedicError(error, code));
}
