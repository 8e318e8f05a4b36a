/** Health of the event loop by how late it is: what every call in the process waits for. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { HealthCheckOutcome } from "../../shared/health.js";
import { type Clock, delay, type Timer } from "../ports/clock.js";

/** How late the loop was since the last reading; milliseconds. */
export interface EventLoopReading {
  readonly p99Ms: number;
  readonly maxMs: number;
}

/**
 * The 99th percentile tells a loop that is slow all the time; a single long block hides from it, and from a mean even more.
 * One block that is over makes nothing unhealthy.
 */
export const EVENT_LOOP_LIMITS = { degradedP99Ms: 100, unhealthyP99Ms: 500, degradedMaxMs: 1_000 } as const;

export function judgeEventLoop({ p99Ms, maxMs }: EventLoopReading): HealthCheckOutcome {
  const metadata = { p99Ms, maxMs };
  const slow = `the event loop is late by ${Math.round(p99Ms)} ms (99th percentile)`;
  if (p99Ms >= EVENT_LOOP_LIMITS.unhealthyP99Ms) return { status: "unhealthy", message: slow, metadata };
  if (p99Ms >= EVENT_LOOP_LIMITS.degradedP99Ms) return { status: "degraded", message: slow, metadata };
  if (maxMs >= EVENT_LOOP_LIMITS.degradedMaxMs) {
    return { status: "degraded", message: `the event loop was blocked for ${Math.round(maxMs)} ms`, metadata };
  }
  return { status: "healthy", metadata };
}

/** A histogram of the delays between its own ticks, in nanoseconds, such as `monitorEventLoopDelay` gives. */
export interface DelayHistogram {
  readonly max: number;
  readonly count: number;
  percentile(percentile: number): number;
  reset(): void;
}

export interface EventLoopMeter {
  read(): Promise<EventLoopReading>;
  stop(): void;
}

const RESOLUTION_MS = 20;

/** Before the first ticks there is nothing to read. */
const FIRST_READING_MS = 5 * RESOLUTION_MS;

/**
 * The histogram's delays contain its own period, which is taken off. Its reset makes it blind until its next tick: a block
 * that begins at once after a reading would be lost, so a timer beside it measures its own lateness.
 */
export function createEventLoopMeter(
  clock: Clock,
  openHistogram: () => { readonly histogram: DelayHistogram; close(): void } = openDelayHistogram,
): EventLoopMeter {
  const { histogram, close } = openHistogram();
  let timer: Timer | undefined;
  let lateMs = 0;
  let stopped = false;

  const watchBlindSpot = () => {
    lateMs = 0;
    const due = clock.monotonic() + 2 * RESOLUTION_MS;
    timer?.cancel();
    timer = clock.setTimer(() => {
      lateMs = Math.max(0, clock.monotonic() - due);
    }, 2 * RESOLUTION_MS);
  };
  watchBlindSpot();

  return Object.freeze({
    async read(): Promise<EventLoopReading> {
      if (histogram.count === 0 && !stopped) await delay(clock, FIRST_READING_MS);
      const reading = {
        p99Ms: delayMsOf(histogram.percentile(99)),
        maxMs: Math.max(delayMsOf(histogram.max), lateMs),
      };
      histogram.reset();
      if (!stopped) watchBlindSpot();
      return reading;
    },
    stop() {
      stopped = true;
      timer?.cancel();
      close();
    },
  });
}

function delayMsOf(nanoseconds: number): number {
  return Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS) : 0;
}

function openDelayHistogram() {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  return { histogram, close: () => void histogram.disable() };
}
