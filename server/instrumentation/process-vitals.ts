/** The process itself, under the names that users of prom-client know, with its real limits beside them. */
import { readdirSync, readFileSync } from "node:fs";
import { type IntervalHistogram, monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8";
import type { MetricFamily, NumberSample } from "../../shared/exposition.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";

export interface ProcessVitals {
  /** What the process is now, and what it has used since it began. */
  read(): readonly MetricFamily[];
  stop(): void;
}

/** What the process may use: read at each time, since a container's limits can change while it runs. */
export interface ProcessLimits {
  readonly cores: () => number;
  /** Undefined without a limit below the machine's memory. */
  readonly memoryBytes: () => number | undefined;
}

export interface ProcessVitalsDeps {
  readonly clock: Clock;
  readonly limits: ProcessLimits;
  readonly onFault: (error: unknown) => void;
}

const RESOLUTION_MS = 10;
/** A reading covers one to two of these. */
const HALF_WINDOW_MS = 30 * SECOND_MS;
const GC_BOUNDS_S: readonly number[] = Object.freeze([0.001, 0.01, 0.1, 1, 2, 5]);

/** V8's kinds of collection by Node's constants `NODE_PERFORMANCE_GC_*`. */
const GC_KINDS: ReadonlyMap<number, string> = new Map([
  [1, "minor"],
  [2, "minor_mark_sweep"],
  [4, "major"],
  [8, "incremental"],
  [16, "weakcb"],
]);

/**
 * Measures from now on: event-loop delay and pauses of the garbage collector are not known of the time before.
 *
 * @example
 * const vitals = startProcessVitals({ clock, limits, onFault });
 * renderExposition(vitals.read(), "text");
 */
export function startProcessVitals({ clock, limits, onFault }: ProcessVitalsDeps): ProcessVitals {
  const startedAtS = (clock.now() - process.uptime() * SECOND_MS) / SECOND_MS;
  const eventLoop = watchEventLoop(clock, onFault);
  const collections = watchCollections();
  return Object.freeze<ProcessVitals>({
    read: () => [
      ...cpuFamilies(startedAtS, limits),
      ...memoryFamilies(limits),
      ...eventLoopFamilies(eventLoop.read()),
      collections.read(),
      ...runtimeFamilies(),
    ],
    stop() {
      eventLoop.stop();
      collections.stop();
    },
  });
}

function cpuFamilies(startedAtS: number, limits: ProcessLimits): readonly MetricFamily[] {
  const { user, system } = process.cpuUsage();
  return [
    counter("process_cpu_user_seconds", "User CPU time used.", user / 1e6, "seconds"),
    counter("process_cpu_system_seconds", "System CPU time used.", system / 1e6, "seconds"),
    counter("process_cpu_seconds", "CPU time used.", (user + system) / 1e6, "seconds"),
    gauge(
      "process_cpu_limit_cores",
      "Cores that the process may use: its quota, or what the machine has.",
      limits.cores(),
    ),
    gauge("process_start_time_seconds", "When the process began, Unix time.", startedAtS, "seconds"),
    gauge("process_open_fds", "Open file descriptors.", openFileDescriptors()),
    gauge("process_max_fds", "File descriptors that may be open.", fromProc("limits", /^Max open files\s+(\d+)/m)),
  ];
}

function memoryFamilies(limits: ProcessLimits): readonly MetricFamily[] {
  const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const spaces = getHeapSpaceStatistics();
  const perSpace = (kind: string, help: string, of: (space: (typeof spaces)[number]) => number): MetricFamily => ({
    type: "gauge",
    name: `nodejs_heap_space_size_${kind}_bytes`,
    help,
    unit: "bytes",
    samples: spaces.map((space) => ({
      labels: { space: space.space_name.replace(/_space$/, "") },
      value: of(space),
    })),
  });
  return [
    gauge("process_resident_memory_bytes", "Resident memory.", rss, "bytes"),
    gauge("process_virtual_memory_bytes", "Virtual memory.", kilobytes(/^VmSize:\s+(\d+) kB/m), "bytes"),
    gauge("process_heap_bytes", "Data that the process may write.", kilobytes(/^VmData:\s+(\d+) kB/m), "bytes"),
    gauge("process_memory_limit_bytes", "What the container allows.", limits.memoryBytes(), "bytes"),
    gauge("nodejs_heap_size_total_bytes", "Heap that V8 has taken.", heapTotal, "bytes"),
    gauge("nodejs_heap_size_used_bytes", "Heap in use.", heapUsed, "bytes"),
    gauge("nodejs_heap_size_limit_bytes", "Heap that V8 may take.", getHeapStatistics().heap_size_limit, "bytes"),
    gauge("nodejs_external_memory_bytes", "Memory of objects outside the heap.", external, "bytes"),
    gauge("nodejs_array_buffers_bytes", "Memory of array buffers.", arrayBuffers, "bytes"),
    perSpace("total", "Size of each heap space.", (space) => space.space_size),
    perSpace("used", "What is used of each heap space.", (space) => space.space_used_size),
    perSpace("available", "What is left of each heap space.", (space) => space.space_available_size),
  ];
}

/** How late the loop was in the last 30 to 60 seconds; the sampling period itself is taken off. */
function eventLoopFamilies(delays: IntervalHistogram): readonly MetricFamily[] {
  const seconds = (nanoseconds: number) =>
    delays.count === 0 ? undefined : Math.max(0, (nanoseconds - RESOLUTION_MS * 1e6) / 1e9);
  const lag = (part: string, help: string, value: number | undefined) =>
    gauge(`nodejs_eventloop_lag_${part}seconds`, help, value, "seconds");
  return [
    lag("", "How late the event loop is, on average.", seconds(delays.mean)),
    lag("min_", "Least delay of the event loop.", seconds(delays.min)),
    lag("max_", "Greatest delay of the event loop.", seconds(delays.max)),
    lag("mean_", "Mean delay of the event loop.", seconds(delays.mean)),
    lag("stddev_", "Spread of the delays.", delays.count === 0 ? undefined : delays.stddev / 1e9),
    lag("p50_", "Half of the delays are below this.", seconds(delays.percentile(50))),
    lag("p90_", "90 % of the delays are below this.", seconds(delays.percentile(90))),
    lag("p99_", "99 % of the delays are below this.", seconds(delays.percentile(99))),
  ];
}

function runtimeFamilies(): readonly MetricFamily[] {
  const byType = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) byType.set(type, (byType.get(type) ?? 0) + 1);
  const [major = "", minor = "", patch = ""] = process.version.replace(/^v/, "").split(".");
  return [
    {
      type: "gauge",
      name: "nodejs_active_resources",
      help: "Resources that keep the event loop alive, by type.",
      samples: [...byType].map(([type, value]) => ({ labels: { type }, value })),
    },
    {
      type: "info",
      name: "nodejs_version",
      help: "The version of Node.js.",
      samples: [{ labels: { version: process.version, major, minor, patch }, value: 1 }],
    },
  ];
}

/**
 * A histogram of delays is blind from its reset to its next tick, so that a block right after a reset is lost. Two are
 * reset in turns, and the one that was reset longer ago answers: it saw what the other missed.
 */
function watchEventLoop(clock: Clock, onFault: (error: unknown) => void) {
  const open = () => {
    const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    histogram.enable();
    return histogram;
  };
  let elder = open();
  let younger = open();
  const loop = createLoop({
    clock,
    intervalMs: HALF_WINDOW_MS,
    onError: onFault,
    async run() {
      elder.reset();
      [elder, younger] = [younger, elder];
    },
  });
  loop.start();
  return {
    read: () => elder,
    stop() {
      void loop.stop();
      elder.disable();
      younger.disable();
    },
  };
}

function watchCollections() {
  const byKind = new Map<string, { readonly counts: number[]; sum: number }>();
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { duration } = entry;
      const kind = gcKindOf("detail" in entry ? entry.detail : undefined);
      const known = byKind.get(kind) ?? { counts: new Array<number>(GC_BOUNDS_S.length + 1).fill(0), sum: 0 };
      byKind.set(kind, known);
      const seconds = duration / SECOND_MS;
      const at = GC_BOUNDS_S.findIndex((bound) => seconds <= bound);
      const slot = at === -1 ? GC_BOUNDS_S.length : at;
      known.counts[slot] = (known.counts[slot] ?? 0) + 1;
      known.sum += seconds;
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  return {
    read: (): MetricFamily => ({
      type: "histogram",
      name: "nodejs_gc_duration_seconds",
      help: "Pauses of the garbage collector, by kind.",
      unit: "seconds",
      samples: [...byKind].map(([kind, { counts, sum }]) => ({
        labels: { kind },
        bounds: GC_BOUNDS_S,
        counts: [...counts],
        sum,
      })),
    }),
    stop: () => observer.disconnect(),
  };
}

function gcKindOf(detail: unknown): string {
  const kind = typeof detail === "object" && detail !== null && "kind" in detail ? detail.kind : undefined;
  return (typeof kind === "number" ? GC_KINDS.get(kind) : undefined) ?? "other";
}

function openFileDescriptors(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

/** What Linux tells of this process; undefined elsewhere, and where there is no limit. */
function fromProc(file: "limits" | "status", number: RegExp): number | undefined {
  try {
    const found = number.exec(readFileSync(`/proc/self/${file}`, "utf8"))?.[1];
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}

function kilobytes(number: RegExp): number | undefined {
  const found = fromProc("status", number);
  return found === undefined ? undefined : found * 1_024;
}

function gauge(name: string, help: string, value: number | undefined, unit?: string): MetricFamily {
  return { type: "gauge", name, help, unit, samples: samplesOf(value) };
}

function counter(name: string, help: string, value: number, unit?: string): MetricFamily {
  return { type: "counter", name, help, unit, samples: samplesOf(value) };
}

function samplesOf(value: number | undefined): readonly NumberSample[] {
  return value === undefined || !Number.isFinite(value) ? [] : [{ labels: {}, value }];
}
