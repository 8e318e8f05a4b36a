import { spawnSync } from "node:child_process";
import { totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { afterEach, describe, expect, it } from "vitest";
import {
  type BuiltInHealthChecks,
  judgeCircuits,
  registerBuiltInHealthChecks,
  registerDatabaseHealthCheck,
} from "../../server/health/built-in-checks.js";
import { cpuPercent, createCpuMeter, judgeCpu, readCpuMs } from "../../server/health/cpu-check.js";
import { createEventLoopMeter, judgeEventLoop } from "../../server/health/event-loop-check.js";
import { HealthCheckRegistry } from "../../server/health/health-check-registry.js";
import { judgeMemory, oldLimitOf, readMemory, realLimitOf } from "../../server/health/memory-check.js";
import { judgeRoundTrip } from "../../server/health/ping-check.js";
import { systemClock } from "../../server/ports/clock.js";
import { createRecordingSink } from "../instrumentation/support.js";
import { createFakeClock } from "../support/fake-clock.js";

const GIGABYTE = 2 ** 30;

describe("memory", () => {
  const reading = (heapUsedPercent: number, residentPercent?: number) => ({
    heapUsedBytes: heapUsedPercent * GIGABYTE,
    heapLimitBytes: 100 * GIGABYTE,
    residentBytes: (residentPercent ?? 0) * GIGABYTE,
    containerLimitBytes: residentPercent === undefined ? undefined : 100 * GIGABYTE,
  });

  it.each([
    [74.9, "healthy"],
    [75, "degraded"],
    [89.9, "degraded"],
    [90, "unhealthy"],
  ] as const)("with %s %% of the heap's limit used is %s", (percent, status) => {
    expect(judgeMemory(reading(percent)).status).toBe(status);
    expect(judgeMemory(reading(1, percent)).status).toBe(status);
  });

  it("says which limit is near", () => {
    expect(judgeMemory(reading(80)).message).toBe("80.0 % of the heap's limit is used");
    expect(judgeMemory(reading(80, 95)).message).toBe("95.0 % of the container's memory is used");
  });

  it("takes Node's odd numbers for what they are: no limit", () => {
    for (const none of [undefined, 0, 18446744073709552000, 17 * GIGABYTE]) {
      expect(realLimitOf(none, 16 * GIGABYTE)).toBeUndefined();
    }
    expect(realLimitOf(GIGABYTE, 16 * GIGABYTE)).toBe(GIGABYTE);
  });

  it.each([64, 160, 1_024])("knows at how much V8 gives up with a heap of %s MB", (megabytes) => {
    const asks = 'process.stdout.write(String(require("node:v8").getHeapStatistics().heap_size_limit))';
    const { stdout } = spawnSync(process.execPath, [`--max-old-space-size=${megabytes}`, "-e", asks], {
      encoding: "utf8",
    });
    const memoryBytes = realLimitOf(process.constrainedMemory(), totalmem()) ?? totalmem();
    expect(oldLimitOf(Number(stdout), memoryBytes) / 2 ** 20).toBeCloseTo(megabytes, 0);
  });

  it("reads this very process as it is", () => {
    const { heapUsedBytes, heapLimitBytes, residentBytes } = readMemory();
    expect(heapUsedBytes).toBeGreaterThan(1e6);
    expect(heapLimitBytes).toBeGreaterThan(heapUsedBytes);
    expect(residentBytes).toBeGreaterThan(heapUsedBytes / 2);
  });
});

describe("cpu", () => {
  it.each([
    [79.9, "healthy"],
    [80, "degraded"],
    [94.9, "degraded"],
    [95, "unhealthy"],
  ] as const)("at %s %% is %s", (percent, status) => {
    expect(judgeCpu(percent).status).toBe(status);
  });

  it("is a share of what the process may use, and stays within 0 and 100", () => {
    expect(cpuPercent(500, 1_000, 2)).toBe(25);
    expect(cpuPercent(500, 1_000, 0.5)).toBe(100);
    expect(cpuPercent(5_000, 1_000, 1)).toBe(100);
    expect(cpuPercent(-1, 1_000, 1)).toBe(0);
    expect(cpuPercent(1, 0, 1)).toBe(0);
  });

  it("looks at the last interval, not at the whole life", async () => {
    const clock = createFakeClock();
    let cpuMs = 100_000;
    const meter = createCpuMeter({ clock, readCpuMs: () => cpuMs, readCores: () => 1 });
    await clock.advance(1_000);
    cpuMs += 900;
    expect(await meter()).toBe(90);
    await clock.advance(100);
    expect(await meter()).toBe(90);
    await clock.advance(10_000);
    expect(await meter()).toBe(0);
  });

  it("waits for its first interval", async () => {
    const clock = createFakeClock();
    let cpuMs = 0;
    const meter = createCpuMeter({ clock, readCpuMs: () => cpuMs, readCores: () => 1 });
    const first = meter();
    cpuMs = 125;
    await clock.advance(250);
    expect(await first).toBe(50);
  });

  it("sees this very process at work", async () => {
    const meter = createCpuMeter({ clock: systemClock, readCpuMs, readCores: () => 1 });
    const until = readCpuMs() + 150;
    while (readCpuMs() < until);
    const percent = await meter();
    expect(percent).toBeGreaterThan(1);
    expect(percent).toBeLessThanOrEqual(100);
  });
});

describe("event loop", () => {
  it.each([
    [{ p99Ms: 99, maxMs: 999 }, "healthy"],
    [{ p99Ms: 100, maxMs: 100 }, "degraded"],
    [{ p99Ms: 1, maxMs: 1_000 }, "degraded"],
    [{ p99Ms: 500, maxMs: 500 }, "unhealthy"],
  ] as const)("%o is %s", (reading, status) => {
    expect(judgeEventLoop(reading).status).toBe(status);
  });

  const block = (ms: number) => {
    const until = performance.now() + ms;
    while (performance.now() < until);
  };

  it("sees a block, also one that begins at once after a reading, and forgets it with the next", async () => {
    let since = performance.now();
    const meter = createEventLoopMeter(systemClock);
    /** Of the time since the last reading alone: on a busy machine the loop may be late without us, by no more than that. */
    const expectCalm = async () => {
      await sleep(100);
      const { maxMs } = await meter.read();
      expect(maxMs).toBeLessThan(performance.now() - since);
    };
    try {
      await expectCalm();
      block(400);
      await sleep(50);
      since = performance.now();
      expect((await meter.read()).maxMs).toBeGreaterThan(250);
      await expectCalm();
    } finally {
      meter.stop();
    }
  });

  it("takes the histogram's own period off, and NaN for nothing", async () => {
    const clock = createFakeClock();
    const values = { max: 25e6, count: 3, percentile: () => Number.NaN, reset() {} };
    const meter = createEventLoopMeter(clock, () => ({ histogram: values, close() {} }));
    expect(await meter.read()).toEqual({ p99Ms: 0, maxMs: 5 });
    meter.stop();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe("registerBuiltInHealthChecks", () => {
  const stops: (() => void)[] = [];
  afterEach(() => {
    for (const stop of stops.splice(0)) stop();
  });

  const calm: BuiltInHealthChecks = {
    readMemory: () => ({ heapUsedBytes: 1, heapLimitBytes: 100, residentBytes: 1, containerLimitBytes: undefined }),
    readCpuMs: () => 0,
    eventLoop: { read: async () => ({ p99Ms: 1, maxMs: 2 }), stop() {} },
  };

  it("works alone with a registry, on this very process", async () => {
    const registry = new HealthCheckRegistry();
    const sink = createRecordingSink();
    stops.push(registerBuiltInHealthChecks(registry, undefined, sink));
    const { checks } = await registry.executeAll();
    expect(checks.map(({ name, criticality }) => [name, criticality])).toEqual([
      ["memory", "important"],
      ["cpu", "important"],
      ["event_loop", "important"],
    ]);
    expect(checks.map(({ status }) => status)).not.toContain("unknown");
    expect(sink.values("memory.heap_used_percent")).toHaveLength(1);
    expect(sink.values("cpu.usage_percent")).toHaveLength(1);
  });

  it("checks store, redis and circuits where they are given", async () => {
    const registry = new HealthCheckRegistry();
    const answers = { store: true, redis: true };
    const circuits: { name: string; state: "closed" | "open" }[] = [{ name: "llm:a", state: "closed" }];
    const ping = (name: "store" | "redis") => ({
      ping: async () => {
        if (!answers[name]) throw new Error(`${name} is away`);
      },
    });
    registerBuiltInHealthChecks(registry, ping("redis"), undefined, {
      ...calm,
      store: ping("store"),
      circuits: () => circuits,
      redisCriticality: "important",
    });
    expect((await registry.executeAll()).overall).toBe("healthy");
    answers.redis = false;
    circuits[0] = { name: "llm:a", state: "open" };
    const { overall, checks } = await registry.executeAll();
    expect(overall).toBe("degraded");
    expect(checks.find(({ name }) => name === "redis")).toMatchObject({
      status: "unhealthy",
      message: "redis is away",
    });
    expect(checks.find(({ name }) => name === "circuits")).toMatchObject({
      status: "degraded",
      message: "not closed: llm:a open",
    });
  });

  it("takes a redis that the app needs for critical, unless it is told otherwise", async () => {
    const registry = new HealthCheckRegistry();
    const redis = { ping: () => Promise.reject(new Error("refused")) };
    registerBuiltInHealthChecks(registry, redis, undefined, calm);
    expect((await registry.executeAll()).overall).toBe("unhealthy");
  });

  it("makes the app unhealthy with its own database, and only with that", async () => {
    const registry = new HealthCheckRegistry();
    const sqlite = new Database(":memory:");
    registerBuiltInHealthChecks(registry, undefined, undefined, calm);
    registerDatabaseHealthCheck(registry, { name: "db:main", ping: () => sqlite.pragma("schema_version") });
    registerDatabaseHealthCheck(registry, { name: "db:archive", ping: () => 1 }, { criticality: "optional" });
    expect((await registry.executeAll()).overall).toBe("healthy");
    expect(registry.checks().map(({ name }) => name)).toContain("database:archive");
    sqlite.close();
    const { overall, checks } = await registry.executeAll();
    expect(overall).toBe("unhealthy");
    expect(checks.find(({ name }) => name === "database")?.message).toContain("not open");
  });

  it.each([
    [99, 100, "healthy"],
    [100, 100, "degraded"],
    [50, 50, "degraded"],
  ] as const)("a round trip of %s ms where healthy is under %s is %s", (took, limit, status) => {
    expect(judgeRoundTrip(took, limit).status).toBe(status);
  });

  it("names at most ten circuits", () => {
    const circuits = Array.from({ length: 500 }, (_, i) => ({ name: `c${i}`, state: "open" as const }));
    const { message, metadata } = judgeCircuits(circuits);
    expect(message?.length).toBeLessThan(200);
    expect(metadata).toEqual({ total: 500, notClosed: 500 });
  });
});
