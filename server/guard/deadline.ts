/** Bounds the wait for work that cannot be stopped: by time, and by a signal. */
import type { Clock } from "../ports/clock.js";

export interface Bounds {
  /** `Infinity` sets no timer. */
  readonly timeoutMs: number;
  /** Makes what the wait ends with when the time is up. */
  readonly onTimeout: () => unknown;
  /** Ends the wait with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Settles as `work` does, or sooner. What `work` does later is nobody's concern, its rejection included. */
export function withDeadline<T>(clock: Clock, work: Promise<T>, { timeoutMs, onTimeout, signal }: Bounds): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => end(() => reject(signal?.reason));
    const timer = Number.isFinite(timeoutMs)
      ? clock.setTimer(() => end(() => reject(onTimeout())), timeoutMs)
      : undefined;
    const end = (settle: () => void): void => {
      timer?.cancel();
      signal?.removeEventListener("abort", onAbort);
      settle();
    };
    work.then(
      (value) => end(() => resolve(value)),
      (error: unknown) => end(() => reject(error)),
    );
    if (signal?.aborted) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
  });
}
