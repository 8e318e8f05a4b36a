/** Maintenance windows as they are kept. */
import type { MaintenanceWindow } from "../../shared/maintenance.js";

export interface MaintenanceStore {
  /** One that is announced again under its id stays as it is. */
  announceMaintenance(window: MaintenanceWindow): Promise<void>;
  /** Ends one before its time; `false` when there is none of that id that could still end. */
  endMaintenance(end: { readonly windowId: string; readonly at: number }): Promise<boolean>;
  /** Those that end last first. @param query.endsAfter only those that are not over then. */
  listMaintenance(query: {
    readonly endsAfter?: number | undefined;
    readonly limit: number;
  }): Promise<readonly MaintenanceWindow[]>;
}
