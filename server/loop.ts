/** The only background loop: one run at a time, never keeps the process alive, never lets an error out. */
import type { Clock, Timer } from "./ports/clock.js";

export interface Loop {
  /** Begins to run every `intervalMs`, the first time after one interval. Starting twice is once. */
  start(): void;
  /** No new run begins; resolves when the current one has ended. */
  stop(): Promise<void>;
  /** Runs now, or joins the run that is under way. Never rejects. */
  runOnce(): Promise<void>;
  /** Runs as soon as possible: again after the current run, if there is one. */
  wake(): void;
}

export interface LoopOptions {
  readonly clock: Clock;
  /** Read before each wait, so that it may change. */
  readonly intervalMs: number | (() => number);
  readonly run: () => Promise<void>;
  /** Told of every error of `run`. Must not throw. */
  readonly onError: (error: unknown) => void;
}

/**
 * @example
 * const flush = createLoop({ clock, intervalMs: 1_000, run: () => collector.flush(), onError: faults.count });
 * flush.start();
 */
export function createLoop({ clock, intervalMs, run, onError }: LoopOptions): Loop {
  let started = false;
  let again = false;
  let timer: Timer | undefined;
  let current: Promise<void> | undefined;

  const schedule = () => {
    timer?.cancel();
    if (!started) return;
    timer = clock.setTimer(() => void runOnce(), typeof intervalMs === "number" ? intervalMs : intervalMs());
  };

  const runOnce = (): Promise<void> => {
    if (current) return current;
    timer?.cancel();
    current = (async () => {
      try {
        await run();
      } catch (error) {
        onError(error);
      }
    })().then(() => {
      current = undefined;
      if (again) {
        again = false;
        void runOnce();
      } else {
        schedule();
      }
    });
    return current;
  };

  return Object.freeze({
    start() {
      if (started) return;
      started = true;
      schedule();
    },
    async stop() {
      started = false;
      again = false;
      timer?.cancel();
      await current;
    },
    runOnce,
    wake() {
      if (current) again = true;
      else void runOnce();
    },
  });
}
