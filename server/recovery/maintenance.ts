/** Knows the maintenance windows in force, from the store every few seconds; while that is away, by the last known ones. */
import { isInMaintenance, type MaintenanceWindow } from "../../shared/maintenance.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { MaintenanceControl } from "../ports/maintenance.js";
import type { MaintenanceStore } from "../ports/maintenance-store.js";

export interface Maintenance extends MaintenanceControl {
  /** A read of memory. */
  covers(service: string, now: number): boolean;
  start(): void;
  stop(): Promise<void>;
}

export interface MaintenanceDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly store: MaintenanceStore;
  readonly onFault: (error: unknown) => void;
}

const READ_EVERY_MS = 5 * SECOND_MS;
/** Windows in force at once that are read. */
const MOST = 200;

export function createMaintenance({ clock, ids, store, onFault }: MaintenanceDeps): Maintenance {
  let windows: readonly MaintenanceWindow[] = [];
  let changes = 0;
  const change = (changed: readonly MaintenanceWindow[]) => {
    windows = changed;
    changes += 1;
  };
  const read = async (): Promise<void> => {
    const before = changes;
    const stored = await store.listMaintenance({ endsAfter: clock.now(), limit: MOST });
    // It may have been asked for before what was announced or ended here since.
    if (changes !== before) return read();
    windows = stored;
  };
  const loop = createLoop({ clock, intervalMs: () => READ_EVERY_MS, run: read, onError: onFault });
  return Object.freeze<Maintenance>({
    covers: (service, now) => isInMaintenance(windows, service, now),
    async announce(given) {
      const window = { windowId: ids(), ...given };
      await store.announceMaintenance(window);
      change([window, ...windows]);
      return window;
    },
    async end(windowId) {
      const ended = await store.endMaintenance({ windowId, at: clock.now() });
      change(windows.filter((window) => window.windowId !== windowId));
      return ended;
    },
    start() {
      loop.start();
      loop.wake();
    },
    stop: () => loop.stop(),
  });
}
