/** A maintenance window as it is stored and as it is told. */
import type { maintenanceWindows } from "../../drizzle/self-healing-schema.js";
import type { MaintenanceWindow } from "../../shared/maintenance.js";

export function maintenanceOfRow(row: typeof maintenanceWindows.$inferSelect): MaintenanceWindow {
  const { windowId, services, createdBy, reason, startsAt, endsAt } = row;
  return { windowId, services, createdBy, reason, startsAt, endsAt };
}
