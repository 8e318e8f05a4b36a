/** How long the event loop is held. */
import { performance } from "node:perf_hooks";
import type { RunDelay } from "./run-delay.js";

export interface LongestTurns {
  /** Of all turns: the machine's own hiccups are among them. */
  readonly ofAll: number;
  /** Of those in which the work said that it had a part. */
  readonly ofWork: number;
}

/**
 * The longest that the event loop was busy between two turns while `work` was under way, its begin included, less what the
 * thread waited for a processor meanwhile; milliseconds.
 *
 * @param work tells with `hasPart`, before it begins something and after it was told of an end, in which turns it ran
 */
export async function longestTurn(
  delay: RunDelay,
  work: (hasPart: () => void) => Promise<unknown>,
): Promise<LongestTurns> {
  let [ofAll, ofWork] = [0, 0];
  let isWork = false;
  let last = performance.now();
  let waited = delay.readMs();
  let next: NodeJS.Immediate | undefined;
  const turn = () => {
    const now = performance.now();
    const waitedNow = delay.readMs();
    const held = now - last - (waitedNow - waited);
    ofAll = Math.max(ofAll, held);
    if (isWork) ofWork = Math.max(ofWork, held);
    isWork = false;
    // Reading the delay is ours, and no part of the next turn.
    last = performance.now();
    waited = waitedNow;
    clearImmediate(next);
    next = setImmediate(turn);
  };
  const ended = work(() => {
    isWork = true;
  });
  turn();
  await ended;
  turn();
  clearImmediate(next);
  return { ofAll, ofWork };
}
