/** Maintenance as operators see it. */
import type { MaintenanceWindow } from "../../shared/maintenance.js";

export interface MaintenanceControl {
  /** It holds in this instance at once and in the others within seconds. Rejects while the store is away. */
  announce(window: Omit<MaintenanceWindow, "windowId">): Promise<MaintenanceWindow>;
  /** Ends one now; `false` when there is none of that id that could still end. Rejects while the store is away. */
  end(windowId: string): Promise<boolean>;
}
