/** Health of memory against the real limits: V8's heap limit, and the container's for all of the process. */
import { totalmem } from "node:os";
import { getHeapStatistics } from "node:v8";
import type { HealthCheckOutcome } from "../../shared/health.js";

export interface MemoryReading {
  readonly heapUsedBytes: number;
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
  return {
    heapUsedBytes: used_heap_size,
    heapLimitBytes: heap_size_limit,
    residentBytes: process.memoryUsage.rss(),
    containerLimitBytes: containerLimitOf(process.constrainedMemory(), totalmem()),
  };
}

/** Node says 0, nothing, or a number near 2^64 where there is no limit. */
export function containerLimitOf(constrainedBytes: number | undefined, totalBytes: number): number | undefined {
  if (constrainedBytes === undefined || constrainedBytes <= 0 || constrainedBytes > totalBytes) return undefined;
  return constrainedBytes;
}

function percentOf(part: number, whole: number): number {
  return whole > 0 ? (100 * part) / whole : 0;
}
