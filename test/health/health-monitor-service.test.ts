import { describe, expect, it } from "vitest";
import { HealthCheckRegistry } from "../../server/health/health-check-registry.js";
import { HealthMonitorService, repeatAfterMs } from "../../server/health/health-monitor-service.js";
import type { HealthStatus } from "../../shared/health.js";
import { createRecordingJournal, createRecordingSink } from "../instrumentation/support.js";
import { createFakeClock } from "../support/fake-clock.js";

function setUp(intervalMs = 30_000) {
  const clock = createFakeClock();
  const sink = createRecordingSink();
  const journal = createRecordingJournal();
  const lines: [string, unknown, string][] = [];
  const log = (level: string) => (fields: { subject?: unknown }, message: string) =>
    void lines.push([level, fields.subject, message]);
  const registry = new HealthCheckRegistry({ clock });
  const monitor = new HealthMonitorService(
    registry,
    sink,
    {
      clock,
      journal,
      ids: () => "id",
      logger: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
      onFault: (fault) => {
        throw fault;
      },
    },
    { intervalMs },
  );
  /** A check whose answer the test sets, and which counts its runs. */
  const controlled = (name: string, options?: Parameters<typeof registry.register>[2]) => {
    const state = { status: "healthy" as HealthStatus, runs: 0 };
    registry.register(
      name,
      () => {
        state.runs += 1;
        return { status: state.status };
      },
      options,
    );
    return state;
  };
  return { clock, sink, journal, lines, registry, monitor, controlled };
}

describe("HealthMonitorService", () => {
  it("works alone with a registry and a collector", async () => {
    const registry = new HealthCheckRegistry();
    registry.register("a", () => ({ status: "healthy" }));
    const sink = createRecordingSink();
    const monitor = new HealthMonitorService(registry, sink);
    monitor.start();
    await monitor.stop();
    expect(registry.latest().overall).toBe("healthy");
    expect(sink.values("overall_health")).toEqual([1]);
  });

  it("runs all checks at once and then every interval, and stops", async () => {
    const { clock, monitor, controlled } = setUp();
    const check = controlled("a");
    monitor.start();
    monitor.start();
    await clock.advance(0);
    expect(check.runs).toBe(1);
    await clock.advance(60_000);
    expect(check.runs).toBe(3);
    await monitor.stop();
    await clock.advance(120_000);
    expect(check.runs).toBe(3);
    expect(clock.pendingTimers).toBe(0);
    monitor.start();
    await clock.advance(0);
    expect(check.runs).toBe(4);
  });

  it("repeats what is not healthy every second, and only that", async () => {
    const { clock, monitor, registry, controlled } = setUp();
    const ill = controlled("ill");
    const well = controlled("well");
    ill.status = "unhealthy";
    monitor.start();
    await clock.advance(3_000);
    expect(ill.runs).toBe(4);
    expect(well.runs).toBe(1);
    ill.status = "healthy";
    await clock.advance(1_000);
    expect(registry.latest().overall).toBe("healthy");
    await clock.advance(10_000);
    expect(ill.runs).toBe(5);
  });

  it("repeats less often once nothing changed for a minute", async () => {
    expect([0, 59_999, 60_000].map(repeatAfterMs)).toEqual([1_000, 1_000, 5_000]);
    const { clock, monitor, controlled } = setUp(3_600_000);
    const ill = controlled("ill");
    ill.status = "unhealthy";
    monitor.start();
    await clock.advance(60_000);
    expect(ill.runs).toBe(61);
    await clock.advance(60_000);
    expect(ill.runs).toBe(61 + 12);
  });

  it("moves at once when it is poked, and at most once a second under a storm of pokes", async () => {
    const { clock, monitor, registry, controlled } = setUp();
    const check = controlled("database");
    monitor.start();
    await clock.advance(10_000);
    check.status = "unhealthy";
    monitor.poke();
    await clock.advance(0);
    expect(registry.latest().overall).toBe("unhealthy");
    check.status = "healthy";
    const before = check.runs;
    for (let i = 0; i < 1_000; i += 1) monitor.poke();
    await clock.advance(0);
    expect(check.runs).toBe(before);
    await clock.advance(1_000);
    expect(registry.latest().overall).toBe("healthy");
    expect(check.runs).toBeLessThanOrEqual(before + 2);
    await monitor.stop();
    monitor.poke();
    await clock.advance(10_000);
    expect(check.runs).toBeLessThanOrEqual(before + 2);
  });

  it("shows the degradation of a dependency that begins to hang within five seconds of a poke", async () => {
    const { clock, monitor, registry } = setUp();
    let hangs = false;
    registry.register("database", () => (hangs ? new Promise(() => {}) : { status: "healthy" }));
    monitor.start();
    await clock.advance(5_000);
    hangs = true;
    monitor.poke();
    await clock.advance(5_000);
    expect(registry.latest().overall).toBe("unhealthy");
  });

  it("logs one line for each change of a status, of a check and of the whole", async () => {
    const { clock, monitor, lines, controlled } = setUp();
    const check = controlled("redis", { criticality: "important" });
    monitor.start();
    await clock.advance(30_000);
    check.status = "degraded";
    await clock.advance(30_000);
    check.status = "healthy";
    await clock.advance(30_000);
    expect(lines).toEqual([
      ["info", "redis", "health of redis: healthy"],
      ["info", "overall", "overall health: healthy"],
      ["warn", "redis", "health of redis: degraded"],
      ["warn", "overall", "overall health: degraded"],
      ["info", "redis", "health of redis: healthy"],
      ["info", "overall", "overall health: healthy"],
    ]);
  });

  it("records latencies and the overall health", async () => {
    const { clock, monitor, sink, controlled } = setUp();
    const database = controlled("database");
    controlled("database:archive", { criticality: "optional" });
    controlled("memory", { recordsLatency: false });
    monitor.start();
    await clock.advance(0);
    database.status = "unhealthy";
    await clock.advance(30_000);
    expect(sink.values("database.latency")).toHaveLength(4);
    expect(sink.points.find(({ source }) => source === "database:archive")).toMatchObject({
      metricType: "health_check",
      metricName: "database.latency",
      unit: "ms",
    });
    expect(sink.names()).not.toContain("memory.latency");
    expect(sink.values("overall_health")).toEqual([1, 0]);
  });

  it("journals a failure when a critical or important check turns unhealthy, once per turn", async () => {
    const { clock, monitor, journal, controlled } = setUp();
    const database = controlled("database", { failureCategory: "database" });
    const memory = controlled("memory", {
      criticality: "important",
      failureCategory: "resource",
      failureType: "memory_pressure",
    });
    const extra = controlled("extra", { criticality: "optional" });
    monitor.start();
    await clock.advance(30_000);
    database.status = "unhealthy";
    memory.status = "unhealthy";
    extra.status = "unhealthy";
    await clock.advance(40_000);
    expect(journal.entries).toMatchObject([
      {
        type: "failure.observed",
        rescued: false,
        failure: {
          failureType: "health_check_failed",
          failureCategory: "database",
          severity: "critical",
          affectedService: "database",
          detectionMethod: "health_check",
        },
      },
      { failure: { failureType: "memory_pressure", failureCategory: "resource", severity: "high" } },
    ]);
    database.status = "healthy";
    await clock.advance(5_000);
    database.status = "unhealthy";
    await clock.advance(40_000);
    expect(journal.entries).toHaveLength(3);
  });

  it("takes in checks that come and go while it runs", async () => {
    const { clock, monitor, registry, controlled } = setUp();
    monitor.start();
    await clock.advance(0);
    expect(registry.latest().overall).toBe("unknown");
    const late = controlled("late");
    monitor.poke();
    await clock.advance(1_000);
    expect(registry.latest().overall).toBe("healthy");
    late.status = "unhealthy";
    await clock.advance(30_000);
    registry.unregister("late");
    const runs = late.runs;
    await clock.advance(60_000);
    expect(late.runs).toBe(runs);
  });
});
