/**
 * The store away for ten minutes of load, on a fake clock: calls, circuits and settings go on by what is known, the API
 * answers with its age, no repair begins, and everything lands afterwards.
 */
import { initTRPC } from "@trpc/server";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import type { Store } from "../../server/ports/store.js";
import { ParamedicError } from "../../shared/errors.js";
import { MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createFakeClock, type FakeClock, settle } from "../support/fake-clock.js";

/** Every method rejects while it is away. */
function breakable(memory: Store) {
  let away = false;
  const store: Store = new Proxy(
    { ...memory },
    {
      get(target, key) {
        const method: unknown = Reflect.get(target, key);
        if (typeof method !== "function" || key === "close") return method;
        return (...args: unknown[]) =>
          away ? Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "away")) : Reflect.apply(method, target, args);
      },
    },
  );
  return {
    store,
    setAway(yes: boolean) {
      away = yes;
    },
  };
}

const running: { paramedic: Paramedic; clock: FakeClock }[] = [];
afterEach(async () => {
  for (const { paramedic, clock } of running.splice(0)) {
    const ended = paramedic.shutdown();
    await clock.advance(11 * SECOND_MS);
    await ended;
  }
});

async function setUp() {
  const clock = createFakeClock();
  const memory = createMemoryStore({ clock });
  const { store, setAway } = breakable(memory);
  const environment = readEnvironment({ PARAMEDIC_DATABASE_URL: "file:unused.db" });
  const paramedic = createParamedic({
    logger: false,
    redis: false,
    authorize: () => "operate",
    overrides: { clock, store, environment },
  });
  running.push({ paramedic, clock });
  await clock.advance(2 * SECOND_MS);
  await paramedic.ready;
  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const weather = paramedic.guard("http:weather", { failureThreshold: 5, idempotent: false });
  const router = t.router({
    good: procedure.query(() => "good"),
    weather: procedure.query(() =>
      weather.execute(() => Promise.reject(Object.assign(new Error("503"), { status: 503 }))),
    ),
    health: paramedic.healthProcedure,
    paramedic: paramedic.router,
  });
  return { clock, memory, setAway, paramedic, api: t.createCallerFactory(router)({}) };
}

const reason = "a look first";

describe("ten minutes of load without the store", () => {
  it("change no call, keep circuits and settings as they are known, and lose nothing", async () => {
    const { clock, memory, setAway, paramedic, api } = await setUp();
    let repairs = 0;
    paramedic.recovery.registerStrategy({
      name: "reconnect_it",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["service_unavailable"],
      async execute() {
        repairs += 1;
        return { success: true, actionType: "reconnect", actionStrategy: "reconnect_it", durationMs: 1, message: "" };
      },
    });
    await api.paramedic.settings.set({ name: "FAILOVER_STRATEGY_ENABLED", value: false, reason });
    setAway(true);
    let good = 0;
    let failed = 0;
    let refused = 0;
    for (let second = 0; second < 600; second += 1) {
      for (let call = 0; call < 5; call += 1) {
        expect(await api.good()).toBe("good");
        good += 1;
      }
      const message = await api.weather().catch((error: { message: string }) => error.message);
      if (message === "503") failed += 1;
      else refused += 1;
      await clock.advance(SECOND_MS);
    }
    // The circuit opened by what this instance saw, and the calls heard of it.
    expect(Math.min(failed, refused)).toBeGreaterThan(0);
    const settings = await api.paramedic.settings.list();
    expect(settings.settings.find(({ name }) => name === "FAILOVER_STRATEGY_ENABLED")).toMatchObject({
      value: false,
      source: "stored",
    });
    expect(settings.repairsWait).toBe(true);
    expect(settings.ageMs).toBeGreaterThan(9 * MINUTE_MS);
    expect(repairs).toBe(0);
    expect((await api.paramedic.circuits.list()).map(({ name }) => name)).toEqual(["http:weather"]);
    expect((await api.health()).degradation?.parts).toEqual(expect.arrayContaining(["http:weather", "store"]));
    expect(await api.paramedic.watchdog.state()).toMatchObject({ missed: false });
    await expect(api.paramedic.failures.list()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    await expect(api.paramedic.settings.set({ name: "mode", value: "shadow", reason })).rejects.toMatchObject({
      code: "SERVICE_UNAVAILABLE",
    });

    setAway(false);
    await clock.advance(2 * MINUTE_MS);
    await settle();
    expect((await api.paramedic.settings.list()).repairsWait).toBe(false);
    const failures = (await memory.listFailures({ limit: 100, affectedService: "trpc.weather" })).items;
    const seen = failures.reduce((sum, failure) => sum + failure.occurrences, 0);
    expect(seen).toBe(failed);
    expect(await api.paramedic.metrics.accounting()).toMatchObject({ lost: 0, dropped: {} });
    const { procedures } = await api.paramedic.metrics.topProcedures({
      from: clock.now() - 60 * MINUTE_MS,
      to: clock.now() + MINUTE_MS,
    });
    expect(procedures.find(({ procedure }) => procedure === "good")?.calls).toBe(good);
    expect((await memory.listTransitions({ circuitName: "http:weather", limit: 100 })).items.length).toBeGreaterThan(0);
  }, 120_000);
});
