import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HealthCheckRegistry } from "../../server/health/health-check-registry.js";
import type { HealthCheckOutcome } from "../../shared/health.js";
import { createFakeClock } from "../support/fake-clock.js";
import { createStarvedClock } from "../support/starved-clock.js";

function setUp(options?: ConstructorParameters<typeof HealthCheckRegistry>[1]) {
  const clock = createFakeClock();
  return { clock, registry: new HealthCheckRegistry({ clock }, options) };
}

const healthy = () => ({ status: "healthy" }) as const;

describe("HealthCheckRegistry", () => {
  it("works alone, without arguments", async () => {
    const registry = new HealthCheckRegistry();
    registry.register("a", healthy);
    const { overall, checks, timestamp } = await registry.executeAll();
    expect(overall).toBe("healthy");
    expect(checks).toMatchObject([{ name: "a", status: "healthy", criticality: "critical", message: undefined }]);
    expect(timestamp).toBeCloseTo(Date.now(), -4);
  });

  it("is unknown while nothing was measured, and without checks", () => {
    const { registry } = setUp();
    expect(registry.latest()).toMatchObject({ overall: "unknown", checks: [] });
    registry.register("a", healthy);
    expect(registry.latest()).toMatchObject({
      overall: "unknown",
      checks: [{ status: "unknown", message: "not measured yet", checkedAt: 0 }],
    });
  });

  it("runs checks in parallel and tells how long each took", async () => {
    const { clock, registry } = setUp();
    const lasting = (ms: number) => () =>
      new Promise<{ status: "healthy" }>((resolve) => clock.setTimer(() => resolve({ status: "healthy" }), ms));
    registry.register("slow", lasting(300));
    registry.register("slower", lasting(400));
    const report = registry.executeAll();
    await clock.advance(400);
    expect((await report).checks.map(({ latency }) => latency)).toEqual([300, 400]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("gives up on a check that hangs after its own timeout, and tells it so", async () => {
    const { clock, registry } = setUp({ timeoutMs: 1_000 });
    let aborted = false;
    registry.register("fast", healthy);
    registry.register("hangs", ({ signal }) => {
      signal.addEventListener("abort", () => {
        aborted = true;
      });
      return new Promise(() => {});
    });
    registry.register("hangs longer", () => new Promise(() => {}), { timeoutMs: 3_000, criticality: "optional" });
    const report = registry.executeAll();
    await clock.advance(1_000);
    expect(registry.latest().checks).toMatchObject([
      { status: "healthy" },
      { status: "unhealthy", message: "no answer within 1000 ms", latency: 1_000 },
      { status: "unknown" },
    ]);
    expect(aborted).toBe(true);
    await clock.advance(2_000);
    expect((await report).overall).toBe("unhealthy");
  });

  it.each([
    [200, "unhealthy", "no answer within 1000 ms"],
    [300, "unknown", "no answer within 1000 ms, while this process itself was late by 600 ms"],
  ])("of which nothing was heard while timers fired %i ms late is %s", async (lateMs, status, message) => {
    const clock = createStarvedClock(createFakeClock());
    const registry = new HealthCheckRegistry({ clock }, { timeoutMs: 1_000 });
    registry.register("hangs", () => new Promise(() => {}));
    clock.lateMs = lateMs;
    const report = registry.executeAll();
    await clock.advance(1_000);
    expect((await report).checks).toMatchObject([{ status, message }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("hears an answer that came while the event loop was blocked", async () => {
    const clock = createStarvedClock(createFakeClock());
    const registry = new HealthCheckRegistry({ clock }, { timeoutMs: 1_000 });
    let answer = (_outcome: HealthCheckOutcome): void => {};
    registry.register("answers", () => new Promise((resolve) => (answer = resolve)));
    const report = registry.executeAll();
    clock.setTimer(() => answer({ status: "healthy" }), 1_000);
    clock.lateMs = 5_000;
    await clock.advance(1_000);
    expect((await report).checks).toMatchObject([{ status: "healthy" }]);
  });

  it("joins a run that is under way", async () => {
    const { clock, registry } = setUp();
    let runs = 0;
    registry.register("a", async () => {
      runs += 1;
      await new Promise<void>((resolve) => clock.setTimer(resolve, 100));
      return { status: "healthy" };
    });
    const reports = Promise.all([registry.executeAll(), registry.executeAll(), registry.execute(["a"])]);
    await clock.advance(100);
    await reports;
    expect(runs).toBe(1);
    const again = registry.executeAll();
    await clock.advance(100);
    await again;
    expect(runs).toBe(2);
  });

  it("never gives a late answer for a newer one", async () => {
    const { clock, registry } = setUp({ timeoutMs: 100 });
    const answers = [500, 10];
    registry.register("a", async () => {
      const after = answers.shift() ?? 0;
      await new Promise<void>((resolve) => clock.setTimer(resolve, after));
      return after === 500 ? { status: "degraded", message: "late" } : { status: "healthy" };
    });
    const first = registry.executeAll();
    await clock.advance(100);
    expect((await first).overall).toBe("unhealthy");
    const second = registry.executeAll();
    await clock.advance(10);
    expect((await second).overall).toBe("healthy");
    await clock.advance(1_000);
    expect(registry.latest().overall).toBe("healthy");
  });

  it("makes throwing and rubbish unhealthy, with a message that is safe to show", async () => {
    const { registry } = setUp();
    const checks: [() => unknown, unknown][] = [
      [
        () => {
          throw new Error("connect postgres://app:hunter2@db");
        },
        "connect postgres://[redacted]@db",
      ],
      [() => Promise.reject(undefined), "undefined was thrown"],
      [() => undefined, expect.stringContaining("gave no status")],
      [() => ({ status: "fine" }), expect.stringContaining("gave no status")],
      [
        () => ({
          get status() {
            throw new Error("trap");
          },
        }),
        expect.stringContaining("gave no status"),
      ],
      [
        () => ({
          // biome-ignore lint/suspicious/noThenProperty: a thenable that throws is what is tested
          get then() {
            throw new Error("trap");
          },
        }),
        "trap",
      ],
    ];
    for (const [index, [check]] of checks.entries()) registry.register(`c${index}`, check as typeof healthy);
    const report = await registry.executeAll();
    expect(report.checks.map(({ status }) => status)).toEqual(checks.map(() => "unhealthy"));
    expect(report.checks.map(({ message }) => message)).toEqual(checks.map(([, message]) => message));
  });

  it("keeps every result JSON and bounded, whatever a check gives", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({ status: fc.constantFrom("healthy", "degraded"), message: fc.anything(), metadata: fc.anything() }),
        async (outcome) => {
          const { registry } = setUp();
          registry.register("a", () => outcome as ReturnType<typeof healthy>);
          const [result] = (await registry.executeAll()).checks;
          expect(result?.status).toBe(outcome.status);
          expect(result?.message?.length ?? 0).toBeLessThanOrEqual(500);
          expect(() => JSON.stringify(result)).not.toThrow();
        },
      ),
    );
  });

  it("calls a stale result unknown: three intervals old", async () => {
    const { clock, registry } = setUp({ intervalMs: 10_000 });
    registry.register("a", healthy);
    await registry.executeAll();
    await clock.advance(30_000);
    clock.stepWall(-3_600_000);
    expect(registry.latest()).toMatchObject({ overall: "healthy", checks: [{ ageMs: 30_000 }] });
    await clock.advance(1);
    expect(registry.latest()).toMatchObject({
      overall: "unknown",
      checks: [{ status: "unknown", message: "last measured 30 s ago: healthy" }],
    });
    registry.expectEvery(60_000);
    expect(registry.latest().overall).toBe("healthy");
  });

  it("replaces a check of the same name with its result, and forgets one that is taken away", async () => {
    const { registry } = setUp();
    registry.register("a", () => ({ status: "unhealthy" }));
    await registry.executeAll();
    registry.register("a", healthy, { criticality: "optional" });
    expect(registry.latest().checks).toMatchObject([{ status: "unknown", criticality: "optional" }]);
    expect(registry.unregister("a")).toBe(true);
    expect(registry.unregister("a")).toBe(false);
    expect((await registry.execute(["a"])).checks).toEqual([]);
  });

  it("refuses what it cannot run", () => {
    const { registry } = setUp();
    const invalid = { code: "CONFIGURATION_INVALID" };
    expect(() => registry.register("", healthy)).toThrow(expect.objectContaining(invalid));
    expect(() => registry.register("a", undefined as never)).toThrow(expect.objectContaining(invalid));
    expect(() => registry.register("a", healthy, { timeoutMs: 0 })).toThrow(/\[1, 2147483647\] ms; it is 0/);
    expect(() => registry.register("a", healthy, { timeoutMs: Number.NaN })).toThrow(expect.objectContaining(invalid));
    expect(() => registry.register("a", healthy, { criticality: "vital" as never })).toThrow(/critical, important/);
    expect(() => new HealthCheckRegistry({}, { timeoutMs: 2 ** 31 })).toThrow(expect.objectContaining(invalid));
  });
});
