/** What the composed whole promises: flags, modes, dependencies that are away, and its end. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initTRPC, TRPCError } from "@trpc/server";
import { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { groupsOf, pairsOf } from "../../server/adapters/redis-replies.js";
import { type Environment, readEnvironment } from "../../server/env.js";
import { createParamedic, type Logger, type Paramedic, type ParamedicOptions } from "../../server/index.js";
import { ownKey } from "../services/own-key.js";
import { startRedis } from "../services/redis-server.js";
import { lockDatabase } from "../support/database-lock.js";

let folder: string;
const running: Paramedic[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-scenario-"));
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((paramedic) => paramedic.shutdown()));
  rmSync(folder, { recursive: true, force: true });
});

function start(options: ParamedicOptions = {}, variables: Record<string, string> = {}): Paramedic {
  const environment: Environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}`,
    METRICS_FLUSH_INTERVAL_MS: "50",
    RECOVERY_RETRY_BASE_DELAY_MS: "1",
    RECOVERY_RETRY_MAX_DELAY_MS: "5",
    ...variables,
  });
  const paramedic = createParamedic({
    logger: false,
    authorize: () => "operate",
    ...options,
    overrides: { environment },
  });
  running.push(paramedic);
  return paramedic;
}

/** Holds back all writes to a stream if everything on it is acknowledged, and tells whether it was. */
async function isHeldWithNothingOnIt(client: Redis, key: string): Promise<boolean> {
  await client.call("CLIENT", "PAUSE", 60_000, "WRITE");
  const [group] = groupsOf(await client.call("XINFO", "GROUPS", key));
  const [newest] = pairsOf(await client.call("XREVRANGE", key, "+", "-", "COUNT", 1));
  if (group?.pending === 0 && (newest === undefined || group.lastDelivered === newest[0])) return true;
  await client.call("CLIENT", "UNPAUSE");
  return false;
}

/** An app with one procedure of each fate, called without HTTP. */
function appOf(paramedic: Paramedic) {
  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const weather = paramedic.guard("http:weather", { failureThreshold: 2 });
  let attempts = 0;
  const router = t.router({
    good: procedure.query(() => "good"),
    broken: procedure.query(() => {
      throw new Error("broken");
    }),
    refused: procedure.query(() => {
      throw new TRPCError({ code: "NOT_FOUND" });
    }),
    weather: procedure.query(() =>
      weather.execute(() => {
        attempts += 1;
        return Promise.reject(Object.assign(new Error("503"), { status: 503 }));
      }),
    ),
    health: paramedic.healthProcedure,
    paramedic: paramedic.router,
  });
  return { api: t.createCallerFactory(router)({}), attempts: () => attempts };
}

describe("a composed Paramedic", () => {
  it("stores every call, every failure and what was done about it, and closes the books", async () => {
    const paramedic = start();
    const { api } = appOf(paramedic);
    expect(await paramedic.ready).toEqual({ store: "open" });
    for (let i = 0; i < 20; i += 1) await api.good();
    await expect(api.broken()).rejects.toThrow("broken");
    await expect(api.refused()).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(api.weather()).rejects.toThrow();
    await expect
      .poll(async () =>
        (await api.paramedic.failures.list()).items
          // What a busy machine does to this process is a failure too.
          .filter(({ detectionMethod }) => detectionMethod !== "health_check")
          .map(({ affectedService }) => affectedService)
          .toSorted(),
      )
      .toEqual(["http:weather", "trpc.broken", "trpc.weather"]);
    await expect
      .poll(async () =>
        (await api.paramedic.recoveries.list()).items.map((action) => [
          action.actionStrategy,
          action.status,
          action.target,
        ]),
      )
      .toEqual(
        expect.arrayContaining([
          ["exponential_backoff_retry", "failed", "http:weather"],
          ["circuit_break", "succeeded", "http:weather"],
          ["none", "skipped", "trpc.broken"],
        ]),
      );
    await expect
      .poll(async () => (await api.paramedic.circuits.transitions()).items)
      .toMatchObject([{ from: "closed", to: "open", version: 1 }]);
    await expect.poll(() => api.paramedic.metrics.accounting()).toMatchObject({ lost: 0, inFlight: 0, dropped: {} });
    const now = Date.now();
    const { points } = await api.paramedic.metrics.series({
      metricName: "trpc.good.duration",
      from: now - 60_000,
      to: now + 60_000,
    });
    expect(points.reduce((sum, point) => sum + point.count, 0)).toBe(20);
    expect(points[0]?.p99).toBeGreaterThan(0);
  });

  it("keeps circuits over a restart", async () => {
    const first = start();
    const { api } = appOf(first);
    await first.ready;
    await expect(api.weather()).rejects.toThrow();
    await first.shutdown();
    const second = start();
    const { api: again, attempts } = appOf(second);
    await second.ready;
    // Calls wait a second for the stored circuits; a busy machine may need longer to start than that.
    await expect.poll(() => second.circuits.get("http:weather")?.getState().state).toBe("open");
    await expect(again.weather()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE", circuitName: "http:weather" });
    expect(attempts()).toBe(0);
  });

  it("does nothing at all when it is switched off, and costs the call nothing", async () => {
    const paramedic = start({}, { SELF_HEALING_ENABLED: "false" });
    const { api, attempts } = appOf(paramedic);
    expect(await paramedic.ready).toMatchObject({ store: "unavailable", code: "CLOSED" });
    for (let i = 0; i < 9; i += 1) await expect(api.weather()).rejects.toMatchObject({ cause: { status: 503 } });
    expect(attempts()).toBe(9);
    expect(await api.good()).toBe("good");
    expect(paramedic.circuits.getAll()).toEqual([]);
    expect((await api.paramedic.metrics.accounting().catch((error: unknown) => error)) instanceof TRPCError).toBe(true);
  });

  it.each([
    ["CIRCUIT_BREAKERS_ENABLED", { circuits: 0 }],
    ["AUTO_RECOVERY_ENABLED", { attempts: 3 }],
    ["RETRY_STRATEGY_ENABLED", { attempts: 3 }],
  ] as const)("passes through what %s=false switches off", async (flag, expected) => {
    const paramedic = start({}, { [flag]: "false" });
    const { api, attempts } = appOf(paramedic);
    await paramedic.ready;
    for (let i = 0; i < 3; i += 1) await expect(api.weather()).rejects.toThrow();
    if ("circuits" in expected) expect(paramedic.circuits.getAll()).toHaveLength(expected.circuits);
    // Two attempts open the circuit; the third call is refused.
    else expect(attempts()).toBe(2);
  });

  it("measures nothing with INSTRUMENTATION_ENABLED=false", async () => {
    const paramedic = start({}, { INSTRUMENTATION_ENABLED: "false", HEALTH_MONITORING_ENABLED: "false" });
    const { api } = appOf(paramedic);
    await paramedic.ready;
    await api.good();
    expect(await api.paramedic.metrics.accounting()).toMatchObject({ recorded: 0 });
    expect((await api.health()).overall).toBe("unknown");
  });

  it("has no effect in shadow mode: one attempt, no refusal, dry-run rows", async () => {
    const paramedic = start({ mode: "shadow" });
    const { api, attempts } = appOf(paramedic);
    await paramedic.ready;
    for (let i = 0; i < 5; i += 1) await expect(api.weather()).rejects.toMatchObject({ cause: { status: 503 } });
    expect(attempts()).toBe(5);
    await expect
      .poll(async () => (await api.paramedic.recoveries.list({ target: "http:weather" })).items.length)
      .toBeGreaterThan(0);
    const { items } = await api.paramedic.recoveries.list({ target: "http:weather" });
    expect(items.every((action) => action.dryRun)).toBe(true);
  });

  it("lets code lower the mode and never raise it above the environment's", () => {
    expect(start({ mode: "full" }, { SELF_HEALING_MODE: "monitor" }).options.mode).toBe("monitor");
    expect(start({ mode: "shadow" }, { SELF_HEALING_MODE: "full" }).options.mode).toBe("shadow");
  });

  it("ends no process, and asks nobody for more capacity, without an explicit yes", () => {
    const namesOf = (options: ParamedicOptions) =>
      start(options)
        .recovery.strategies()
        .map(({ name }) => name);
    const asked = { restart: {}, scaleWebhook: { url: "https://autoscaler.example.org/" } };
    const added = namesOf(asked).filter((name) => !namesOf({}).includes(name));
    expect(added).toEqual(["scale_webhook", "graceful_restart"]);
  });

  it("refuses options it does not know or that are out of range, all at once", () => {
    expect(() => createParamedic({ timeoutMs: 0, metricsBatchSize: 1.5, mode: "loud" as "full" })).toThrowError(
      /timeoutMs[\s\S]*metricsBatchSize|mode[\s\S]*metricsBatchSize/,
    );
    expect(() => createParamedic({ timeoutMS: 5 } as ParamedicOptions)).toThrowError(
      expect.objectContaining({ code: "CONFIGURATION_INVALID", message: expect.stringContaining("timeoutMS") }),
    );
    expect(() => createParamedic({ database: "mysql://user:hunter2@host/db" })).toThrowError(/file:\.\/paramedic\.db/);
  });

  it("does not know a second Paramedic in the same process", async () => {
    const one = start();
    const two = start({ database: `file:${join(folder, "two.db")}` });
    const first = appOf(one);
    const second = appOf(two);
    await Promise.all([one.ready, two.ready]);
    await expect(first.api.weather()).rejects.toThrow();
    expect(one.circuits.get("http:weather")?.getState().state).toBe("open");
    expect(two.circuits.get("http:weather")?.getState().state).toBe("closed");
    await expect(second.api.weather()).rejects.toMatchObject({ cause: { status: 503 } });
  });

  it("loses nothing at shutdown: what was recorded a moment before is in the store after a restart", async () => {
    const paramedic = start({}, { METRICS_FLUSH_INTERVAL_MS: "600000" });
    const { api } = appOf(paramedic);
    await paramedic.ready;
    for (let i = 0; i < 100; i += 1) await api.good();
    await paramedic.shutdown();
    await paramedic.shutdown();
    const next = start({}, { HEALTH_MONITORING_ENABLED: "false" });
    await next.ready;
    const ledger = await next.store.ledger();
    expect(ledger.reduce((sum, boot) => sum + boot.recorded - boot.rolledUp, 0)).toBe(0);
    const series = await next.store.readSeries({
      metricName: "trpc.good.success_count",
      from: 0,
      to: Date.now() + 60_000,
      stepMs: 86_400_000,
      limit: 10,
    });
    expect(series.reduce((sum, point) => sum + point.sum, 0)).toBe(100);
  });

  it("aggregates where there is no Redis, even when told to leave that to others: there are none", async () => {
    const paramedic = start({ redis: false }, { PARAMEDIC_AGGREGATE: "false" });
    await paramedic.ready;
    paramedic.metrics.record({ metricType: "custom", metricName: "orders_total", value: 1 });
    await expect.poll(async () => (await paramedic.metrics.accounting()).rolledUp).toBeGreaterThan(0);
  });

  it("says at its end how many points nobody took, and nothing when all were taken", async () => {
    const warned: string[] = [];
    const logger: Logger = { debug() {}, info() {}, error() {}, warn: (_fields, message) => void warned.push(message) };
    const told = () => warned.filter((message) => message.startsWith("shutdown ended"));
    const saved = start({ logger });
    await saved.ready;
    saved.metrics.record({ metricType: "custom", metricName: "orders_total", value: 1 });
    await saved.shutdown();
    expect(told()).toEqual([]);
    const variables = { INSTRUMENTATION_ENABLED: "false", HEALTH_MONITORING_ENABLED: "false" };
    const paramedic = start({ logger, shutdownTimeoutMs: 300 }, variables);
    await paramedic.ready;
    const lock = await lockDatabase(join(folder, "paramedic.db"));
    for (let i = 0; i < 7; i += 1) {
      paramedic.metrics.record({ metricType: "custom", metricName: "orders_total", value: 1 });
    }
    await paramedic.shutdown();
    await lock.release();
    expect(told()).toEqual(["shutdown ended with 7 points that neither the stream nor the store has taken"]);
  });
});

describe("a database file that cannot be used", () => {
  it.each([
    [
      "is not a database",
      () => writeFileSync(join(folder, "paramedic.db"), "not a database, but long enough to be one".repeat(99)),
      "STORE_CORRUPT",
    ],
    ["lies in a folder that is missing", () => rmSync(folder, { recursive: true }), "STORE_UNAVAILABLE"],
  ] as const)("%s: one clear line, calls as ever, and guards that go on", async (_what, breakIt, code) => {
    breakIt();
    const lines: string[] = [];
    const quiet = () => {};
    const logger: Logger = {
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (_fields, message) => void lines.push(message),
    };
    const paramedic = start({ logger });
    const { api } = appOf(paramedic);
    expect(await paramedic.ready).toMatchObject({ store: "unavailable", code });
    expect(lines.filter((line) => line.includes("working without the store"))).toHaveLength(1);
    expect(await api.good()).toBe("good");
    await expect(api.weather()).rejects.toThrow();
    expect(paramedic.circuits.get("http:weather")?.getState().state).toBe("open");
    await expect(api.paramedic.failures.list()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    await expect
      .poll(async () => (await api.health()).checks.find(({ name }) => name === "store")?.status)
      .toBe("unhealthy");
  });
});

describe("Redis", () => {
  it("that is away at start changes no call and loses no count once it comes", async () => {
    const redis = await startRedis();
    await redis.kill();
    const paramedic = start({}, { PARAMEDIC_REDIS_URL: redis.url, METRICS_REDIS_STREAM_KEY: ownKey("away") });
    const { api } = appOf(paramedic);
    await paramedic.ready;
    for (let i = 0; i < 50; i += 1) expect(await api.good()).toBe("good");
    await expect
      .poll(async () => (await api.health()).checks.find(({ name }) => name === "redis")?.status)
      .toBe("unhealthy");
    expect((await api.health()).overall).toBe("degraded");
    await redis.restart();
    try {
      await expect
        .poll(() => api.paramedic.metrics.accounting().catch(() => undefined))
        .toMatchObject({ lost: 0, inFlight: 0 });
    } finally {
      await paramedic.shutdown();
      await redis.stop();
    }
  }, 80_000);

  it("that dies in the middle costs no call; at shutdown what was on its way is folded without it, once", async () => {
    const redis = await startRedis();
    const key = ownKey("killed");
    const paramedic = start({}, { PARAMEDIC_REDIS_URL: redis.url, METRICS_REDIS_STREAM_KEY: key });
    const { api } = appOf(paramedic);
    await paramedic.ready;
    for (let i = 0; i < 100; i += 1) await api.good();
    await expect.poll(async () => (await api.paramedic.metrics.accounting()).rolledUp).toBeGreaterThanOrEqual(200);
    // What this Redis confirmed it forgets when it is killed: so it confirms nothing more once all of that is committed.
    const client = new Redis(redis.url);
    await expect.poll(() => isHeldWithNothingOnIt(client, key)).toBe(true);
    client.disconnect();
    await redis.kill();
    for (let i = 0; i < 100; i += 1) expect(await api.good()).toBe("good");
    const { recorded, rolledUp, inFlight, lost } = await api.paramedic.metrics.accounting();
    expect([lost, rolledUp + inFlight]).toEqual([0, recorded]);
    await paramedic.shutdown();
    const next = start({}, { HEALTH_MONITORING_ENABLED: "false" });
    await next.ready;
    const points = await next.store.readSeries({
      metricName: "trpc.good.success_count",
      from: 0,
      to: Date.now() + 60_000,
      stepMs: 86_400_000,
      limit: 10,
    });
    expect(points.reduce((sum, point) => sum + point.sum, 0)).toBe(200);
    const ledger = await next.store.ledger();
    expect(ledger.reduce((sum, boot) => sum + boot.recorded - boot.rolledUp, 0)).toBe(0);
  }, 80_000);

  it("that is away at shutdown loses nothing of an instance that leaves aggregation to others and has the store", async () => {
    const variables = { PARAMEDIC_REDIS_URL: "redis://127.0.0.1:1", PARAMEDIC_AGGREGATE: "false" };
    const paramedic = start({}, variables);
    const { api } = appOf(paramedic);
    await paramedic.ready;
    for (let i = 0; i < 100; i += 1) await api.good();
    await paramedic.shutdown();
    const next = start({ redis: false }, { HEALTH_MONITORING_ENABLED: "false" });
    await next.ready;
    const [boot] = await next.store.ledger();
    expect(boot).toMatchObject({ rolledUp: boot?.recorded });
    expect(boot?.rolledUp).toBeGreaterThanOrEqual(200);
  });

  it("shared by two instances carries the batches of both, each counted once", async () => {
    const key = ownKey("two");
    const shared = { PARAMEDIC_REDIS_URL: inject("redisUrl"), METRICS_REDIS_STREAM_KEY: key };
    const one = start({ instance: "one" }, shared);
    const two = start({ instance: "two" }, shared);
    const apps = [appOf(one), appOf(two)];
    await Promise.all([one.ready, two.ready]);
    for (let i = 0; i < 60; i += 1) await apps[i % 2]?.api.good();
    await one.shutdown();
    await two.shutdown();
    const next = start({ redis: false }, { HEALTH_MONITORING_ENABLED: "false" });
    await next.ready;
    const points = await next.store.readSeries({
      metricName: "trpc.good.success_count",
      from: 0,
      to: Date.now() + 60_000,
      stepMs: 86_400_000,
      limit: 10,
    });
    expect(points.reduce((sum, point) => sum + point.sum, 0)).toBe(60);
  }, 80_000);
});
