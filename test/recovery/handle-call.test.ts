import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { createBuiltInStrategies } from "../../server/recovery/built-in-strategies.js";
import { RecoveryEngine, type RecoveryEngineDeps } from "../../server/recovery/recovery-engine.js";
import { ParamedicError } from "../../shared/errors.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure, aResult, aStrategy } from "./a-failure.js";
import { type Script, scriptedOperation } from "./scripted-operation.js";

const down = new Error("boom");

function setUp(deps: Omit<RecoveryEngineDeps, "clock"> = {}, more: readonly RecoveryStrategy[] = []) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const engine = new RecoveryEngine({ store, instance: "a", ...deps, clock });
  for (const strategy of [...createBuiltInStrategies({ clock, random: () => 1 }), ...more]) {
    engine.registerStrategy(strategy);
  }
  const handle = async (script: Omit<Script, "clock">, failure = aFailure({ affectedService: "a" })) => {
    const operation = scriptedOperation({ ...script, clock });
    const handling = engine.handleFailure(failure, operation);
    await clock.advance(100_000);
    return { ...(await handling), operation };
  };
  const rows = async () => {
    await engine.drainOnce();
    return [...(await store.listRecoveries({ limit: 100 })).items].reverse();
  };
  return { clock, store, engine, handle, rows };
}

describe("handleFailure with the operation that failed", () => {
  it("retries, and gives the value to the caller", async () => {
    const { handle, rows } = setUp();
    const { recovered, value, actions, plan } = await handle({ targets: { a: [down, down, "answer"] } });
    expect(recovered).toBe(true);
    expect(value).toBe("answer");
    expect(actions).toMatchObject([{ actionStrategy: "exponential_backoff_retry", status: "succeeded", target: "a" }]);
    expect(plan.steps).toEqual(["exponential_backoff_retry"]);
    expect(await rows()).toMatchObject([
      { actionType: "retry", status: "succeeded", scope: "call", target: "a", durationMs: 3_000 },
    ]);
  });

  it("goes from the retry over each target to the fallback, with a row for every step", async () => {
    const { handle, rows } = setUp();
    const targets = { a: [down], b: [down], c: [down] };
    const { recovered, value, operation } = await handle({ targets, fallback: () => "kept" });
    expect({ recovered, value }).toEqual({ recovered: true, value: "kept" });
    expect(operation.asked).toEqual(["a", "a", "b", "c"]);
    expect((await rows()).map((row) => [row.actionStrategy, row.status, row.target])).toEqual([
      ["exponential_backoff_retry", "failed", "a"],
      ["provider_failover", "failed", "b"],
      ["provider_failover", "failed", "c"],
      ["last_good_fallback", "succeeded", "c"],
    ]);
  });

  it("keeps the last error of each strategy by reference when nothing helps", async () => {
    const last = new Error("b is down too");
    const { handle } = setUp();
    const { recovered, actions, value } = await handle({ targets: { a: [down], b: [last] } });
    expect(recovered).toBe(false);
    expect(value).toBeUndefined();
    expect(actions.at(-1)?.error).toBe(last);
  });

  it("writes a skipped row when nothing applies", async () => {
    const { handle, rows } = setUp();
    const { actions } = await handle({ targets: { a: [down] } }, aFailure({ failureType: "procedure_error" }));
    expect(actions).toMatchObject([{ actionStrategy: "none", status: "skipped" }]);
    expect((await rows()).filter(({ scope }) => scope === "call")).toMatchObject([{ status: "skipped" }]);
  });

  it("has no effect in shadow: nothing runs again, and the row says what would have", async () => {
    const { handle, rows } = setUp({ settings: { mode: () => "shadow", stopped: () => false } });
    const { recovered, operation } = await handle({ targets: { a: [down, "answer"] } });
    expect(recovered).toBe(false);
    expect(operation.asked).toEqual(["a"]);
    expect(await rows()).toMatchObject([
      { actionStrategy: "exponential_backoff_retry", status: "skipped", dryRun: true },
    ]);
  });

  it("rescues in limited only what limited may touch", async () => {
    const { handle } = setUp({ settings: { mode: () => "limited", stopped: () => false } });
    const script = { targets: { a: [down, "answer"] } };
    expect(await handle(script, aFailure({ affectedService: "llm:a" }))).toMatchObject({ recovered: true });
    expect(await handle(script, aFailure({ affectedService: "db:a" }))).toMatchObject({ recovered: false });
  });

  it("asks for the next target once where the operation does not say how many are left", async () => {
    const { clock, engine } = setUp();
    let asked = 0;
    const operation = scriptedOperation({ clock, targets: { a: [down] }, fallback: () => "kept" });
    Object.defineProperty(operation, "targetsLeft", { value: undefined });
    Object.assign(operation, {
      next: async () => {
        asked += 1;
        if (asked > 20) return "asked for ever";
        throw down;
      },
    });
    const handling = engine.handleFailure(aFailure({ affectedService: "a" }), operation);
    await clock.advance(100_000);
    expect(await handling).toMatchObject({ recovered: true, value: "kept" });
    expect(asked).toBe(1);
  });

  it("says cancelled when the caller went away", async () => {
    const { clock, engine } = setUp();
    const caller = new AbortController();
    const operation = scriptedOperation({ clock, targets: { a: [down, "answer"] }, signal: caller.signal });
    const handling = engine.handleFailure(aFailure(), operation);
    await clock.advance(500);
    caller.abort(new Error("gone"));
    expect((await handling).actions).toMatchObject([{ status: "cancelled" }]);
    expect(operation.asked).toEqual(["a"]);
  });

  it("does not believe a strategy whose own verification does not", async () => {
    const doubtful = aStrategy({
      name: "doubtful",
      scope: "call",
      priority: 0,
      execute: async () => aResult({ value: "wrong" }),
      verify: async () => false,
    });
    const { handle } = setUp({}, [doubtful]);
    const { actions, value } = await handle({ targets: { a: [down, "answer"] } });
    expect(actions.map(({ actionStrategy, status }) => [actionStrategy, status])).toEqual([
      ["doubtful", "failed"],
      ["exponential_backoff_retry", "succeeded"],
    ]);
    expect(value).toBe("answer");
  });

  it("ends a strategy that hangs soon after the caller's deadline, and still lets the fallback answer", async () => {
    const hangs = aStrategy({ name: "hangs", scope: "call", priority: 0, execute: () => new Promise(() => {}) });
    const { handle } = setUp({}, [hangs]);
    const { actions, value } = await handle({ targets: { a: [down] }, deadlineMs: 2_000, fallback: () => "kept" });
    expect(actions.map(({ actionStrategy, status }) => [actionStrategy, status])).toEqual([
      ["hangs", "timed_out"],
      ["last_good_fallback", "succeeded"],
    ]);
    expect(value).toBe("kept");
  });

  it("takes the value of a strategy whatever it says beside it, and cuts no secret in two", async () => {
    for (const message of [Object.create(null), `${"x".repeat(470)} redis://app:${"hunter2".repeat(20)}@cache`]) {
      const says = aStrategy({
        name: "says",
        scope: "call",
        priority: 0,
        execute: async () => ({ ...aResult(), success: true, value: "kept", message }),
      });
      const { handle } = setUp({}, [says]);
      const { value, actions } = await handle({ targets: { a: [down] } });
      expect(value).toBe("kept");
      expect(actions[0]?.message).not.toContain("hunter");
    }
  });

  it("rescues although the store is away; the rows follow", async () => {
    const memory = createMemoryStore({ clock: createFakeClock() });
    let away = true;
    const store: typeof memory = {
      ...memory,
      recordFailures: (sightings) =>
        away ? Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "away")) : memory.recordFailures(sightings),
    };
    const { engine, handle } = setUp({ store });
    expect(await handle({ targets: { a: [down, "answer"] } })).toMatchObject({ recovered: true, value: "answer" });
    expect((await memory.listRecoveries({ limit: 9 })).items).toEqual([]);
    away = false;
    await engine.drainOnce();
    expect((await memory.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "succeeded" }]);
  });
});

describe("working alone", () => {
  it("needs nothing: real clock, its own journal, its own rows", async () => {
    const engine = new RecoveryEngine();
    const strategy = aStrategy();
    engine.registerStrategy(strategy);
    const failure = aFailure({ eventId: "alone" });
    const handled = await engine.handleFailure(failure);
    expect(handled).toMatchObject({ eventId: "alone", recovered: true, actions: [{ success: true }] });
    expect(strategy.executed).toEqual(["alone"]);
    expect((await engine.store.listRecoveries({ limit: 9 })).items).toMatchObject([
      { failureEventId: "alone", status: "succeeded", instance: "local" },
    ]);
  });

  it("starts without strategies, and says so in the row", async () => {
    const engine = new RecoveryEngine();
    expect(engine.strategies()).toEqual([]);
    expect(await engine.handleFailure(aFailure())).toMatchObject({ actions: [{ actionStrategy: "none" }] });
  });

  it("knows nothing of another engine in the same process", async () => {
    const [one, other] = [new RecoveryEngine(), new RecoveryEngine()];
    one.registerStrategy(aStrategy());
    await one.handleFailure(aFailure());
    expect(other.strategies()).toEqual([]);
    expect((await other.store.listRecoveries({ limit: 9 })).items).toEqual([]);
  });
});
