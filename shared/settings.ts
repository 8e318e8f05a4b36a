/**
 * What operators and the watchdog change while everything runs: the names, their legal values, and what is in force under the
 * environment's ceiling. Pure.
 */
import type { Json } from "./failure.js";
import type { FeatureFlags } from "./feature-flags.js";
import { lowerMode, MODES, type Mode } from "./mode.js";

/** Flags that can be turned off, and on again, at run time. `SELF_HEALING_ENABLED` is none of them: it decides what is built. */
export const LIVE_FLAGS = [
  "INSTRUMENTATION_ENABLED",
  "HEALTH_MONITORING_ENABLED",
  "CIRCUIT_BREAKERS_ENABLED",
  "AUTO_RECOVERY_ENABLED",
  "RETRY_STRATEGY_ENABLED",
  "FAILOVER_STRATEGY_ENABLED",
] as const satisfies readonly (keyof FeatureFlags)[];
export type LiveFlag = (typeof LIVE_FLAGS)[number];

/**
 * emergency_stop  no repair begins until an operator takes it back
 * safety_mode     repairs are decided and recorded, not carried out, until Paramedic's own failure rate has fallen
 */
export const SETTING_NAMES = ["mode", "emergency_stop", "safety_mode", ...LIVE_FLAGS] as const;
export type SettingName = (typeof SETTING_NAMES)[number];

/** A value that can be stored; null cannot be told from nothing in every database. */
export type SettingValue = Exclude<Json, null>;

/** What a setting can be. */
export type SettingValues = { readonly mode: Mode } & { readonly [Name in Exclude<SettingName, "mode">]: boolean };

/** Where a value in force comes from. `ceiling`: something else was stored, and the environment forbids it. */
export type SettingSource = "default" | "environment" | "code" | "stored" | "ceiling";

/** What the environment allows at most, and what code chose under it. */
export interface SettingCeiling {
  readonly mode: Mode;
  /** In force while nothing is stored. */
  readonly chosenMode: Mode;
  readonly flags: Readonly<Record<LiveFlag, boolean>>;
}

/** @example isSettingName("mode") // true */
export function isSettingName(name: string): name is SettingName {
  return SETTING_NAMES.some((known) => known === name);
}

/** Whether a value is legal for a setting. What another version stored may not be. */
export function isLegalSetting(name: SettingName, value: unknown): boolean {
  return name === "mode" ? MODES.some((mode) => mode === value) : typeof value === "boolean";
}

/**
 * What is in force.
 *
 * @param stored values by name; what is absent or not legal has its default
 * @example settingsInForce({ mode: "limited", chosenMode: "limited", flags }, { mode: "full" }).mode // "limited"
 */
export function settingsInForce(
  ceiling: SettingCeiling,
  stored: Readonly<Partial<Record<SettingName, unknown>>>,
): SettingValues {
  const flag = (name: LiveFlag) => ceiling.flags[name] && stored[name] !== false;
  const mode = MODES.find((known) => known === stored.mode) ?? ceiling.chosenMode;
  return {
    mode: lowerMode(mode, ceiling.mode),
    emergency_stop: stored.emergency_stop === true,
    safety_mode: stored.safety_mode === true,
    INSTRUMENTATION_ENABLED: flag("INSTRUMENTATION_ENABLED"),
    HEALTH_MONITORING_ENABLED: flag("HEALTH_MONITORING_ENABLED"),
    CIRCUIT_BREAKERS_ENABLED: flag("CIRCUIT_BREAKERS_ENABLED"),
    AUTO_RECOVERY_ENABLED: flag("AUTO_RECOVERY_ENABLED"),
    RETRY_STRATEGY_ENABLED: flag("RETRY_STRATEGY_ENABLED"),
    FAILOVER_STRATEGY_ENABLED: flag("FAILOVER_STRATEGY_ENABLED"),
  };
}

/** Why the value in force is what it is. */
export function sourceOf(
  name: SettingName,
  ceiling: SettingCeiling,
  stored: Readonly<Partial<Record<SettingName, unknown>>>,
): SettingSource {
  const value = stored[name];
  if (value !== undefined && isLegalSetting(name, value)) {
    return settingsInForce(ceiling, stored)[name] === value ? "stored" : "ceiling";
  }
  if (name === "mode") return ceiling.chosenMode === ceiling.mode ? "environment" : "code";
  return LIVE_FLAGS.some((flag) => flag === name && !ceiling.flags[flag]) ? "environment" : "default";
}
