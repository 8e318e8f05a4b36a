/** Lets calls wait for the stored circuits, and no longer than a given time. */
import type { Clock } from "../ports/clock.js";

export interface RestoreGate {
  /** Resolves when calls may be admitted. Never rejects. */
  readonly opened: Promise<void>;
  readonly isOpen: boolean;
  open(): void;
}

/** @param waitMs after which it opens by itself */
export function createRestoreGate(clock: Clock, waitMs: number): RestoreGate {
  let isOpen = false;
  let resolve: () => void;
  const opened = new Promise<void>((given) => {
    resolve = given;
  });
  const open = () => {
    timer.cancel();
    isOpen = true;
    resolve();
  };
  const timer = clock.setTimer(open, waitMs);
  return {
    opened,
    open,
    get isOpen() {
      return isOpen;
    },
  };
}
