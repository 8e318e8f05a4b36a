/** What operators change at run time reaches two instances on one database, and loses nothing that is under way. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initTRPC } from "@trpc/server";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic, type RecoveryStrategy } from "../../server/index.js";
import { failureOf } from "../conformance/store-fixtures.js";
import { ownKey } from "../services/own-key.js";

let folder: string;
const running: Paramedic[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-settings-"));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((paramedic) => paramedic.shutdown()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(instance: string, variables: Record<string, string> = {}) {
  const environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}`,
    RECOVERY_RETRY_BASE_DELAY_MS: "1",
    RECOVERY_RETRY_MAX_DELAY_MS: "5",
    ...variables,
  });
  const paramedic = createParamedic({
    instance,
    logger: false,
    authorize: () => "operate",
    overrides: { environment },
  });
  running.push(paramedic);
  await paramedic.ready;
  const t = initTRPC.create();
  const api = t.createCallerFactory(t.router({ paramedic: paramedic.router, health: paramedic.healthProcedure }))({});
  return { paramedic, api };
}

const reason = "a look first";
const PARTS = ["INSTRUMENTATION_ENABLED", "CIRCUIT_BREAKERS_ENABLED", "RETRY_STRATEGY_ENABLED"] as const;
const unavailable = () => Object.assign(new Error("503"), { status: 503 });

describe("a change of settings", { timeout: 60_000 }, () => {
  it("takes effect here at once and in the other instance by its own reading: circuits and rescues follow the mode", async () => {
    const a = await start("a");
    const b = await start("b");
    const weather = b.paramedic.guard("http:weather", { failureThreshold: 2 });
    let attempts = 0;
    const ask = () =>
      weather
        .execute(
          () => {
            attempts += 1;
            return Promise.reject(unavailable());
          },
          { idempotent: true },
        )
        .catch((error: unknown) => error);
    await a.api.paramedic.settings.set({ name: "mode", value: "shadow", reason });
    expect((await a.api.paramedic.status()).mode).toBe("shadow");
    await expect.poll(async () => (await b.api.paramedic.status()).mode, { interval: 20 }).toBe("shadow");
    for (let call = 1; call <= 6; call += 1) await ask();
    // One attempt each, and no call refused: shadow has no effect.
    expect(attempts).toBe(6);
    await a.api.paramedic.settings.set({ name: "mode", value: "full", reason });
    await expect.poll(async () => (await b.api.paramedic.status()).mode, { interval: 20 }).toBe("full");
    await ask();
    await expect(ask()).resolves.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
  });

  it.each([
    ["without Redis, by reading", () => ({})],
    ["with Redis, by a message", () => ({ REDIS_URL: inject("redisUrl"), METRICS_REDIS_STREAM_KEY: ownKey("stream") })],
  ])(
    "turns a part off in the other instance within a second %s, and what is under way ends as it began",
    {
      retry: 3,
    },
    async (_how, redis) => {
      const variables = redis();
      const [a, b] = [await start("a", variables), await start("b", variables)];
      const t = initTRPC.create();
      let release = () => {};
      const slow = new Promise<string>((resolve) => {
        release = () => resolve("slow");
      });
      const weather = b.paramedic.guard("http:weather");
      let attempts = 0;
      const fails = () => {
        attempts += 1;
        return Promise.reject(unavailable());
      };
      const procedure = t.procedure.use(b.paramedic.middleware());
      const app = t.createCallerFactory(t.router({ slow: procedure.query(() => weather.execute(() => slow)) }))({});
      const underWay = app.slow();
      const flags = async () => {
        const { settings } = await b.api.paramedic.settings.list();
        return settings.filter(({ name, value }) => PARTS.some((part) => part === name) && value === false).length;
      };
      const changedAt = performance.now();
      for (const name of PARTS) await a.api.paramedic.settings.set({ name, value: false, reason });
      const toldAt = performance.now();
      await expect.poll(flags, { interval: 10 }).toBe(PARTS.length);
      process.stdout.write(
        `told in ${Math.round(toldAt - changedAt)} ms, in force ${Math.round(performance.now() - toldAt)} ms later\n`,
      );
      expect(performance.now() - toldAt).toBeLessThan(1_000);

      for (let call = 0; call < 8; call += 1) {
        await expect(weather.execute(fails, { idempotent: true })).rejects.toThrow("503");
      }
      // Neither retried nor refused.
      expect(attempts).toBe(8);
      release();
      expect(await underWay).toBe("slow");
      await expect
        .poll(() => b.paramedic.metrics.accounting(), { timeout: 20_000 })
        .toMatchObject({ lost: 0, inFlight: 0, dropped: {} });
      const { procedures } = await b.api.paramedic.metrics.topProcedures({
        from: Date.now() - 3_600_000,
        to: Date.now() + 60_000,
      });
      expect(procedures.find(({ procedure: name }) => name === "slow")?.calls).toBe(1);
    },
  );

  it("turns a part off and on, and the environment's own choice stands above it", async () => {
    const { paramedic, api } = await start("a", { FAILOVER_STRATEGY_ENABLED: "false" });
    const weather = paramedic.guard("http:weather");
    let attempts = 0;
    const ask = async () => {
      attempts = 0;
      const flaky = () => {
        attempts += 1;
        return attempts === 1 ? Promise.reject(unavailable()) : Promise.resolve("sunny");
      };
      return weather.execute(flaky, { idempotent: true }).catch(() => "failed");
    };
    expect(await ask()).toBe("sunny");
    await api.paramedic.settings.set({ name: "RETRY_STRATEGY_ENABLED", value: false, reason });
    expect(await ask()).toBe("failed");
    await api.paramedic.settings.set({ name: "RETRY_STRATEGY_ENABLED", value: null, reason });
    expect(await ask()).toBe("sunny");
    await expect(
      api.paramedic.settings.set({ name: "FAILOVER_STRATEGY_ENABLED", value: true, reason }),
    ).rejects.toMatchObject({ code: "BAD_REQUEST" });
  });

  it("turns circuits and measuring off and on: what began before is measured to its end", async () => {
    const { paramedic, api } = await start("a");
    const t = initTRPC.create();
    let release = () => {};
    const router = t.router({
      quick: t.procedure.use(paramedic.middleware()).query(() => "quick"),
      slow: t.procedure.use(paramedic.middleware()).query(
        () =>
          new Promise<string>((resolve) => {
            release = () => resolve("slow");
          }),
      ),
    });
    const app = t.createCallerFactory(router)({});
    const slow = app.slow();
    await api.paramedic.settings.set({ name: "INSTRUMENTATION_ENABLED", value: false, reason });
    await app.quick();
    release();
    expect(await slow).toBe("slow");
    const count = async (procedure: string) => {
      const { procedures } = await api.paramedic.metrics.topProcedures({
        from: Date.now() - 3_600_000,
        to: Date.now() + 60_000,
      });
      return procedures.find((totals) => totals.procedure === procedure)?.calls ?? 0;
    };
    await expect.poll(() => count("slow")).toBe(1);
    expect(await count("quick")).toBe(0);
    await api.paramedic.settings.set({ name: "INSTRUMENTATION_ENABLED", value: true, reason });
    await app.quick();
    await expect.poll(() => count("quick")).toBe(1);

    const weather = paramedic.guard("http:weather", { failureThreshold: 1, idempotent: false });
    const ask = () => weather.execute(() => Promise.reject(unavailable())).catch((error: unknown) => error);
    await ask();
    await expect(ask()).resolves.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    await api.paramedic.settings.set({ name: "CIRCUIT_BREAKERS_ENABLED", value: false, reason });
    await expect(ask()).resolves.toMatchObject({ message: "503" });
    // A check that a busy machine has failed is another part, until it is well again.
    await expect
      .poll(async () => (await api.health()).degradation)
      .toEqual({ level: "partial", parts: ["http:weather"] });
  });

  it("R5: stops repairs in both instances, over a restart, and loses none that is under way", async () => {
    const a = await start("a");
    const b = await start("b");
    const begun: string[] = [];
    let release = () => {};
    const strategy = (instance: string): RecoveryStrategy => ({
      name: "reconnect_it",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["database_connection"],
      async execute({ affectedService }) {
        begun.push(`${instance} ${affectedService}`);
        if (affectedService === "db:first") {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        }
        return { success: true, actionType: "reconnect", actionStrategy: "reconnect_it", durationMs: 1, message: "" };
      },
    });
    for (const { paramedic } of [a, b]) paramedic.recovery.registerStrategy(strategy(paramedic.options.instance));
    const broken = (affectedService: string) =>
      failureOf({ affectedService, failureType: "database_connection", timestamp: Date.now() });
    const first = b.paramedic.recovery.handleFailure(broken("db:first"));
    await expect.poll(() => begun).toEqual(["b db:first"]);
    await a.api.paramedic.settings.set({ name: "emergency_stop", value: true, reason: "it does harm" });
    await expect.poll(async () => (await b.api.paramedic.settings.list()).repairsWait).toBe(true);
    await b.paramedic.recovery.handleFailure(broken("db:second"));
    release();
    expect(await first).toMatchObject({ recovered: true });
    const c = await start("c");
    c.paramedic.recovery.registerStrategy(strategy("c"));
    await c.paramedic.recovery.handleFailure(broken("db:third"));
    expect(begun).toEqual(["b db:first"]);
    const rows = (await c.api.paramedic.recoveries.list({ actionStrategy: "reconnect_it" })).items;
    expect(rows.map(({ target, status }) => [target, status])).toEqual([["db:first", "succeeded"]]);
    await c.api.paramedic.settings.set({ name: "emergency_stop", value: false, reason: "mended" });
    await expect.poll(() => begun.toSorted()).toEqual(["b db:first", "b db:second", "c db:third"]);
  });
});
