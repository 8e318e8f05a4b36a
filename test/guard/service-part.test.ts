import { describe, expect, it } from "vitest";
import type { GuardContext } from "../../server/guard/guard.js";
import type { RunTarget } from "../../server/guard/run.js";
import type { ServicePart } from "../../server/guard/service-part.js";
import { CircuitBreakStrategy } from "../../server/recovery/circuit-break-strategy.js";
import { createFakeClock } from "../support/fake-clock.js";
import { createGuardHarness, httpError, settled } from "./guard-harness.js";

const KEY: ServicePart = { circuit: "llm:a:key", takes: ["auth_failed"], resetTimeoutMs: 5_000 };
const MODEL: ServicePart = { circuit: "llm:a:model", takes: ["model_unavailable"], resetTimeoutMs: 5_000 };
const PARTS = [KEY, MODEL];

function harness() {
  const made = createGuardHarness({ defaults: { failureThreshold: 3 } });
  const asked: string[] = [];
  const target = (service: string, answer: () => unknown, more: Partial<RunTarget<unknown>> = {}) => ({
    service,
    run: async () => {
      asked.push(service);
      return answer();
    },
    ...more,
  });
  const state = (name: string) => made.registry.get(name)?.snapshot().state;
  const run = (...targets: RunTarget<unknown>[]) => settled(made.guards.runDetailed("ask", { targets }));
  return { ...made, asked, target, state, run };
}

const fail = (status: number) => () => {
  throw httpError(status);
};

describe("parts of a service", () => {
  it("take the failures that are theirs: one opens the part's circuit, and the service's does not count it", async () => {
    const { run, target, state, registry, failures } = harness();
    await run(target("llm:a", fail(401), { parts: PARTS }));
    expect([state("llm:a"), state("llm:a:key"), state("llm:a:model")]).toEqual(["closed", "open", "closed"]);
    expect(registry.get("llm:a")?.snapshot().failureCount).toBe(0);
    expect(failures()[0]).toMatchObject({ affectedService: "llm:a", context: { circuit: "llm:a:key" } });
  });

  it("leave other failures to the service", async () => {
    const { run, target, registry, state, failures } = harness();
    await run(target("llm:a", fail(501), { parts: PARTS }));
    expect(registry.get("llm:a")?.snapshot().failureCount).toBe(1);
    expect([state("llm:a:key"), state("llm:a:model")]).toEqual(["closed", "closed"]);
    expect(failures()[0]?.context).not.toHaveProperty("circuit");
  });

  it("that are open refuse the target before it is asked, and only for work that uses them", async () => {
    const { run, target, asked } = harness();
    await run(target("llm:a", fail(401), { parts: PARTS }));
    const refused = await run(target("llm:a", () => "a", { parts: PARTS }));
    expect(refused).toMatchObject({ error: { circuitName: "llm:a:key", retryAfterMs: 5_000 } });
    expect(asked).toEqual(["llm:a"]);
    expect(await run(target("llm:a", () => "other key", { parts: [MODEL] }))).toMatchObject({
      value: { value: "other key" },
    });
  });

  it("give the next target its turn without a request, and are passed over in a failover", async () => {
    const { run, target, asked } = harness();
    await run(target("llm:a", fail(401), { parts: PARTS }));
    asked.length = 0;
    const a = target("llm:a", () => "a", { parts: PARTS });
    expect(
      await run(
        a,
        target("llm:b", () => "b"),
      ),
    ).toMatchObject({ value: { value: "b" } });
    expect(
      await run(
        target("llm:c", fail(501)),
        a,
        target("llm:b", () => "b"),
      ),
    ).toMatchObject({
      value: { value: "b", rescue: { attempts: 2 } },
    });
    expect(asked).toEqual(["llm:b", "llm:c", "llm:b"]);
  });

  it("let one call try once their time is over, and close when it succeeds", async () => {
    const { run, target, state, clock } = harness();
    await run(target("llm:a", fail(401), { parts: PARTS }));
    await clock.advance(5_000);
    expect(await run(target("llm:a", () => "a", { parts: PARTS }))).toMatchObject({ value: { value: "a" } });
    expect(state("llm:a:key")).toBe("closed");
  });

  it("give back a half-open service's probe when a part refuses", async () => {
    const { run, target, state, clock, guards, registry } = harness();
    guards.guard("llm:a", { failureThreshold: 1, successThreshold: 1, resetTimeoutMs: 1_000 });
    await run(target("llm:a", fail(501), { parts: PARTS }));
    await run(target("llm:x", fail(401), { parts: PARTS }));
    await clock.advance(1_000);
    await run(target("llm:a", () => "a", { parts: PARTS }));
    expect(state("llm:a")).toBe("half_open");
    expect(registry.get("llm:a")?.tryAcquire()).toBeDefined();
  });

  it("give their probes back when the failure is another's", async () => {
    const { run, target, state, clock } = harness();
    await run(target("llm:a", fail(401), { parts: PARTS }));
    await clock.advance(5_000);
    await run(target("llm:a", fail(501), { parts: PARTS }));
    expect(state("llm:a:key")).toBe("half_open");
    await run(target("llm:a", () => "a", { parts: PARTS }));
    expect(state("llm:a:key")).toBe("closed");
  });

  it("only measure where the mode says so", async () => {
    const { guards, registry, faults } = createGuardHarness({ mode: "shadow" });
    const ask = (run: () => unknown) =>
      settled(guards.run("ask", { targets: [{ service: "llm:a", parts: PARTS, run: async () => run() }] }));
    await ask(fail(401));
    expect(registry.get("llm:a:key")?.snapshot().state).toBe("open");
    expect(await ask(() => "a")).toEqual({ value: "a" });
    expect(faults).toEqual([]);
  });

  it("are what a repair opens, so that a refused key does not close the whole service", () => {
    const clock = createFakeClock();
    const opened: string[] = [];
    const strategy = new CircuitBreakStrategy({
      clock,
      circuitState(name) {
        opened.push(name);
        return "open";
      },
      channel: { publish() {}, subscribe: () => () => {} },
    });
    const failure = { affectedService: "llm:a", context: { circuit: "llm:a:key" } };
    expect(strategy.appliesTo(failure as never)).toBe(true);
    expect(opened).toEqual(["llm:a:key"]);
  });
});

describe("a target's traits", () => {
  it("pass a target over that does not accept the work", async () => {
    const { run, target } = harness();
    const outcome = await run(
      target("llm:a", fail(501)),
      target("llm:b", () => "b", { accepts: () => false }),
      target("llm:c", () => "c"),
    );
    expect(outcome).toMatchObject({ value: { value: "c" } });
  });

  it("may be at fault without harm: the error means what it says, and permits come back", async () => {
    const { run, target, registry, faults } = harness();
    const judge = () => {
      throw new Error("judge");
    };
    await run(target("llm:a", fail(501), { judge, parts: PARTS }));
    expect(faults).toMatchObject([{ message: "judge" }]);
    expect(registry.get("llm:a")?.snapshot().failureCount).toBe(1);
  });

  it.each([
    [{ ...KEY, circuit: "" }, "name of its circuit"],
    [{ ...KEY, resetTimeoutMs: 0 }, "legal: [1, "],
  ])("are refused at once where they are wrong", async (part, message) => {
    const { run, target } = harness();
    expect(await run(target("llm:a", () => "a", { parts: [part] }))).toMatchObject({
      error: { code: "OPERATION_INVALID", message: expect.stringContaining(message) },
    });
  });

  it("say what an error means where they know more", async () => {
    const { run, target, failures } = harness();
    const judge: RunTarget<unknown>["judge"] = (found) => ({
      ...found,
      failureType: "model_unavailable",
      failover: true,
    });
    const outcome = await run(
      target("llm:a", fail(400), { judge }),
      target("llm:b", () => "b"),
    );
    expect(outcome).toMatchObject({ value: { value: "b", rescue: { kind: "failed_over" } } });
    expect(failures()[0]).toMatchObject({ failureType: "model_unavailable", context: { reason: "invalid_request" } });
  });
});

describe("work that has delivered a part", () => {
  const hangAfter = (timeoutMs: number | undefined) => (context: GuardContext) => {
    context.delivered(timeoutMs === undefined ? undefined : { timeoutMs });
    return new Promise<never>((_resolve, reject) => {
      context.signal.addEventListener("abort", () => reject(context.signal.reason));
    });
  };
  const limits = { timeoutMs: 1_000, failureThreshold: 1 };

  it("keeps the attempt's time unless it says how long the rest may take", async () => {
    const { guards, clock } = createGuardHarness({ defaults: limits });
    const outcome = settled(guards.guard("llm:a").execute(hangAfter(undefined)));
    await clock.advance(1_000);
    expect(await outcome).toMatchObject({
      error: { reason: "attempt_timeout", message: "llm:a took longer than 1000 ms" },
    });
  });

  it("has that time from then on, and its end is no failure of the service", async () => {
    const { guards, clock, registry } = createGuardHarness({ defaults: limits });
    const outcome = settled(guards.guard("llm:a").execute(hangAfter(4_000)));
    await clock.advance(3_999);
    expect(guards.guard("llm:a").snapshot().inFlight).toBe(1);
    await clock.advance(1);
    expect(await outcome).toMatchObject({ error: { message: "llm:a took longer than 4000 ms" } });
    expect(registry.get("llm:a")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("never has more than its caller", async () => {
    const { guards, clock } = createGuardHarness({ defaults: limits });
    const outcome = settled(guards.guard("llm:a").execute(hangAfter(Number.POSITIVE_INFINITY), { timeoutMs: 2_000 }));
    await clock.advance(2_000);
    expect(await outcome).toMatchObject({ error: { reason: "attempt_timeout" } });
  });

  it("may be left to the caller's patience alone", async () => {
    const { guards, clock } = createGuardHarness({ defaults: limits });
    const controller = new AbortController();
    const outcome = settled(
      guards.guard("llm:a").execute(hangAfter(Number.POSITIVE_INFINITY), { signal: controller.signal }),
    );
    await clock.advance(3_600_000);
    controller.abort("enough");
    expect(await outcome).toEqual({ error: "enough" });
    expect(clock.pendingTimers).toBe(0);
  });
});
