/** `paramedic settings` and `paramedic set`: what is stored, and a change of it, on the database itself. */
import {
  isLegalSetting,
  isSettingName,
  SETTING_NAMES,
  type SettingName,
  type SettingValue,
} from "../../shared/settings.js";
import type { Clock } from "../ports/clock.js";
import type { StoredSetting } from "../ports/settings-store.js";
import type { Store } from "../ports/store.js";

export const SETTINGS_USAGE = `paramedic settings  shows what operators and the watchdog stored, and how old it is
paramedic set NAME VALUE --by WHO --reason WHY   changes it in every instance within a second; default takes it back`;

/** A change as it was asked for; what is wrong with it otherwise. */
export type AskedChange =
  | {
      readonly ok: true;
      readonly name: SettingName;
      readonly value: SettingValue | undefined;
      readonly by: string;
      readonly reason: string;
    }
  | { readonly ok: false; readonly problem: string };

/** @example parseChange(["mode", "shadow", "--by", "ada", "--reason", "a look first"]) */
export function parseChange(words: readonly string[]): AskedChange {
  const [name = "", text = "", ...rest] = words;
  if (!isSettingName(name))
    return { ok: false, problem: `no setting ${JSON.stringify(name)}; one of ${SETTING_NAMES.join(", ")}` };
  const value = name === "mode" || !["true", "false"].includes(text) ? text : text === "true";
  const isDefault = text === "default" && name !== "emergency_stop" && name !== "safety_mode";
  if (!isDefault && !isLegalSetting(name, value))
    return { ok: false, problem: `${name} cannot be ${JSON.stringify(text)}` };
  const optionOf = (option: string) => {
    const at = rest.indexOf(option);
    return at < 0 ? undefined : rest[at + 1];
  };
  const by = optionOf("--by");
  const reason = optionOf("--reason");
  if (rest.length !== 4 || !by?.trim() || !reason?.trim())
    return { ok: false, problem: "set takes --by and --reason, each with a text" };
  return { ok: true, name, value: isDefault ? undefined : value, by, reason };
}

/** Leaves the audit rows that the API would leave. @throws what the store throws while it is away */
export async function changeStored(
  { store, clock }: { readonly store: Pick<Store, "changeSetting" | "recordAudit">; readonly clock: Clock },
  { name, value, by, reason }: Extract<AskedChange, { readonly ok: true }>,
): Promise<string> {
  const audit = (outcome: "requested" | "succeeded") =>
    store.recordAudit({
      at: clock.now(),
      actor: by,
      action: "settings.set",
      subject: name,
      reason,
      outcome,
      detail: undefined,
    });
  await audit("requested");
  const { stored } = await store.changeSetting({ name, value, changedBy: by, reason, changedAt: clock.now() });
  await audit("succeeded");
  return `${name} is ${value === undefined ? "at its default" : String(value)}, version ${stored?.version ?? 0}; the environment of each instance is its ceiling`;
}

export function describeStored(settings: readonly StoredSetting[], now: number): string {
  if (settings.length === 0) return "nothing is stored: every instance runs as its environment and code say";
  return settings
    .map(
      ({ name, value, version, changedBy, reason, changedAt }) =>
        `${name} = ${String(value)}  (version ${version}, by ${changedBy} ${Math.round((now - changedAt) / 1_000)} s ago: ${reason})`,
    )
    .join("\n");
}
