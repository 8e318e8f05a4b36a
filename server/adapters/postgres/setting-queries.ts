/** Reads settings, what became of them, and the tasks under watch. */
import { and, asc, eq, lte } from "drizzle-orm";
import { settings, settingsHistory, tasks } from "../../../drizzle/postgres/self-healing-schema.js";
import type { TaskRun } from "../../../shared/task.js";
import type { Page } from "../../ports/page.js";
import type { SettingRecord, SettingsStore, StoredSetting } from "../../ports/settings-store.js";
import type { TaskStore } from "../../ports/task-store.js";
import { settingFilters, taskFilters } from "../list-filters.js";
import { checkLimit } from "../page-cursor.js";
import { settingRecordOf, storedSettingOf } from "../setting-rows.js";
import { taskRunOf } from "../task-rows.js";
import { DATABASE_NOW } from "./database-clock.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./postgres-connection.js";

export interface SettingQueries {
  loadSettings(): Promise<readonly StoredSetting[]>;
  listSettingChanges(query: Parameters<SettingsStore["listSettingChanges"]>[0]): Promise<Page<SettingRecord>>;
  listStuckTasks(query: Parameters<TaskStore["listStuckTasks"]>[0]): Promise<readonly TaskRun[]>;
  listTasks(query: Parameters<TaskStore["listTasks"]>[0]): Promise<Page<TaskRun>>;
}

export function createSettingQueries(db: Db): SettingQueries {
  return {
    async loadSettings() {
      return (await db.select().from(settings).orderBy(asc(settings.name))).map(storedSettingOf);
    },

    listSettingChanges(query) {
      return readPage(
        query,
        { time: settingsHistory.changedAt, id: settingsHistory.id },
        settingFilters(query, settingsHistory),
        (where, orderBy, limit) =>
          db
            .select()
            .from(settingsHistory)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit),
        ({ changedAt, id }) => ({ timestamp: changedAt, id }),
        settingRecordOf,
      );
    },

    async listStuckTasks({ limit }) {
      const stuck = await db
        .select()
        .from(tasks)
        .where(and(eq(tasks.status, "running"), lte(tasks.leaseUntil, DATABASE_NOW)))
        .orderBy(asc(tasks.leaseUntil))
        .limit(checkLimit(limit));
      return stuck.map(taskRunOf);
    },

    listTasks(query) {
      return readPage(
        query,
        { time: tasks.startedAt, id: tasks.id },
        taskFilters(query, tasks),
        (where, orderBy, limit) =>
          db
            .select()
            .from(tasks)
            .where(where)
            .orderBy(...orderBy)
            .limit(limit),
        ({ startedAt, id }) => ({ timestamp: startedAt, id }),
        taskRunOf,
      );
    },
  };
}
