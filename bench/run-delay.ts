/** How long the main thread has waited for a processor: what others took, and no fault of the code that is measured. */
import { closeSync, openSync, readSync } from "node:fs";

export interface RunDelay {
  /** Since the process began; milliseconds. Always 0 where the system does not tell. */
  readMs(): number;
  close(): void;
}

/** Linux counts it: time on a processor, time in the queue for one, turns. Of the main thread, from wherever it is read. */
const FILE = "/proc/self/schedstat";

export function openRunDelay(): RunDelay {
  let file: number;
  try {
    file = openSync(FILE, "r");
  } catch {
    return { readMs: () => 0, close() {} };
  }
  const bytes = Buffer.alloc(128);
  return {
    readMs() {
      const length = readSync(file, bytes, 0, bytes.length, 0);
      return Number(bytes.toString("latin1", 0, length).split(" ")[1] ?? 0) / 1e6;
    },
    close: () => closeSync(file),
  };
}
