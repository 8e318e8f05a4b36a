/** The machine's clock, which a test can set forward: for what waits on a real server but must not wait for minutes. */
import { type Clock, systemClock } from "../../server/ports/clock.js";

export interface ShiftedClock extends Clock {
  /** Sets durations and wall time forward; timers keep their own time. */
  shift(ms: number): void;
}

export function createShiftedClock(): ShiftedClock {
  let shifted = 0;
  return {
    now: () => systemClock.now() + shifted,
    monotonic: () => systemClock.monotonic() + shifted,
    setTimer: systemClock.setTimer,
    shift(ms) {
      shifted += ms;
    },
  };
}
