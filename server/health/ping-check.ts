/** Health by round trip: of the store, a guarded database, Redis. */
import type { HealthCheckOutcome } from "../../shared/health.js";
import type { Clock } from "../ports/clock.js";
import type { HealthCheck } from "./run-health-check.js";

/** Whatever can be asked for a sign of life. What it gives is not looked at; throwing or rejecting is no sign of life. */
export interface Pingable {
  ping(): unknown;
  /** False while it is being made ready for the first time: then it is not asked, and is neither well nor ill. */
  isReady?(): boolean;
  /** What it cannot do although it answers, in words; undefined when it can do everything. */
  degradedBecause?(): string | undefined;
}

/**
 * Healthy when the answer takes less than `healthyBelowMs`, degraded when it takes longer or the target says that it cannot do
 * everything, unhealthy when there is none.
 *
 * @example registry.register("database", createPingCheck(clock, db, { healthyBelowMs: 100 }))
 */
export function createPingCheck(
  clock: Clock,
  target: Pingable,
  { healthyBelowMs }: { readonly healthyBelowMs: number },
): HealthCheck {
  return async () => {
    if (target.isReady?.() === false) return { status: "unknown", message: "it is being opened" };
    const startedAt = clock.monotonic();
    await target.ping();
    const because = target.degradedBecause?.();
    if (because !== undefined) return { status: "degraded", message: because };
    return judgeRoundTrip(clock.monotonic() - startedAt, healthyBelowMs);
  };
}

export function judgeRoundTrip(tookMs: number, healthyBelowMs: number): HealthCheckOutcome {
  if (tookMs < healthyBelowMs) return { status: "healthy" };
  return {
    status: "degraded",
    message: `answered after ${Math.round(tookMs)} ms; healthy is under ${healthyBelowMs} ms`,
  };
}
