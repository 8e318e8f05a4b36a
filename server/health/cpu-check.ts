/** Health of the CPU over the last interval, as a share of what the process may use at all. */
import { availableParallelism } from "node:os";
import type { HealthCheckOutcome } from "../../shared/health.js";
import { type Clock, delay } from "../ports/clock.js";
import { cgroupCores } from "./cgroup.js";

/** What the process may use, in cores: fewer than the machine has where a quota says so. */
export type ReadCores = () => number;

/** CPU time used by the process since it started, all threads together; milliseconds. */
export type ReadCpuMs = () => number;

export const CPU_LIMITS = { degradedPercent: 80, unhealthyPercent: 95 } as const;

/** Over a shorter time, one busy moment is all there is to see. */
const MIN_INTERVAL_MS = 250;

export interface CpuCheckDeps {
  readonly clock: Clock;
  readonly readCpuMs: ReadCpuMs;
  readonly readCores: ReadCores;
}

/** Gives the use since the last call, in percent; the last answer again when that was only a moment ago. */
export function createCpuMeter({ clock, readCpuMs, readCores }: CpuCheckDeps): () => Promise<number> {
  let before = { at: clock.monotonic(), cpuMs: readCpuMs() };
  let last: number | undefined;
  return async () => {
    const elapsedMs = clock.monotonic() - before.at;
    if (elapsedMs < MIN_INTERVAL_MS) {
      if (last !== undefined) return last;
      await delay(clock, MIN_INTERVAL_MS - elapsedMs);
    }
    const now = { at: clock.monotonic(), cpuMs: readCpuMs() };
    last = cpuPercent(now.cpuMs - before.cpuMs, now.at - before.at, readCores());
    before = now;
    return last;
  };
}

/** @example cpuPercent(500, 1_000, 2) // 25 */
export function cpuPercent(usedMs: number, elapsedMs: number, cores: number): number {
  if (elapsedMs <= 0 || cores <= 0) return 0;
  return Math.min(100, Math.max(0, (100 * usedMs) / (elapsedMs * cores)));
}

export function judgeCpu(usagePercent: number): HealthCheckOutcome {
  const metadata = { usagePercent };
  if (usagePercent < CPU_LIMITS.degradedPercent) return { status: "healthy", metadata };
  const status = usagePercent < CPU_LIMITS.unhealthyPercent ? "degraded" : "unhealthy";
  return { status, message: `${usagePercent.toFixed(1)} % of the CPU was used in the last interval`, metadata };
}

export const readCpuMs: ReadCpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

/** The quota is read each time: it can be changed while the process runs. */
export const readCores: ReadCores = () => Math.min(cgroupCores() ?? Number.POSITIVE_INFINITY, availableParallelism());
