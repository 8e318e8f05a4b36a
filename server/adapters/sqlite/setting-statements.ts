/** Writes settings with their history, in whatever transaction is open. */
import { desc, eq, sql } from "drizzle-orm";
import { settings, settingsHistory } from "../../../drizzle/self-healing-schema.js";
import type { SettingChange, SettingCommit } from "../../ports/settings-store.js";
import { changed, isSet, settingRecordOf, settingRowOf } from "../setting-rows.js";
import { prepareInsert } from "./prepared-row.js";
import type { Db } from "./sqlite-connection.js";

export interface SettingStatements {
  changeSetting(change: SettingChange): SettingCommit;
}

export function createSettingStatements(db: Db): SettingStatements {
  const put = prepareInsert(db, settings, {
    target: [settings.name],
    set: ["value", "version", "updatedBy", "reason", "updatedAt"],
  });
  const append = prepareInsert(db, settingsHistory);
  const remove = db
    .delete(settings)
    .where(eq(settings.name, sql.placeholder("name")))
    .prepare();
  const newest = db
    .select()
    .from(settingsHistory)
    .where(eq(settingsHistory.name, sql.placeholder("name")))
    .orderBy(desc(settingsHistory.version))
    .limit(1)
    .prepare();

  return {
    changeSetting(change) {
      const row = newest.get({ name: change.name });
      const { isNew, ...commit } = changed(row && settingRecordOf(row), change);
      const { stored } = commit;
      if (!isNew || stored === undefined) return commit;
      append({ id: undefined, ...stored });
      if (isSet(stored)) put(settingRowOf(stored));
      else remove.run({ name: change.name });
      return commit;
    },
  };
}
