/** What a change makes of a setting: the same for every store. */
import type { settings, settingsHistory } from "../../drizzle/self-healing-schema.js";
import type { SettingChange, SettingCommit, SettingRecord, StoredSetting } from "../ports/settings-store.js";
import type { NewRow } from "./new-row.js";

export function storedSettingOf(row: typeof settings.$inferSelect): StoredSetting {
  const { updatedBy: changedBy, updatedAt: changedAt, ...rest } = row;
  return { ...rest, changedBy, changedAt };
}

export function settingRecordOf(row: typeof settingsHistory.$inferSelect): SettingRecord {
  const { id: _, value, ...rest } = row;
  return { ...rest, value: value ?? undefined };
}

export function settingRowOf({ changedBy, changedAt, ...rest }: StoredSetting): NewRow<typeof settings.$inferInsert> {
  return { ...rest, updatedBy: changedBy, updatedAt: changedAt };
}

export function isSet(record: SettingRecord): record is StoredSetting {
  return record.value !== undefined;
}

/**
 * @param latest the newest line of the setting's history
 * @returns what stands, and whether it is a new line
 */
export function changed(
  latest: SettingRecord | undefined,
  change: SettingChange,
): SettingCommit & { readonly isNew: boolean } {
  if (latest !== undefined && isSameChange(latest, change)) return { committed: true, stored: latest, isNew: false };
  const { expectedVersion, ...rest } = change;
  const version = latest?.version ?? 0;
  if (expectedVersion !== undefined && expectedVersion !== version) {
    return { committed: false, stored: latest, isNew: false };
  }
  return { committed: true, stored: { ...rest, version: version + 1 }, isNew: true };
}

function isSameChange(record: SettingRecord, change: SettingChange): boolean {
  return (
    record.changedAt === change.changedAt &&
    record.changedBy === change.changedBy &&
    record.reason === change.reason &&
    JSON.stringify(record.value) === JSON.stringify(change.value)
  );
}
