/** Settings in plain maps. */
import type { SettingRecord, SettingsStore } from "../../ports/settings-store.js";
import { changed, isSet } from "../setting-rows.js";
import { type Kept, newestFirst, type Slice } from "./memory-rows.js";

export interface MemorySettings {
  readonly store: SettingsStore;
  /** All but the last change of each. */
  prune(slice: Slice): number;
}

export function createMemorySettings(capacity: number): MemorySettings {
  const history: Kept<SettingRecord>[] = [];
  let lastId = 0;

  const newest = (name: string): SettingRecord | undefined => history.findLast(({ row }) => row.name === name)?.row;
  const forget = (kept: Kept<SettingRecord>) => history.splice(history.indexOf(kept), 1);
  const old = () => history.filter(({ row }) => newest(row.name) !== row);

  return {
    store: {
      async loadSettings() {
        const names = [...new Set(history.map(({ row }) => row.name))].toSorted();
        return names.flatMap((name) => {
          const record = newest(name);
          return record !== undefined && isSet(record) ? [record] : [];
        });
      },
      async changeSetting(change) {
        const { isNew, ...commit } = changed(newest(change.name), change);
        if (isNew && commit.stored !== undefined) {
          lastId += 1;
          history.push({ id: lastId, row: commit.stored });
          if (history.length > capacity) old().slice(0, 1).forEach(forget);
        }
        return commit;
      },
      async listSettingChanges(query) {
        return newestFirst(
          history,
          query,
          (row) => row.changedAt,
          (row) => query.name === undefined || row.name === query.name,
        );
      },
    },
    prune({ before, limit }) {
      const first = old()
        .filter(({ row }) => row.changedAt < before)
        .slice(0, limit);
      first.forEach(forget);
      return first.length;
    },
  };
}
