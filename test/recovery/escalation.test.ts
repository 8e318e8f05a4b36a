/** From the first repair that does not help to the human who is told: on a store that two instances share, with a clock that moves. */
import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { AlertOperatorStrategy, type OperatorAlert } from "../../server/recovery/alert-operator-strategy.js";
import type { RecoveryEngineOptions } from "../../server/recovery/engine-options.js";
import { RecoveryEngine, type RecoveryEngineDeps } from "../../server/recovery/recovery-engine.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure, aResult, aStrategy } from "./a-failure.js";

function setUp(
  strategies: readonly RecoveryStrategy[],
  options: RecoveryEngineOptions = {},
  more: Partial<RecoveryEngineDeps> = {},
) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const alerts: OperatorAlert[] = [];
  const engines = ["a", "b"].map((instance) => {
    const engine = new RecoveryEngine({ clock, store, instance, ...more }, options);
    for (const strategy of strategies) engine.registerStrategy(strategy);
    engine.registerStrategy(new AlertOperatorStrategy({ clock, store, alert: (alert) => void alerts.push(alert) }));
    return engine;
  });
  const [engine] = engines;
  if (engine === undefined) throw new Error("there is an engine");
  /** The failure goes on being seen, every 10 s, by both. */
  const failFor = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 10_000) {
      for (const one of engines) {
        one.journal.append({ type: "failure.observed", failure: aFailure({ timestamp: clock.now() }), rescued: false });
        await one.drainOnce();
      }
      await clock.advance(10_000);
    }
  };
  const rows = async () =>
    [...(await store.listRecoveries({ limit: 100 })).items].reverse().map((row) => [row.actionStrategy, row.status]);
  return { clock, store, engine, alerts, failFor, rows };
}

const failing = (name: string, given: Partial<RecoveryStrategy> = {}) =>
  aStrategy({ name, execute: async () => aResult({ success: false, message: `${name} did not help` }), ...given });

describe("escalation", () => {
  it("remembers what was tried however many rescues of the service there are beside", async () => {
    const { clock, store, engine, alerts, failFor } = setUp([failing("reconnect_service")], {
      maxRepairsPerWindow: 20,
    });
    let calls = 0;
    const rescueMany = async () => {
      for (let call = 0; call < 120; call += 1) {
        calls += 1;
        const failure = aFailure({ timestamp: clock.now(), context: { path: `procedure${calls}` } });
        await store.recordFailures([
          { failure, fingerprint: failure.eventId, occurrences: 1, lastSeenAt: clock.now(), instance: "a" },
        ]);
        engine.journal.append({ type: "failure.observed", failure, rescued: true });
        engine.journal.append({
          type: "rescue.ended",
          rescue: {
            failureEventId: failure.eventId,
            timestamp: clock.now(),
            actionType: "retry",
            actionStrategy: "exponential_backoff_retry",
            status: "succeeded",
            target: failure.affectedService,
            durationMs: 1,
            message: "succeeded on try 1",
            metadata: undefined,
            dryRun: false,
          },
        });
      }
      await engine.drainOnce();
    };
    for (let minute = 0; minute < 4; minute += 1) {
      await failFor(60_000);
      await rescueMany();
    }
    expect(alerts.length).toBeGreaterThan(0);
    expect(alerts[0]?.tried.map(({ strategy }) => strategy)).toEqual(Array(3).fill("reconnect_service"));
  });

  it("tries the service three times, then the process, then tells a human once, with what was tried", async () => {
    const strategies = [failing("reconnect_service"), failing("restart_process", { actionType: "restart" })];
    const { store, failFor, rows, alerts } = setUp(strategies, { maxRepairsPerWindow: 20 });
    await failFor(8 * 60_000);
    expect(await rows()).toEqual([
      ...Array(3).fill(["reconnect_service", "failed"]),
      ...Array(3).fill(["restart_process", "failed"]),
      ["alert_operator", "succeeded"],
    ]);
    expect(alerts).toMatchObject([{ service: "llm:openai", failureType: "service_unavailable" }]);
    const { incidentId } = (await store.listIncidents({ limit: 1 })).items[0] ?? {};
    expect((await store.listAlerts({ incidentId, limit: 10 })).items).toMatchObject([
      { rule: "alert_operator", status: "firing", subject: "llm:openai", detail: { tried: { length: 6 } } },
    ]);
    expect(alerts[0]?.tried.map(({ strategy, message }) => [strategy, message])).toEqual([
      ...Array(3).fill(["restart_process", "restart_process did not help"]),
      ...Array(3).fill(["reconnect_service", "reconnect_service did not help"]),
    ]);
  });

  it("goes on to the next level when successes do not last", async () => {
    const strategies = [aStrategy(), aStrategy({ name: "restart_process", actionType: "restart" })];
    const { failFor, rows } = setUp(strategies, { maxRepairsPerWindow: 20 });
    await failFor(4 * 60_000);
    expect((await rows()).slice(0, 4)).toEqual([
      ...Array(3).fill(["reconnect_service", "succeeded"]),
      ["restart_process", "succeeded"],
    ]);
  });

  it("stops at the budget of all instances together and tells a human", async () => {
    const { failFor, rows, alerts } = setUp([failing("reconnect_service")], {
      escalateAfter: 90,
      maxRepairsPerWindow: 5,
    });
    await failFor(6 * 60_000);
    expect((await rows()).filter(([name]) => name === "reconnect_service")).toHaveLength(5);
    expect(alerts).toHaveLength(1);
  });

  it("rolls back what cannot be verified at each level, and counts it as a failure of the level", async () => {
    const undone: string[] = [];
    const doubtful = aStrategy({
      verify: async () => false,
      rollback: async () => void undone.push("undone"),
    });
    const { failFor, rows, alerts } = setUp([doubtful], { maxRepairsPerWindow: 20 });
    await failFor(4 * 60_000);
    expect(await rows()).toEqual([
      ...Array(3).fill(["reconnect_service", "rolled_back"]),
      ["alert_operator", "succeeded"],
    ]);
    expect(undone).toHaveLength(3);
    expect(alerts).toHaveLength(1);
  });

  it("tells a human once of a refused key, although its circuit could be opened, and goes on with it", async () => {
    const holdsBack = aStrategy({ name: "circuit_break", applicableFailureTypes: ["auth_failed"] });
    const { engine, clock, rows, alerts } = setUp([holdsBack, aStrategy({ name: "after", priority: 20 })]);
    const refused = { failureCategory: "configuration", failureType: "auth_failed" } as const;
    for (let round = 0; round < 10; round += 1) {
      await engine.handleFailure(aFailure({ ...refused, timestamp: clock.now() }));
      await clock.advance(60_000);
    }
    expect((await rows()).slice(0, 2)).toEqual([
      ["circuit_break", "succeeded"],
      ["alert_operator", "succeeded"],
    ]);
    expect(alerts).toMatchObject([{ failureType: "auth_failed", tried: [{ strategy: "circuit_break" }] }]);
    expect(holdsBack.executed.length).toBeGreaterThan(1);
  });

  it("does nothing more about a failure that was not seen again", async () => {
    const { engine, clock, rows, alerts } = setUp([failing("reconnect_service")]);
    engine.journal.append({ type: "failure.observed", failure: aFailure({ timestamp: clock.now() }), rescued: false });
    for (let round = 0; round < 30; round += 1) {
      await engine.drainOnce();
      await clock.advance(10_000);
    }
    expect(await rows()).toEqual([["reconnect_service", "failed"]]);
    expect(alerts).toEqual([]);
  });

  it("writes down as a dry run what it would do once the mode does not permit repairs any more", async () => {
    let mode: "full" | "shadow" = "full";
    const strategy = aStrategy();
    const settings = { mode: () => mode, stopped: () => false };
    const { engine, clock, store } = setUp([strategy], {}, { settings });
    engine.journal.append({ type: "failure.observed", failure: aFailure({ timestamp: clock.now() }), rescued: false });
    mode = "shadow";
    await engine.drainOnce();
    expect(strategy.executed).toEqual([]);
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([
      { actionStrategy: "reconnect_service", status: "skipped", dryRun: true },
    ]);
  });
});
