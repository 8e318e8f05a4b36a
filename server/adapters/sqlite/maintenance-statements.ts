/** Writes and reads maintenance windows, in whatever transaction is open. */
import { and, desc, eq, gt } from "drizzle-orm";
import { maintenanceWindows as windows } from "../../../drizzle/self-healing-schema.js";
import type { MaintenanceWindow } from "../../../shared/maintenance.js";
import type { MaintenanceStore } from "../../ports/maintenance-store.js";
import { maintenanceOfRow } from "../maintenance-rows.js";
import { checkLimit } from "../page-cursor.js";
import type { Db } from "./sqlite-connection.js";

type Of<Method extends keyof MaintenanceStore> = Parameters<MaintenanceStore[Method]>[0];

export interface MaintenanceStatements {
  announceMaintenance(window: MaintenanceWindow, now: number): void;
  endMaintenance(end: Of<"endMaintenance">): boolean;
}

export function createMaintenanceStatements(db: Db): MaintenanceStatements {
  return {
    announceMaintenance: (window, now) =>
      void db
        .insert(windows)
        .values({ ...window, createdAt: now })
        .onConflictDoNothing()
        .run(),
    endMaintenance({ windowId, at }) {
      const couldEnd = and(eq(windows.windowId, windowId), gt(windows.endsAt, at));
      return db.update(windows).set({ endsAt: at }).where(couldEnd).run().changes > 0;
    },
  };
}

export interface MaintenanceQueries {
  listMaintenance(query: Of<"listMaintenance">): readonly MaintenanceWindow[];
}

export function createMaintenanceQueries(db: Db): MaintenanceQueries {
  return {
    listMaintenance: ({ endsAfter, limit }) =>
      db
        .select()
        .from(windows)
        .where(endsAfter === undefined ? undefined : gt(windows.endsAt, endsAfter))
        .orderBy(desc(windows.endsAt))
        .limit(checkLimit(limit))
        .all()
        .map(maintenanceOfRow),
  };
}
