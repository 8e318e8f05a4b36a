/** Time, passed in. The only file that reads the machine's clocks or sets its timers. */
// Imported, because the global one is a getter that every measured call would pay for twice.
import { performance } from "node:perf_hooks";

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Wall time, UTC milliseconds. For timestamps, never for durations. */
  now(): number;
  /** Milliseconds that only move forward, with fractions. For durations and deadlines, never stored. */
  monotonic(): number;
  /**
   * Runs `run` once after `delayMs`. Keeps the process alive only where `holdsProcess` says so. Delays are clamped to what a
   * timer can hold.
   */
  setTimer(run: () => void, delayMs: number, holdsProcess?: boolean): Timer;
}

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(run: () => void, delayMs: number, holdsProcess = false): Timer {
    const handle = setTimeout(run, Math.min(Math.max(delayMs, 0), 2 ** 31 - 1));
    if (!holdsProcess) handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
});

/** A timer that fires so late was kept from its turn. */
const STALLED_MS = 50;

/**
 * As the clock's `setTimer`, for a time that is up: where the event loop was blocked, answers wait that came in time, and timers
 * have their turn before them. So a timer that fires late lets the loop go round once first.
 */
export function setPatientTimer(clock: Clock, run: () => void, delayMs: number): Timer {
  const dueAt = clock.monotonic() + delayMs;
  let timer = clock.setTimer(() => {
    if (clock.monotonic() - dueAt < STALLED_MS) run();
    else timer = clock.setTimer(run, 0);
  }, delayMs);
  return { cancel: () => timer.cancel() };
}

/** Resolves once the event loop has gone round: calls that wait get their turn in between. Takes no time that a clock knows. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it aborts. For work behind the calls. */
export function delay(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return wait(clock, delayMs, signal, false);
}

/** The same for a wait inside a user's call: nothing else may keep a script alive until its retry. */
export function delayInCall(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return wait(clock, delayMs, signal, true);
}

function wait(clock: Clock, delayMs: number, signal: AbortSignal | undefined, holdsProcess: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      timer.cancel();
      reject(signal?.reason);
    };
    const finish = () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    };
    const timer = clock.setTimer(finish, delayMs, holdsProcess);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
