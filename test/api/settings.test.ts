import { initTRPC } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { createProcedures } from "../../server/api/procedures.js";
import { createSettingsRouter } from "../../server/api/settings-router.js";
import { createLiveSettings } from "../../server/watchdog/live-settings.js";
import { FEATURE_FLAG_DEFAULTS } from "../../shared/feature-flags.js";
import type { Mode } from "../../shared/mode.js";
import { createFakeClock } from "../support/fake-clock.js";

async function setUp(mode: Mode = "full") {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const onFault = (error: unknown) => {
    throw error;
  };
  const settings = createLiveSettings({
    clock,
    store,
    channel: createLocalControlChannel({ onFault }),
    ceiling: { mode, chosenMode: mode, flags: { ...FEATURE_FLAG_DEFAULTS, FAILOVER_STRATEGY_ENABLED: false } },
    onFault,
  });
  await settings.start();
  const access = async (ctx: object) => ({
    role: "role" in ctx ? ("operate" as const) : ("read" as const),
    actor: "ada",
  });
  const router = createSettingsRouter(createProcedures({ clock, store, onFault, access }), { store, settings });
  const callers = initTRPC.context<object>().create().createCallerFactory(router);
  return { clock, store, settings, reader: callers({}), operator: callers({ role: "operate" }) };
}

const reason = "a look first";

describe("settings on the API", () => {
  it("are changed by an operator with a reason, take effect, and leave an audit row and a line of history", async () => {
    const { operator, reader, settings, store } = await setUp();
    expect(await operator.set({ name: "mode", value: "shadow", reason })).toMatchObject({
      version: 1,
      changedBy: "ada",
    });
    expect(settings.mode()).toBe("shadow");
    const mode = (await reader.list()).settings.find(({ name }) => name === "mode");
    expect(mode).toMatchObject({
      value: "shadow",
      source: "stored",
      ceiling: "full",
      stored: { reason, changedBy: "ada" },
    });
    expect((await reader.history({ name: "mode" })).items).toMatchObject([{ value: "shadow", reason, version: 1 }]);
    expect(
      (await store.listAudit({ limit: 9 })).items.map(({ action, subject, outcome }) => [action, subject, outcome]),
    ).toEqual([
      ["settings.set", "mode", "succeeded"],
      ["settings.set", "mode", "requested"],
    ]);
    await operator.set({ name: "mode", value: null, reason });
    expect(settings.mode()).toBe("full");
  });

  it("are not changed by who may only read, nor without a reason, nor to what is not legal", async () => {
    const { operator, reader, settings } = await setUp();
    await expect(reader.set({ name: "mode", value: "shadow", reason })).rejects.toMatchObject({ code: "FORBIDDEN" });
    for (const input of [
      { name: "mode", value: "shadow" },
      { name: "mode", value: "godlike", reason },
      { name: "mode", value: true, reason },
      { name: "SELF_HEALING_ENABLED", value: false, reason },
      { name: "emergency_stop", value: null, reason },
    ]) {
      await expect(Reflect.apply(operator.set, undefined, [input])).rejects.toMatchObject({ code: "BAD_REQUEST" });
    }
    expect(settings.mode()).toBe("full");
  });

  it("stay under the environment's ceiling, and the refusal names it", async () => {
    const { operator, settings } = await setUp("limited");
    const above = expect.stringContaining("the environment allows limited at most");
    await expect(operator.set({ name: "mode", value: "full", reason })).rejects.toMatchObject({
      code: "BAD_REQUEST",
      message: above,
    });
    await expect(operator.set({ name: "FAILOVER_STRATEGY_ENABLED", value: true, reason })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
    await operator.set({ name: "FAILOVER_STRATEGY_ENABLED", value: false, reason });
    await operator.set({ name: "mode", value: "monitor", reason });
    expect(settings.mode()).toBe("monitor");
  });

  it("stop all repairs until an operator takes it back", async () => {
    const { operator, settings } = await setUp();
    await operator.set({ name: "emergency_stop", value: true, reason });
    expect(settings.stopped()).toBe(true);
    await operator.set({ name: "emergency_stop", value: false, reason });
    expect(settings.stopped()).toBe(false);
  });

  it("tell the second of two operators who saw the same version", async () => {
    const { operator } = await setUp();
    await operator.set({ name: "mode", value: "shadow", expectedVersion: 0, reason });
    await expect(operator.set({ name: "mode", value: "monitor", expectedVersion: 0, reason })).rejects.toMatchObject({
      code: "CONFLICT",
      message: expect.stringContaining("version 1"),
    });
  });
});
