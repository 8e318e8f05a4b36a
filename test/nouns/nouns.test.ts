/** Each noun alone, with the arguments the public door names, and nothing composed. */
import { initTRPC, TRPCError } from "@trpc/server";
import { Redis } from "ioredis";
import { describe, expect, inject, it } from "vitest";
import {
  CircuitBreaker,
  CircuitBreakerError,
  CircuitBreakerRegistry,
  createInstrumentationMiddleware,
  FailoverStrategy,
  type Failure,
  HealthCheckRegistry,
  HealthMonitorService,
  MetricsCollector,
  OperationTracker,
  RecoveryEngine,
  type RecoveryStrategy,
  type RescueOperation,
  RetryStrategy,
  registerBuiltInHealthChecks,
  SELF_HEALING_FEATURE_FLAGS,
} from "../../server/index.js";
import { ownKey } from "../services/own-key.js";

const failure: Failure = {
  eventId: "event-1",
  timestamp: Date.UTC(2026, 0, 1),
  failureCategory: "external_dependency",
  failureType: "service_unavailable",
  severity: "high",
  affectedService: "llm:openai",
  detectionMethod: "exception",
};

/** The call of somebody who waits, whose second target answers. */
function operation(answers: { again?: () => Promise<unknown>; next?: () => Promise<unknown> }): RescueOperation {
  const refuse = () => Promise.reject(new Error("not here"));
  return {
    again: answers.again ?? refuse,
    next: answers.next ?? refuse,
    fallback: refuse,
    targetsLeft: answers.next ? 1 : 0,
    hasFallback: false,
    remainingMs: () => 60_000,
    attempts: 1,
    signal: new AbortController().signal,
  };
}

describe("MetricsCollector, OperationTracker and createInstrumentationMiddleware alone", () => {
  it("measure a procedure and send what they measured to a Redis stream that a person can read", async () => {
    const redis = new Redis(inject("redisUrl"));
    const streamKey = ownKey("nouns");
    const collector = new MetricsCollector(redis, { streamKey });
    const tracker = new OperationTracker(collector);
    const t = initTRPC.create();
    const procedure = t.procedure.use(createInstrumentationMiddleware(collector, tracker));
    const caller = t.createCallerFactory(
      t.router({
        good: procedure.query(() => 1),
        bad: procedure.query(() => {
          throw new TRPCError({ code: "INTERNAL_SERVER_ERROR" });
        }),
      }),
    )({});
    try {
      expect(await caller.good()).toBe(1);
      await expect(caller.bad()).rejects.toMatchObject({ code: "INTERNAL_SERVER_ERROR" });
      const report = tracker.startOperation("report", { format: "pdf" });
      tracker.recordFailure(report, new Error("no paper"));
      await collector.close();
      // One entry for each second in which something was measured.
      const entries = await redis.xrange(streamKey, "-", "+");
      const data = entries.map(([, fields]) => fields[fields.indexOf("data") + 1]).join();
      for (const name of [
        "trpc.good.duration",
        "trpc.good.success_count",
        "trpc.bad.failure_count",
        "report.failure_count",
      ]) {
        expect(data).toContain(`"${name}"`);
      }
      expect(await redis.ping()).toBe("PONG");
    } finally {
      await redis.del(streamKey);
      redis.disconnect();
    }
  });
});

describe("HealthCheckRegistry, built-in checks and HealthMonitorService alone", () => {
  it("check a Redis and the process, and say how the whole is", async () => {
    const redis = new Redis(inject("redisUrl"));
    const points: string[] = [];
    const collector = {
      record: (point: { metricName: string }) => void points.push(point.metricName),
      series: () => ({ record() {} }),
    };
    const registry = new HealthCheckRegistry();
    const stopMeasuring = registerBuiltInHealthChecks(registry, redis, collector);
    registry.register("queue", async () => ({ status: "degraded", message: "long" }));
    const monitor = new HealthMonitorService(registry, collector);
    try {
      const { overall, checks, timestamp } = await registry.executeAll();
      expect(overall).toBe("degraded");
      expect(checks.map(({ name }) => name).toSorted()).toEqual(["cpu", "event_loop", "memory", "queue", "redis"]);
      // Until it is connected, or where the machine is busy, it may answer too late to be well.
      await expect
        .poll(async () => (await registry.executeAll()).checks.find(({ name }) => name === "redis"))
        .toMatchObject({ status: "healthy", latency: expect.any(Number) });
      expect(timestamp).toBeGreaterThan(0);
      monitor.start();
      await expect.poll(() => points).toContain("overall_health");
    } finally {
      await monitor.stop();
      stopMeasuring();
      redis.disconnect();
    }
  });
});

describe("CircuitBreaker and CircuitBreakerRegistry alone", () => {
  it("open after the threshold and refuse with who, why and when", async () => {
    const circuit = new CircuitBreaker("http:billing", {
      failureThreshold: 2,
      successThreshold: 1,
      timeout: 1_000,
      resetTimeout: 60_000,
    });
    const down = () => Promise.reject(new Error("down"));
    await expect(circuit.execute(down)).rejects.toThrow("down");
    await expect(circuit.execute(down)).rejects.toThrow("down");
    expect(circuit.getState()).toMatchObject({
      state: "open",
      failureCount: 2,
      successCount: 0,
      nextRetryTime: expect.any(Number),
    });
    const refused = await circuit.execute(async () => 1).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(CircuitBreakerError);
    expect(refused).toMatchObject({
      code: "SERVICE_UNAVAILABLE",
      circuitName: "http:billing",
      retryAfterMs: expect.any(Number),
    });
  });

  it("are one object per name", () => {
    const registry = new CircuitBreakerRegistry();
    const circuit = registry.getOrCreate("db:main", { failureThreshold: 3 });
    expect(registry.getOrCreate("db:main")).toBe(circuit);
    expect(registry.get("db:main")).toBe(circuit);
    expect(registry.getAll()).toEqual([circuit]);
    expect(registry.get("db:other")).toBeUndefined();
  });
});

describe("RecoveryEngine, RetryStrategy and FailoverStrategy alone", () => {
  it("rescue a call by running it again, or by the next target", async () => {
    const engine = new RecoveryEngine();
    engine.registerStrategy(new RetryStrategy());
    engine.registerStrategy(new FailoverStrategy());
    let attempts = 0;
    const { recovered, actions } = await engine.handleFailure(
      failure,
      operation({
        again: async () => {
          attempts += 1;
          throw new Error("still away");
        },
        next: async () => "from the next one",
      }),
    );
    expect(recovered).toBe(true);
    expect(attempts).toBe(1);
    expect(actions.map(({ actionStrategy, success }) => [actionStrategy, success])).toEqual([
      ["exponential_backoff_retry", false],
      ["provider_failover", true],
    ]);
  });

  it("repair a service by the user's own strategy, and believe only what was verified", async () => {
    const engine = new RecoveryEngine();
    const done: string[] = [];
    const flush: RecoveryStrategy = {
      name: "flush_cache",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["service_unavailable"],
      async execute() {
        done.push("execute");
        return { success: true, actionType: "reset", actionStrategy: "flush_cache", durationMs: 1, message: "flushed" };
      },
      async verify() {
        done.push("verify");
        return false;
      },
      async rollback() {
        done.push("rollback");
      },
    };
    engine.registerStrategy(flush);
    const { recovered, actions } = await engine.handleFailure(failure);
    expect([recovered, done]).toEqual([false, ["execute", "verify", "rollback"]]);
    expect(actions).toMatchObject([{ actionStrategy: "flush_cache", success: false, status: "rolled_back" }]);
  });

  it("run a strategy without any engine", async () => {
    const result = await new RetryStrategy().execute(failure, operation({ again: async () => "second time lucky" }));
    expect(result).toMatchObject({
      success: true,
      actionType: "retry",
      actionStrategy: "exponential_backoff_retry",
      value: "second time lucky",
    });
    const next = await new FailoverStrategy().execute(failure, operation({ next: async () => 2 }));
    expect(next).toMatchObject({
      success: true,
      actionType: "failover",
      actionStrategy: "provider_failover",
      value: 2,
    });
  });
});

describe("SELF_HEALING_FEATURE_FLAGS", () => {
  it("name every flag with its default", () => {
    expect(SELF_HEALING_FEATURE_FLAGS.SELF_HEALING_ENABLED.default).toBe(true);
    expect(SELF_HEALING_FEATURE_FLAGS.CIRCUIT_BREAKER_FAILURE_THRESHOLD.default).toBe(5);
  });
});
