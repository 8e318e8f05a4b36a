/** Time for libraries that read it themselves: timers and dates of this process stand still until they are told to move. */
import { mock } from "node:test";
import { settle } from "../../support/fake-clock.js";

export interface FakedTime {
  pass(ms: number): Promise<void>;
  /** Steps what `Date.now()` says; timers, which are monotonic, do not notice. */
  stepWall(ms: number): void;
  end(): void;
}

/** Only one at a time. */
export function fakeTime(): FakedTime {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: Date.UTC(2026, 0, 1) });
  const { now } = Date;
  let steppedMs = 0;
  Date.now = () => now() + steppedMs;
  return {
    async pass(ms) {
      await settle();
      mock.timers.tick(ms);
      await settle();
    },
    stepWall(ms) {
      steppedMs += ms;
    },
    end() {
      Date.now = now;
      mock.timers.reset();
    },
  };
}
