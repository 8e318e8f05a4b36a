/** What an operator may change while the process runs, under the environment's ceiling. */
import type { Mode } from "../../shared/mode.js";
import type { SettingName, SettingSource, SettingValue } from "../../shared/settings.js";
import type { SettingChange, SettingCommit, StoredSetting } from "./settings-store.js";

export interface Settings {
  /** The mode now in force. */
  mode(): Mode;
  /** Emergency stop, or settings that cannot be read any more: repairs wait, rescues and local circuits go on. */
  stopped(): boolean;
  /** Safety mode: repairs are decided and recorded, not carried out. @default never */
  readonly safety?: () => boolean;
}

/** One setting as an operator sees it. */
export interface SettingView {
  readonly name: SettingName;
  /** In force. */
  readonly value: SettingValue;
  readonly source: SettingSource;
  /** What it can be at most: the environment's mode, or whether the flag may be on. Undefined where nothing limits it. */
  readonly ceiling: SettingValue | undefined;
  readonly stored: Omit<StoredSetting, "name"> | undefined;
}

export interface SettingsView {
  readonly settings: readonly SettingView[];
  /** How old the last reading is; undefined while there was none. */
  readonly ageMs: number | undefined;
  /** Repairs wait: stopped, or not known for too long. */
  readonly repairsWait: boolean;
  /** Demanded here and not stored yet. */
  readonly unstored: readonly SettingName[];
}

/** What operators do with settings. */
export interface SettingsControl {
  /** From memory, with its age: it answers while the store is away. */
  view(): SettingsView;
  /** Stores an operator's change and puts it in force, here at once. Rejects while the store is away. */
  change(change: Omit<SettingChange, "changedAt"> & { readonly name: SettingName }): Promise<SettingCommit>;
}
