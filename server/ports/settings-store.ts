/** Where operators' and the watchdog's settings are kept: one row for each that was changed, and every change. */
import type { SettingValue } from "../../shared/settings.js";
import type { Page } from "./page.js";

/** A setting that was changed; one without a row has its default. */
export interface StoredSetting {
  readonly name: string;
  readonly value: SettingValue;
  /** Rises with every change, also over a return to the default. */
  readonly version: number;
  readonly changedBy: string;
  readonly reason: string;
  /** UTC milliseconds. */
  readonly changedAt: number;
}

/** One line of a setting's history. `value` is undefined where it was taken back to its default. */
export type SettingRecord = Omit<StoredSetting, "value"> & { readonly value: SettingValue | undefined };

export interface SettingChange {
  readonly name: string;
  /** Undefined takes it back to its default. */
  readonly value: SettingValue | undefined;
  readonly changedBy: string;
  readonly reason: string;
  readonly changedAt: number;
  /** The version that the change was decided upon, 0 where nothing is stored. @default whatever is stored */
  readonly expectedVersion?: number | undefined;
}

/** `stored` is what stands: of a change that was refused, what another one made of it meanwhile. */
export interface SettingCommit {
  readonly committed: boolean;
  readonly stored: SettingRecord | undefined;
}

export interface SettingsStore {
  /** Every setting that has a row. */
  loadSettings(): Promise<readonly StoredSetting[]>;
  /** Writes the setting and its history in one. The same change delivered again is one change. */
  changeSetting(change: SettingChange): Promise<SettingCommit>;
  /** Newest first. */
  listSettingChanges(query: {
    readonly name?: string | undefined;
    readonly cursor?: string | undefined;
    readonly limit: number;
  }): Promise<Page<SettingRecord>>;
}
