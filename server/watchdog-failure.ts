/** What the watchdog says of Paramedic itself: as a failure event, as a notification, and as a health check. */
import type { Failure } from "../shared/failure.js";
import type { HealthCheckRegistry } from "./health/health-check-registry.js";
import type { Notification } from "./ports/notifier.js";
import type { WatchdogAlert, WatchdogState } from "./ports/watchdog.js";

/** Ours: what fails here leads to no repair. */
export const WATCHDOG_SERVICE = "paramedic.watchdog";

export function watchdogFailure(
  { rule, severity, summary }: WatchdogAlert,
  { eventId, timestamp }: Pick<Failure, "eventId" | "timestamp">,
): Failure {
  return {
    eventId,
    timestamp,
    failureCategory: "internal_service",
    failureType: "anomaly",
    severity,
    affectedService: WATCHDOG_SERVICE,
    errorMessage: summary,
    context: { rule },
    detectionMethod: "watchdog",
  };
}

/** What somebody is told of it. */
export function watchdogNotification(
  { rule, severity, summary }: WatchdogAlert,
  status: Notification["status"],
): Notification {
  return { dedupeKey: `${WATCHDOG_SERVICE} ${rule}`, status, rule, severity, subject: WATCHDOG_SERVICE, summary };
}

/** The watchdog watches itself here: a beat that does not come makes the check unhealthy, and takes nothing out of service. */
export function registerWatchdogCheck(
  registry: Pick<HealthCheckRegistry, "register">,
  { state }: { readonly state: () => WatchdogState },
  { enabled }: { readonly enabled: boolean },
): void {
  if (!enabled) return;
  registry.register(
    "watchdog",
    async () => {
      const { missed, sinceMs, tookMs, beats, verdict } = state();
      const metadata = { beats, sinceMs: sinceMs ?? null, tookMs: tookMs ?? null, verdict };
      if (missed) return { status: "unhealthy", message: "a beat of the watchdog is missed", metadata };
      if (verdict === "normal") return { status: "healthy", metadata };
      return { status: "degraded", message: "too many of Paramedic's own repairs fail", metadata };
    },
    { criticality: "optional", recordsLatency: false },
  );
}
