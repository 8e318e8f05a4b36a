import { describe, expect, it, vi } from "vitest";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import type { ExecuteOptions } from "../../server/guard/guard.js";
import { GuardError } from "../../server/guard/guard-error.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { createStarvedClock } from "../support/starved-clock.js";
import { callOf, createGuardHarness, httpError, refusedConnection, settled } from "./guard-harness.js";

describe("a guard whose service is well", () => {
  it("resolves with the very value, whatever it is", async () => {
    const { guards, entries } = createGuardHarness();
    const guard = guards.guard("http:billing");
    const value = { paid: true };
    expect(await guard.execute(() => value)).toBe(value);
    expect(await guard.execute(async () => value)).toBe(value);
    expect(await guard.execute(() => undefined)).toBeUndefined();
    // biome-ignore lint/suspicious/noThenProperty: a query builder of Drizzle is a thenable like this
    const lazy = { then: (resolve: (rows: number) => void) => resolve(3) } as unknown as Promise<number>;
    expect(await guard.execute(() => lazy)).toBe(3);
    expect(entries).toEqual([]);
  });

  it("says how a value was obtained", async () => {
    const { guards, clock } = createGuardHarness();
    const detailed = guards.guard("http:billing").executeDetailed(async () => {
      await clock.advance(7);
      return 1;
    });
    expect(await detailed).toEqual({
      value: 1,
      rescue: { kind: "fresh", target: "http:billing", attempts: 1, durationMs: 7 },
    });
  });

  it("measures each attempt under its outcome", async () => {
    const { guards, clock, points } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { timeoutMs: 100 });
    await guard.execute(() => clock.advance(3));
    await settled(guard.execute(() => Promise.reject(httpError(500))));
    await settled(guard.execute(() => Promise.reject(httpError(404))));
    const hung = settled(guard.execute(() => new Promise(() => {})));
    await clock.advance(100);
    await hung;
    expect(points).toEqual([
      { name: "guard.http:billing.duration", outcome: "success", value: 3 },
      { name: "guard.http:billing.duration", outcome: "server_error", value: 0 },
      { name: "guard.http:billing.duration", outcome: "client_error", value: 0 },
      { name: "guard.http:billing.duration", outcome: "timeout", value: 100 },
    ]);
  });

  it("leaves no timer and no listener behind", async () => {
    const { guards, registry } = createGuardHarness();
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = ((...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    }) as typeof add;
    signal.removeEventListener = ((...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    }) as typeof remove;
    await guards.guard("http:billing").execute(() => 1, { signal });
    expect(listeners).toBe(0);
    expect(registry.timers.size).toBe(0);
  });

  it("makes one signal for a call that reads it, and none for one that does not", async () => {
    const { guards } = createGuardHarness();
    let made = 0;
    vi.stubGlobal(
      "AbortController",
      class extends AbortController {
        constructor() {
          super();
          made += 1;
        }
      },
    );
    try {
      const guard = guards.guard("http:billing", { maxConcurrent: 5, idempotent: true });
      await guard.execute(async () => "answer");
      expect(made).toBe(0);
      await guard.execute(async (context) => expect(context.signal).toBe(context.signal));
      expect(made).toBe(1);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("shares one timer with all calls of all services", async () => {
    const { guards, clock } = createGuardHarness({ strategies: [] });
    const under = Array.from({ length: 300 }, (_, call) =>
      settled(
        guards
          .guard(`http:service-${call % 3}`, { timeoutMs: 5_000, failureThreshold: 1_000 })
          .execute(() => new Promise(() => {})),
      ),
    );
    await clock.advance(1);
    expect(clock.pendingTimers).toBeLessThanOrEqual(2);
    await clock.advance(5_020);
    const ended = await Promise.all(under);
    expect(ended.filter((one) => "error" in one)).toHaveLength(300);
  });

  it("is one object for one name, whose first policy stands", () => {
    const { guards, warnings } = createGuardHarness();
    const first = guards.guard("http:billing", { timeoutMs: 5_000 });
    expect(guards.guard("http:billing")).toBe(first);
    expect(guards.guard("http:billing", { timeoutMs: 5_000 })).toBe(first);
    expect(warnings).toEqual([]);
    expect(guards.guard("http:billing", { timeoutMs: 6_000 })).toBe(first);
    guards.guard("http:billing", { timeoutMs: 7_000 });
    expect(warnings).toHaveLength(1);
    expect(guards.all()).toEqual([first]);
  });
});

describe("the circuit of a guard", () => {
  const defaults = { failureThreshold: 7, resetTimeoutMs: 90_000, successThreshold: 3 };
  const configOf = (harness: ReturnType<typeof createGuardHarness>, name: string) => harness.registry.get(name)?.config;

  it("takes every option of a circuit, over the defaults of all guards", () => {
    const harness = createGuardHarness({ defaults });
    harness.guards.guard("http:billing", { window: "time", windowMs: 5_000, slowCallMs: 800, rampMs: 1_000 });
    expect(configOf(harness, "http:billing")).toMatchObject({
      window: "time",
      windowMs: 5_000,
      failureRatio: 0.5,
      slowCallMs: 800,
      rampMs: 1_000,
      resetTimeoutMs: 90_000,
    });
  });

  it("takes a preset over the defaults of all guards, and what its policy says over that", () => {
    const harness = createGuardHarness({ defaults });
    harness.guards.guard("http:eager", { preset: "aggressive", resetTimeoutMs: 45_000 });
    expect(configOf(harness, "http:eager")).toMatchObject({
      failureThreshold: 3,
      resetTimeoutMs: 45_000,
      successThreshold: 1,
    });
    expect(() => harness.guards.guard("http:odd", { preset: "brave" as "aggressive" })).toThrow(
      /guard "http:odd": preset: got brave; legal: aggressive, conservative/,
    );
  });

  it("refuses options that make no sense together", () => {
    const { guards } = createGuardHarness();
    expect(() => guards.guard("http:billing", { slowCallMs: 800 })).toThrow(/slowCallMs needs window/);
  });

  it("opens by slow calls, of which the guard says how long they took", async () => {
    const { guards, registry, clock } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:slow", { window: "count", minimumCalls: 2, slowCallMs: 500 });
    for (let i = 0; i < 2; i += 1) await guard.execute(() => clock.advance(500));
    expect(registry.get("http:slow")?.getState().state).toBe("open");
  });
});

describe("a guard whose service fails", () => {
  it("rejects with the very error, whatever was thrown", async () => {
    const { guards } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { failureThreshold: 100 });
    for (const thrown of [httpError(500), "a string", undefined, null, 7, new Proxy({}, { get: () => explode() })]) {
      const sync = () => {
        throw thrown;
      };
      for (const work of [sync, () => Promise.reject(thrown)]) {
        const outcome = await settled(guard.execute(work));
        expect("error" in outcome && Object.is(outcome.error, thrown)).toBe(true);
      }
    }
  });

  it("writes down what failed, where and in which call", async () => {
    const callContext = createAsyncCallContext();
    const { guards, failures } = createGuardHarness({ callContext });
    const guard = guards.guard("http:billing");
    const call = callOf({ type: "mutation" });
    await callContext.run(call, () => settled(guard.execute(() => Promise.reject(httpError(500)))));
    expect(failures()).toMatchObject([
      {
        eventId: "id-1",
        failureCategory: "external_dependency",
        failureType: "server_error",
        severity: "high",
        affectedService: "http:billing",
        errorMessage: "answered 500",
        detectionMethod: "exception",
        userId: "user-1",
        requestId: "request-1",
        context: { path: "invoices.get", target: "http:billing", reason: "server_error", attempt: 1, error: "Error" },
      },
    ]);
    expect(call.causes).toEqual(["id-1"]);
  });

  it("names the failure that opened its circuit", async () => {
    const { guards, failures, registry } = createGuardHarness({ strategies: [] });
    const causes: unknown[] = [];
    registry.subscribe({ transitioned: ({ failureEventId }) => causes.push(failureEventId) });
    const guard = guards.guard("http:billing", { failureThreshold: 2 });
    for (let call = 0; call < 2; call += 1) await settled(guard.execute(() => Promise.reject(httpError(500))));
    expect(causes).toEqual([failures()[1]?.eventId]);
  });

  it("makes neither a failure nor a rescue of the caller's own error, and opens nothing by it", async () => {
    const { guards, entries, registry } = createGuardHarness();
    const guard = guards.guard("http:billing", { failureThreshold: 1 });
    let runs = 0;
    const error = httpError(422);
    const outcome = await settled(
      guard.execute(
        () => {
          runs += 1;
          throw error;
        },
        { idempotent: true, fallback: () => "fallback" },
      ),
    );
    expect(outcome).toEqual({ error });
    expect(runs).toBe(1);
    expect(entries).toEqual([]);
    expect(registry.get("http:billing")?.getState().state).toBe("closed");
  });

  it("says that nothing could be done, once", async () => {
    const { guards, story, rescues } = createGuardHarness();
    await settled(guards.guard("http:billing").execute(() => Promise.reject(httpError(500))));
    expect(story()).toEqual(["none:skipped"]);
    expect(rescues()[0]?.metadata).toMatchObject({ refused: { exponential_backoff_retry: "unsafe" } });
  });
});

describe("what is said wrong about one piece of work", () => {
  it.each([
    ["timeoutMs", { timeoutMs: Number.NaN }],
    ["timeoutMs", { timeoutMs: 0 }],
    ["timeoutMs", { timeoutMs: "50" }],
    ["timeoutMs", { timeoutMs: Number.POSITIVE_INFINITY }],
    ["idempotent", { idempotent: "yes" }],
    ["fallback", { fallback: "kept" }],
    ["signal", { signal: {} }],
  ])("is told before the work runs, and costs the service nothing: %s %j", async (option, options) => {
    const { guards, entries, clock } = createGuardHarness();
    const guard = guards.guard("http:billing");
    const work = vi.fn(async () => "ran");
    // Plain JavaScript may pass anything.
    for (const outcome of [
      guard.execute(work, options as ExecuteOptions<string>),
      guard.executeDetailed(work, options as ExecuteOptions<string>),
    ]) {
      expect(await settled<unknown>(outcome)).toMatchObject({
        error: { code: "OPERATION_INVALID", message: expect.stringContaining(option) },
      });
    }
    expect(work).not.toHaveBeenCalled();
    expect(guard.snapshot()).toMatchObject({ inFlight: 0, circuit: { failureCount: 0 } });
    expect([entries.length, clock.pendingTimers]).toEqual([0, 0]);
  });

  it("is a guard without a name", () => {
    const { guards } = createGuardHarness();
    for (const name of ["", undefined]) {
      expect(() => guards.guard(name as string)).toThrow(expect.objectContaining({ code: "CONFIGURATION_INVALID" }));
    }
    expect(guards.all()).toEqual([]);
  });
});

describe("the deadline", () => {
  it("ends an attempt after the policy's time, aborts its signal and counts as a failure", async () => {
    const { guards, clock, registry, failures } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { timeoutMs: 5_000, failureThreshold: 1 });
    let signal: AbortSignal | undefined;
    const hung = settled(
      guard.execute((context) => {
        signal = context.signal;
        return new Promise(() => {});
      }),
    );
    await clock.advance(4_999);
    expect(signal?.aborted).toBe(false);
    await clock.advance(1);
    const outcome = await hung;
    expect(outcome).toMatchObject({
      error: { code: "GATEWAY_TIMEOUT", reason: "attempt_timeout", service: "http:billing" },
    });
    expect("error" in outcome && outcome.error).toBe(signal?.reason);
    expect(registry.get("http:billing")?.getState().state).toBe("open");
    expect(failures()[0]?.failureType).toBe("api_timeout");
  });

  it("gives a signal read after the timeout already aborted", async () => {
    const { guards, clock } = createGuardHarness({ strategies: [] });
    let late: (() => AbortSignal) | undefined;
    const hung = settled(
      guards.guard("http:billing", { timeoutMs: 10 }).execute((context) => {
        late = () => context.signal;
        return new Promise(() => {});
      }),
    );
    await clock.advance(10);
    await hung;
    expect(late?.().aborted).toBe(true);
  });

  it("ignores what the work does after its time", async () => {
    const { guards, clock, registry, points } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { timeoutMs: 10, failureThreshold: 2 });
    let finish: (value: number) => void = () => {};
    let fail: (error: unknown) => void = () => {};
    const late = settled(guard.execute(() => new Promise<number>((resolve) => (finish = resolve))));
    const later = settled(guard.execute(() => new Promise<number>((_resolve, reject) => (fail = reject))));
    await clock.advance(10);
    await Promise.all([late, later]);
    // Both were given less than a second: that tells nothing about the service.
    expect(registry.get("http:billing")?.getState().failureCount).toBe(2);
    expect(guard.snapshot().inFlight).toBe(2);
    finish(1);
    fail(new Error("too late"));
    await settle();
    expect(guard.snapshot().inFlight).toBe(0);
    expect(points.map(({ outcome }) => outcome)).toEqual(["timeout", "timeout"]);
  });

  it("does not blame the service for a caller in a hurry", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock, registry } = createGuardHarness({ strategies: [], callContext });
    const guard = guards.guard("http:billing", { timeoutMs: 30_000, failureThreshold: 1 });
    const hurried = callContext.run(callOf({ deadlineAt: 500 }), () =>
      settled(guard.execute(() => new Promise(() => {}))),
    );
    await clock.advance(500);
    expect(await hurried).toMatchObject({ error: { reason: "attempt_timeout" } });
    expect(registry.get("http:billing")?.getState().state).toBe("closed");
  });

  it.each([
    ["as a failure while the event loop keeps up", 0, "open", ""],
    [
      "as a failure on a busy loop, late by a third of the time: a service that hangs does not hide behind load",
      10,
      "open",
      "",
    ],
    [
      "as telling nothing of the service where the process was starved",
      80,
      "closed",
      ", while this process itself was late by 960 ms",
    ],
  ])("judges a timeout %s", async (_when, lateMs, state, words) => {
    const clock = createStarvedClock(createFakeClock());
    const { guards, registry, failures, points } = createGuardHarness({ clock, strategies: [] });
    const guard = guards.guard("http:billing", { timeoutMs: 1_000, failureThreshold: 1 });
    clock.lateMs = lateMs;
    const call = settled(guard.execute(() => new Promise(() => {})));
    await clock.advance(1_100);
    expect(await call).toMatchObject({ error: { reason: "attempt_timeout", code: "GATEWAY_TIMEOUT" } });
    expect(registry.get("http:billing")?.getState().state).toBe(state);
    expect(failures()).toMatchObject([
      { failureType: "api_timeout", errorMessage: `http:billing took longer than 1000 ms${words}` },
    ]);
    expect(points.map(({ outcome }) => outcome)).toEqual(["timeout"]);
  });

  it("rescues a call whose time was up because the process was starved, like any other", async () => {
    const clock = createStarvedClock(createFakeClock());
    const { guards, registry, story } = createGuardHarness({ clock });
    const operation = guards.operation("ask", {
      idempotent: true,
      targets: { "http:first": () => new Promise<string>(() => {}), "http:second": () => "second" },
    });
    guards.guard("http:first", { timeoutMs: 1_000, failureThreshold: 1 });
    clock.lateMs = 100;
    const call = operation();
    await clock.advance(1_100);
    expect(await call).toBe("second");
    expect(story()).toEqual(["provider_failover:succeeded"]);
    expect(registry.get("http:first")?.getState()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("refuses at once what has no time left, and still lets the fallback answer", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({ callContext });
    const guard = guards.guard("http:billing");
    await clock.advance(100);
    let runs = 0;
    const work = () => {
      runs += 1;
      return "fresh";
    };
    const late = callOf({ deadlineAt: 100 });
    expect(await callContext.run(late, () => settled(guard.execute(work)))).toMatchObject({
      error: { code: "GATEWAY_TIMEOUT", reason: "deadline" },
    });
    expect(await callContext.run(late, () => guard.execute(work, { fallback: () => "fallback" }))).toBe("fallback");
    expect(runs).toBe(0);
  });
});

describe("the caller's abort", () => {
  it("before the work begins: it never begins", async () => {
    const { guards, entries, points } = createGuardHarness();
    let runs = 0;
    const reason = new Error("gone");
    const outcome = await settled(
      guards.guard("http:billing").execute(() => (runs += 1), { signal: AbortSignal.abort(reason) }),
    );
    expect(outcome).toEqual({ error: reason });
    expect({ runs, entries, points }).toEqual({ runs: 0, entries: [], points: [] });
  });

  it("while it runs: rejects at once with the reason, counts nothing and gives the permit back", async () => {
    const { guards, clock, entries, registry, points } = createGuardHarness();
    const guard = guards.guard("http:billing", { failureThreshold: 1, halfOpenPermits: 1, resetTimeoutMs: 1_000 });
    await settled(guard.execute(() => Promise.reject(httpError(500))));
    await clock.advance(1_000);
    entries.length = 0;
    points.length = 0;
    const controller = new AbortController();
    const probe = settled(guard.execute(() => new Promise(() => {}), { signal: controller.signal, idempotent: true }));
    const reason = new Error("gone");
    controller.abort(reason);
    expect(await probe).toEqual({ error: reason });
    expect(entries).toEqual([]);
    expect(points.map(({ outcome }) => outcome)).toEqual(["aborted"]);
    expect(registry.get("http:billing")?.getState().state).toBe("half_open");
    expect(await guard.execute(() => "probe")).toBe("probe");
  });

  it("reaches the work through its signal, from the call as from the options", async () => {
    const callContext = createAsyncCallContext();
    const { guards } = createGuardHarness({ callContext });
    const guard = guards.guard("http:billing");
    for (const source of ["call", "options"] as const) {
      const controller = new AbortController();
      const { signal } = controller;
      let seen: AbortSignal | undefined;
      const call = callOf({ signal: source === "call" ? signal : undefined });
      const outcome = callContext.run(call, () =>
        settled(
          guard.execute(
            (context) => {
              seen = context.signal;
              return new Promise(() => {});
            },
            { signal: source === "options" ? signal : undefined },
          ),
        ),
      );
      controller.abort("gone");
      expect(await outcome).toEqual({ error: "gone" });
      expect(seen?.reason).toBe("gone");
    }
  });

  it("during a wait before a retry: ends it at once, and the rescue is written down as cancelled", async () => {
    const { guards, story, registry, entries } = createGuardHarness();
    const guard = guards.guard("http:billing");
    const controller = new AbortController();
    let runs = 0;
    const outcome = settled(
      guard.execute(
        () => {
          runs += 1;
          throw httpError(500);
        },
        { signal: controller.signal, idempotent: true },
      ),
    );
    await settle();
    controller.abort("gone");
    expect(await outcome).toEqual({ error: "gone" });
    expect(runs).toBe(1);
    expect(story()).toEqual(["exponential_backoff_retry:cancelled"]);
    expect(entries[0]).toMatchObject({ type: "failure.observed", rescued: false });
    expect(registry.get("http:billing")?.getState().failureCount).toBe(1);
  });
});

describe("retrying", () => {
  it("runs idempotent work again until it succeeds", async () => {
    const { guards, clock, story, entries } = createGuardHarness();
    let runs = 0;
    const value = guards.guard("http:billing").executeDetailed(
      () => {
        runs += 1;
        if (runs < 3) throw httpError(500);
        return "paid";
      },
      { idempotent: true },
    );
    await clock.advance(10_000);
    expect(await value).toMatchObject({
      value: "paid",
      rescue: { kind: "retried", target: "http:billing", attempts: 3 },
    });
    expect(story()).toEqual(["exponential_backoff_retry:succeeded"]);
    expect(entries.map((entry) => entry.type === "failure.observed" && entry.rescued)).toEqual([true, true, false]);
  });

  it("gives the last error when no try helped", async () => {
    const { guards, clock, story } = createGuardHarness();
    const errors: unknown[] = [];
    const outcome = settled(
      guards.guard("http:billing").execute(
        () => {
          const error = httpError(500);
          errors.push(error);
          throw error;
        },
        { idempotent: true },
      ),
    );
    await clock.advance(60_000);
    expect(errors).toHaveLength(4);
    const { error } = (await outcome) as { error: unknown };
    expect(error).toBe(errors[3]);
    expect(story()).toEqual(["exponential_backoff_retry:failed"]);
  });

  it("stops where the circuit opened under it", async () => {
    const { guards, clock } = createGuardHarness();
    let runs = 0;
    const outcome = settled(
      guards.guard("http:billing", { failureThreshold: 2 }).execute(
        () => {
          runs += 1;
          throw httpError(500);
        },
        { idempotent: true },
      ),
    );
    await clock.advance(60_000);
    expect(runs).toBe(2);
    expect(await outcome).toMatchObject({ error: { status: 500 } });
  });

  it("runs unsafe work again only on proof that nothing was sent", async () => {
    const { guards, clock } = createGuardHarness();
    const guard = guards.guard("http:billing");
    const errors = [refusedConnection(), httpError(500), httpError(500)];
    let runs = 0;
    const outcome = settled(
      guard.execute(() => {
        throw errors[runs++];
      }),
    );
    await clock.advance(60_000);
    expect(await outcome).toEqual({ error: errors[1] });
    expect(runs).toBe(2);
  });

  it("does not begin a wait that the deadline does not allow", async () => {
    const { guards, clock, story } = createGuardHarness();
    const outcome = settled(
      guards.guard("http:billing").execute(() => Promise.reject(httpError(429, { "retry-after": "30" })), {
        idempotent: true,
        timeoutMs: 10_000,
      }),
    );
    await settle();
    expect(await outcome).toMatchObject({ error: { status: 429 } });
    expect(clock.pendingTimers).toBeLessThanOrEqual(1);
    expect(story()).toEqual(["none:skipped"]);
  });

  it("is bounded by the retry budget, and says so", async () => {
    const { guards, clock, rescues } = createGuardHarness();
    const guard = guards.guard("http:billing", { retryBudget: { ratio: 0, minRetries: 2 }, failureThreshold: 1_000 });
    let runs = 0;
    const work = () => {
      runs += 1;
      throw httpError(500);
    };
    for (let call = 0; call < 3; call += 1) {
      const outcome = settled(guard.execute(work, { idempotent: true }));
      await clock.advance(1);
      await clock.advance(1_000);
      await clock.advance(2_000);
      await outcome;
    }
    expect(runs).toBeLessThanOrEqual(3 + 2 + 2);
    const refused = rescues().filter(({ metadata }) => JSON.stringify(metadata).includes("budget") || metadata?.error);
    expect(refused.length).toBeGreaterThan(0);
  });

  it("never runs again, and no fallback answers, once output was delivered", async () => {
    const { guards, story, rescues } = createGuardHarness();
    let runs = 0;
    const error = httpError(500);
    const outcome = await settled(
      guards.guard("llm:openai").execute(
        (context) => {
          runs += 1;
          context.delivered();
          throw error;
        },
        { fallback: () => "two halves" },
      ),
    );
    expect(outcome).toEqual({ error });
    expect(runs).toBe(1);
    expect(story()).toEqual(["none:skipped"]);
    expect(rescues()[0]?.metadata).toMatchObject({ refused: { last_good_fallback: "output_delivered" } });
  });
});

describe("a cooldown", () => {
  it("keeps callers away without counting as a failure, and the longer one stands", async () => {
    const { guards, clock, registry } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { failureThreshold: 1 });
    let runs = 0;
    const answer = (seconds: string) => async () => {
      runs += 1;
      throw httpError(429, { "retry-after": seconds });
    };
    const both = [guard.execute(answer("30")), guard.execute(answer("10"))].map(settled);
    await Promise.all(both);
    expect(guard.snapshot().cooldownMs).toBe(30_000);
    expect(await settled(guard.execute(() => "asked"))).toMatchObject({
      error: { code: "TOO_MANY_REQUESTS", reason: "cooldown", retryAfterMs: 30_000 },
    });
    expect(runs).toBe(2);
    expect(registry.get("http:billing")?.getState()).toMatchObject({ state: "closed", failureCount: 0 });
    await clock.advance(30_000);
    expect(await guard.execute(() => "asked")).toBe("asked");
  });

  it("of an hour is no caller's to wait for where none gave a deadline", async () => {
    const { guards, clock, story } = createGuardHarness();
    const guard = guards.guard("llm:openai");
    const outcome = settled(guard.execute(() => Promise.reject(httpError(429, { "retry-after": "3600" }))));
    await settle();
    expect(await outcome).toMatchObject({ error: { status: 429 } });
    expect(await settled(guard.execute(() => "asked"))).toMatchObject({
      error: { reason: "cooldown", retryAfterMs: 3_600_000 },
    });
    expect(clock.monotonic()).toBe(0);
    expect(story()).toEqual(["none:skipped", "none:skipped"]);
  });

  it("is waited for when the caller has the time", async () => {
    const { guards, clock } = createGuardHarness();
    const guard = guards.guard("llm:openai");
    const answers: (() => string)[] = [
      () => {
        throw httpError(429, { "retry-after": "2" });
      },
      () => "first",
      () => "second",
    ];
    const next = () => (answers.shift() ?? (() => "more"))();
    const first = guard.execute(next);
    await settle();
    const second = guard.execute(next);
    await clock.advance(3_000);
    expect((await Promise.all([first, second])).sort()).toEqual(["first", "second"]);
  });
});

describe("the bulkhead", () => {
  it("lets so many run, so many wait, and refuses the rest without blaming the service", async () => {
    const { guards, registry } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { maxConcurrent: 1, maxQueued: 1, failureThreshold: 1 });
    const order: string[] = [];
    let finish: () => void = () => {};
    const work = (name: string) => () =>
      new Promise<void>((resolve) => {
        order.push(name);
        finish = resolve;
      });
    const first = guard.execute(work("first"));
    const second = guard.execute(work("second"));
    await settle();
    expect(guard.snapshot()).toMatchObject({ inFlight: 1, queued: 1 });
    expect(await settled(guard.execute(work("third")))).toMatchObject({
      error: { code: "TOO_MANY_REQUESTS", reason: "bulkhead_full" },
    });
    finish();
    await first;
    await settle();
    finish();
    await second;
    expect(order).toEqual(["first", "second"]);
    expect(guard.snapshot()).toMatchObject({ inFlight: 0, queued: 0 });
    expect(registry.get("http:billing")?.getState().state).toBe("closed");
  });

  it("keeps the place of work that goes on after its time", async () => {
    const { guards, clock } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { maxConcurrent: 1, timeoutMs: 2_000 });
    let finish: () => void = () => {};
    const hung = settled(guard.execute(() => new Promise<void>((resolve) => (finish = resolve))));
    await settle();
    await clock.advance(2_000);
    await hung;
    expect(await settled(guard.execute(() => 1))).toMatchObject({ error: { reason: "bulkhead_full" } });
    finish();
    await settle();
    expect(await guard.execute(() => 1)).toBe(1);
  });

  it("takes no place for a caller who left while the circuits were restored", async () => {
    const { guards, registry } = createGuardHarness();
    let restored: () => void = () => {};
    registry.waitFor(new Promise<void>((resolve) => (restored = resolve)));
    const guard = guards.guard("http:billing", { maxConcurrent: 1 });
    const controller = new AbortController();
    const gone = settled(guard.execute(() => 1, { signal: controller.signal }));
    const patient = guard.execute(() => 2);
    controller.abort("gone");
    restored();
    expect(await gone).toEqual({ error: "gone" });
    expect(await patient).toBe(2);
    expect(await guard.execute(() => 3)).toBe(3);
  });

  it("gives permit and place back when the caller leaves at the very door", async () => {
    const { guards, registry } = createGuardHarness();
    const guard = guards.guard("http:billing", { maxConcurrent: 1 });
    const circuit = registry.get("http:billing");
    const controller = new AbortController();
    let runs = 0;
    const admit = circuit?.tryAcquire.bind(circuit);
    if (circuit !== undefined) {
      circuit.tryAcquire = (now) => {
        controller.abort("gone");
        return admit?.(now);
      };
    }
    const work = () => {
      runs += 1;
      return runs;
    };
    expect(await settled(guard.execute(work, { signal: controller.signal }))).toEqual({ error: "gone" });
    expect(runs).toBe(0);
    expect(await guard.execute(work)).toBe(1);
  });

  it("waits no longer than the attempt's time, and not for a caller who is gone", async () => {
    const { guards, clock } = createGuardHarness({ strategies: [] });
    const guard = guards.guard("http:billing", { maxConcurrent: 1, maxQueued: 2, timeoutMs: 2_000 });
    void settled(guard.execute(() => new Promise(() => {})));
    await settle();
    const controller = new AbortController();
    const slow = settled(guard.execute(() => 1));
    const gone = settled(guard.execute(() => 1, { signal: controller.signal }));
    controller.abort("gone");
    expect(await gone).toEqual({ error: "gone" });
    await clock.advance(2_000);
    expect(await slow).toMatchObject({ error: { reason: "bulkhead_full" } });
    expect(guard.snapshot().queued).toBe(0);
  });
});

describe("modes and flags", () => {
  it("shadow: one attempt, circuits only measure, and what would be done is written down", async () => {
    const { guards, story, rescues, registry } = createGuardHarness({ mode: "shadow" });
    const guard = guards.guard("http:billing");
    let runs = 0;
    const error = httpError(500);
    const outcome = await settled(
      guard.execute(
        () => {
          runs += 1;
          throw error;
        },
        { idempotent: true, fallback: () => "fallback" },
      ),
    );
    expect(outcome).toEqual({ error });
    expect(runs).toBe(1);
    expect(story()).toEqual(["exponential_backoff_retry:skipped"]);
    expect(rescues()[0]).toMatchObject({ dryRun: true, metadata: { followedBy: ["last_good_fallback"] } });
    expect(registry.get("http:billing")?.getState().failureCount).toBe(1);
  });

  it("shadow: an open circuit refuses nobody", async () => {
    const { guards, registry } = createGuardHarness({ mode: "shadow", defaults: { failureThreshold: 1 } });
    const guard = guards.guard("http:billing");
    await settled(guard.execute(() => Promise.reject(httpError(500))));
    expect(registry.get("http:billing")?.getState().state).toBe("open");
    expect(await guard.execute(() => 1)).toBe(1);
  });

  it("shadow: a cooldown has no effect", async () => {
    const { guards } = createGuardHarness({ mode: "shadow" });
    const guard = guards.guard("http:billing");
    await settled(guard.execute(() => Promise.reject(httpError(429, { "retry-after": "30" }))));
    expect(await guard.execute(() => 1)).toBe(1);
  });

  it("limited: rescues llm:* and nothing else", async () => {
    const { guards } = createGuardHarness({ mode: "limited" });
    const fail = () => Promise.reject(httpError(500));
    const fallback = () => "fallback";
    expect(await guards.guard("llm:openai", { timeoutMs: 1 }).execute(fail, { idempotent: false, fallback })).toBe(
      "fallback",
    );
    expect(await settled(guards.guard("http:billing").execute(fail, { fallback }))).toMatchObject({
      error: { status: 500 },
    });
  });

  it("circuit breakers off: nothing opens", async () => {
    const { guards, registry } = createGuardHarness({ flags: { circuitBreakers: false }, strategies: [] });
    const guard = guards.guard("http:billing", { failureThreshold: 1 });
    for (let call = 0; call < 3; call += 1) {
      expect(await settled(guard.execute(() => Promise.reject(httpError(500))))).toMatchObject({
        error: { status: 500 },
      });
    }
    expect(registry.getAll()).toEqual([]);
    expect(guard.snapshot().circuit).toBeUndefined();
  });

  it("retry off, recovery off: one attempt", async () => {
    for (const flags of [{ retry: false }, { autoRecovery: false }]) {
      const { guards, failures } = createGuardHarness({ flags });
      let runs = 0;
      await settled(
        guards.guard("http:billing").execute(
          () => {
            runs += 1;
            throw httpError(500);
          },
          { idempotent: true },
        ),
      );
      expect(runs).toBe(1);
      expect(failures()).toHaveLength(1);
    }
  });

  it("everything off: runs what it is given and does nothing else", async () => {
    const { guards, clock, entries, points, registry } = createGuardHarness({ flags: { enabled: false } });
    const guard = guards.guard("http:billing", { timeoutMs: 1 });
    const slow = guard.executeDetailed(async ({ signal }) => {
      await clock.advance(5);
      return signal.aborted;
    });
    expect(await slow).toMatchObject({ value: false, rescue: { kind: "fresh" } });
    const error = new Error("mine");
    expect(await settled(guard.execute(() => Promise.reject(error), { fallback: () => 1 as never }))).toEqual({
      error,
    });
    expect({ entries, points, circuits: registry.getAll() }).toEqual({ entries: [], points: [], circuits: [] });
    expect(await guards.operation("twice", { targets: { "http:a": (_context, n: number) => n * 2 } })(2)).toBe(4);
  });
});

describe("the caller's own async context", () => {
  it("holds in retries and fallbacks, whoever's timer ended the attempt before", async () => {
    const callContext = createAsyncCallContext();
    const { guards, clock } = createGuardHarness({
      callContext,
      defaults: { failureThreshold: 100, timeoutMs: 1_000 },
    });
    const guard = guards.guard("llm:openai");
    const seen: string[] = [];
    const where = (what: string) => seen.push(`${what} in ${callContext.current()?.path ?? "no call"}`);
    const ask = () =>
      guard.execute(
        () => {
          where("attempt");
          return new Promise<string>(() => {});
        },
        {
          timeoutMs: 1_500,
          fallback: () => {
            where("fallback");
            return "kept";
          },
        },
      );
    const calls = ["a", "b"].map((path) => callContext.run(callOf({ path }), ask));
    calls.push(ask());
    for (let step = 0; step < 30; step += 1) await clock.advance(100);
    expect(await Promise.all(calls)).toEqual(["kept", "kept", "kept"]);
    for (const path of ["a", "b", "no call"]) {
      expect(seen.filter((line) => line.endsWith(` in ${path}`)).length).toBeGreaterThanOrEqual(2);
      expect(seen).toContain(`fallback in ${path}`);
    }
    expect(seen).toHaveLength(seen.filter((line) => / in (a|b|no call)$/.test(line)).length);
  });
});

describe("a fault of our own", () => {
  it("that keeps work from beginning is told to the caller as it is", async () => {
    const { guards, faults, registry } = createGuardHarness();
    const guard = guards.guard("llm:openai");
    const fault = new Error("a bug");
    const circuit = registry.get("llm:openai");
    if (circuit === undefined) throw fault;
    circuit.tryAcquire = () => {
      throw fault;
    };
    expect(await settled(guard.execute(() => 1, {}))).toEqual({ error: fault });
    expect(faults).toEqual([fault]);
  });

  it("on the short way into a call sends it the long way", async () => {
    const { guards, faults, registry } = createGuardHarness();
    const guard = guards.guard("llm:openai");
    const fault = new Error("a bug");
    Object.defineProperty(registry.get("llm:openai"), "freeTicket", {
      get: () => {
        throw fault;
      },
    });
    expect(await settled(guard.execute(() => 1))).toEqual({ value: 1 });
    expect(faults).toEqual([fault]);
  });

  it("in the metrics or the classification changes nothing for the caller", async () => {
    const { guards, faults } = createGuardHarness({
      classify: () => {
        throw new Error("a bug");
      },
    });
    const error = httpError(500);
    expect(await settled(guards.guard("llm:openai").execute(() => Promise.reject(error)))).toEqual({ error });
    expect(faults).toHaveLength(1);
  });
});

describe("two Paramedics in one process", () => {
  it("do not know each other", async () => {
    const one = createGuardHarness({ strategies: [] });
    const other = createGuardHarness({ strategies: [] });
    await settled(
      one.guards.guard("http:billing", { failureThreshold: 1 }).execute(() => Promise.reject(httpError(500))),
    );
    expect(await settled(one.guards.guard("http:billing").execute(() => 1))).toMatchObject({
      error: { code: "SERVICE_UNAVAILABLE" },
    });
    expect(await other.guards.guard("http:billing").execute(() => 1)).toBe(1);
    expect(other.entries).toEqual([]);
  });
});

describe("GuardError", () => {
  it("tells clients a status, and other stages that nothing was sent", () => {
    expect(new GuardError("bulkhead_full", "http:a", "full")).toMatchObject({
      code: "TOO_MANY_REQUESTS",
      name: "TRPCError",
    });
    expect(new GuardError("attempt_timeout", "http:a", "slow")).toMatchObject({ code: "GATEWAY_TIMEOUT" });
  });
});

function explode(): never {
  throw new Error("a getter that throws");
}
