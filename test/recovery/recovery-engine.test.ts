import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { RescueRecord } from "../../server/ports/journal.js";
import type { Store } from "../../server/ports/store.js";
import type { RecoveryEngineOptions } from "../../server/recovery/engine-options.js";
import { createJournal } from "../../server/recovery/journal.js";
import { RecoveryEngine, type RecoveryEngineDeps } from "../../server/recovery/recovery-engine.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import type { Mode } from "../../shared/mode.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { aFailure, aResult, aStrategy } from "./a-failure.js";

function setUp(
  given: RecoveryEngineDeps & { strategies?: readonly RecoveryStrategy[] } = {},
  options: RecoveryEngineOptions = {},
) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const faults: unknown[] = [];
  let sequence = 0;
  const ids = () => `id-${++sequence}`;
  const journal = createJournal({ ids });
  const { strategies = [], ...deps } = given;
  const engine = new RecoveryEngine(
    { clock, store, ids, journal, random: () => 0.5, instance: "a", onFault: (error) => faults.push(error), ...deps },
    options,
  );
  for (const strategy of strategies) engine.registerStrategy(strategy);
  const rows = async () => [...(await store.listRecoveries({ limit: 100 })).items].reverse();
  const events = async () => [...(await store.listFailures({ limit: 100 })).items].reverse();
  return { clock, store, journal, engine, faults, rows, events };
}

/** A store whose methods fail while it is down. */
function breakable(store: Store) {
  const state = { down: false, calls: [] as string[] };
  const proxy = new Proxy(
    { ...store },
    {
      get(target, name, receiver) {
        const method: unknown = Reflect.get(target, name, receiver);
        if (typeof method !== "function") return method;
        return async (...args: unknown[]) => {
          state.calls.push(String(name));
          if (state.down) throw new ParamedicError("STORE_UNAVAILABLE", "the store is down");
          return Reflect.apply(method, target, args);
        };
      },
    },
  );
  return { store: proxy, state };
}

const aRescue = (failureEventId: string, given: Partial<RescueRecord> = {}): RescueRecord => ({
  failureEventId,
  timestamp: Date.UTC(2026, 0, 1) + 500,
  actionType: "retry",
  actionStrategy: "exponential_backoff_retry",
  status: "succeeded",
  target: "llm:openai",
  durationMs: 200,
  message: "succeeded on try 1",
  metadata: { delaysMs: [100], apiKey: "sk-secret-secret-secret" },
  dryRun: false,
  ...given,
});

const anOpening = (given: Partial<CircuitTransition> = {}): CircuitTransition => ({
  circuitName: "llm:openai",
  from: "closed",
  to: "open",
  reason: "failure_threshold",
  version: 1,
  at: Date.UTC(2026, 0, 1) + 900,
  instance: "a",
  failureEventId: undefined,
  ...given,
});

describe("a repair's life", () => {
  it("writes its lease before the effect, verifies after it, and only then says succeeded", async () => {
    const order: string[] = [];
    const clock = createFakeClock();
    const { store, state } = breakable(createMemoryStore({ clock }));
    const strategy = aStrategy({
      execute: async () => {
        order.push(...state.calls.splice(0), "execute");
        const [row] = (await store.listRecoveries({ limit: 1 })).items;
        expect(row).toMatchObject({ status: "in_progress", target: "llm:openai", completedAt: undefined });
        expect(row?.leaseUntil).toBeGreaterThan(clock.now());
        return aResult();
      },
      verify: async () => {
        order.push("verify");
        return true;
      },
    });
    const { engine } = setUp({ clock, store, strategies: [strategy] });
    const handled = await engine.handleFailure(aFailure({ eventId: "f1" }));
    order.push(...state.calls.filter((name) => name === "completeRepair"));

    expect(order).toEqual(["recordFailures", "listRecoveries", "leaseRepair", "execute", "verify", "completeRepair"]);
    expect(handled).toMatchObject({ eventId: "f1", recovered: true, plan: { steps: ["reconnect_service"] } });
    expect(handled.actions).toMatchObject([
      { success: true, status: "succeeded", actionStrategy: "reconnect_service" },
    ]);
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([
      {
        failureEventId: "f1",
        actionType: "reconnect",
        status: "succeeded",
        scope: "service",
        triggeredBy: "engine",
        result: { message: "reconnected", verified: true },
        instance: "a",
      },
    ]);
  });

  it("rolls back what cannot be verified", async () => {
    const undone: string[] = [];
    const strategy = aStrategy({
      verify: async () => false,
      rollback: async ({ eventId }) => void undone.push(eventId),
    });
    const { engine, rows } = setUp({ strategies: [strategy] });
    const handled = await engine.handleFailure(aFailure({ eventId: "f1" }));
    expect(undone).toEqual(["f1"]);
    expect(handled).toMatchObject({ recovered: false, actions: [{ success: false, status: "rolled_back" }] });
    expect(await rows()).toMatchObject([
      { status: "rolled_back", result: { message: "reconnected; not confirmed; undone", verified: false } },
    ]);
  });

  it("says failed when what cannot be verified cannot be undone either", async () => {
    const strategy = aStrategy({
      verify: async () => {
        throw new Error("no answer");
      },
      rollback: async () => {
        throw new Error("stuck");
      },
    });
    const { engine, rows } = setUp({ strategies: [strategy] });
    await engine.handleFailure(aFailure());
    const [row] = await rows();
    expect(row).toMatchObject({ status: "failed" });
    expect(row?.result?.message).toMatch(/not confirmed: no answer; undoing it: .*stuck/);
  });

  const rubbish: readonly (readonly [what: string, execute: () => unknown, message: RegExp])[] = [
    ["says it failed", async () => aResult({ success: false, message: "no route" }), /^no route$/],
    ["throws", () => Promise.reject(new Error("boom")), /threw Error: boom/],
    [
      "throws before it returns a promise",
      () => {
        throw new TypeError("at once");
      },
      /threw TypeError: at once/,
    ],
    ["throws nothing", () => Promise.reject(undefined), /undefined was thrown/],
    ["returns nothing", async () => undefined, /returned no result/],
    ["returns rubbish", async () => ({ success: "yes" }), /returned no result/],
  ];
  it("ends whatever metadata its strategy gives beside its success, readable or not", async () => {
    const unreadable = {
      get rows(): number {
        throw new Error("gone");
      },
    };
    const strategy = aStrategy({ execute: async () => aResult({ metadata: unreadable }), verify: async () => true });
    const { engine, rows, faults } = setUp({ strategies: [strategy] });
    expect(await engine.handleFailure(aFailure())).toMatchObject({ recovered: true });
    expect(await rows()).toMatchObject([
      { status: "succeeded", result: { rows: "[unreadable]", message: "reconnected", verified: true } },
    ]);
    expect(faults).toEqual([]);
  });

  it.each(rubbish)("says failed, with the reason, when the strategy %s", async (_, execute, message) => {
    const strategy = aStrategy({ execute: execute as RecoveryStrategy["execute"] });
    const { engine, rows, faults } = setUp({ strategies: [strategy] });
    const handled = await engine.handleFailure(aFailure());
    expect(handled).toMatchObject({ recovered: false, actions: [{ status: "failed" }] });
    const [row] = await rows();
    expect(row).toMatchObject({ status: "failed" });
    expect(row?.result?.message).toMatch(message);
    expect(faults).toEqual([]);
  });

  it("says timed_out when the strategy hangs, and lets its late end change nothing", async () => {
    let finish = () => {};
    const strategy = aStrategy({
      execute: () => new Promise((resolve) => (finish = () => resolve(aResult()))),
    });
    const { engine, rows, clock } = setUp({ strategies: [strategy] }, { repairTimeoutMs: 30_000 });
    const handling = engine.handleFailure(aFailure());
    await clock.advance(30_000);
    expect(await handling).toMatchObject({ recovered: false, actions: [{ status: "timed_out" }] });
    finish();
    await settle();
    expect(await rows()).toMatchObject([{ status: "timed_out", durationMs: 30_000 }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("tries the next strategy when one fails, and stops at the first that succeeds", async () => {
    const first = aStrategy({ name: "first", priority: 1, execute: async () => aResult({ success: false }) });
    const second = aStrategy({ name: "second", priority: 2 });
    const third = aStrategy({ name: "third", priority: 3 });
    const { engine, rows } = setUp({ strategies: [third, second, first] });
    const { recovered, actions } = await engine.handleFailure(aFailure());
    expect(recovered).toBe(true);
    expect(actions.map(({ actionStrategy, status }) => [actionStrategy, status])).toEqual([
      ["first", "failed"],
      ["second", "succeeded"],
    ]);
    expect(await rows()).toHaveLength(2);
    expect(third.executed).toEqual([]);
  });

  it("writes a skipped row when no strategy applies", async () => {
    const { engine, rows } = setUp({ strategies: [aStrategy({ applicableFailureTypes: ["dns_error"] })] });
    const handled = await engine.handleFailure(aFailure());
    expect(handled).toMatchObject({ recovered: false, actions: [{ actionStrategy: "none", status: "skipped" }] });
    expect(await rows()).toMatchObject([
      {
        actionStrategy: "none",
        status: "skipped",
        dryRun: false,
        result: { message: "no strategy applies", refused: { reconnect_service: "not_applicable" } },
      },
    ]);
  });

  it("keeps secrets of what a strategy reports out of the row", async () => {
    const strategy = aStrategy({
      execute: async () => aResult({ message: "token=abcdef123", metadata: { password: "hunter2" } }),
    });
    const { engine, rows } = setUp({ strategies: [strategy] });
    await engine.handleFailure(aFailure());
    const text = JSON.stringify(await rows());
    expect(text).not.toContain("hunter2");
    expect(text).not.toContain("abcdef123");
  });

  it("logs one structured line for each row", async () => {
    const lines: unknown[] = [];
    const logger = { debug() {}, info: (fields: unknown) => void lines.push(fields), warn() {}, error() {} };
    const { engine } = setUp({ logger, strategies: [aStrategy()] });
    await engine.handleFailure(aFailure());
    expect(lines).toMatchObject([{ event: "recovery", actionStrategy: "reconnect_service", status: "succeeded" }]);
  });
});

describe("one repair for one failure", () => {
  it("is carried out by one of two engines that see the same failure", async () => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    const strategy = aStrategy();
    const engines = ["a", "b"].map((instance) =>
      setUp({ clock, store, instance, ids: idsOf(instance), strategies: [strategy] }),
    );
    for (const { journal } of engines) {
      journal.append({ type: "failure.observed", failure: aFailure(), rescued: false });
    }
    await Promise.all(engines.map(({ engine }) => engine.drainOnce()));
    expect(strategy.executed).toHaveLength(1);
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "succeeded" }]);
    expect((await store.listFailures({ limit: 9 })).items).toMatchObject([{ occurrences: 2 }]);
  });

  it("leaves a service alone while another instance repairs it, and for a while after", async () => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    let finish = () => {};
    const slow = aStrategy({ execute: () => new Promise((resolve) => (finish = () => resolve(aResult()))) });
    const other = aStrategy({ name: "other" });
    const a = setUp({ clock, store, instance: "a", ids: idsOf("a"), strategies: [slow] });
    const b = setUp(
      { clock, store, instance: "b", ids: idsOf("b"), strategies: [other] },
      { repairCooldownMs: 30_000 },
    );

    const handling = a.engine.handleFailure(aFailure());
    await settle();
    await b.engine.handleFailure(aFailure({ errorMessage: "another failure of the same service" }));
    expect(other.executed).toEqual([]);

    finish();
    await handling;
    await clock.advance(29_999);
    await b.engine.handleFailure(aFailure({ errorMessage: "another failure of the same service" }));
    expect(other.executed).toEqual([]);
    await clock.advance(2);
    await b.engine.handleFailure(aFailure({ errorMessage: "another failure of the same service" }));
    expect(other.executed).toHaveLength(1);
  });

  it("does not repair one service twice at once in one process", async () => {
    let running = 0;
    let most = 0;
    const strategy = aStrategy({
      execute: async () => {
        running += 1;
        most = Math.max(most, running);
        await settle();
        running -= 1;
        return aResult({ success: false });
      },
    });
    const { engine } = setUp({ strategies: [strategy] }, { repairCooldownMs: 0 });
    const messages = ["one", "two", "three"];
    await Promise.all(messages.map((errorMessage) => engine.handleFailure(aFailure({ errorMessage }))));
    expect(most).toBe(1);
  });

  it("stops repairing a service when its budget for the window is spent", async () => {
    const strategy = aStrategy({ execute: async () => aResult({ success: false }) });
    const { engine, rows, clock } = setUp(
      { strategies: [strategy] },
      { repairCooldownMs: 0, maxRepairsPerWindow: 3, repairWindowMs: 600_000 },
    );
    const attempt = async (errorMessage: string) => {
      await engine.handleFailure(aFailure({ errorMessage }));
      await clock.advance(1_000);
    };
    for (const message of ["a", "b", "c", "d", "e"]) await attempt(message);
    expect(await rows()).toHaveLength(3);
    await clock.advance(600_000);
    await attempt("f");
    expect(await rows()).toHaveLength(4);
  });

  it("never repairs Paramedic itself, nor what fails under one of its repairs", async () => {
    const strategy = aStrategy();
    const { engine, journal, rows } = setUp({ strategies: [strategy] });
    for (const failure of [
      aFailure({ affectedService: "paramedic.store" }),
      aFailure({ affectedService: "trpc.paramedic.failures.list" }),
      aFailure({ context: { path: "paramedic.recovery.reconnect_service" } }),
    ]) {
      journal.append({ type: "failure.observed", failure, rescued: false });
    }
    await engine.drainOnce();
    expect(strategy.executed).toEqual([]);
    expect(await rows()).toEqual([]);
  });

  it("lets guards under a repair know that they are in one", async () => {
    const paths: string[] = [];
    const callContext = {
      current: () => undefined,
      run: <T>(call: { path: string }, fn: () => T) => {
        paths.push(call.path);
        return fn();
      },
      enable() {},
      enabled: true,
    };
    const { engine } = setUp({ callContext, strategies: [aStrategy()] });
    await engine.handleFailure(aFailure());
    expect(paths).toEqual(["paramedic.recovery.reconnect_service"]);
  });
});

describe("a lost instance", () => {
  it("leaves a lease that is abandoned once it lapses, and no row stays in progress", async () => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    const hangs = aStrategy({ execute: () => new Promise(() => {}) });
    const dead = setUp({ clock: createFakeClock(), store, instance: "dead", ids: idsOf("dead"), strategies: [hangs] });
    void dead.engine.handleFailure(aFailure());
    await settle();
    expect((await store.listRecoveries({ status: "in_progress", limit: 9 })).items).toHaveLength(1);

    const survivor = setUp({ clock, store, instance: "b", ids: idsOf("b") });
    survivor.engine.start();
    await clock.advance(300);
    expect((await store.listRecoveries({ status: "in_progress", limit: 9 })).items).toHaveLength(1);
    await clock.advance(90_000);
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "abandoned", instance: "dead" }]);
    await survivor.engine.stop();
  });

  it("does not begin the effect of a lease that it won too late", async () => {
    const clock = createFakeClock();
    const memory = createMemoryStore({ clock });
    const slow: Store = {
      ...memory,
      leaseRepair: async (action) => {
        await new Promise<void>((resolve) => clock.setTimer(resolve, 60_000));
        return memory.leaseRepair(action);
      },
    };
    const strategy = aStrategy();
    const { engine } = setUp({ clock, store: slow, strategies: [strategy] });
    const handling = engine.handleFailure(aFailure());
    await clock.advance(60_000);
    expect(await handling).toMatchObject({ recovered: false, actions: [] });
    expect(strategy.executed).toEqual([]);
  });

  it("keeps the end of a repair that the store did not take, and writes it as soon as it does", async () => {
    const clock = createFakeClock();
    const { store, state } = breakable(createMemoryStore({ clock }));
    const strategy = aStrategy({
      execute: async () => {
        state.down = true;
        return aResult();
      },
    });
    const { engine } = setUp({ clock, store, strategies: [strategy] });
    expect(await engine.handleFailure(aFailure())).toMatchObject({ recovered: true });
    state.down = false;
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "in_progress" }]);
    await engine.drainOnce();
    expect((await store.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "succeeded" }]);
  });
});

describe("a failure that a user reports", () => {
  it("is kept without secrets, bounded and as JSON, whatever its texts and context are", async () => {
    const { engine, events } = setUp();
    const failure = aFailure({
      errorMessage: `postgres://app:hunter2@db failed ${"x".repeat(10_000)}`,
      errorStack: "at connect (postgres://app:hunter2@db)",
    });
    const context: Record<string, unknown> = { password: "hunter2", rows: 10n, retry() {} };
    context.self = context;
    await engine.handleFailure(Object.assign({}, failure, { context }));
    const [event] = await events();
    expect(event).toMatchObject({
      errorMessage: expect.stringMatching(/^postgres:\/\/\[redacted\]@db failed x+…$/),
      errorStack: "at connect (postgres://[redacted]@db)",
      context: { password: "[redacted]", rows: "10", retry: "[function]", self: "[cycle]" },
    });
    expect(event?.errorMessage).toHaveLength(1_000);
  });
});

describe("draining the journal", () => {
  it("writes failures, their rescues and the circuits that opened, linked and with their own times", async () => {
    const { engine, journal, rows, events } = setUp();
    const failure = aFailure({
      eventId: "f1",
      timestamp: Date.UTC(2026, 0, 1) + 100,
      context: { target: "llm:openai" },
    });
    journal.append({ type: "failure.observed", failure, rescued: true });
    journal.append({ type: "rescue.ended", rescue: aRescue("f1") });
    journal.append({ type: "circuit.transitioned", transition: anOpening({ failureEventId: "f1" }) });
    await engine.drainOnce();

    expect(await events()).toMatchObject([
      { eventId: "f1", timestamp: failure.timestamp, occurrences: 1, instance: "a" },
    ]);
    expect(await rows()).toMatchObject([
      {
        failureEventId: "f1",
        timestamp: Date.UTC(2026, 0, 1) + 300,
        actionType: "retry",
        status: "succeeded",
        scope: "call",
        triggeredBy: "guard",
        result: { message: "succeeded on try 1", delaysMs: [100], apiKey: "[redacted]" },
        durationMs: 200,
        completedAt: Date.UTC(2026, 0, 1) + 500,
      },
      {
        failureEventId: "f1",
        timestamp: Date.UTC(2026, 0, 1) + 900,
        actionType: "circuit_break",
        actionStrategy: "circuit_break",
        status: "succeeded",
        scope: "service",
        target: "llm:openai",
        result: { from: "closed", to: "open", version: 1, reason: "failure_threshold" },
      },
    ]);
  });

  it("keeps a storm of 100,000 as one event and one row with their counts", async () => {
    const { engine, journal, rows, events } = setUp();
    for (let i = 0; i < 100_000; i += 1) {
      const failure = aFailure({ eventId: `e${i}`, timestamp: Date.UTC(2026, 0, 1) + i });
      journal.append({ type: "failure.observed", failure, rescued: true });
      journal.append({ type: "rescue.ended", rescue: aRescue(failure.eventId) });
      if (i % 30_000 === 0) await engine.drainOnce();
    }
    await engine.drainOnce();
    expect(await events()).toMatchObject([{ eventId: "e0", occurrences: 100_000 }]);
    expect(await rows()).toMatchObject([{ failureEventId: "e0", occurrences: 100_000 }]);
    expect(engine.state()).toMatchObject({ spooled: 0, unlinked: 0, refused: 0 });
  });

  it("finds the stored event of a rescue whose failure landed, folded, long before", async () => {
    const { engine, journal, rows } = setUp();
    for (const eventId of ["e1", "e2"]) {
      journal.append({ type: "failure.observed", failure: aFailure({ eventId }), rescued: false });
    }
    await engine.drainOnce();
    journal.append({ type: "rescue.ended", rescue: aRescue("e2") });
    await engine.drainOnce();
    expect((await rows()).filter(({ scope }) => scope === "call")).toMatchObject([{ failureEventId: "e1" }]);
  });

  it("counts a rescue whose failure was never stored", async () => {
    const { engine, journal, rows } = setUp();
    journal.append({ type: "rescue.ended", rescue: aRescue("nowhere") });
    await engine.drainOnce();
    expect(await rows()).toEqual([]);
    expect(engine.state()).toMatchObject({ unlinked: 1, spooled: 0 });
  });

  it("links an opening without a known failure to the latest one of its service, or makes it the sighting itself", async () => {
    const { engine, journal, rows, events } = setUp();
    journal.append({ type: "failure.observed", failure: aFailure({ eventId: "f1" }), rescued: true });
    journal.append({ type: "circuit.transitioned", transition: anOpening() });
    journal.append({ type: "circuit.transitioned", transition: anOpening({ circuitName: "db:main" }) });
    await engine.drainOnce();
    const [first, second] = await events();
    expect(first?.eventId).toBe("f1");
    expect(second).toMatchObject({
      affectedService: "db:main",
      failureCategory: "database",
      failureType: "service_unavailable",
      detectionMethod: "threshold",
    });
    expect(await rows()).toMatchObject([
      { failureEventId: "f1" },
      { failureEventId: second?.eventId, target: "db:main" },
    ]);
  });

  it("does not link an opening to a failure of long ago", async () => {
    const { engine, journal, events } = setUp();
    const failure = aFailure({ eventId: "old", timestamp: anOpening().at - 60_001 });
    journal.append({ type: "failure.observed", failure, rescued: true });
    journal.append({ type: "circuit.transitioned", transition: anOpening() });
    await engine.drainOnce();
    expect((await events()).map(({ detectionMethod }) => detectionMethod)).toEqual(["exception", "threshold"]);
  });

  it("writes no circuit break for what operators, repairs, restarts or other instances did", async () => {
    const { engine, journal, rows } = setUp();
    for (const given of [
      { reason: "operator" },
      { reason: "repair" },
      { reason: "restored" },
      { instance: "b" },
      { from: "open", to: "half_open", reason: "reset_timeout" },
    ] as const) {
      journal.append({ type: "circuit.transitioned", transition: anOpening(given) });
    }
    await engine.drainOnce();
    expect(await rows()).toEqual([]);
  });

  it("says that no strategy applies for a failure that no guard answers for, and folds it", async () => {
    const { engine, journal, rows } = setUp();
    const failed = { failureType: "procedure_error", affectedService: "trpc.ask" } as const;
    for (let i = 0; i < 3; i += 1) {
      journal.append({ type: "failure.observed", failure: aFailure(failed), rescued: false });
      await engine.drainOnce();
    }
    journal.append({
      type: "failure.observed",
      failure: aFailure({ context: { target: "llm:openai" } }),
      rescued: false,
    });
    await engine.drainOnce();
    expect(await rows()).toMatchObject([
      { actionStrategy: "none", status: "skipped", target: "trpc.ask", occurrences: 3 },
    ]);
  });

  it("repairs the service whose callers were not rescued, or were rescued elsewhere", async () => {
    const strategy = aStrategy();
    const { engine, journal } = setUp({ strategies: [strategy] });
    const observe = (service: string, rescue: Partial<RescueRecord> | undefined, rescued: boolean) => {
      const failure = aFailure({ eventId: service, affectedService: service });
      journal.append({ type: "failure.observed", failure, rescued });
      if (rescue) journal.append({ type: "rescue.ended", rescue: aRescue(service, rescue) });
    };
    observe("not-rescued", undefined, false);
    observe("failed-over", { actionType: "failover", actionStrategy: "provider_failover" }, true);
    observe("retried", {}, true);
    observe("rescued-somehow", undefined, true);
    await engine.drainOnce();
    expect(strategy.executed).toEqual(["not-rescued", "failed-over"]);
  });

  it("resolves failures that fell quiet", async () => {
    const { engine, journal, events, clock } = setUp();
    engine.start();
    const failure = aFailure({ timestamp: clock.now() });
    journal.append({ type: "failure.observed", failure, rescued: true });
    await clock.advance(59_000);
    expect(await events()).toMatchObject([{ resolved: false }]);
    await clock.advance(12_000);
    expect(await events()).toMatchObject([{ resolved: true }]);
    await engine.stop();
  });

  it("writes what is left when it stops, and leaves no timer behind", async () => {
    const { engine, journal, events, clock } = setUp({ strategies: [aStrategy()] });
    engine.start();
    journal.append({ type: "failure.observed", failure: aFailure(), rescued: false });
    await engine.stop();
    expect(await events()).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("stops in time although a repair hangs", async () => {
    const hangs = aStrategy({ execute: () => new Promise(() => {}) });
    const { engine, journal, clock } = setUp({ strategies: [hangs] }, { stopWaitMs: 5_000 });
    engine.start();
    journal.append({ type: "failure.observed", failure: aFailure(), rescued: false });
    await clock.advance(1_000);
    let stopped = false;
    const stopping = engine.stop().then(() => {
      stopped = true;
    });
    await clock.advance(4_999);
    expect(stopped).toBe(false);
    await clock.advance(1);
    await stopping;
  });
});

describe("a store that is away", () => {
  it("gets everything later, in order and with its own times, through the same loop", async () => {
    const clock = createFakeClock();
    const { store, state } = breakable(createMemoryStore({ clock }));
    const { engine, journal, rows, events } = setUpOn(store, clock);
    engine.start();
    state.down = true;
    const startedAt = clock.now();
    for (let i = 0; i < 60; i += 1) {
      const failure = aFailure({ eventId: `f${i}`, timestamp: clock.now(), affectedService: `llm:${i % 3}` });
      journal.append({ type: "failure.observed", failure, rescued: true });
      journal.append({
        type: "rescue.ended",
        rescue: aRescue(failure.eventId, { timestamp: clock.now(), target: `llm:${i % 3}` }),
      });
      await clock.advance(1_000);
    }
    expect(engine.state()).toMatchObject({ storing: false });
    expect(engine.state().spooled).toBeLessThanOrEqual(12);
    const tries = state.calls.length;
    expect(tries).toBeLessThan(60);

    state.down = false;
    await clock.advance(15_000);
    const stored = await events();
    expect(stored.map(({ eventId }) => eventId)).toEqual(["f0", "f1", "f2"]);
    expect(stored.map(({ timestamp }) => timestamp - startedAt)).toEqual([0, 1_000, 2_000]);
    expect(stored.map(({ lastSeenAt }) => lastSeenAt - startedAt)).toEqual([57_000, 58_000, 59_000]);
    expect(stored.map(({ occurrences }) => occurrences)).toEqual([20, 20, 20]);
    const actions = await rows();
    expect(actions.map(({ target, occurrences }) => [target, occurrences])).toEqual([
      ["llm:0", 20],
      ["llm:1", 20],
      ["llm:2", 20],
    ]);
    expect(engine.state()).toMatchObject({ storing: true, spooled: 0, unlinked: 0 });
    await engine.stop();
  });

  it("keeps rescues apart from their failures when it goes away between the two writes", async () => {
    const clock = createFakeClock();
    const memory = createMemoryStore({ clock });
    let refusals = 2;
    const store: Store = {
      ...memory,
      recordRescues: async (rescues) => {
        refusals -= 1;
        if (refusals >= 0) throw new ParamedicError("STORE_UNAVAILABLE", "gone in between");
        return memory.recordRescues(rescues);
      },
    };
    const { engine, journal, rows, events } = setUpOn(store, clock);
    journal.append({ type: "failure.observed", failure: aFailure({ eventId: "f1" }), rescued: true });
    journal.append({ type: "rescue.ended", rescue: aRescue("f1") });
    const unguarded = aFailure({ failureType: "procedure_error", affectedService: "trpc.ask" });
    journal.append({ type: "failure.observed", failure: unguarded, rescued: false });
    for (let i = 0; i < 4; i += 1) await engine.drainOnce();
    expect((await events()).map(({ occurrences }) => occurrences)).toEqual([1, 1]);
    expect((await rows()).map(({ actionStrategy, occurrences }) => [actionStrategy, occurrences])).toEqual(
      expect.arrayContaining([
        ["exponential_backoff_retry", 1],
        ["none", 1],
      ]),
    );
    expect(await rows()).toHaveLength(2);
  });

  it("does not repair without a lease: the repair waits until the store is back", async () => {
    const clock = createFakeClock();
    const { store, state } = breakable(createMemoryStore({ clock }));
    const strategy = aStrategy();
    const { engine } = setUp({ clock, store, strategies: [strategy] });
    state.down = true;
    const handled = await engine.handleFailure(aFailure({ eventId: "f1", timestamp: clock.now() }));
    expect(handled).toMatchObject({
      eventId: "f1",
      recovered: false,
      actions: [],
      plan: { steps: ["reconnect_service"] },
    });
    expect(strategy.executed).toEqual([]);
    state.down = false;
    await engine.drainOnce();
    expect(strategy.executed).toEqual(["f1"]);
  });

  it("repairs later when the store goes away between the decision and the lease", async () => {
    const clock = createFakeClock();
    const memory = createMemoryStore({ clock });
    let refusals = 1;
    const store: Store = {
      ...memory,
      leaseRepair: async (action) => {
        refusals -= 1;
        if (refusals >= 0) throw new ParamedicError("STORE_UNAVAILABLE", "gone in between");
        return memory.leaseRepair(action);
      },
    };
    const strategy = aStrategy();
    const { engine, journal } = setUp({ clock, store, strategies: [strategy] });
    journal.append({
      type: "failure.observed",
      failure: aFailure({ eventId: "f1", timestamp: clock.now() }),
      rescued: false,
    });
    await engine.drainOnce();
    expect(strategy.executed).toEqual([]);
    await engine.drainOnce();
    expect(strategy.executed).toEqual(["f1"]);
  });

  it("writes each decision against acting once, and nothing at all while nothing happens", async () => {
    const clock = createFakeClock();
    const { store, state } = breakable(createMemoryStore({ clock }));
    const { engine, journal } = setUp({ clock, store });
    journal.append({ type: "failure.observed", failure: aFailure(), rescued: false });
    await engine.drainOnce();
    state.calls.length = 0;
    await engine.drainOnce();
    expect(state.calls).toEqual([]);
  });

  it("lets an entry go that the store refuses for what it is, counts it, and lands the others", async () => {
    const clock = createFakeClock();
    const memory = createMemoryStore({ clock });
    const store: Store = {
      ...memory,
      recordFailures: async (sightings) => {
        if (sightings.some(({ failure }) => failure.affectedService === "poison")) throw new TypeError("cannot bind");
        return memory.recordFailures(sightings);
      },
    };
    const { engine, journal, events } = setUpOn(store, clock);
    for (const affectedService of ["a", "poison", "b"]) {
      journal.append({ type: "failure.observed", failure: aFailure({ affectedService }), rescued: true });
    }
    await engine.drainOnce();
    expect((await events()).map(({ affectedService }) => affectedService)).toEqual(["a", "b"]);
    expect(engine.state()).toMatchObject({ refused: 1, spooled: 0, storing: true });
  });
});

describe("mode and stop", () => {
  it("lets no further step of a plan begin that the mode does not permit any more", async () => {
    let mode: Mode = "full";
    const slow = aStrategy({
      name: "slow",
      priority: 1,
      execute: async () => {
        mode = "shadow";
        return aResult({ success: false });
      },
    });
    const next = aStrategy();
    const { engine } = setUp({ strategies: [slow, next], settings: { mode: () => mode, stopped: () => false } });
    const { plan, actions } = await engine.handleFailure(aFailure());
    expect(plan.steps).toEqual(["slow", "reconnect_service"]);
    expect(actions.map(({ status }) => status)).toEqual(["failed"]);
    expect(next.executed).toEqual([]);
  });

  it.each(["shadow", "monitor", "limited"] as const)(
    "has no effect in %s, and writes down what it would have done",
    async (mode) => {
      const strategy = aStrategy();
      const { engine, journal, rows } = setUp({ settings: settingsOf(mode), strategies: [strategy] });
      const handled = await engine.handleFailure(aFailure());
      journal.append({ type: "failure.observed", failure: aFailure(), rescued: false });
      await engine.drainOnce();
      expect(strategy.executed).toEqual([]);
      expect(handled).toMatchObject({ recovered: false, plan: { dryRun: true, steps: ["reconnect_service"] } });
      expect(await rows()).toMatchObject([
        { actionStrategy: "reconnect_service", status: "skipped", dryRun: true, occurrences: 2 },
      ]);
    },
  );

  it.each([
    ["shadow", [["circuit_break", "skipped", true]]],
    [
      "monitor",
      [
        ["circuit_break", "skipped", true],
        ["page", "succeeded", false],
      ],
    ],
    [
      "limited",
      [
        ["circuit_break", "skipped", true],
        ["page", "succeeded", false],
      ],
    ],
    [
      "full",
      [
        ["circuit_break", "succeeded", false],
        ["page", "succeeded", false],
      ],
    ],
  ] as const)(
    "in %s tells a human what only a human can put right, where it may, and repairs where it may",
    async (mode, expected) => {
      const applicableFailureTypes = ["auth_failed"] as const;
      const open = aStrategy({ name: "circuit_break", actionType: "circuit_break", applicableFailureTypes });
      const page = aStrategy({
        name: "page",
        actionType: "custom",
        level: "human",
        priority: 100,
        cooldownMs: 3_600_000,
        applicableFailureTypes,
      });
      const { engine, journal, rows } = setUp({ settings: settingsOf(mode), strategies: [open, page] });
      for (let seen = 0; seen < 2; seen += 1) {
        const failure = aFailure({ failureType: "auth_failed", failureCategory: "configuration" });
        journal.append({ type: "failure.observed", failure, rescued: false });
        await engine.drainOnce();
      }
      const told = (await rows()).map(({ actionStrategy, status, dryRun }) => [actionStrategy, status, dryRun]);
      expect(told.toSorted()).toEqual(expected);
      expect(page.executed).toHaveLength(mode === "shadow" ? 0 : 1);
      expect(open.executed).toHaveLength(mode === "full" ? 1 : 0);
    },
  );

  it("marks a circuit that only would have opened", async () => {
    const { engine, journal, rows } = setUp({ settings: settingsOf("shadow") });
    journal.append({ type: "circuit.transitioned", transition: anOpening() });
    await engine.drainOnce();
    expect((await rows()).find(({ actionStrategy }) => actionStrategy === "circuit_break")).toMatchObject({
      dryRun: true,
    });
  });

  it("lets repairs wait while recovery is stopped, and carries them out afterwards", async () => {
    let stopped = true;
    const strategy = aStrategy();
    const settings = { mode: () => "full" as const, stopped: () => stopped };
    const { engine, journal, clock } = setUp({ settings, strategies: [strategy] });
    journal.append({
      type: "failure.observed",
      failure: aFailure({ eventId: "f1", timestamp: clock.now() }),
      rescued: false,
    });
    await engine.handleFailure(aFailure({ eventId: "f2", affectedService: "db:main", timestamp: clock.now() }));
    await engine.drainOnce();
    expect(strategy.executed).toEqual([]);
    stopped = false;
    await engine.drainOnce();
    expect(strategy.executed.toSorted()).toEqual(["f1", "f2"]);
  });

  it("lets go of a waiting repair whose failure fell quiet meanwhile", async () => {
    let stopped = true;
    const strategy = aStrategy();
    const settings = { mode: () => "full" as const, stopped: () => stopped };
    const { engine, journal, clock } = setUp({ settings, strategies: [strategy] }, { resolveAfterMs: 60_000 });
    journal.append({ type: "failure.observed", failure: aFailure({ timestamp: clock.now() }), rescued: false });
    await engine.drainOnce();
    await clock.advance(60_001);
    stopped = false;
    await engine.drainOnce();
    expect(strategy.executed).toEqual([]);
    expect(engine.state()).toMatchObject({ repairsWaiting: 0 });
  });

  it("keeps a bounded number of repairs waiting", async () => {
    const settings = { mode: () => "full" as const, stopped: () => true };
    const { engine, journal, events, store } = setUp({ settings, strategies: [aStrategy()] });
    for (let i = 0; i < 1_200; i += 1) {
      const failure = aFailure({ affectedService: `service-${i}` });
      journal.append({ type: "failure.observed", failure, rescued: false });
    }
    await engine.drainOnce();
    expect(engine.state()).toMatchObject({ spooled: 0, repairsWaiting: 1_000 });
    expect(await store.getFailure((await events())[0]?.eventId ?? "")).toBeDefined();
  });

  it("does not repair with a strategy whose flag is off", async () => {
    const strategy = aStrategy();
    const { engine } = setUp({ isEnabled: () => false, strategies: [strategy] });
    expect(await engine.handleFailure(aFailure())).toMatchObject({
      recovered: false,
      plan: { refused: [{ strategy: "reconnect_service", reason: "disabled" }] },
    });
    expect(strategy.executed).toEqual([]);
  });

  it.each([
    ["drainBatchSize", 0],
    ["repairTimeoutMs", Number.POSITIVE_INFINITY],
  ])("refuses %s %d in one line", (option, value) => {
    expect(() => new RecoveryEngine({}, { [option]: value })).toThrow(
      expect.objectContaining({
        code: "CONFIGURATION_INVALID",
        message: expect.stringContaining(`${option} is ${value}`),
      }),
    );
  });
});

function setUpOn(store: Store, clock: ReturnType<typeof createFakeClock>) {
  const made = setUp({ clock, store });
  return {
    ...made,
    rows: async () => [...(await store.listRecoveries({ limit: 100 })).items].reverse(),
    events: async () => [...(await store.listFailures({ limit: 100 })).items].reverse(),
  };
}

function settingsOf(mode: Mode) {
  return { mode: () => mode, stopped: () => false };
}

function idsOf(instance: string) {
  let sequence = 0;
  return () => `${instance}-${++sequence}`;
}
