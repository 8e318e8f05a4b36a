/** The clock of a process that gets too little processor: each timer fires late, and the time until then is lost. */
import type { Clock } from "../../server/ports/clock.js";
import type { FakeClock } from "./fake-clock.js";

export interface StarvedClock extends FakeClock {
  /** How late each timer fires from now on; milliseconds. 0 while the process keeps up. */
  lateMs: number;
}

export function createStarvedClock(clock: FakeClock): StarvedClock {
  let lostMs = 0;
  const starved: StarvedClock = {
    lateMs: 0,
    now: () => clock.now() + lostMs,
    monotonic: () => clock.monotonic() + lostMs,
    setTimer: (run, delayMs): ReturnType<Clock["setTimer"]> =>
      clock.setTimer(() => {
        lostMs += starved.lateMs;
        run();
      }, delayMs),
    advance: (ms) => clock.advance(ms),
    stepWall: (ms) => clock.stepWall(ms),
    get pendingTimers() {
      return clock.pendingTimers;
    },
  };
  return starved;
}
