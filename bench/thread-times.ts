/**
 * Where the time of the main thread went, so that what others took is not taken for the work of the code that is measured:
 * processes that share its processors, and on a virtual machine its host, which stops a processor for milliseconds and tells
 * nobody inside but the kernel.
 */
import { closeSync, openSync, readSync } from "node:fs";

export interface ThreadTimes {
  /** On a processor, without what the host took of it; milliseconds. */
  readonly ranMs: number;
  /** Ready to run, in the queue for a processor; milliseconds. */
  readonly waitedMs: number;
  /** How often it went to sleep, for a lock, a disk or another thread. */
  readonly sleeps: number;
}

export interface ThreadClock {
  /** Since the process began; `undefined` where the system does not tell. */
  read(): ThreadTimes | undefined;
  close(): void;
}

/** Linux counts for the main thread, from wherever it is read: time on a processor, time in the queue, turns. */
const TIMES_FILE = "/proc/self/schedstat";
const STATUS_FILE = "/proc/self/status";
const SLEEPS = /^voluntary_ctxt_switches:\s*(\d+)/m;

export function openThreadClock(): ThreadClock {
  let times: number;
  let status: number;
  try {
    times = openSync(TIMES_FILE, "r");
    status = openSync(STATUS_FILE, "r");
  } catch {
    return { read: () => undefined, close() {} };
  }
  const bytes = Buffer.alloc(8_192);
  const textOf = (file: number) => bytes.toString("latin1", 0, readSync(file, bytes, 0, bytes.length, 0));
  return {
    read() {
      const sleeps = Number(SLEEPS.exec(textOf(status))?.[1] ?? 0);
      // The kernel adds up lazily; this asks it for the sum of this moment.
      process.cpuUsage();
      const [ran, waited] = textOf(times).split(" ");
      return { ranMs: Number(ran) / 1e6, waitedMs: Number(waited) / 1e6, sleeps };
    },
    close() {
      closeSync(times);
      closeSync(status);
    },
  };
}

/**
 * How long the thread was held between two readings, milliseconds: what it ran, and all but the queue if it slept, because
 * whatever it slept for is for its own work to answer. Never more than went by.
 *
 * @param wentByMs on a wall clock
 */
export function heldMs(wentByMs: number, before: ThreadTimes | undefined, after: ThreadTimes | undefined): number {
  if (before === undefined || after === undefined) return wentByMs;
  const slept = after.sleeps > before.sleeps;
  const held = slept ? wentByMs - (after.waitedMs - before.waitedMs) : after.ranMs - before.ranMs;
  return Math.min(held, wentByMs);
}
