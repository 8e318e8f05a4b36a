/**
 * The machine's clock, which a test can push on: for times that must not run out by themselves, however slow the machine is,
 * in what also waits for real servers.
 */
import { type Clock, systemClock } from "../../server/ports/clock.js";
import { settle } from "./fake-clock.js";

export interface LeapingClock extends Clock {
  /** Makes it so much later at once: timers that are due by then fire in their order. */
  leap(ms: number): Promise<void>;
}

export function createLeapingClock(): LeapingClock {
  let leaptMs = 0;
  const timers = new Set<{ readonly dueAt: number; readonly fire: () => void }>();
  const monotonic = () => systemClock.monotonic() + leaptMs;

  return {
    now: () => systemClock.now() + leaptMs,
    monotonic,
    setTimer(run, delayMs, holdsProcess) {
      const end = () => {
        timers.delete(timer);
        real.cancel();
      };
      const fire = () => {
        end();
        run();
      };
      const timer = { dueAt: monotonic() + delayMs, fire };
      const real = systemClock.setTimer(fire, delayMs, holdsProcess);
      timers.add(timer);
      return { cancel: end };
    },
    async leap(ms) {
      await settle();
      leaptMs += ms;
      const now = monotonic();
      const due = [...timers].filter(({ dueAt }) => dueAt <= now).sort((a, b) => a.dueAt - b.dueAt);
      for (const timer of due) {
        if (timers.has(timer)) timer.fire();
        await settle();
      }
    },
  };
}
