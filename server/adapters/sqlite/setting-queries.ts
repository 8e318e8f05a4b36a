/** Reads settings, what became of them, and the tasks under watch. */
import { asc, lte, sql } from "drizzle-orm";
import { settings, settingsHistory, tasks } from "../../../drizzle/self-healing-schema.js";
import type { TaskRun } from "../../../shared/task.js";
import type { Page } from "../../ports/page.js";
import type { SettingRecord, SettingsStore, StoredSetting } from "../../ports/settings-store.js";
import type { TaskStore } from "../../ports/task-store.js";
import { settingFilters, taskFilters } from "../list-filters.js";
import { checkLimit } from "../page-cursor.js";
import { settingRecordOf, storedSettingOf } from "../setting-rows.js";
import { taskRunOf } from "../task-rows.js";
import { prepareDatabaseClock } from "./database-clock.js";
import { readPage } from "./page-conditions.js";
import type { Db } from "./sqlite-connection.js";

export interface SettingQueries {
  loadSettings(): readonly StoredSetting[];
  listSettingChanges(query: Parameters<SettingsStore["listSettingChanges"]>[0]): Page<SettingRecord>;
  listStuckTasks(query: Parameters<TaskStore["listStuckTasks"]>[0]): readonly TaskRun[];
  listTasks(query: Parameters<TaskStore["listTasks"]>[0]): Page<TaskRun>;
}

export function createSettingQueries(db: Db): SettingQueries {
  const databaseNow = prepareDatabaseClock(db);
  const every = db.select().from(settings).orderBy(asc(settings.name)).prepare();
  const stuck = db
    .select()
    .from(tasks)
    .where(sql`status = 'running' and ${lte(tasks.leaseUntil, sql.placeholder("now"))}`)
    .orderBy(asc(tasks.leaseUntil))
    .limit(sql.placeholder("limit"))
    .prepare();

  return {
    loadSettings: () => every.all().map(storedSettingOf),

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
            .limit(limit)
            .all(),
        ({ changedAt, id }) => ({ timestamp: changedAt, id }),
        settingRecordOf,
      );
    },

    listStuckTasks: ({ limit }) => stuck.all({ now: databaseNow(), limit: checkLimit(limit) }).map(taskRunOf),

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
            .limit(limit)
            .all(),
        ({ startedAt, id }) => ({ timestamp: startedAt, id }),
        taskRunOf,
      );
    },
  };
}
