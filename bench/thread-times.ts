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
const SLEEPS = Buffer.from("\nvoluntary_ctxt_switches:\t");

export function openThreadClock(): ThreadClock {
  let times: number;
  let status: number;
  try {
    times = openSync(TIMES_FILE, "r");
    status = openSync(STATUS_FILE, "r");
  } catch {
    return { read: () => undefined, close() {} };
  }
  // Read thousands of times within what is measured: texts would be garbage, whose collection would be measured too.
  const bytes = Buffer.alloc(8_192);
  const fill = (file: number) => bytes.fill(0, readSync(file, bytes, 0, bytes.length - 1, 0));
  return {
    read() {
      fill(status);
      const sleeps = numberAt(bytes, bytes.indexOf(SLEEPS) + SLEEPS.length);
      // The kernel adds up lazily; this asks it for the sum of this moment.
      process.cpuUsage();
      fill(times);
      const ranMs = numberAt(bytes, 0) / 1e6;
      return { ranMs, waitedMs: numberAt(bytes, bytes.indexOf(SPACE) + 1) / 1e6, sleeps };
    },
    close() {
      closeSync(times);
      closeSync(status);
    },
  };
}

const SPACE = 32;
const ZERO = 48;

function numberAt(digits: Buffer, from: number): number {
  let value = 0;
  for (let at = from; at < digits.length; at += 1) {
    const digit = (digits[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return value;
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
