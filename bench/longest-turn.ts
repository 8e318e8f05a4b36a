/** How long the event loop is held. */
import { performance } from "node:perf_hooks";
import type { RunDelay } from "./run-delay.js";

/**
 * The longest that the event loop was busy between two turns while `work` was under way, its begin included, less what the
 * thread waited for a processor meanwhile; milliseconds.
 */
export async function longestTurn(delay: RunDelay, work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  let waited = delay.readMs();
  let next: NodeJS.Immediate | undefined;
  const turn = () => {
    const now = performance.now();
    const waitedNow = delay.readMs();
    longest = Math.max(longest, now - last - (waitedNow - waited));
    // Reading the delay is ours, and no part of the next turn.
    last = performance.now();
    waited = waitedNow;
    clearImmediate(next);
    next = setImmediate(turn);
  };
  const ended = work();
  turn();
  await ended;
  turn();
  clearImmediate(next);
  return longest;
}
