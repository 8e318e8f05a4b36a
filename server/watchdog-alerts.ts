/** What becomes of an alert of the watchdog: somebody is told, a failure event with its incident, and a row that it shows. */
import type { Failure } from "../shared/failure.js";
import { permitsOf } from "../shared/mode.js";
import type { AlertStore } from "./ports/alert-store.js";
import type { Clock } from "./ports/clock.js";
import type { Ids } from "./ports/ids.js";
import type { Journal } from "./ports/journal.js";
import type { Notification, Notifier } from "./ports/notifier.js";
import type { Settings } from "./ports/settings.js";
import type { FailureStore } from "./ports/store.js";
import type { WatchdogAlert, WatchdogAlertStatus } from "./ports/watchdog.js";
import { WATCHDOG_SERVICE, watchdogFailure, watchdogNotification } from "./watchdog-failure.js";

export interface WatchdogAlertsDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly store: Pick<AlertStore, "raiseAlert" | "resolveAlert"> & Pick<FailureStore, "getFailure">;
  readonly journal: Journal;
  readonly settings: Settings;
  readonly notifier: Notifier;
  /** Turns what is in the journal into rows. Never rejects. */
  readonly drain: () => Promise<void>;
  readonly onFault: (error: unknown) => void;
}

/** Nobody is told in a mode that only records; the failure event is there in any. */
export function createWatchdogAlerts(deps: WatchdogAlertsDeps) {
  const { clock, ids, store, journal, settings, notifier, drain, onFault } = deps;

  /** A notifier of the app's own may throw, and may be slow. */
  const notify = async (notification: Notification) => notifier.notify(notification);

  const raise = async (notification: Notification, failure: Failure) => {
    // The failure's row opens the incident.
    await drain();
    const { dedupeKey, rule, severity, subject, summary, detail } = notification;
    const about = { dedupeKey, rule, severity, subject, summary, detail };
    const incidentId = (await store.getFailure(failure.eventId))?.incidentId;
    await store.raiseAlert({ alertId: ids(), ...about, incidentId, at: failure.timestamp });
  };

  const resolve = ({ dedupeKey }: Notification) => store.resolveAlert({ dedupeKey, at: clock.now() });

  const fire = (alert: WatchdogAlert, told: boolean) => {
    const failure = watchdogFailure(alert, { eventId: ids(), timestamp: clock.now() });
    journal.append({ type: "failure.observed", failure, rescued: false });
    if (told) raise(watchdogNotification(alert, "firing"), failure).catch(onFault);
  };

  const endLeftOver = async (notification: Notification, told: boolean) => {
    if ((await resolve(notification)) && told) await notify(notification);
  };

  return (alert: WatchdogAlert, status: WatchdogAlertStatus): void => {
    const told = permitsOf(settings.mode(), WATCHDOG_SERVICE).alerts;
    const over = watchdogNotification(alert, "resolved");
    switch (status) {
      case "firing":
        if (told) notify(watchdogNotification(alert, "firing")).catch(onFault);
        fire(alert, told);
        return;
      case "resolved":
        if (told) notify(over).catch(onFault);
        resolve(over).catch(onFault);
        return;
      case "calm":
        endLeftOver(over, told).catch(onFault);
    }
  };
}
