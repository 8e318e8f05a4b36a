import { describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { ControlChannel, ControlListener } from "../../server/ports/control-channel.js";
import type { Store } from "../../server/ports/store.js";
import { createLiveSettings, SETTINGS_BELIEVED_MS } from "../../server/watchdog/live-settings.js";
import { ParamedicError } from "../../shared/errors.js";
import type { SettingCeiling } from "../../shared/settings.js";
import { createFakeClock, settle } from "../support/fake-clock.js";

const ceiling: SettingCeiling = {
  mode: "full",
  chosenMode: "full",
  flags: {
    INSTRUMENTATION_ENABLED: true,
    HEALTH_MONITORING_ENABLED: true,
    CIRCUIT_BREAKERS_ENABLED: true,
    AUTO_RECOVERY_ENABLED: true,
    RETRY_STRATEGY_ENABLED: true,
    FAILOVER_STRATEGY_ENABLED: false,
  },
};
const by = { changedBy: "ada", reason: "a look first" };

function setUp() {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const faults: unknown[] = [];
  let away = false;
  const refuse = () => Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "away"));
  const store: Store = {
    ...memory,
    loadSettings: () => (away ? refuse() : memory.loadSettings()),
    changeSetting: (change) => (away ? refuse() : memory.changeSetting(change)),
  };
  const instance = (channel: ControlChannel = createLocalControlChannel({ onFault: (e) => faults.push(e) })) =>
    createLiveSettings({ clock, store, channel, ceiling, onFault: (error) => faults.push(error) });
  return {
    clock,
    store,
    memory,
    faults,
    instance,
    setAway(yes: boolean) {
      away = yes;
    },
  };
}

describe("live settings", () => {
  it("let repairs wait until they were read for the first time", async () => {
    const { instance } = setUp();
    const settings = instance();
    expect(settings.stopped()).toBe(true);
    expect(settings.view()).toMatchObject({ ageMs: undefined, repairsWait: true });
    await settings.start();
    expect(settings.stopped()).toBe(false);
    expect(settings.mode()).toBe("full");
    await settings.stop();
  });

  it("take effect here at once and in every other instance within a second, without a message", async () => {
    const { clock, instance } = setUp();
    const [a, b] = [instance(), instance()];
    await Promise.all([a.start(), b.start()]);
    expect(await a.change({ name: "mode", value: "shadow", ...by })).toMatchObject({ committed: true });
    expect(a.mode()).toBe("shadow");
    await clock.advance(999);
    expect(b.mode()).toBe("shadow");
    await b.change({ name: "emergency_stop", value: true, ...by });
    await clock.advance(999);
    expect([a.stopped(), b.stopped()]).toEqual([true, true]);
    await Promise.all([a.stop(), b.stop()]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("take effect at once where a message says so", async () => {
    const { instance } = setUp();
    let heard: ControlListener = () => undefined;
    const channel: ControlChannel = {
      publish: () => undefined,
      subscribe(listener) {
        heard = listener;
        return () => undefined;
      },
    };
    const [a, b] = [instance(), instance(channel)];
    await Promise.all([a.start(), b.start()]);
    await a.change({ name: "safety_mode", value: true, ...by });
    expect(b.safety?.()).toBe(false);
    heard({ type: "settings.changed", name: "safety_mode" }, { remote: true });
    await settle();
    expect(b.safety?.()).toBe(true);
  });

  it("law 21: hold for ten seconds while they cannot be read, then repairs wait, and mode and flags stay", async () => {
    const { clock, instance, setAway, faults } = setUp();
    const settings = instance();
    await settings.start();
    await settings.change({ name: "mode", value: "limited", ...by });
    await settings.change({ name: "RETRY_STRATEGY_ENABLED", value: false, ...by });
    setAway(true);
    await clock.advance(SETTINGS_BELIEVED_MS - 501);
    expect(settings.stopped()).toBe(false);
    await clock.advance(1_000);
    expect(settings.stopped()).toBe(true);
    await clock.advance(600_000);
    expect(settings.mode()).toBe("limited");
    expect(settings.values().RETRY_STRATEGY_ENABLED).toBe(false);
    expect(settings.view()).toMatchObject({ repairsWait: true, ageMs: expect.any(Number) });
    expect(settings.view().ageMs).toBeGreaterThan(600_000);
    expect(faults.length).toBeGreaterThan(0);
    setAway(false);
    await clock.advance(501);
    expect(settings.stopped()).toBe(false);
  });

  it("keep an emergency stop in force while it cannot be stored, and store it as soon as may be", async () => {
    const { clock, instance, setAway, memory } = setUp();
    const settings = instance();
    await settings.start();
    setAway(true);
    settings.demand("emergency_stop", true, "ten repairs failed in a row");
    expect(settings.stopped()).toBe(true);
    await clock.advance(5_000);
    expect(settings.view().unstored).toEqual(["emergency_stop"]);
    expect(await memory.loadSettings()).toEqual([]);
    setAway(false);
    await clock.advance(501);
    expect(await memory.loadSettings()).toMatchObject([
      { name: "emergency_stop", value: true, changedBy: "watchdog", reason: "ten repairs failed in a row", version: 1 },
    ]);
    expect(settings.view().unstored).toEqual([]);
    await settings.change({ name: "emergency_stop", value: false, ...by });
    expect(settings.stopped()).toBe(false);
    const after = instance();
    await after.start();
    expect(after.stopped()).toBe(false);
  });

  it("survive a restart", async () => {
    const { instance } = setUp();
    const before = instance();
    await before.start();
    before.demand("emergency_stop", true, "ten repairs failed in a row");
    await settle();
    await before.stop();
    const after = instance();
    await after.start();
    expect(after.stopped()).toBe(true);
    expect(after.stored("emergency_stop")).toMatchObject({ changedBy: "watchdog" });
  });

  it("refuse the second of two operators who saw the same version", async () => {
    const { instance } = setUp();
    const settings = instance();
    await settings.start();
    await settings.change({ name: "mode", value: "shadow", expectedVersion: 0, ...by });
    const refused = await settings.change({ name: "mode", value: "monitor", expectedVersion: 0, ...by });
    expect(refused).toMatchObject({ committed: false, stored: { value: "shadow", version: 1 } });
    expect(settings.mode()).toBe("shadow");
  });

  it("tell listeners what changed, once, and no fault of a listener disturbs another", async () => {
    const { instance, faults, clock } = setUp();
    const settings = instance();
    const heard: unknown[] = [];
    settings.subscribe(() => {
      throw new Error("a listener's own");
    });
    const forget = settings.subscribe((values, before) => heard.push([before.mode, values.mode]));
    await settings.start();
    await settings.change({ name: "mode", value: "monitor", ...by });
    await clock.advance(5_000);
    expect(heard).toEqual([["full", "monitor"]]);
    expect(faults).toHaveLength(1);
    forget();
    await settings.change({ name: "mode", value: undefined, ...by });
    expect(heard).toHaveLength(1);
    expect(settings.mode()).toBe("full");
  });

  it("show each setting with its value, where that comes from, and its ceiling", async () => {
    const { instance } = setUp();
    const settings = instance();
    await settings.start();
    await settings.change({ name: "FAILOVER_STRATEGY_ENABLED", value: true, ...by });
    const shown = settings.view().settings;
    expect(shown.find(({ name }) => name === "FAILOVER_STRATEGY_ENABLED")).toMatchObject({
      value: false,
      source: "ceiling",
      ceiling: false,
      stored: { value: true, changedBy: "ada", version: 1 },
    });
    expect(shown.find(({ name }) => name === "mode")).toEqual({
      name: "mode",
      value: "full",
      source: "environment",
      ceiling: "full",
      stored: undefined,
    });
    expect(shown.find(({ name }) => name === "emergency_stop")).toMatchObject({ value: false, ceiling: undefined });
  });

  it("leave alone what another version stored: names and values that are not known here", async () => {
    const { instance, memory, faults, clock } = setUp();
    await memory.changeSetting({ name: "moon_phase", value: 3, changedAt: 1, ...by });
    await memory.changeSetting({ name: "mode", value: "godlike", changedAt: 1, ...by });
    const settings = instance();
    await settings.start();
    await clock.advance(2_000);
    expect(settings.mode()).toBe("full");
    expect(settings.stopped()).toBe(false);
    expect(faults).toHaveLength(1);
  });
});
