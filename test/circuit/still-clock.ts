/** A clock for circuits that are asked synchronously: moves at once, and its timers never fire. */
import type { Clock } from "../../server/ports/clock.js";

export interface StillClock extends Clock {
  leap(ms: number): void;
}

export function createStillClock(startAt = Date.UTC(2026, 0, 1)): StillClock {
  let elapsed = 0;
  return {
    now: () => startAt + elapsed,
    monotonic: () => elapsed,
    setTimer: () => ({ cancel() {} }),
    leap(ms) {
      elapsed += ms;
    },
  };
}
