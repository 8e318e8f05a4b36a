import { constants, PerformanceObserver } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { getHeapStatistics } from "node:v8";
import { collectDefaultMetrics, Registry } from "prom-client";
import { afterEach, describe, expect, it, vi } from "vitest";
import { type ProcessVitals, startProcessVitals } from "../../server/instrumentation/process-vitals.js";
import type { Clock } from "../../server/ports/clock.js";
import type { MetricFamily } from "../../shared/exposition.js";
import { collectGarbage } from "../support/collect-garbage.js";
import { createFakeClock } from "../support/fake-clock.js";

/** Made from functions of Node that are not public, or gauges with a counter's name, which promtool refuses. */
const LEFT_OUT = /^nodejs_active_(handles|requests|resources_total)(_total)?$/;

const clock = createFakeClock();
let vitals: ProcessVitals | undefined;
afterEach(() => vitals?.stop());

function start(given: Clock = clock): ProcessVitals {
  vitals = startProcessVitals({
    clock: given,
    limits: { cores: () => 1.5, memoryBytes: () => 512 },
    onFault: (fault) => expect(fault).toBeUndefined(),
  });
  return vitals;
}

function gaugeOf(families: readonly MetricFamily[], name: string): number | undefined {
  const family = families.find((one) => one.name === name);
  return family === undefined || family.type === "histogram" ? undefined : family.samples[0]?.value;
}

/** Blocks this thread; that is the point. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

interface GcEntry {
  /** Milliseconds. */
  readonly duration: number;
  readonly detail: { readonly kind: number };
}

/** The two kinds of collection that any program sees. */
const KINDS: ReadonlyMap<number, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
]);

describe("process vitals", () => {
  it("have the names that users of prom-client know, and the real limits", () => {
    const families = start().read();
    const names = families.map(({ name, type }) =>
      type === "counter" ? `${name}_total` : type === "info" ? `${name}_info` : name,
    );
    const theirs = new Registry();
    collectDefaultMetrics({ register: theirs });
    const missing = theirs.getMetricsAsArray().filter(({ name }) => !names.includes(name));
    expect(missing.map(({ name }) => name).filter((name) => !LEFT_OUT.test(name))).toEqual([]);
    expect(gaugeOf(families, "process_cpu_limit_cores")).toBe(1.5);
    expect(gaugeOf(families, "process_memory_limit_bytes")).toBe(512);
    expect(gaugeOf(families, "process_resident_memory_bytes")).toBeGreaterThan(10_000_000);
    expect(gaugeOf(families, "nodejs_heap_size_limit_bytes")).toBe(getHeapStatistics().heap_size_limit);
  });

  it("see a block that begins at the very moment of a reset", async () => {
    const turns: (() => void)[] = [];
    const running = start({
      ...clock,
      setTimer(turn) {
        turns.push(turn);
        return { cancel() {} };
      },
    });
    for (const turn of [0, 1]) {
      await pause(60);
      turns[turn]?.();
      // Microtasks only: no histogram ticks between the reset and the block.
      await Promise.resolve();
      block(300);
      await pause(60);
      expect(gaugeOf(running.read(), "nodejs_eventloop_lag_max_seconds")).toBeGreaterThan(0.25);
    }
  });

  it("forget a block once a whole window has passed", async () => {
    const running = start();
    await pause(60);
    block(300);
    await pause(60);
    expect(gaugeOf(running.read(), "nodejs_eventloop_lag_max_seconds")).toBeGreaterThan(0.25);
    let since = 0;
    for (let turn = 0; turn < 3; turn += 1) {
      if (turn === 1) since = performance.now();
      await clock.advance(30_000);
      await pause(60);
    }
    // It tells of the last two turns: on a busy machine the loop may be late without us, by no more than they took.
    const lag = gaugeOf(running.read(), "nodejs_eventloop_lag_max_seconds");
    expect(lag).toBeLessThan((performance.now() - since) / 1_000);
  });

  it("count each pause of the garbage collector once, by kind, for as long as Node says that it was", async () => {
    const running = start();
    const paused = new Map<string, number[]>([...KINDS.values()].map((kind) => [kind, []]));
    const observer = new PerformanceObserver((list) => {
      for (const { duration, detail } of list.getEntries() as unknown as readonly GcEntry[])
        paused.get(KINDS.get(detail.kind) ?? "")?.push(duration / 1_000);
    });
    observer.observe({ entryTypes: ["gc"] });
    let garbage: unknown[] = [];
    for (let round = 0; round < 200; round += 1)
      garbage = Array.from({ length: 20_000 }, (_, at) => ({ at, garbage: round }));
    expect(garbage.length).toBe(20_000);
    collectGarbage();
    // The last one of all: whoever hears of it has heard of the others.
    await vi.waitFor(() => expect(paused.get("major")).not.toEqual([]), { timeout: 10_000 });
    observer.disconnect();
    const family = running.read().find(({ name }) => name === "nodejs_gc_duration_seconds");
    if (family?.type !== "histogram") throw new Error("there is no histogram of pauses");
    for (const [kind, durations] of paused) {
      const sample = family.samples.find(({ labels }) => labels.kind === kind);
      expect(durations.length, kind).toBeGreaterThan(0);
      expect(sample?.sum, kind).toBeCloseTo(
        durations.reduce((sum, seconds) => sum + seconds, 0),
        9,
      );
      const bounds = [0, ...(sample?.bounds ?? []), Number.POSITIVE_INFINITY];
      const within = bounds.slice(1).map((bound, at) => {
        const above = bounds[at] ?? 0;
        return durations.filter((seconds) => seconds > above && seconds <= bound).length;
      });
      expect(sample?.counts, kind).toEqual(within);
    }
  });
});
