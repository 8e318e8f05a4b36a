import { describe, expect, expectTypeOf, it } from "vitest";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import type { Operation } from "../../server/guard/operation.js";
import { createLastGood } from "../../server/recovery/last-good.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import {
  builtIn,
  callOf,
  createGuardHarness,
  httpError,
  refusedConnection,
  settled,
  userStrategy,
} from "./guard-harness.js";

const hang = () => new Promise<never>(() => {});

describe("an operation", () => {
  it("asks the first target and nobody else while it is well", async () => {
    const { guards, entries } = createGuardHarness();
    const asked: string[] = [];
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:openai": (_context, text: string) => asked.push(`openai ${text}`),
        "llm:gemini": (_context, text: string) => asked.push(`gemini ${text}`),
      },
    });
    expect(await summarise("a")).toBe(1);
    expect(asked).toEqual(["openai a"]);
    expect(entries).toEqual([]);
    expect(summarise.operationName).toBe("summarise");
  });

  it("moves to the next target and says so", async () => {
    const { guards, story, rescues, failures, entries } = createGuardHarness();
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:openai": () => Promise.reject(httpError(401)),
        "llm:gemini": async () => "short",
      },
    });
    expect(await summarise.detailed()).toMatchObject({
      value: "short",
      rescue: { kind: "failed_over", target: "llm:gemini", attempts: 2 },
    });
    expect(story()).toEqual(["provider_failover:succeeded"]);
    expect(rescues()[0]).toMatchObject({ target: "llm:gemini", failureEventId: failures()[0]?.eventId, dryRun: false });
    expect(entries.map(({ type }) => type)).toEqual(["failure.observed", "rescue.ended"]);
    expect(failures()[0]?.context).toMatchObject({ operation: "summarise", target: "llm:openai" });
  });

  it("tries a target that failed quickly once more before it moves on, then tries the next one likewise", async () => {
    const { guards, clock, story } = createGuardHarness();
    const asked: string[] = [];
    const fail = (name: string) => () => {
      asked.push(name);
      throw httpError(500);
    };
    const outcome = settled(
      guards.operation("summarise", { targets: { "llm:a": fail("a"), "llm:b": fail("b"), "llm:c": fail("c") } })(),
    );
    for (let second = 0; second < 30; second += 1) await clock.advance(1_000);
    await outcome;
    expect(asked.slice(0, 5)).toEqual(["a", "a", "b", "b", "c"]);
    expect(story().slice(0, 4)).toEqual([
      "exponential_backoff_retry:failed",
      "provider_failover:failed",
      "exponential_backoff_retry:failed",
      "provider_failover:failed",
    ]);
  });

  it("answers from the fallback when every target fails, with the failure and the arguments", async () => {
    const { guards, story } = createGuardHarness();
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:openai": (_context, _text: string) => Promise.reject<string>(httpError(402)),
        "llm:gemini": (_context, _text: string) => Promise.reject<string>(httpError(403)),
      },
      fallback: (failure, text) => `${failure.affectedService} is down: ${text}`,
    });
    expect(await summarise.detailed("a")).toMatchObject({
      value: "llm:gemini is down: a",
      rescue: { kind: "fallback", target: undefined, attempts: 2 },
    });
    expect(story()).toEqual(["provider_failover:failed", "last_good_fallback:succeeded"]);
  });

  it("gives the last error by reference when the fallback fails too", async () => {
    const { guards, rescues } = createGuardHarness();
    const last = httpError(403);
    const outcome = await settled(
      guards.operation("summarise", {
        targets: { "llm:openai": () => Promise.reject(httpError(402)), "llm:gemini": () => Promise.reject(last) },
        fallback: () => Promise.reject(new Error("nothing kept")),
      })(),
    );
    expect("error" in outcome && outcome.error).toBe(last);
    expect(rescues().at(-1)).toMatchObject({ status: "failed", metadata: { error: "nothing kept" } });
  });

  it("passes over a target that rests, which is no failure", async () => {
    const { guards, entries } = createGuardHarness();
    let openai: () => string = () => {
      throw httpError(429, { "retry-after": "30" });
    };
    const summarise = guards.operation("summarise", {
      targets: { "llm:openai": () => openai(), "llm:gemini": () => "gemini" },
    });
    expect(await summarise()).toBe("gemini");
    entries.length = 0;
    openai = () => "openai";
    expect(await summarise.detailed()).toMatchObject({
      value: "gemini",
      rescue: { kind: "failed_over", target: "llm:gemini", attempts: 1 },
    });
    expect(entries).toEqual([]);
  });

  it("goes straight past an open circuit, without asking it and without spending the budget", async () => {
    const { guards, story, clock } = createGuardHarness();
    guards.guard("llm:openai", { failureThreshold: 1, retryBudget: { minRetries: 1, ratio: 0 } });
    let asked = 0;
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:openai": () => {
          asked += 1;
          throw httpError(402);
        },
        "llm:gemini": () => "gemini",
      },
    });
    for (let call = 0; call < 50; call += 1) expect(await summarise()).toBe("gemini");
    expect(asked).toBe(1);
    expect(story()).toHaveLength(50);
    expect(new Set(story())).toEqual(new Set(["provider_failover:succeeded"]));
    expect(clock.monotonic()).toBe(0);
  });

  it("with every circuit open: one clear error at once, that of the circuit which admits calls soonest", async () => {
    const { guards, clock, failures, story } = createGuardHarness();
    guards.guard("llm:openai", { failureThreshold: 1, resetTimeoutMs: 60_000 });
    guards.guard("llm:gemini", { failureThreshold: 1, resetTimeoutMs: 20_000 });
    const asked: string[] = [];
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:openai": () => {
          asked.push("openai");
          throw httpError(402);
        },
        "llm:gemini": () => {
          asked.push("gemini");
          throw httpError(402);
        },
      },
    });
    await settled(summarise());
    const before = failures().length;
    expect(await settled(summarise())).toMatchObject({
      error: { code: "SERVICE_UNAVAILABLE", circuitName: "llm:gemini", retryAfterMs: 20_000 },
    });
    expect(clock.monotonic()).toBe(0);
    expect(asked).toEqual(["openai", "gemini"]);
    expect(failures().slice(before)).toMatchObject([
      { failureType: "service_unavailable", affectedService: "llm:openai", context: { reason: "circuit_open" } },
    ]);
    expect(story().at(-1)).toBe("none:skipped");
  });

  it("says of a last good value that it is stale, and how old, and of a made-up one that it is the fallback", async () => {
    const { guards, clock } = createGuardHarness();
    const lastGood = createLastGood({ clock, onFault() {} }).of<[string], string>("summarise");
    let healthy = true;
    const openai = lastGood.keeping(async (_context: object, text: string) => {
      if (!healthy) throw httpError(402);
      return `short ${text}`;
    });
    const summarise = guards.operation("summarise", {
      targets: { "llm:openai": openai },
      fallback: lastGood.fallback,
    });
    expect((await summarise.detailed("a")).rescue).toMatchObject({ kind: "fresh", target: "llm:openai" });
    healthy = false;
    await clock.advance(1_500);
    expect(await summarise.detailed("a")).toMatchObject({
      value: "short a",
      rescue: { kind: "stale", target: undefined, attempts: 1, ageMs: 1_500 },
    });
    expect(await summarise("a")).toBe("short a");
    await expect(summarise("b")).rejects.toThrow(httpError(402).message);
    const made = guards.operation("made", { targets: { "llm:openai": openai }, fallback: () => "made up" });
    expect((await made.detailed("a")).rescue).not.toHaveProperty("ageMs");
    expect((await made.detailed("a")).rescue.kind).toBe("fallback");
  });

  it("with every circuit open: the fallback answers at once", async () => {
    const { guards, clock } = createGuardHarness({ defaults: { failureThreshold: 1 } });
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:openai": () => Promise.reject(httpError(402)),
        "llm:gemini": () => Promise.reject(httpError(402)),
      },
      fallback: () => "kept",
    });
    expect(await summarise()).toBe("kept");
    expect(await summarise.detailed()).toMatchObject({ value: "kept", rescue: { kind: "fallback", attempts: 0 } });
    expect(clock.monotonic()).toBe(0);
  });

  it("goes on to a third target when the second, half open, has no permit left", async () => {
    const { guards, clock } = createGuardHarness({ defaults: { failureThreshold: 1, resetTimeoutMs: 1_000 } });
    guards.guard("llm:b", { failureThreshold: 1, resetTimeoutMs: 1_000, successThreshold: 1, halfOpenPermits: 1 });
    await settled(guards.guard("llm:b").execute(() => Promise.reject(httpError(402))));
    await clock.advance(1_000);
    void settled(guards.guard("llm:b").execute(hang));
    const summarise = guards.operation("summarise", {
      targets: { "llm:a": () => Promise.reject(httpError(402)), "llm:b": () => "b", "llm:c": () => "c" },
    });
    expect(await summarise.detailed()).toMatchObject({ value: "c", rescue: { kind: "failed_over", target: "llm:c" } });
  });

  it("keeps the real error when the other targets are merely refused", async () => {
    const { guards, registry } = createGuardHarness();
    const error = httpError(402);
    const summarise = guards.operation("summarise", {
      targets: { "llm:openai": () => Promise.reject(error), "llm:gemini": () => "gemini" },
    });
    guards.guard("llm:gemini");
    registry.get("llm:gemini")?.forceOpen("operator");
    const outcome = await settled(summarise());
    expect("error" in outcome && outcome.error).toBe(error);
  });

  it("retries at leisure where no other target admits calls", async () => {
    const { guards, registry, clock } = createGuardHarness();
    guards.guard("llm:b");
    registry.get("llm:b")?.hold({ state: "forced_open", by: "operator", reason: "maintenance", until: undefined });
    let asked = 0;
    const ask = guards.operation("ask", {
      targets: {
        "llm:a": () => {
          asked += 1;
          throw httpError(500);
        },
        "llm:b": () => "b",
      },
    });
    const outcome = settled(ask());
    for (let second = 0; second < 30; second += 1) await clock.advance(1_000);
    expect(await outcome).toMatchObject({ error: { status: 500 } });
    expect(asked).toBe(4);
  });

  it("does not run unsafe work elsewhere, unless nothing was sent", async () => {
    const { guards, rescues } = createGuardHarness();
    let error: Error = httpError(500);
    const pay = guards.operation("pay", {
      targets: { "http:a": () => Promise.reject(error), "http:b": () => "paid by b" },
      fallback: () => "not paid",
    });
    expect(await pay()).toBe("not paid");
    expect(rescues().at(-1)?.metadata).toMatchObject({ refused: { provider_failover: "unsafe" } });
    error = refusedConnection();
    expect(await pay()).toBe("paid by b");
  });
});

describe("the time of an operation", () => {
  it("leaves a hanging target its fair share, so that the next one has time", async () => {
    const { guards, clock } = createGuardHarness();
    const summarise = guards.operation("summarise", {
      targets: { "llm:a": hang, "llm:b": hang, "llm:c": async () => "c" },
      timeoutMs: 9_000,
    });
    const outcome = settled(summarise.detailed());
    await clock.advance(6_000);
    expect(await outcome).toMatchObject({ value: { value: "c", rescue: { durationMs: 6_000, attempts: 3 } } });
  });

  it("bounds everything, and leaves the fallback a little", async () => {
    const { guards, clock } = createGuardHarness();
    const summarise = guards.operation("summarise", {
      targets: { "llm:a": hang, "llm:b": hang },
      fallback: () => clock.monotonic(),
      timeoutMs: 2_000,
    });
    const outcome = settled(summarise());
    await clock.advance(2_000);
    expect(await outcome).toEqual({ value: 1_890 });
  });

  it("ends a fallback that hangs", async () => {
    const { guards, clock, story } = createGuardHarness();
    const outcome = settled(
      guards.operation("summarise", {
        targets: { "llm:a": () => Promise.reject(httpError(402)) },
        fallback: hang,
        timeoutMs: 1_000,
      })(),
    );
    await clock.advance(1_000);
    expect(await outcome).toMatchObject({ error: { status: 402 } });
    expect(story()).toEqual(["last_good_fallback:timed_out"]);
  });

  it("inherits the deadline and the signal of the call", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({ callContext });
    const summarise = guards.operation("summarise", { targets: { "llm:a": hang, "llm:b": hang } });
    const outcome = callContext.run(callOf({ deadlineAt: 4_000 }), () => settled(summarise.detailed()));
    await clock.advance(4_000);
    expect(await outcome).toMatchObject({ error: { reason: "attempt_timeout", service: "llm:b" } });
    const controller = new AbortController();
    const gone = callContext.run(callOf({ signal: controller.signal }), () => settled(summarise()));
    controller.abort("gone");
    expect(await gone).toEqual({ error: "gone" });
  });
});

describe("aborting an operation", () => {
  it("between two targets: the second never begins", async () => {
    const { guards, story } = createGuardHarness();
    const controller = new AbortController();
    let asked = 0;
    const outcome = await settled(
      guards
        .run("summarise", {
          targets: [
            {
              service: "llm:a",
              async run() {
                throw httpError(402);
              },
            },
            { service: "llm:b", run: () => (asked += 1) },
          ],
          signal: controller.signal,
          fallback: () => 0,
        })
        .finally(() => {}),
    );
    expect(outcome).toEqual({ value: 1 });
    const again = settled(
      guards.run("summarise", {
        targets: [
          {
            service: "llm:a",
            async run() {
              controller.abort("gone");
              throw httpError(402);
            },
          },
          { service: "llm:b", run: () => (asked += 1) },
        ],
        signal: controller.signal,
        fallback: () => 0,
      }),
    );
    expect(await again).toEqual({ error: "gone" });
    expect(asked).toBe(1);
    expect(story()).toEqual(["provider_failover:succeeded"]);
  });

  it("in the second target or in the fallback: ends at once, and what was seen before is kept", async () => {
    for (const at of ["second target", "fallback"] as const) {
      const { guards, story, failures } = createGuardHarness();
      const controller = new AbortController();
      const outcome = settled(
        guards.run<string>("summarise", {
          targets: [
            { service: "llm:a", run: () => Promise.reject(httpError(402)) },
            { service: "llm:b", run: () => (at === "fallback" ? Promise.reject(httpError(402)) : hang()) },
          ],
          fallback: hang,
          signal: controller.signal,
        }),
      );
      await settle();
      controller.abort("gone");
      expect(await outcome).toEqual({ error: "gone" });
      expect(failures()).toHaveLength(at === "fallback" ? 2 : 1);
      expect(story().at(-1)).toBe(at === "fallback" ? "last_good_fallback:cancelled" : "provider_failover:cancelled");
    }
  });
});

describe("the retry budget", () => {
  it("lets every call move on once, and bounds long chains", async () => {
    const { guards } = createGuardHarness({
      defaults: { failureThreshold: 10_000, retryBudget: { ratio: 0.1, minRetries: 1, windowMs: 1_000_000 } },
    });
    let asked = 0;
    const fail = () => {
      asked += 1;
      throw httpError(402);
    };
    const two = guards.operation("two", { targets: { "llm:a": fail, "llm:b": () => "b" } });
    for (let call = 0; call < 500; call += 1) expect(await two()).toBe("b");
    expect(asked).toBe(500);
  });

  it("refuses what it cannot pay, and the refusal is written down", async () => {
    const { guards, rescues } = createGuardHarness({
      defaults: { failureThreshold: 10_000, retryBudget: { ratio: 0, minRetries: 1, windowMs: 1_000_000 } },
    });
    const summarise = guards.operation("summarise", {
      targets: { "llm:a": () => Promise.reject(httpError(402)), "llm:b": () => "b" },
      fallback: () => "kept",
    });
    const values: string[] = [];
    for (let call = 0; call < 12; call += 1) values.push(await summarise());
    expect(values.filter((value) => value === "b")).toHaveLength(10);
    expect(rescues().at(-1)).toMatchObject({
      actionStrategy: "last_good_fallback",
      metadata: { refused: { provider_failover: "budget" } },
    });
  });
});

describe("guards inside guards", () => {
  it("retries only at the outermost guard that may", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({ callContext, defaults: { failureThreshold: 1_000 } });
    let runs = 0;
    const outer = guards.guard("http:outer");
    const inner = guards.guard("http:inner");
    const work = () =>
      inner.execute(() => {
        runs += 1;
        throw httpError(500);
      });
    const outcome = callContext.run(callOf({ type: "query" }), () => settled(outer.execute(work)));
    for (let second = 0; second < 60; second += 1) await clock.advance(1_000);
    await outcome;
    expect(runs).toBe(4);
  });

  it("does so across a guard in between that may not", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({ callContext, defaults: { failureThreshold: 1_000 } });
    const [outer, middle, inner] = [
      guards.guard("http:outer"),
      guards.guard("http:middle", { idempotent: false }),
      guards.guard("llm:inner"),
    ];
    let runs = 0;
    const work = () => {
      runs += 1;
      throw httpError(500);
    };
    const outcome = callContext.run(callOf({ type: "query" }), () =>
      settled(outer.execute(() => middle.execute(() => inner.execute(work)))),
    );
    for (let second = 0; second < 60; second += 1) await clock.advance(1_000);
    await outcome;
    expect(runs).toBe(4);
  });

  it("retries inside when the guard around it must not", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({ callContext, defaults: { failureThreshold: 1_000 } });
    let runs = 0;
    const ask = () =>
      guards.guard("llm:openai").execute(() => {
        runs += 1;
        if (runs < 3) throw httpError(500);
        return "answer";
      });
    const outer = guards.guard("http:outer");
    const value = callContext.run(callOf({ type: "mutation" }), () => outer.execute(ask));
    for (let second = 0; second < 30; second += 1) await clock.advance(1_000);
    expect(await value).toBe("answer");
    expect(runs).toBe(3);
  });

  it("gives what runs inside the deadline and the signal of the attempt", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({ callContext, strategies: [] });
    const inner = guards.guard("http:inner", { timeoutMs: 30_000 });
    const outer = guards.guard("http:outer", { timeoutMs: 5_000 });
    let seen: AbortSignal | undefined;
    const work = ({ signal }: { signal: AbortSignal }) => {
      seen = signal;
      return hang();
    };
    const deadlineAt = callContext.run(callOf(), () => outer.execute(() => callContext.current()?.deadlineAt));
    expect(await deadlineAt).toBe(5_000);
    const late = callContext.run(callOf(), () => settled(outer.execute(() => inner.execute(work))));
    await clock.advance(5_000);
    expect(await late).toMatchObject({ error: { reason: "attempt_timeout" } });
    expect(seen?.aborted).toBe(true);
    const controller = new AbortController();
    const call = callOf({ signal: controller.signal });
    const gone = callContext.run(call, () => settled(outer.execute(() => inner.execute(work))));
    controller.abort("gone");
    expect(await gone).toEqual({ error: "gone" });
    expect(seen?.reason).toBe("gone");
  });

  it("passes the door of a service once, however deep it is asked again", async () => {
    const callContext = createAsyncCallContext();
    const { guards, registry, clock } = createGuardHarness({ callContext, strategies: [] });
    const guard = guards.guard("http:billing", {
      maxConcurrent: 1,
      failureThreshold: 1,
      successThreshold: 1,
      halfOpenPermits: 1,
      resetTimeoutMs: 1_000,
    });
    const again = guards.operation("again", { targets: { "http:billing": () => guard.execute(() => "inner") } });
    await callContext.run(callOf(), () => settled(guard.execute(() => Promise.reject(httpError(500)))));
    await clock.advance(1_000);
    expect(await callContext.run(callOf(), () => guard.execute(() => again()))).toBe("inner");
    expect(registry.get("http:billing")?.getState().state).toBe("closed");
    expect(guard.snapshot().inFlight).toBe(0);
  });

  it("a guard inside an attempt of its own service adds nothing: one failure, one measurement", async () => {
    const callContext = createAsyncCallContext();
    const { guards, failures, points } = createGuardHarness({ callContext, strategies: [] });
    const guard = guards.guard("http:billing");
    const fail = () => Promise.reject(httpError(500));
    await callContext.run(callOf(), () => settled(guard.execute(() => guard.execute(fail))));
    expect(failures()).toHaveLength(1);
    expect(points).toHaveLength(1);
  });

  it("cannot be made to multiply by a user's strategy either, and the plan says why", async () => {
    const callContext = createAsyncCallContext();
    const refusals: unknown[] = [];
    const again = userStrategy(async (failure, operation) => {
      if (failure.affectedService !== "http:inner") return {};
      await operation.again().catch((error: { reason: string }) => refusals.push(error.reason));
      return {};
    });
    const strategies = [again, ...builtIn(createFakeClock())];
    const { guards, clock, rescues } = createGuardHarness({ callContext, strategies });
    let runs = 0;
    const work = () => {
      runs += 1;
      throw httpError(500);
    };
    const outer = guards.guard("http:outer");
    const inner = guards.guard("http:inner");
    const outcome = callContext.run(callOf(), () =>
      settled(outer.execute(() => inner.execute(work), { timeoutMs: 100 })),
    );
    await clock.advance(200);
    await outcome;
    expect(runs).toBe(1);
    expect(refusals).toEqual(["unsafe"]);
    expect(rescues()[0]).toMatchObject({ metadata: { refused: { exponential_backoff_retry: "nested" } } });
  });

  it("delivered output holds for every guard around it", async () => {
    const callContext = createAsyncCallContext();
    const { guards, rescues } = createGuardHarness({ callContext });
    const work = (context: { delivered(): void }) => {
      context.delivered();
      throw httpError(500);
    };
    const outer = guards.guard("llm:outer");
    const inner = guards.guard("http:inner");
    const outcome = await callContext.run(callOf(), () => settled(outer.execute(() => inner.execute(work))));
    expect(outcome).toMatchObject({ error: { status: 500 } });
    expect(rescues().map(({ target, metadata }) => [target, metadata?.refused])).toMatchObject([
      ["http:inner", { exponential_backoff_retry: "output_delivered" }],
      ["llm:outer", { exponential_backoff_retry: "output_delivered" }],
    ]);
  });

  it("a refusal inside proves nothing about the work around it", async () => {
    const callContext = createAsyncCallContext();
    const { guards, registry } = createGuardHarness({ callContext });
    guards.guard("http:open");
    registry.get("http:open")?.forceOpen("operator");
    const full = guards.guard("http:full", { maxConcurrent: 1 });
    void settled(full.execute(hang));
    await settle();
    for (const service of ["http:open", "http:full"]) {
      let runs = 0;
      const pay = guards.operation("pay", {
        targets: {
          "http:a": () => {
            runs += 1;
            return guards.guard(service).execute(() => 1);
          },
          "http:b": () => {
            runs += 10;
            return 1;
          },
        },
      });
      const outcome = await callContext.run(callOf({ type: "mutation" }), () => settled(pay()));
      expect(outcome).toHaveProperty("error");
      expect(runs).toBe(1);
    }
  });
});

describe("a user's strategy in the call", () => {
  it("may answer by itself, and is believed only after its verification", async () => {
    const { clock } = createGuardHarness();
    let isVerified = true;
    const kept = userStrategy(async () => ({ success: true, value: "kept", message: "from my cache" }), {
      verify: async () => isVerified,
    });
    const { guards, story } = createGuardHarness({ strategies: [kept, ...builtIn(clock)] });
    const guard = guards.guard("llm:openai");
    const fail = () => Promise.reject(httpError(402 + 98));
    expect(await guard.executeDetailed(fail)).toMatchObject({ value: "kept", rescue: { kind: "fallback" } });
    isVerified = false;
    expect(await guard.execute(fail, { fallback: () => "fallback", timeoutMs: 5 })).toBe("fallback");
    expect(story().slice(0, 2)).toEqual(["mine:succeeded", "mine:failed"]);
  });

  it("may run again, elsewhere and the fallback, through the same doors as the built-in ones", async () => {
    const asked: string[] = [];
    const everything = userStrategy(async (_failure, operation) => {
      await operation.again({ delayMs: 0 }).catch(() => asked.push("again failed"));
      await operation.next().catch(() => asked.push("next failed"));
      return { success: true, value: await operation.fallback() };
    });
    const { guards } = createGuardHarness({ strategies: [everything] });
    const fail = (name: string) => () => {
      asked.push(name);
      throw httpError(500);
    };
    const summarise = guards.operation("summarise", {
      targets: { "llm:a": fail("a"), "llm:b": fail("b") },
      fallback: () => "kept",
    });
    expect(await summarise.detailed()).toMatchObject({ value: "kept", rescue: { kind: "fallback", attempts: 3 } });
    expect(asked).toEqual(["a", "a", "again failed", "b", "next failed"]);
  });

  it("waits for a target that rests, however little it wanted to wait", async () => {
    const impatient = userStrategy(async (_failure, operation) => ({ success: true, value: await operation.again() }));
    const { guards, clock } = createGuardHarness({ strategies: [impatient] });
    let runs = 0;
    const value = guards.guard("llm:a").execute(() => {
      runs += 1;
      if (runs === 1) throw httpError(429, { "retry-after": "2" });
      return clock.monotonic();
    });
    await clock.advance(3_000);
    expect(await value).toBeGreaterThanOrEqual(2_000);
  });

  it("waits out a rest too that begins while it waits, by what another caller heard", async () => {
    const patient = userStrategy(async (_failure, operation) => ({
      success: true,
      value: await operation.again({ delayMs: 1_000 }),
    }));
    const { guards, clock } = createGuardHarness({ strategies: [patient] });
    const guard = guards.guard("llm:a");
    let runs = 0;
    const value = guard.execute(() => {
      runs += 1;
      if (runs === 1) throw httpError(500);
      return clock.monotonic();
    });
    await clock.advance(500);
    const other = settled(
      guard.execute(() => Promise.reject(httpError(429, { "retry-after": "2" })), { timeoutMs: 100 }),
    );
    await clock.advance(1_999);
    expect(runs).toBe(1);
    await clock.advance(10);
    expect(await value).toBeGreaterThanOrEqual(2_500);
    expect(runs).toBe(2);
    expect(await other).toMatchObject({ error: { status: 429 } });
  });

  it("does not wait out such a rest beyond its deadline", async () => {
    const heard: unknown[] = [];
    const patient = userStrategy(
      async (_failure, operation) => {
        await operation.again({ delayMs: 1_000 }).catch((error: { reason: string }) => heard.push(error.reason));
        return {};
      },
      { applicableFailureTypes: ["server_error"] },
    );
    const { guards, clock } = createGuardHarness({ strategies: [patient] });
    const guard = guards.guard("llm:a");
    const outcome = settled(guard.execute(() => Promise.reject(httpError(500)), { timeoutMs: 2_000 }));
    await clock.advance(500);
    await settled(guard.execute(() => Promise.reject(httpError(429, { "retry-after": "2" }))));
    await clock.advance(499);
    expect(heard).toEqual([]);
    await clock.advance(1);
    expect(heard).toEqual(["deadline"]);
    expect(await outcome).toMatchObject({ error: { status: 500 } });
  });

  it("hears at once that a target rests for longer than a caller without a deadline waits", async () => {
    const heard: unknown[] = [];
    const impatient = userStrategy(async (_failure, operation) => {
      await operation.again().catch((error: { reason: string }) => heard.push(error.reason));
      return {};
    });
    const { guards, clock } = createGuardHarness({ strategies: [impatient] });
    await settled(guards.guard("llm:a").execute(() => Promise.reject(httpError(429, { "retry-after": "3600" }))));
    expect(heard).toEqual(["deadline"]);
    expect(clock.monotonic()).toBe(0);
  });

  it("hears at once that a wait does not fit the deadline", async () => {
    const heard: unknown[] = [];
    const patient = userStrategy(async (_failure, operation) => {
      await operation.again({ delayMs: 5_000 }).catch((error: { reason: string }) => heard.push(error.reason));
      return {};
    });
    const { guards, clock } = createGuardHarness({ strategies: [patient] });
    await settled(guards.guard("llm:a").execute(() => Promise.reject(httpError(500)), { timeoutMs: 5_000 }));
    expect(heard).toEqual(["deadline"]);
    expect(clock.monotonic()).toBe(0);
  });

  it("cannot break a rule: unsafe work stays where it is, and nothing runs once it has answered", async () => {
    const refusals: unknown[] = [];
    let kept: (() => Promise<unknown>) | undefined;
    const rude = userStrategy(
      async (_failure, operation) => {
        for (const way of [() => operation.again(), () => operation.next(), () => operation.fallback()]) {
          await way().catch((error: { reason: string }) => refusals.push(error.reason));
        }
        kept = () => operation.next();
        return {};
      },
      { actionType: "fallback" },
    );
    const { guards } = createGuardHarness({ strategies: [rude] });
    let runs = 0;
    const work = () => {
      runs += 1;
      throw httpError(500);
    };
    const pay = guards.operation("pay", { targets: { "http:a": work, "http:b": work }, fallback: hang });
    const outcome = settled(pay());
    await settle();
    expect(runs).toBe(1);
    expect(refusals).toEqual(["unsafe", "unsafe"]);
    void outcome;
    const { guards: others } = createGuardHarness({ strategies: [rude] });
    await settled(others.operation("pay", { targets: { "http:a": work, "http:b": work }, fallback: () => 1 })());
    expect(await settled(kept?.() ?? Promise.resolve())).toMatchObject({ error: { reason: "settled" } });
  });

  it("that throws, hangs or returns rubbish costs the caller nothing but time", async () => {
    const rubbish = [
      userStrategy(() => Promise.reject(new Error("bug"))),
      userStrategy(hang),
      { ...userStrategy(async () => ({})), execute: async () => null as never },
      { ...userStrategy(async () => ({})), execute: () => explode() },
      userStrategy(async () => ({ success: true, value: "not asked" }), { appliesTo: () => explode() }),
    ];
    for (const strategy of rubbish) {
      const harness = createGuardHarness();
      const { guards, clock } = createGuardHarness({ strategies: [strategy, ...builtIn(harness.clock)] });
      const error = httpError(500);
      const outcome = settled(
        guards.guard("llm:openai").execute(() => Promise.reject(error), { fallback: () => "kept", timeoutMs: 1_000 }),
      );
      for (let step = 0; step < 40; step += 1) await clock.advance(100);
      expect(await outcome).toEqual({ value: "kept" });
    }
  });

  it("keeps its value whatever it says beside it, and no secret of what it says", async () => {
    const secret = `redis://app:${"hunter2".repeat(20)}@cache`;
    const messages: unknown[] = [
      Object.create(null),
      undefined,
      `${"x".repeat(280)} ${secret}`,
      "y".repeat(10_000_000),
    ];
    for (const message of messages) {
      const mine = userStrategy(async () => ({ success: true, value: "kept", message: message as string }));
      const { guards, rescues, faults } = createGuardHarness({ strategies: [mine] });
      expect(await guards.guard("llm:a").execute(() => Promise.reject(httpError(500)))).toBe("kept");
      expect(rescues()[0]?.message.length).toBeLessThanOrEqual(300);
      expect(rescues()[0]?.message).not.toContain("hunter");
      expect(faults).toEqual([]);
    }
  });

  it("faults of our own never reach the caller", async () => {
    const { guards, faults } = createGuardHarness({
      strategies: new Proxy([], { get: () => explode() }),
    });
    const error = httpError(500);
    expect(await settled(guards.guard("llm:openai").execute(() => Promise.reject(error)))).toEqual({ error });
    expect(faults).toHaveLength(1);
  });
});

describe("a definition", () => {
  it("is checked when it is made, with one clear message", async () => {
    const { guards } = createGuardHarness();
    const targets = { "llm:a": () => 1 };
    const wrong: [() => unknown, RegExp][] = [
      [() => guards.operation("", { targets }), /needs a name/],
      [() => guards.operation("x", { targets: {} }), /"x": it has no target/],
      [() => guards.operation("x", {} as never), /no target/],
      [() => guards.operation("x", { targets: { "": () => 1 } }), /name of its service/],
      [() => guards.operation("x", { targets: { "llm:a": 1 as never } }), /llm:a is not a function/],
      [() => guards.operation("x", { targets, timeoutMs: 0 }), /timeoutMs got 0; legal: \[1, 2147483647\]/],
      [() => guards.operation("x", { targets, timeoutMs: Number.NaN }), /timeoutMs got NaN/],
      [() => guards.operation("x", { targets, idempotent: "yes" as never }), /idempotent got yes/],
      [() => guards.operation("x", { targets, fallback: 1 as never }), /fallback is not a function/],
      [() => guards.operation("x", { targets, retries: 3 } as never), /retries is unknown; the options are targets, /],
    ];
    for (const [define, message] of wrong) {
      expect(define).toThrow(message);
      expect(define).toThrow(expect.objectContaining({ code: "OPERATION_INVALID" }));
    }
    const twice = [
      { service: "llm:a", run: () => 1 },
      { service: "llm:a", run: () => 2 },
    ];
    await expect(guards.run("x", { targets: twice })).rejects.toThrow(/two targets name llm:a/);
    await expect(guards.run("x", { targets: [] })).rejects.toMatchObject({ code: "OPERATION_INVALID" });
    const unheard = { targets: [{ service: "llm:a", run: () => 1 }], signal: {} as AbortSignal };
    await expect(guards.run("x", unheard)).rejects.toThrow(/operation "x": the signal is no AbortSignal/);
    expect(() => guards.guard("http:a", { timeoutMs: 0 })).toThrow(/guard "http:a": timeoutMs: got 0; legal: \[1, /);
    expect(() => guards.guard("http:a", { retries: 1 } as never)).toThrow(/retries: is unknown/);
    expect(() => guards.guard("http:a", { maxQueued: 1 })).toThrow(/needs maxConcurrent/);
    expect(() => guards.guard("http:a", { failureThreshold: 0 })).toThrow(
      expect.objectContaining({ code: "CONFIGURATION_INVALID" }),
    );
  });

  it("takes a policy that is given after it, before its first call", async () => {
    const { guards, warnings } = createGuardHarness();
    const ask = guards.operation("ask", { targets: { "http:a": hang } });
    guards.guard("http:a", { timeoutMs: 10 });
    void settled(ask());
    expect(warnings).toEqual([]);
  });

  it("infers its arguments and its value from the targets and the fallback", () => {
    const { guards } = createGuardHarness();
    const summarise = guards.operation("summarise", {
      targets: {
        "llm:a": async ({ signal }, text: string) => ({ text, aborted: signal.aborted }),
        "llm:b": ({ signal }, text: string) => ({ text, aborted: signal.aborted }),
      },
      fallback: (failure, text) => {
        expectTypeOf(failure.affectedService).toEqualTypeOf<string>();
        expectTypeOf(text).toEqualTypeOf<string>();
        return null;
      },
    });
    expectTypeOf(summarise).parameters.toEqualTypeOf<[text: string]>();
    expectTypeOf(summarise).toExtend<(text: string) => Promise<{ text: string; aborted: boolean } | null>>();
    expectTypeOf(summarise.detailed).parameters.toEqualTypeOf<[text: string]>();
    // @ts-expect-error the targets take a text
    const wrong = () => summarise(1);
    expect(wrong).toBeTypeOf("function");
    const plain = guards.operation("plain", { targets: { "llm:a": () => 1 } });
    expectTypeOf(plain).toEqualTypeOf<Operation<[], number>>();
    const run = () =>
      guards.run("once", { targets: [{ service: "llm:a", run: async ({ signal }) => signal.aborted }] });
    expectTypeOf(run).returns.resolves.toEqualTypeOf<boolean>();
  });
});

function explode(): never {
  throw new Error("a bug of a strategy");
}
