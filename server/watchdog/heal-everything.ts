/** One look at all that is known, and a repair of each part that fails: at start and by hand, as mode and stop allow. */
import type { DetectionMethod, Failure, FailureCategory, FailureType } from "../../shared/failure.js";
import type { HealthReport } from "../../shared/health.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { HealReport } from "../ports/watchdog.js";

export interface HealEverythingDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  /** What each check is called as a failure. */
  readonly checks: () => readonly {
    readonly name: string;
    readonly failureType: FailureType;
    readonly failureCategory: FailureCategory;
  }[];
  /** Runs all checks. */
  readonly check: () => Promise<HealthReport>;
  /** Sweeps, resets stuck tasks, judges. */
  readonly beat: () => Promise<void>;
  readonly repair: (failure: Failure) => Promise<{
    readonly recovered: boolean;
    readonly actions: readonly { actionStrategy: string; status: string }[];
  }>;
}

export function createHealEverything({ clock, ids, checks, check, beat, repair }: HealEverythingDeps) {
  return async function healEverything(
    detectionMethod: Extract<DetectionMethod, "manual" | "watchdog"> = "manual",
  ): Promise<HealReport> {
    const before = await check();
    await beat();
    const failing = before.checks.filter(
      ({ status, criticality }) => status === "unhealthy" && criticality !== "optional",
    );
    const known = new Map(checks().map((registered) => [registered.name, registered]));
    const repaired: HealReport["repaired"][number][] = [];
    for (const { name, message, criticality } of failing) {
      const { recovered, actions } = await repair({
        eventId: ids(),
        timestamp: clock.now(),
        failureCategory: known.get(name)?.failureCategory ?? "internal_service",
        failureType: known.get(name)?.failureType ?? "health_check_failed",
        severity: criticality === "critical" ? "critical" : "high",
        affectedService: name,
        errorMessage: message ?? `${name} is unhealthy`,
        context: { check: name, criticality },
        detectionMethod,
      });
      repaired.push({
        check: name,
        recovered,
        actions: actions.map(({ actionStrategy, status }) => `${actionStrategy}: ${status}`),
      });
    }
    return { health: failing.length === 0 ? before : await check(), repaired };
  };
}
