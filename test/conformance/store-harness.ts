/** What a conformance suite needs of a store under test. */
import type { Store } from "../../server/ports/store.js";
import type { FakeClock } from "../support/fake-clock.js";

export interface StoreHarness {
  /** Of both stores. */
  readonly clock: FakeClock;
  readonly store: Store;
  /** What another process of the same system holds: the same rows. */
  readonly second: Store;
  dispose(): Promise<void>;
}
