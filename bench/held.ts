/** What something leaves behind: heap that garbage collection does not free, and timers that are set, also those nothing waits for. */
import { createHook } from "node:async_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

export interface Held {
  readonly heapBytes: number;
  readonly timers: number;
}

/** Runs `make` and measures what is held more than before, as long as what it gave is there. */
export async function heldBy(make: () => unknown): Promise<Held> {
  const timers = new Set<number>();
  const hook = createHook({
    init(id, type) {
      if (type === "Timeout") timers.add(id);
    },
    destroy(id) {
      timers.delete(id);
    },
  }).enable();
  const collect = garbageCollector();
  const before = await heapOf(collect);
  const made = await make();
  const heapBytes = (await heapOf(collect)) - before;
  hook.disable();
  return { heapBytes: made === undefined ? heapBytes : Math.max(0, heapBytes), timers: timers.size };
}

async function heapOf(collect: () => void): Promise<number> {
  for (let i = 0; i < 3; i += 1) {
    // Callbacks that hold something get their turn first.
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
  return process.memoryUsage().heapUsed;
}

/** @returns what collects all garbage, or with `minor` what was made lately */
export function garbageCollector(): (what?: { readonly type: "minor" }) => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as ReturnType<typeof garbageCollector>;
}
