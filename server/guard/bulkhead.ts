/** How many attempts one service may have at work, and how many may wait for a place, in the order they came. */

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
