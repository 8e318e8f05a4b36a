/** Writes settings with their history, in the transaction of `db`. */
import { desc, eq } from "drizzle-orm";
import { settings, settingsHistory } from "../../../drizzle/postgres/self-healing-schema.js";
import type { SettingChange, SettingCommit } from "../../ports/settings-store.js";
import { changed, isSet, settingRecordOf, settingRowOf } from "../setting-rows.js";
import type { Db } from "./postgres-connection.js";

export async function changeSetting(db: Db, change: SettingChange): Promise<SettingCommit> {
  const [row] = await db
    .select()
    .from(settingsHistory)
    .where(eq(settingsHistory.name, change.name))
    .orderBy(desc(settingsHistory.version))
    .limit(1);
  const { isNew, ...commit } = changed(row && settingRecordOf(row), change);
  const { stored } = commit;
  if (!isNew || stored === undefined) return commit;
  await db.insert(settingsHistory).values(stored);
  if (isSet(stored)) {
    const set = settingRowOf(stored);
    await db.insert(settings).values(set).onConflictDoUpdate({ target: settings.name, set });
  } else {
    await db.delete(settings).where(eq(settings.name, change.name));
  }
  return commit;
}
