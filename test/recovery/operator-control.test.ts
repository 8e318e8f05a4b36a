/** What an operator does by hand, and what he is refused. */
import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { RecoveryEngineOptions } from "../../server/recovery/engine-options.js";
import { RecoveryEngine, type RecoveryEngineDeps } from "../../server/recovery/recovery-engine.js";
import type { Mode } from "../../shared/mode.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { aFailure, aResult, aStrategy } from "./a-failure.js";

function setUp(
  strategies: readonly RecoveryStrategy[],
  options: RecoveryEngineOptions = {},
  more: Partial<RecoveryEngineDeps> = {},
) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const engines = ["a", "b"].map((instance) => {
    const engine = new RecoveryEngine({ clock, store, instance, ...more }, options);
    for (const strategy of strategies) engine.registerStrategy(strategy);
    return engine;
  });
  const [a, b] = engines;
  if (a === undefined || b === undefined) throw new Error("there are two engines");
  const rows = async () => [...(await store.listRecoveries({ limit: 100 })).items].reverse();
  const seen = async () => {
    a.journal.append({ type: "failure.observed", failure: aFailure({ timestamp: clock.now() }), rescued: false });
    await a.drainOnce();
  };
  return { clock, store, a, b, rows, seen };
}

const order = { service: "llm:openai", strategy: "reconnect_service", by: "ada", reason: "support ticket 12" };

describe("a repair that waits for an operator", () => {
  const dangerous = () => aStrategy({ needsApproval: true, verify: async () => true });

  it("has one row, and no effect until somebody says yes; then one instance carries it out", async () => {
    const strategy = dangerous();
    const { a, b, rows, seen } = setUp([strategy]);
    await seen();
    await seen();
    expect(strategy.executed).toEqual([]);
    const [waiting] = await rows();
    expect(await rows()).toMatchObject([{ status: "pending_approval", target: "llm:openai", automated: true }]);

    const actionId = waiting?.actionId ?? "";
    const outcomes = await Promise.all([
      a.control.approve({ actionId, by: "ada" }),
      b.control.approve({ actionId, by: "bob" }),
    ]);
    expect(strategy.executed).toHaveLength(1);
    expect(outcomes.filter(({ done }) => done)).toHaveLength(1);
    expect(await rows()).toMatchObject([{ actionId, status: "succeeded", result: { verified: true } }]);
    expect(["ada", "bob"]).toContain((await rows())[0]?.parameters?.approvedBy);
    expect(await a.control.approve({ actionId, by: "ada" })).toMatchObject({ done: false, reason: "not_pending" });
  });

  it("expires when nobody comes in time, and is not asked for again at once", async () => {
    const strategy = dangerous();
    const { a, clock, rows, seen } = setUp([strategy], { approvalTimeoutMs: 60_000 });
    a.start();
    await seen();
    await clock.advance(59_000);
    expect(await rows()).toMatchObject([{ status: "pending_approval" }]);
    await clock.advance(15_000);
    expect(await rows()).toMatchObject([{ status: "expired", result: { message: "no operator came in time" } }]);
    await seen();
    expect(await rows()).toHaveLength(1);
    expect(strategy.executed).toEqual([]);
    await a.stop();
  });

  it("does not begin by a yes that comes too late, swept or not", async () => {
    const strategy = dangerous();
    const { a, clock, rows, seen } = setUp([strategy], { approvalTimeoutMs: 60_000 });
    await seen();
    const actionId = (await rows())[0]?.actionId ?? "";
    await clock.advance(60_000);
    expect(await a.control.approve({ actionId, by: "ada" })).toMatchObject({ done: false, reason: "not_pending" });
    expect(strategy.executed).toEqual([]);
  });

  it("is called off by an operator, with the reason", async () => {
    const strategy = dangerous();
    const { b, rows, seen } = setUp([strategy]);
    await seen();
    const actionId = (await rows())[0]?.actionId ?? "";
    expect(await b.control.cancel({ actionId, by: "ada", reason: "it is fixed" })).toMatchObject({ done: true });
    expect(await rows()).toMatchObject([
      { status: "cancelled", result: { message: "called off by ada: it is fixed" } },
    ]);
    expect(await b.control.approve({ actionId, by: "ada" })).toMatchObject({ done: false, reason: "not_pending" });
    expect(strategy.executed).toEqual([]);
  });

  it("waits on while recovery is stopped or the mode permits no repair", async () => {
    let stopped = false;
    let mode: "full" | "monitor" = "full";
    const strategy = dangerous();
    const { a, rows, seen } = setUp([strategy], {}, { settings: { mode: () => mode, stopped: () => stopped } });
    await seen();
    const actionId = (await rows())[0]?.actionId ?? "";
    stopped = true;
    expect(await a.control.approve({ actionId, by: "ada" })).toMatchObject({ done: false, reason: "stopped" });
    stopped = false;
    mode = "monitor";
    expect(await a.control.approve({ actionId, by: "ada" })).toMatchObject({ done: false, reason: "mode" });
    expect(strategy.executed).toEqual([]);
    expect(await rows()).toMatchObject([{ status: "pending_approval" }]);
  });
});

describe("a repair by hand", () => {
  it("runs whatever was done lately, and says in its row who wanted it and why", async () => {
    const strategy = aStrategy({ verify: async () => true });
    const { a, b, rows } = setUp([strategy]);
    expect(await a.control.trigger(order)).toMatchObject({ done: true, action: { status: "succeeded" } });
    expect(await b.control.trigger(order)).toMatchObject({ done: true, action: { status: "succeeded" } });
    expect(strategy.executed).toHaveLength(2);
    expect(await rows()).toMatchObject([
      { automated: false, triggeredBy: "ada", parameters: { reason: "support ticket 12" }, status: "succeeded" },
      { automated: false, triggeredBy: "ada", status: "succeeded" },
    ]);
  });

  it("does not begin beside another repair of the service", async () => {
    let finish = () => {};
    const strategy = aStrategy({ execute: () => new Promise((resolve) => (finish = () => resolve(aResult()))) });
    const { a, b } = setUp([strategy, aStrategy({ name: "other" })]);
    const first = a.control.trigger(order);
    await settle();
    expect(await b.control.trigger({ ...order, strategy: "other" })).toMatchObject({ done: false, reason: "busy" });
    finish();
    expect(await first).toMatchObject({ done: true });
  });

  it("is refused by policy, stop, flag and for what is no repair", async () => {
    let stopped = false;
    const { a } = setUp(
      [aStrategy(), aStrategy({ name: "rescue", scope: "call" }), aStrategy({ name: "off" })],
      { policies: [{ services: ["db:*"], by: ["ada"], allow: "no" }] },
      { settings: { mode: () => "full", stopped: () => stopped }, isEnabled: (name) => name !== "off" },
    );
    const refusal = async (more: Partial<typeof order>) => {
      const outcome = await a.control.trigger({ ...order, ...more });
      return outcome.done ? "done" : outcome.reason;
    };
    expect(await refusal({ strategy: "nothing" })).toBe("unknown");
    expect(await refusal({ strategy: "rescue" })).toBe("not_a_repair");
    expect(await refusal({ strategy: "off" })).toBe("disabled");
    expect(await refusal({ service: "db:main" })).toBe("policy");
    expect(await refusal({ service: "db:main", by: "bob" })).toBe("done");
    stopped = true;
    expect(await refusal({})).toBe("stopped");
  });

  it("is a dry run where the mode permits no repair", async () => {
    const strategy = aStrategy();
    const { a, rows } = setUp([strategy], {}, { settings: { mode: () => "shadow", stopped: () => false } });
    expect(await a.control.trigger(order)).toMatchObject({ done: true, action: { status: "skipped", dryRun: true } });
    expect(strategy.executed).toEqual([]);
    expect(await rows()).toMatchObject([{ status: "skipped", dryRun: true, triggeredBy: "ada" }]);
  });

  it.each(["shadow", "stop", "shutdown"] as const)(
    "is refused when %s came while it waited for another repair",
    async (change) => {
      let changed = false;
      const settings = {
        mode: () => (changed && change === "shadow" ? "shadow" : "full") as Mode,
        stopped: () => changed && change === "stop",
      };
      let finish = () => {};
      const slow = aStrategy({
        name: "slow",
        priority: 1,
        execute: () => new Promise((resolve) => (finish = () => resolve(aResult()))),
      });
      const strategy = aStrategy();
      const { a } = setUp([slow, strategy], {}, { settings });
      const handling = a.handleFailure(aFailure());
      await settle();
      const triggered = a.control.trigger(order);
      await settle();
      changed = true;
      const ended = change === "shutdown" ? a.stop() : undefined;
      finish();
      expect(await triggered).toMatchObject({ done: false, reason: change === "shadow" ? "mode" : "stopped" });
      await Promise.all([handling, ended]);
      expect(strategy.executed).toEqual([]);
    },
  );

  it("rests in maintenance only for the engine", async () => {
    const strategy = aStrategy();
    const { a, rows, seen } = setUp([strategy], {}, { inMaintenance: (service) => service === "llm:openai" });
    await seen();
    expect(await rows()).toMatchObject([
      { status: "skipped", actionStrategy: "none", result: { refused: { reconnect_service: "maintenance" } } },
    ]);
    expect(await a.control.trigger(order)).toMatchObject({ done: true, action: { status: "succeeded" } });
  });
});

describe("calling off", () => {
  it("waits for no repair of another service", async () => {
    const { a, rows } = setUp([aStrategy({ execute: () => new Promise(() => {}) })]);
    void a.handleFailure(aFailure({ affectedService: "db:main" }));
    void a.handleFailure(aFailure());
    await settle();
    const row = (await rows()).find(({ target }) => target === "llm:openai");
    const cancelled = a.control.cancel({ actionId: row?.actionId ?? "", by: "ada", reason: "no" });
    expect(await cancelled).toMatchObject({ done: true, action: { status: "cancelled" } });
    expect((await rows()).find(({ target }) => target === "db:main")).toMatchObject({ status: "in_progress" });
  });

  it("waits no longer for what is under way here, undoes nothing under its hands, and lets its late end change nothing", async () => {
    let finish = () => {};
    const undone: string[] = [];
    const strategy = aStrategy({
      execute: () => new Promise((resolve) => (finish = () => resolve(aResult()))),
      rollback: async () => void undone.push("undone"),
    });
    const { a, b, rows } = setUp([strategy]);
    const handling = a.handleFailure(aFailure());
    await settle();
    const actionId = (await rows())[0]?.actionId ?? "";
    expect(await b.control.cancel({ actionId, by: "ada", reason: "no" })).toMatchObject({ reason: "elsewhere" });
    expect(await a.control.cancel({ actionId, by: "ada", reason: "no" })).toMatchObject({
      done: true,
      action: { status: "cancelled" },
    });
    expect(await handling).toMatchObject({ recovered: false, actions: [{ status: "cancelled" }] });
    finish();
    await settle();
    expect(await rows()).toMatchObject([{ status: "cancelled" }]);
    expect(undone).toEqual([]);
    expect(await a.control.cancel({ actionId, by: "ada", reason: "no" })).toMatchObject({ reason: "not_pending" });
    expect(await a.control.cancel({ actionId: "none", by: "ada", reason: "no" })).toMatchObject({ reason: "unknown" });
  });
});

describe("a preview", () => {
  it("tells what would be done, by levels and with reasons, and does nothing", async () => {
    const strategy = aStrategy();
    const restart = aStrategy({ name: "restart_process", actionType: "restart" });
    const { a, rows, seen, store } = setUp([strategy, restart], {
      policies: [{ strategies: ["reconnect_service"], allow: "approval" }],
    });
    const preview = await a.control.preview({ service: "llm:openai", failureType: "service_unavailable" });
    expect(preview).toMatchObject({
      plan: { steps: ["reconnect_service"], approvals: ["reconnect_service"], level: "service", dryRun: false },
      gate: "free",
      stopped: false,
    });
    expect(await rows()).toEqual([]);
    await seen();
    const failureEventId = (await store.listFailures({ limit: 1 })).items[0]?.eventId ?? "";
    expect((await a.control.preview({ failureEventId }))?.plan.refused).toContainEqual({
      strategy: "reconnect_service",
      reason: "awaiting_approval",
    });
    expect(await a.control.preview({ failureEventId: "none" })).toBeUndefined();
    expect(strategy.executed).toEqual([]);
  });
});
