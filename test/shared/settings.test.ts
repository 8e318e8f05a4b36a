import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MODES } from "../../shared/mode.js";
import {
  isLegalSetting,
  LIVE_FLAGS,
  SETTING_NAMES,
  type SettingCeiling,
  settingsInForce,
  sourceOf,
} from "../../shared/settings.js";

const mode = fc.constantFrom(...MODES);
const flags = fc.record(Object.fromEntries(LIVE_FLAGS.map((name) => [name, fc.boolean()]))) as fc.Arbitrary<
  SettingCeiling["flags"]
>;
const anyCeiling = fc.record({ mode, chosen: mode, flags }).map(({ mode, chosen, flags }): SettingCeiling => {
  const chosenMode = MODES[Math.min(MODES.indexOf(mode), MODES.indexOf(chosen))] ?? mode;
  return { mode, chosenMode, flags };
});
const anyStored = fc.dictionary(fc.constantFrom(...SETTING_NAMES), fc.oneof(mode, fc.boolean(), fc.jsonValue()));

describe("settings in force", () => {
  it("never exceed the environment, whatever is stored", () => {
    fc.assert(
      fc.property(anyCeiling, anyStored, (ceiling, stored) => {
        const values = settingsInForce(ceiling, stored);
        expect(MODES.indexOf(values.mode)).toBeLessThanOrEqual(MODES.indexOf(ceiling.mode));
        for (const flag of LIVE_FLAGS) if (!ceiling.flags[flag]) expect(values[flag]).toBe(false);
      }),
    );
  });

  it("are what was stored wherever that is legal and below the ceiling, and say where they come from", () => {
    fc.assert(
      fc.property(anyCeiling, anyStored, (ceiling, stored) => {
        const values = settingsInForce(ceiling, stored);
        for (const name of SETTING_NAMES) {
          const source = sourceOf(name, ceiling, stored);
          const legal = stored[name] !== undefined && isLegalSetting(name, stored[name]);
          expect(source === "stored" || source === "ceiling").toBe(legal);
          expect(values[name] === stored[name]).toBe(source === "stored");
        }
      }),
    );
  });

  it("take nothing stored for not stopped, not in safety mode, all that is allowed, in the mode that code chose", () => {
    fc.assert(
      fc.property(anyCeiling, (ceiling) => {
        expect(settingsInForce(ceiling, {})).toEqual({
          mode: ceiling.chosenMode,
          emergency_stop: false,
          safety_mode: false,
          ...ceiling.flags,
        });
      }),
    );
  });

  it("say that a mode below the environment's came from code, and a flag that is off from the environment", () => {
    const all = settingsInForce({ mode: "full", chosenMode: "full", flags: flagsOf(true) }, {});
    expect(all.FAILOVER_STRATEGY_ENABLED).toBe(true);
    const ceiling: SettingCeiling = { mode: "full", chosenMode: "shadow", flags: flagsOf(false) };
    expect(sourceOf("mode", ceiling, {})).toBe("code");
    expect(sourceOf("mode", { ...ceiling, chosenMode: "full" }, {})).toBe("environment");
    expect(sourceOf("AUTO_RECOVERY_ENABLED", ceiling, {})).toBe("environment");
    expect(sourceOf("emergency_stop", ceiling, {})).toBe("default");
    expect(sourceOf("AUTO_RECOVERY_ENABLED", ceiling, { AUTO_RECOVERY_ENABLED: true })).toBe("ceiling");
  });
});

function flagsOf(value: boolean): SettingCeiling["flags"] {
  return {
    INSTRUMENTATION_ENABLED: value,
    HEALTH_MONITORING_ENABLED: value,
    CIRCUIT_BREAKERS_ENABLED: value,
    AUTO_RECOVERY_ENABLED: value,
    RETRY_STRATEGY_ENABLED: value,
    FAILOVER_STRATEGY_ENABLED: value,
  };
}
