/** Settings that nobody changes and a watchdog that sleeps, for what is not about them. */

import type { MaintenanceControl } from "../../server/ports/maintenance.js";
import type { SettingsControl } from "../../server/ports/settings.js";
import type { WatchdogControl } from "../../server/ports/watchdog.js";

export const fixedSettings: SettingsControl = {
  view: () => ({ settings: [], ageMs: 0, repairsWait: false, unstored: [] }),
  change: async () => ({ committed: false, stored: undefined }),
};

export const sleepingWatchdog: WatchdogControl = {
  state: () => ({
    beats: 0,
    sinceMs: undefined,
    tookMs: undefined,
    missed: false,
    verdict: "normal",
    own: { ended: 0, failed: 0, rate: undefined },
    firing: [],
  }),
  healEverything: async () => ({ health: { overall: "unknown", checks: [], timestamp: 0 }, repaired: [] }),
};

export const noMaintenance: MaintenanceControl = {
  announce: async (window) => ({ ...window, windowId: "none" }),
  end: async () => false,
};
