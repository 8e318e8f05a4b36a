/** Maintenance windows in a map. */
import type { MaintenanceWindow } from "../../../shared/maintenance.js";
import type { MaintenanceStore } from "../../ports/maintenance-store.js";
import { checkLimit } from "../page-cursor.js";
import { forgetOldest, prune, type Slice } from "./memory-rows.js";

export function createMemoryMaintenance(capacity: number) {
  const windows = new Map<string, MaintenanceWindow>();
  const store: MaintenanceStore = {
    async announceMaintenance(window) {
      if (windows.has(window.windowId)) return;
      windows.set(window.windowId, window);
      forgetOldest(windows, capacity);
    },
    async endMaintenance({ windowId, at }) {
      const window = windows.get(windowId);
      if (window === undefined || window.endsAt <= at) return false;
      windows.set(windowId, { ...window, endsAt: at });
      return true;
    },
    async listMaintenance({ endsAfter = Number.NEGATIVE_INFINITY, limit }) {
      return [...windows.values()]
        .filter(({ endsAt }) => endsAt > endsAfter)
        .toSorted((a, b) => b.endsAt - a.endsAt)
        .slice(0, checkLimit(limit));
    },
  };
  return {
    store,
    prune: ({ before, limit }: Slice): number => prune(windows, limit, ({ endsAt }) => endsAt < before),
  };
}
