/** Time, passed in. The only file that reads the machine's clocks or sets its timers. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time, UTC milliseconds. For timestamps, never for durations. */
  now(): number;
  /** Milliseconds that only move forward, with fractions. For durations and deadlines, never stored. */
  monotonic(): number;
  /** Runs `run` once after `delayMs`. Never keeps the process alive. Delays are clamped to what a timer can hold. */
  setTimer(run: () => void, delayMs: number): Timer;
}

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(run: () => void, delayMs: number): Timer {
    const handle = setTimeout(run, Math.min(Math.max(delayMs, 0), 2 ** 31 - 1));
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
});

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it aborts. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.setTimer(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
