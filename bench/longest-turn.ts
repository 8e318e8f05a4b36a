/** How long the event loop is held. */
import { performance } from "node:perf_hooks";
import { heldMs, type ThreadClock } from "./thread-times.js";

export interface LongestTurns {
  /** Of all turns: the machine's own hiccups are among them. */
  readonly ofAll: number;
  /** Of those in which the work said that it had a part. */
  readonly ofWork: number;
  /** Of the same, by the wall clock, with all that others took meanwhile. */
  readonly ofWorkByTheWall: number;
}

/**
 * The longest that the event loop was held between two turns while `work` was under way, its begin included; milliseconds.
 *
 * @param work tells with `hasPart`, before it begins something and after it was told of an end, in which turns it ran
 */
export async function longestTurn(
  clock: ThreadClock,
  work: (hasPart: () => void) => Promise<unknown>,
): Promise<LongestTurns> {
  let [ofAll, ofWork, ofWorkByTheWall] = [0, 0, 0];
  let isWork = false;
  let times = clock.read();
  let last = performance.now();
  let next: NodeJS.Immediate | undefined;
  const turn = () => {
    const wentBy = performance.now() - last;
    const held = heldMs(wentBy, times, clock.read());
    ofAll = Math.max(ofAll, held);
    if (isWork) {
      ofWork = Math.max(ofWork, held);
      ofWorkByTheWall = Math.max(ofWorkByTheWall, wentBy);
    }
    isWork = false;
    // Reading the times is ours, and hardly a part of the next turn.
    times = clock.read();
    last = performance.now();
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
  return { ofAll, ofWork, ofWorkByTheWall };
}
