/** Writes and reads maintenance windows, in the transaction of `db`. */
import { and, desc, eq, gt } from "drizzle-orm";
import { maintenanceWindows as windows } from "../../../drizzle/postgres/self-healing-schema.js";
import type { MaintenanceWindow } from "../../../shared/maintenance.js";
import type { MaintenanceStore } from "../../ports/maintenance-store.js";
import { maintenanceOfRow } from "../maintenance-rows.js";
import { checkLimit } from "../page-cursor.js";
import type { Db } from "./postgres-connection.js";

type Of<Method extends keyof MaintenanceStore> = Parameters<MaintenanceStore[Method]>[0];

export async function announceMaintenance(db: Db, window: MaintenanceWindow, now: number): Promise<void> {
  await db
    .insert(windows)
    .values({ ...window, createdAt: now })
    .onConflictDoNothing();
}

export async function endMaintenance(db: Db, { windowId, at }: Of<"endMaintenance">): Promise<boolean> {
  const ended = await db
    .update(windows)
    .set({ endsAt: at })
    .where(and(eq(windows.windowId, windowId), gt(windows.endsAt, at)))
    .returning({ id: windows.id });
  return ended.length > 0;
}

export function createMaintenanceQueries(db: Db) {
  return {
    async listMaintenance({ endsAfter, limit }: Of<"listMaintenance">): Promise<readonly MaintenanceWindow[]> {
      const rows = await db
        .select()
        .from(windows)
        .where(endsAfter === undefined ? undefined : gt(windows.endsAt, endsAfter))
        .orderBy(desc(windows.endsAt))
        .limit(checkLimit(limit));
      return rows.map(maintenanceOfRow);
    },
  };
}
