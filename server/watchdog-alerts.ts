/** What becomes of an alert of the watchdog: a line in the log, a failure event with its incident, and a row that it shows. */
import { permitsOf } from "../shared/mode.js";
import type { AlertStore } from "./ports/alert-store.js";
import type { Clock } from "./ports/clock.js";
import type { Ids } from "./ports/ids.js";
import type { Journal } from "./ports/journal.js";
import type { Logger } from "./ports/logger.js";
import type { Settings } from "./ports/settings.js";
import type { FailureStore } from "./ports/store.js";
import type { WatchdogAlert } from "./ports/watchdog.js";
import { WATCHDOG_SERVICE, watchdogFailure } from "./watchdog-failure.js";

export interface WatchdogAlertsDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly store: Pick<AlertStore, "raiseAlert" | "resolveAlert"> & Pick<FailureStore, "getFailure">;
  readonly journal: Journal;
  readonly settings: Settings;
  readonly logger: Logger;
  /** Turns what is in the journal into rows. Never rejects. */
  readonly drain: () => Promise<void>;
  readonly onFault: (error: unknown) => void;
}

/** Nobody is told in a mode that only records; the failure event is there in any. */
export function createWatchdogAlerts(deps: WatchdogAlertsDeps) {
  const { clock, ids, store, journal, settings, logger, drain, onFault } = deps;
  return (alert: WatchdogAlert, status: "firing" | "resolved"): void => {
    const { rule, severity, summary } = alert;
    const told = permitsOf(settings.mode(), WATCHDOG_SERVICE).alerts;
    const dedupeKey = `${WATCHDOG_SERVICE} ${rule}`;
    if (told) logger[status === "firing" ? "error" : "info"]({ event: "alert", ...alert, status }, summary);
    if (status === "resolved") {
      store.resolveAlert({ dedupeKey, at: clock.now() }).catch(onFault);
      return;
    }
    const failure = watchdogFailure(alert, { eventId: ids(), timestamp: clock.now() });
    journal.append({ type: "failure.observed", failure, rescued: false });
    if (!told) return;
    const raise = async () => {
      // The failure's row opens the incident.
      await drain();
      const incidentId = (await store.getFailure(failure.eventId))?.incidentId;
      const about = { dedupeKey, rule, severity, summary, subject: WATCHDOG_SERVICE, detail: undefined, incidentId };
      await store.raiseAlert({ alertId: ids(), ...about, at: failure.timestamp });
    };
    raise().catch(onFault);
  };
}
