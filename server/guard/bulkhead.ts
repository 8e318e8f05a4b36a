/** How many attempts one service may have at work, and how many may wait for a place, in the order they came. */
import type { Clock } from "../ports/clock.js";

export interface Bulkhead {
  /** Takes a place at once, or says that there is none. */
  tryEnter(): boolean;
  /**
   * Waits for a place. Resolves `true` with the place taken; `false` when no more may wait, or as soon as `signal` aborts,
   * with nothing to give back.
   */
  enter(signal: AbortSignal): Promise<boolean>;
  /** Gives a place back; the longest waiting attempt gets it. */
  leave(): void;
  readonly queued: number;
}

export function createBulkhead(options: { readonly maxConcurrent: number; readonly maxQueued: number }): Bulkhead {
  const waiting = new Set<() => void>();
  let entered = 0;

  const tryEnter = (): boolean => {
    if (entered >= options.maxConcurrent) return false;
    entered += 1;
    return true;
  };

  return {
    tryEnter,
    enter(signal) {
      if (signal.aborted) return Promise.resolve(false);
      if (tryEnter()) return Promise.resolve(true);
      if (waiting.size >= options.maxQueued) return Promise.resolve(false);
      return new Promise((resolve) => {
        const settle = (isEntered: boolean): void => {
          waiting.delete(admit);
          signal.removeEventListener("abort", giveUp);
          resolve(isEntered);
        };
        const admit = (): void => settle(true);
        const giveUp = (): void => settle(false);
        waiting.add(admit);
        signal.addEventListener("abort", giveUp, { once: true });
      });
    },
    leave() {
      const [next] = waiting;
      // The place passes from hand to hand, so that nobody who came later can take it in between.
      if (next !== undefined) next();
      else entered -= 1;
    },
    get queued() {
      return waiting.size;
    },
  };
}

/** Waits for a place while there is time and the caller is there; says whether it was taken. */
export async function waitForPlace(
  bulkhead: Bulkhead,
  {
    clock,
    signals,
    timeoutMs,
  }: { readonly clock: Clock; readonly signals: readonly (AbortSignal | undefined)[]; readonly timeoutMs: number },
): Promise<boolean> {
  const waiting = new AbortController();
  const giveUp = () => waiting.abort();
  const timer = clock.setTimer(giveUp, timeoutMs);
  for (const signal of signals) signal?.addEventListener("abort", giveUp);
  if (signals.some((signal) => signal?.aborted)) giveUp();
  const isEntered = await bulkhead.enter(waiting.signal);
  timer.cancel();
  for (const signal of signals) signal?.removeEventListener("abort", giveUp);
  return isEntered;
}
