/** Streams that a call has given and nobody has begun to read: an adapter that cannot send one drops it without a word to it. */
import { SECOND_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";

export interface UnreadStreams {
  /**
   * @param onDropped told once, unless the stream is begun before: nobody reads it any more, and whether the adapter has
   *   reported that as an error. Must not throw
   * @returns how to say that it is begun, or over
   */
  watch(path: string, onDropped: (isReported: boolean) => void): () => void;
  /** The adapter says that it could not send a stream of this path: the last that nobody has begun. */
  refused(path: string): void;
}

/** Adapters begin at once, unless a client who reads slowly keeps a stream of its batch waiting. */
const UNREAD_MS = 30 * SECOND_MS;

export function createUnreadStreams(clock: Clock): UnreadStreams {
  const byPath = new Map<string, Set<(isReported: boolean) => void>>();

  return Object.freeze({
    watch(path: string, onDropped: (isReported: boolean) => void) {
      const waiting = byPath.get(path) ?? new Set();
      byPath.set(path, waiting);
      const stop = () => {
        timer.cancel();
        waiting.delete(drop);
        if (waiting.size === 0 && byPath.get(path) === waiting) byPath.delete(path);
      };
      const drop = (isReported: boolean) => {
        stop();
        onDropped(isReported);
      };
      const timer = clock.setTimer(() => drop(false), UNREAD_MS);
      waiting.add(drop);
      return stop;
    },
    refused(path: string) {
      [...(byPath.get(path) ?? [])].at(-1)?.(true);
    },
  });
}
