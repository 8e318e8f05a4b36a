/** Runs what it is given and adds nothing: for guards that are switched off, or that stand inside an attempt of their own. */
import type { Clock } from "../ports/clock.js";
import type { Detailed, GuardContext } from "./guard.js";

/** What guards do with work: run it, and say how its value was obtained. */
export interface Runnable {
  run(): Promise<unknown>;
  runDetailed(): Promise<Detailed<unknown>>;
}

export function passThrough(
  work: () => unknown,
  { target, clock }: { readonly target: string; readonly clock: Clock },
): Runnable {
  const run = async (): Promise<unknown> => work();
  return {
    run,
    async runDetailed() {
      const startedAt = clock.monotonic();
      const value = await run();
      return { value, rescue: { kind: "fresh", target, attempts: 1, durationMs: clock.monotonic() - startedAt } };
    },
  };
}

/** Work that is wrong in itself and never begins. */
export function rejectWith(error: unknown): Runnable {
  const reject = () => Promise.reject(error);
  return { run: reject, runDetailed: reject };
}

/** What guarded work is given where no guard watches over it. */
export function unguardedContext(signal: AbortSignal | undefined): GuardContext {
  return {
    get signal() {
      return signal ?? new AbortController().signal;
    },
    delivered() {},
    used() {},
  };
}
