/** The words for health and how single results become one answer. */
import type { Degradation } from "./degradation.js";
import type { JsonObject } from "./failure.js";

export const HEALTH_STATUSES = ["healthy", "degraded", "unhealthy", "unknown"] as const;
/** `unknown` while nothing was measured; unknown is never healthy. */
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

export const CRITICALITIES = ["critical", "important", "optional"] as const;
export type Criticality = (typeof CRITICALITIES)[number];

/** What a check function returns; throwing means unhealthy. */
export interface HealthCheckOutcome {
  readonly status: HealthStatus;
  readonly message?: string | undefined;
  readonly metadata?: JsonObject | undefined;
}

export interface HealthCheckResult {
  readonly name: string;
  readonly status: HealthStatus;
  /** Milliseconds the check took. */
  readonly latency: number;
  readonly message: string | undefined;
  readonly metadata: JsonObject | undefined;
  readonly criticality: Criticality;
  /** When it was measured; UTC milliseconds. 0 while it was never measured. */
  readonly checkedAt: number;
  /** How old the measurement is; undefined while it was never measured. */
  readonly ageMs?: number | undefined;
}

export interface HealthReport {
  readonly overall: HealthStatus;
  readonly checks: readonly HealthCheckResult[];
  readonly timestamp: number;
  /** How much works only by its fallbacks; undefined of a registry that stands alone. */
  readonly degradation?: Degradation | undefined;
}

/**
 * A critical check that is unhealthy makes the whole unhealthy; an important one degrades it; an optional one does not
 * move it. A critical or important check that is degraded or unknown keeps the whole from being healthy. No check at all is
 * unknown.
 */
export function overallHealth(checks: readonly Pick<HealthCheckResult, "status" | "criticality">[]): HealthStatus {
  const counted = checks.filter((check) => check.criticality !== "optional");
  if (checks.length === 0) return "unknown";
  if (counted.some((check) => check.criticality === "critical" && check.status === "unhealthy")) return "unhealthy";
  if (counted.some((check) => check.status === "degraded" || check.status === "unhealthy")) return "degraded";
  if (counted.some((check) => check.status === "unknown")) return "unknown";
  return "healthy";
}

/** The value of the metric `overall_health`. */
export function healthValue(status: HealthStatus): number {
  switch (status) {
    case "healthy":
      return 1;
    case "degraded":
      return 0.5;
    case "unhealthy":
    case "unknown":
      return 0;
  }
}
