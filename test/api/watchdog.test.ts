import { initTRPC } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { createProcedures } from "../../server/api/procedures.js";
import { createWatchdogRouter } from "../../server/api/watchdog-router.js";
import { createHealEverything } from "../../server/watchdog/heal-everything.js";
import type { HealthCheckResult } from "../../shared/health.js";
import { DAY_MS, HOUR_MS } from "../../shared/units.js";
import { batchOf, rescueOf, sightingOf, summaryOf } from "../conformance/store-fixtures.js";
import { checkOf, createWatchdogHarness } from "../watchdog/watchdog-harness.js";

async function setUp(options: Parameters<typeof createWatchdogHarness>[0] = {}) {
  const harness = await createWatchdogHarness(options);
  const { clock, store, settings, watchdog, engine } = harness;
  let checks: HealthCheckResult[] = [];
  let id = 0;
  const healEverything = createHealEverything({
    clock,
    ids: () => `heal-${++id}`,
    checks: () => [{ name: "db:main", failureType: "database_connection", failureCategory: "database" }],
    check: async () => ({ overall: "healthy", checks, timestamp: clock.now() }),
    beat: watchdog.beat,
    repair: (failure) => engine.handleFailure(failure),
  });
  const access = async (ctx: object) => ({
    role: "role" in ctx ? ("operate" as const) : ("read" as const),
    actor: "ada",
  });
  const onFault = (error: unknown) => {
    throw error;
  };
  const router = createWatchdogRouter(createProcedures({ clock, store, onFault, access }), {
    clock,
    store,
    settings,
    watchdog: { state: watchdog.state, healEverything },
  });
  const callers = initTRPC.context<object>().create().createCallerFactory(router);
  return {
    ...harness,
    reader: callers({}),
    operator: callers({ role: "operate" }),
    setChecks: (given: HealthCheckResult[]) => {
      checks = given;
    },
  };
}

const reason = "because";

describe("the watchdog on the API", () => {
  it("shows how it stands and the tasks that it watches", async () => {
    const { reader, tasks, watchdog } = await setUp();
    await tasks.run("import", () => 1, { taskId: "import" });
    await watchdog.beat();
    expect(await reader.state()).toMatchObject({ beats: 1, missed: false, verdict: "normal", firing: [] });
    expect((await reader.tasks({ status: "succeeded" })).items).toMatchObject([{ taskId: "import", fence: 1 }]);
    expect((await reader.tasks({ name: "other" })).items).toEqual([]);
  });

  it("repairs what fails when an operator asks for it, and says how that went", async () => {
    const { operator, reader, engine, setChecks, store } = await setUp();
    engine.registerStrategy({
      name: "reconnect_it",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["database_connection"],
      async execute() {
        setChecks([checkOf({ name: "db:main", status: "healthy" })]);
        return { success: true, actionType: "reconnect", actionStrategy: "reconnect_it", durationMs: 1, message: "" };
      },
    });
    setChecks([checkOf({ name: "db:main" }), checkOf({ name: "disk", criticality: "optional" })]);
    await expect(reader.healEverything({ reason })).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect(await operator.healEverything({ reason })).toMatchObject({
      health: { checks: [{ status: "healthy" }] },
      repaired: [{ check: "db:main", recovered: true, actions: ["reconnect_it: succeeded"] }],
    });
    expect((await store.listFailures({ limit: 9 })).items).toMatchObject([
      { affectedService: "db:main", detectionMethod: "manual" },
    ]);
    expect(await operator.healEverything({ reason })).toMatchObject({ repaired: [] });
  });
});

describe("the mode's report on the API", () => {
  it("is computed from rows, with the false alarms that operators marked", async () => {
    const { reader, operator, memory, clock, settings } = await setUp({ mode: "full" });
    await settings.change({ name: "mode", value: "shadow", changedBy: "ada", reason });
    await clock.advance(1);
    const sighting = sightingOf({ timestamp: clock.now() });
    const { eventId } = sighting.failure;
    await memory.recordFailures([sighting]);
    await memory.recordRescues([
      rescueOf(eventId, { status: "skipped", dryRun: true, occurrences: 25, timestamp: clock.now() }),
    ]);
    expect(await reader.modeReport()).toMatchObject({
      mode: "shadow",
      did: [],
      wouldHaveDone: [{ strategy: "exponential_backoff_retry", scope: "call", times: 25 }],
      decisions: 25,
      failures: 1,
      falseAlarms: 0,
      next: { mode: "monitor", earned: false, missing: ["in force for 0 of 24 hours"] },
    });
    await clock.advance(DAY_MS / 24);
    await expect(operator.markFalseAlarm({ eventId: "nothing", reason })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await operator.markFalseAlarm({ eventId, reason });
    await operator.markFalseAlarm({ eventId, reason });
    expect(await reader.modeReport({ windowMs: DAY_MS })).toMatchObject({
      falseAlarms: 1,
      next: { missing: ["in force for 1 of 24 hours", "1 false alarms of 1 failures; at most 5 %"] },
    });
  });
});

describe("service levels on the API", () => {
  it("tell operations, uptime and repair times against their objectives", async () => {
    const { reader, memory, clock } = await setUp();
    const windowEnd = clock.now();
    const series = (metricName: string, values: number[], rest: object = {}) => ({
      metricType: "operation" as const,
      kind: "counter" as const,
      unit: "count",
      source: metricName.replace(/\.[a-z_]+$/, ""),
      tags: {},
      ...summaryOf(values),
      metricName,
      ...rest,
    });
    const ones = (count: number) => Array.from({ length: count }, () => 1);
    await memory.commitBatch({
      ...batchOf({ windowEnd }),
      series: [
        series("trpc.ask.success_count", ones(90)),
        series("trpc.ask.failure_count", ones(10), { tags: { status: "server_error" } }),
        series("overall_health", [1, 1, 0, 0], { kind: "gauge", metricType: "system", source: "health" }),
      ],
    });
    const sighting = sightingOf({ timestamp: windowEnd - HOUR_MS });
    await memory.recordFailures([sighting]);
    await memory.resolveFailure(sighting.failure.eventId, windowEnd - HOUR_MS + 60_000);
    await clock.advance(1_000);
    const levels = await reader.serviceLevels();
    expect(levels.operations.all).toMatchObject({
      name: "all",
      objective: 0.95,
      met: false,
      actual: { good: 90, total: 100 },
    });
    expect(levels.operations.procedures).toMatchObject([{ name: "ask", actual: { share: 0.9 } }]);
    expect(levels.operations.all.burnRate.hour).toBeCloseTo(2);
    expect(levels.uptime).toMatchObject({ met: false, actual: { share: 0.5 } });
    expect(levels.repair).toMatchObject({ objectiveMs: 300_000, meanMs: 60_000, met: true });
  });

  it("say nothing where nothing was measured", async () => {
    const { reader } = await setUp();
    expect(await reader.serviceLevels({ windowMs: HOUR_MS })).toMatchObject({
      operations: { all: { met: undefined }, procedures: [] },
      uptime: { met: undefined },
      repair: { meanMs: undefined, met: undefined },
    });
    await expect(reader.serviceLevels({ windowMs: 1 })).rejects.toMatchObject({ code: "BAD_REQUEST" });
  });
});
