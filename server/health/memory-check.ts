/** Health of memory against the real limits: that of V8's heap for what stays, and the container's for all of the process. */
import { totalmem } from "node:os";
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8";
import type { HealthCheckOutcome } from "../../shared/health.js";
import { cgroupMemoryBytes } from "./cgroup.js";

export interface MemoryReading {
  /** By what has outlived its youth. */
  readonly heapUsedBytes: number;
  /** Where V8 ends the process. */
  readonly heapLimitBytes: number;
  readonly residentBytes: number;
  /** Undefined without a limit. */
  readonly containerLimitBytes: number | undefined;
}

export const MEMORY_LIMITS = { degradedPercent: 75, unhealthyPercent: 90 } as const;

/**
 * `heapUsed / heapTotal` is never asked: V8 keeps the total close to what is used, also in an idle process.
 *
 * @example judgeMemory({ heapUsedBytes: 80, heapLimitBytes: 100, residentBytes: 90, containerLimitBytes: undefined }).status // "degraded"
 */
export function judgeMemory(reading: MemoryReading): HealthCheckOutcome & { readonly heapUsedPercent: number } {
  const { heapUsedBytes, heapLimitBytes, residentBytes, containerLimitBytes } = reading;
  const heapUsedPercent = percentOf(heapUsedBytes, heapLimitBytes);
  const containerPercent = containerLimitBytes === undefined ? 0 : percentOf(residentBytes, containerLimitBytes);
  const worst = Math.max(heapUsedPercent, containerPercent);
  const metadata = {
    heapUsedPercent,
    heapUsedBytes,
    heapLimitBytes,
    residentBytes,
    ...(containerLimitBytes !== undefined && { containerPercent, containerLimitBytes }),
  };
  if (worst < MEMORY_LIMITS.degradedPercent) return { status: "healthy", metadata, heapUsedPercent };
  const what = containerPercent > heapUsedPercent ? "the container's memory" : "the heap's limit";
  const message = `${worst.toFixed(1)} % of ${what} is used`;
  const status = worst < MEMORY_LIMITS.unhealthyPercent ? "degraded" : "unhealthy";
  return { status, message, metadata, heapUsedPercent };
}

export function readMemory(): MemoryReading {
  const { used_heap_size, heap_size_limit } = getHeapStatistics();
  const young = getHeapSpaceStatistics().filter(({ space_name }) => YOUNG_SPACES.has(space_name));
  // Node asks the process's own cgroup alone, and sizes the heap by that.
  const memoryOfHeap = realLimitOf(process.constrainedMemory(), totalmem()) ?? totalmem();
  return {
    heapUsedBytes: used_heap_size - young.reduce((sum, { space_used_size }) => sum + space_used_size, 0),
    heapLimitBytes: oldLimitOf(heap_size_limit, memoryOfHeap),
    residentBytes: process.memoryUsage.rss(),
    containerLimitBytes: realLimitOf(cgroupMemoryBytes(), totalmem()),
  };
}

const YOUNG_SPACES: ReadonlySet<string> = new Set(["new_space", "new_large_object_space"]);
const MEGABYTE = 1_024 * 1_024;

/**
 * V8's limit holds for the young and the old together, and the young have a part of it to themselves: three times a 256th of
 * the machine's memory, of 1 to 16 MB. A leak fills the rest, so that V8 gives up at 77 % of the whole with a heap of 160 MB.
 *
 * @example oldLimitOf(208 * MEGABYTE, 16_384 * MEGABYTE) // 160 MB, as `--max-old-space-size=160` said
 */
export function oldLimitOf(heapLimitBytes: number, memoryBytes: number): number {
  const semiSpaceBytes = Math.min(Math.max(memoryBytes / 256, MEGABYTE), 16 * MEGABYTE);
  return Math.max(heapLimitBytes - 3 * semiSpaceBytes, heapLimitBytes / 2);
}

/** Node says 0, nothing, or a number near 2^64 where there is no limit, and a cgroup of version 1 one near 2^63. */
export function realLimitOf(limitBytes: number | undefined, totalBytes: number): number | undefined {
  if (limitBytes === undefined || limitBytes <= 0 || limitBytes > totalBytes) return undefined;
  return limitBytes;
}

function percentOf(part: number, whole: number): number {
  return whole > 0 ? (100 * part) / whole : 0;
}
