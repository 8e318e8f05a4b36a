/** The checks that every Paramedic has: of the process, and of what it was given. */
import type { CircuitState } from "../../shared/circuit.js";
import type { Criticality, HealthCheckOutcome } from "../../shared/health.js";
import { type Clock, systemClock } from "../ports/clock.js";
import type { MetricSink } from "../ports/metric-sink.js";
import { createCpuMeter, judgeCpu, type ReadCores, type ReadCpuMs, readCores, readCpuMs } from "./cpu-check.js";
import { createEventLoopMeter, type EventLoopMeter, judgeEventLoop } from "./event-loop-check.js";
import type { HealthCheckRegistry } from "./health-check-registry.js";
import { judgeMemory, type MemoryReading, readMemory } from "./memory-check.js";
import { createPingCheck, type Pingable } from "./ping-check.js";

/** Below this an answer is healthy; milliseconds. */
export const HEALTHY_BELOW_MS = { store: 100, database: 100, redis: 50 } as const;

export interface BuiltInHealthChecks {
  /** @default systemClock */
  readonly clock?: Clock | undefined;
  /** Paramedic's own store: the check `store`. */
  readonly store?: Pingable | undefined;
  /** Read at each run: the check `circuits`, degraded while one is open or half open. */
  readonly circuits?: (() => readonly CircuitView[]) | undefined;
  /** What Redis means for the whole. @default "critical" */
  readonly redisCriticality?: Criticality | undefined;
  readonly readMemory?: (() => MemoryReading) | undefined;
  readonly readCpuMs?: ReadCpuMs | undefined;
  readonly readCores?: ReadCores | undefined;
  readonly eventLoop?: EventLoopMeter | undefined;
}

export interface CircuitView {
  readonly name: string;
  readonly state: CircuitState;
}

/**
 * Registers `memory`, `cpu` and `event_loop`, and `store`, `redis` and `circuits` where they are given. Redis is
 * critical, the others are important: Paramedic's own store may be dead and calls still succeed. Databases of the app come
 * with `registerDatabaseHealthCheck`.
 *
 * @param collector gets `memory.heap_used_percent`, `cpu.usage_percent` and `event_loop.delay_p99` at each run
 * @returns how to stop measuring the event loop
 * @example
 * const registry = new HealthCheckRegistry();
 * registerBuiltInHealthChecks(registry, redis, collector);
 */
export function registerBuiltInHealthChecks(
  registry: HealthCheckRegistry,
  redis?: Pingable | undefined,
  collector?: MetricSink | undefined,
  more: BuiltInHealthChecks = {},
): () => void {
  const clock = more.clock ?? systemClock;
  const measure = (metricName: string, value: number, unit: string) =>
    collector?.record({ metricType: "system", metricName, value, unit, source: "process", kind: "gauge" });

  if (more.store !== undefined) {
    const check = createPingCheck(clock, more.store, { healthyBelowMs: HEALTHY_BELOW_MS.store });
    registry.register("store", check, { criticality: "important", failureCategory: "database" });
  }
  if (redis !== undefined) {
    const check = createPingCheck(clock, redis, { healthyBelowMs: HEALTHY_BELOW_MS.redis });
    registry.register("redis", check, { criticality: more.redisCriticality ?? "critical", failureCategory: "cache" });
  }
  const { circuits } = more;
  if (circuits !== undefined) {
    registry.register("circuits", () => judgeCircuits(circuits()), { criticality: "important", recordsLatency: false });
  }

  const vital = { criticality: "important", recordsLatency: false, failureCategory: "resource" } as const;

  const memory = more.readMemory ?? readMemory;
  registry.register(
    "memory",
    () => {
      const { heapUsedPercent, ...outcome } = judgeMemory(memory());
      measure("memory.heap_used_percent", heapUsedPercent, "%");
      return outcome;
    },
    { ...vital, failureType: "memory_pressure" },
  );

  const cpu = createCpuMeter({
    clock,
    readCpuMs: more.readCpuMs ?? readCpuMs,
    readCores: more.readCores ?? readCores,
  });
  registry.register(
    "cpu",
    async () => {
      const usagePercent = await cpu();
      measure("cpu.usage_percent", usagePercent, "%");
      return judgeCpu(usagePercent);
    },
    { ...vital, failureType: "cpu_saturation" },
  );

  const eventLoop = more.eventLoop ?? createEventLoopMeter(clock);
  registry.register(
    "event_loop",
    async () => {
      const reading = await eventLoop.read();
      measure("event_loop.delay_p99", reading.p99Ms, "ms");
      return judgeEventLoop(reading);
    },
    { ...vital, failureType: "event_loop_blocked" },
  );
  return () => eventLoop.stop();
}

/**
 * Registers the check of one of the app's databases: healthy under 100 ms, and critical, since the app cannot serve without
 * it. The database guarded as `db:main` is the check `database`, each other one `database:<rest of its name>`.
 *
 * @example registerDatabaseHealthCheck(registry, { name: "db:main", ping: () => sqlite.pragma("schema_version") })
 */
export function registerDatabaseHealthCheck(
  registry: HealthCheckRegistry,
  database: Pingable & { readonly name: string },
  { clock = systemClock, criticality = "critical" }: { clock?: Clock; criticality?: Criticality } = {},
): void {
  const rest = database.name.replace(/^db:/, "");
  const check = createPingCheck(clock, database, { healthyBelowMs: HEALTHY_BELOW_MS.database });
  const name = rest === "main" ? "database" : `database:${rest}`;
  registry.register(name, check, { criticality, failureCategory: "database" });
}

/** An open circuit is a protection that works: what stands behind it is degraded, the process is not ill. */
export function judgeCircuits(circuits: readonly CircuitView[]): HealthCheckOutcome {
  const resting = circuits.filter(({ state }) => state !== "closed");
  const metadata = { total: circuits.length, notClosed: resting.length };
  if (resting.length === 0) return { status: "healthy", metadata };
  const named = resting.slice(0, 10).map(({ name, state }) => `${name} ${state}`);
  return { status: "degraded", message: `not closed: ${named.join(", ")}`, metadata };
}
