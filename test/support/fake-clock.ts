/** A clock that moves only when it is told to, timers included. */
import type { Clock, Timer } from "../../server/ports/clock.js";

export interface FakeClock extends Clock {
  /** Moves time forward, firing timers in order and letting promises settle in between. */
  advance(ms: number): Promise<void>;
  /** Steps the wall clock alone, as NTP or an operator does. */
  stepWall(ms: number): void;
  readonly pendingTimers: number;
}

/** Nothing that ends sets as many timers. */
const MAX_FIRED = 200_000;

export function createFakeClock(startAt = Date.UTC(2026, 0, 1)): FakeClock {
  let wall = startAt;
  let monotonic = 0;
  let sequence = 0;
  const timers = new Map<number, { at: number; run: () => void }>();

  return {
    now: () => wall,
    monotonic: () => monotonic,
    setTimer(run, delayMs): Timer {
      sequence += 1;
      const id = sequence;
      timers.set(id, { at: monotonic + Math.max(delayMs, 0), run });
      return { cancel: () => void timers.delete(id) };
    },
    async advance(ms) {
      const until = monotonic + ms;
      await settle();
      for (let fired = 0; ; fired += 1) {
        if (fired === MAX_FIRED) throw new Error(`${fired} timers fired within ${ms} ms: one sets itself without end`);
        const due = [...timers]
          .filter(([, timer]) => timer.at <= until)
          .sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
        if (!due) break;
        const [id, timer] = due;
        timers.delete(id);
        wall += timer.at - monotonic;
        monotonic = timer.at;
        timer.run();
        await settle();
      }
      wall += until - monotonic;
      monotonic = until;
      await settle();
    },
    stepWall(ms) {
      wall += ms;
    },
    get pendingTimers() {
      return timers.size;
    },
  };
}

/** Lets every promise that can settle without time passing do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
