/**
 * The settings in force in this process: what is stored, under the environment's ceiling. They are read twice a second, and
 * at once when somebody says that they changed. While they cannot be read the last known values stand; after ten seconds
 * repairs wait besides (law 21). What this process demands of itself, as an emergency stop, is in force before it is stored.
 */
import type { Mode } from "../../shared/mode.js";
import {
  isLegalSetting,
  isSettingName,
  SETTING_NAMES,
  type SettingCeiling,
  type SettingName,
  type SettingValue,
  type SettingValues,
  settingsInForce,
  sourceOf,
} from "../../shared/settings.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { ControlChannel } from "../ports/control-channel.js";
import type { Settings, SettingsControl, SettingView } from "../ports/settings.js";
import type { SettingChange, SettingsStore, StoredSetting } from "../ports/settings-store.js";

export interface LiveSettingsDeps {
  readonly clock: Clock;
  readonly store: Pick<SettingsStore, "loadSettings" | "changeSetting">;
  readonly channel: ControlChannel;
  readonly ceiling: SettingCeiling;
  /** Told of every fault of the store, and of a stored value that is not legal. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface LiveSettings extends Settings, SettingsControl {
  values(): SettingValues;
  /** The stored row of a setting, as it was last read. */
  stored(name: SettingName): StoredSetting | undefined;
  /** Puts in force at once what the watchdog decided; it is stored as soon as may be. */
  demand(name: "emergency_stop" | "safety_mode", value: boolean, reason: string): void;
  /** Told of what came in force. Returns how to stop listening. */
  subscribe(listener: (values: SettingValues, before: SettingValues) => void): () => void;
  /** After the first reading, whatever came of it. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Reads now, or joins the reading under way. Never rejects. */
  refresh(): Promise<void>;
}

/** Twice within the second in which a change must take effect. */
const READ_EVERY_MS = SECOND_MS / 2;
/** How long settings that cannot be read are believed. */
export const SETTINGS_BELIEVED_MS = 10 * SECOND_MS;

/** Who changes what no operator did. */
export const WATCHDOG = "watchdog";

/**
 * @example
 * const settings = createLiveSettings({ clock, store, channel, ceiling, onFault });
 * await settings.start();
 * settings.mode(); // "limited"
 */
export function createLiveSettings({ clock, store, channel, ceiling, onFault }: LiveSettingsDeps): LiveSettings {
  const listeners = new Set<Parameters<LiveSettings["subscribe"]>[0]>();
  const demands = new Map<SettingName, SettingChange & { readonly name: SettingName }>();
  const complained = new Set<string>();
  let rows = new Map<SettingName, StoredSetting>();
  let inForce = settingsInForce(ceiling, {});
  let readAt: number | undefined;

  const storedValues = () => {
    const values: Partial<Record<SettingName, unknown>> = {};
    for (const [name, { value }] of [...rows, ...demands]) values[name] = value;
    return values;
  };

  const settle = () => {
    const before = inForce;
    const values = settingsInForce(ceiling, storedValues());
    if (SETTING_NAMES.every((name) => values[name] === before[name])) return;
    inForce = values;
    for (const listener of listeners) {
      try {
        listener(values, before);
      } catch (error) {
        onFault(error);
      }
    }
  };

  /** A value of another version, or a hand that slipped: it counts as absent, and is told once. */
  const complain = ({ name, version }: StoredSetting) => {
    const key = `${name}:${version}`;
    if (complained.has(key)) return;
    complained.add(key);
    onFault(new TypeError(`the stored setting ${name} has a value that this version does not know; it is ignored`));
  };

  const put = (read: readonly StoredSetting[]) => {
    const known = new Map<SettingName, StoredSetting>();
    for (const row of read) {
      if (!isSettingName(row.name)) continue;
      if (!isLegalSetting(row.name, row.value)) complain(row);
      known.set(row.name, row);
    }
    rows = known;
    settle();
  };

  const storeDemands = async () => {
    for (const [name, demand] of demands) {
      await store.changeSetting(demand);
      if (demands.get(name) === demand) demands.delete(name);
      channel.publish({ type: "settings.changed", name });
    }
  };

  const loop = createLoop({
    clock,
    intervalMs: READ_EVERY_MS,
    async run() {
      await storeDemands();
      const askedAt = clock.monotonic();
      put(await store.loadSettings());
      readAt = askedAt;
    },
    onError: onFault,
  });

  let unsubscribe: (() => void) | undefined;
  const known = () => readAt !== undefined && clock.monotonic() - readAt <= SETTINGS_BELIEVED_MS;
  const stopped = () => inForce.emergency_stop || !known();

  const viewOf = (name: SettingName): SettingView => {
    const row = rows.get(name);
    return {
      name,
      value: inForce[name],
      source: sourceOf(name, ceiling, storedValues()),
      ceiling: ceilingOf(name, ceiling),
      stored: row && storedPart(row),
    };
  };

  return Object.freeze<LiveSettings>({
    mode: (): Mode => inForce.mode,
    stopped,
    safety: () => inForce.safety_mode,
    values: () => inForce,
    view: () => ({
      settings: SETTING_NAMES.map(viewOf),
      ageMs: readAt === undefined ? undefined : Math.round(clock.monotonic() - readAt),
      repairsWait: stopped(),
      unstored: [...demands.keys()],
    }),
    stored: (name) => rows.get(name),
    async change(change) {
      const commit = await store.changeSetting({ ...change, changedAt: clock.now() });
      if (!commit.committed) return commit;
      demands.delete(change.name);
      await loop.runOnce();
      // What was read may have been asked for before the change.
      if (rows.get(change.name)?.version !== commit.stored?.version) await loop.runOnce();
      channel.publish({ type: "settings.changed", name: change.name });
      return commit;
    },
    demand(name, value, reason) {
      if (inForce[name] === value) return;
      demands.set(name, { name, value, reason, changedBy: WATCHDOG, changedAt: clock.now() });
      settle();
      loop.wake();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async start() {
      unsubscribe ??= channel.subscribe(
        (message, { remote }) => {
          if (message.type === "settings.changed" && remote) loop.wake();
        },
        () => loop.wake(),
      );
      loop.start();
      await loop.runOnce();
    },
    async stop() {
      unsubscribe?.();
      unsubscribe = undefined;
      await loop.stop();
    },
    refresh: () => loop.runOnce(),
  });
}

function storedPart({ name: _, ...stored }: StoredSetting): Omit<StoredSetting, "name"> {
  return stored;
}

function ceilingOf(name: SettingName, ceiling: SettingCeiling): SettingValue | undefined {
  switch (name) {
    case "mode":
      return ceiling.mode;
    case "emergency_stop":
    case "safety_mode":
      return undefined;
    default:
      return ceiling.flags[name];
  }
}
