/** How long the event loop is held. */
import { performance } from "node:perf_hooks";

/** The longest that the event loop took between two turns while `work` was under way, its begin included; milliseconds. */
export async function longestTurn(work: () => Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  let over = false;
  const turn = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!over) setImmediate(turn);
  };
  const ended = work();
  turn();
  await ended;
  over = true;
  return longest;
}
