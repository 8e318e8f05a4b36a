/** A second attempt beside one that is late: when it is made, who wins, what it may cost, and what is written down. */
import { AsyncLocalStorage } from "node:async_hooks";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import type { GuardContext } from "../../server/guard/guard.js";
import type { HedgePolicy } from "../../server/guard/hedge-policy.js";
import { delay } from "../../server/ports/clock.js";
import { settle } from "../support/fake-clock.js";
import { callOf, createGuardHarness, type GuardHarness, httpError, settled } from "./guard-harness.js";

/** What one attempt does: answers or fails after so long; `undefined` never ends. */
interface Fate {
  readonly afterMs: number | undefined;
  readonly error?: unknown;
}

/** Work whose attempts meet their fates in order, the last one for ever; an abort ends an attempt as `fetch` would. */
function workOf({ clock }: GuardHarness, ...fates: readonly Fate[]) {
  const begunAt: number[] = [];
  const aborted: unknown[] = [];
  const run = async ({ signal }: GuardContext): Promise<string> => {
    const number = begunAt.push(clock.monotonic());
    const { afterMs, error } = fates[Math.min(number, fates.length) - 1] ?? { afterMs: 0 };
    try {
      if (afterMs === undefined) await new Promise((_, reject) => onAbort(signal, reject));
      else await delay(clock, afterMs, signal);
    } catch (reason) {
      aborted.push(reason);
      throw reason;
    }
    if (error !== undefined) throw error;
    return `answer ${number}`;
  };
  return { run, begunAt, aborted };
}

function onAbort(signal: AbortSignal, reject: (reason: unknown) => void): void {
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
}

const idempotent = true;
const hedge: HedgePolicy = { afterMs: 100 };
const hedges = ({ points }: GuardHarness) =>
  points.filter(({ name }) => name.endsWith(".hedges")).map(({ outcome }) => outcome);

describe("a hedge", () => {
  it("answers for an attempt that is late, which is called off and counts for nothing", async () => {
    const harness = createGuardHarness();
    const { clock, guards, registry } = harness;
    const guard = guards.guard("http:search", { hedge, idempotent });
    const { run, begunAt, aborted } = workOf(harness, { afterMs: undefined }, { afterMs: 30 });
    const outcome = guard.executeDetailed(run);
    await clock.advance(130);
    expect(await outcome).toEqual({
      value: "answer 2",
      rescue: { kind: "hedged", target: "http:search", attempts: 2, durationMs: 130 },
    });
    expect(begunAt).toEqual([0, 100]);
    expect(aborted).toEqual([expect.objectContaining({ name: "AbortError" })]);
    expect(registry.get("http:search")?.getState()).toMatchObject({
      state: "closed",
      failureCount: 0,
      successCount: 0,
    });
    expect(guard.snapshot().inFlight).toBe(0);
    expect(registry.timers.size).toBe(0);
  });

  it("is written down as what it was, for a service that was late and has not failed", async () => {
    const harness = createGuardHarness();
    const { clock, guards, entries } = harness;
    const call = callOf();
    const { run } = workOf(harness, { afterMs: undefined }, { afterMs: 30 });
    const outcome = guards.guard("http:search", { hedge, idempotent }).execute(run);
    await clock.advance(130);
    await outcome;
    expect(entries).toMatchObject([
      {
        type: "failure.observed",
        rescued: true,
        failure: {
          failureType: "anomaly",
          severity: "low",
          affectedService: "http:search",
          detectionMethod: "threshold",
          context: { reason: "late", lateMs: 100 },
        },
      },
      {
        type: "rescue.ended",
        rescue: {
          actionStrategy: "hedged_request",
          actionType: "retry",
          status: "succeeded",
          target: "http:search",
          durationMs: 30,
          dryRun: false,
        },
      },
    ]);
    expect(hedges(harness)).toEqual(["won"]);
    expect(call.causes).toEqual([]);
  });

  it("is not made for an attempt that answers in time", async () => {
    const harness = createGuardHarness();
    const { clock, guards, entries, registry } = harness;
    const { run, begunAt } = workOf(harness, { afterMs: 99 });
    const outcome = guards.guard("http:search", { hedge, idempotent }).executeDetailed(run);
    await clock.advance(1_000);
    expect((await outcome).rescue).toMatchObject({ kind: "fresh", attempts: 1 });
    expect(begunAt).toHaveLength(1);
    expect(entries).toEqual([]);
    expect(hedges(harness)).toEqual([]);
    expect(registry.timers.size).toBe(0);
  });

  it("that is slower than the late attempt is called off, and the caller is told that nothing was needed", async () => {
    const harness = createGuardHarness();
    const { clock, guards, entries } = harness;
    const { run, aborted } = workOf(harness, { afterMs: 150 }, { afterMs: 500 });
    const outcome = guards.guard("http:search", { hedge, idempotent }).executeDetailed(run);
    await clock.advance(150);
    expect(await outcome).toMatchObject({ value: "answer 1", rescue: { kind: "fresh", attempts: 2 } });
    expect(aborted).toHaveLength(1);
    expect(entries).toEqual([]);
    expect(hedges(harness)).toEqual(["lost"]);
  });

  it("goes on when the late attempt fails, which counts as its own failure", async () => {
    const harness = createGuardHarness();
    const { clock, guards, registry } = harness;
    const { run } = workOf(harness, { afterMs: 120, error: httpError(500) }, { afterMs: 60 });
    const outcome = guards.guard("http:search", { hedge, idempotent, failureThreshold: 1 }).executeDetailed(run);
    await clock.advance(120);
    expect(registry.get("http:search")?.getState().state).toBe("open");
    await clock.advance(40);
    expect(await outcome).toMatchObject({ value: "answer 2", rescue: { kind: "hedged" } });
    expect(harness.failures()).toMatchObject([{ failureType: "server_error" }]);
    expect(harness.rescues()).toMatchObject([
      { actionStrategy: "hedged_request", status: "succeeded", failureEventId: harness.failures()[0]?.eventId },
    ]);
  });

  it("that fails leaves the late attempt to go on, and is written down", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const { run } = workOf(harness, { afterMs: 300 }, { afterMs: 10, error: httpError(503) });
    const outcome = guards.guard("http:search", { hedge, idempotent }).executeDetailed(run);
    await clock.advance(300);
    expect(await outcome).toMatchObject({ value: "answer 1", rescue: { kind: "fresh" } });
    expect(harness.story()).toEqual(["hedged_request:failed"]);
    expect(hedges(harness)).toEqual(["lost"]);
  });

  it("leaves the caller with the last error when both fail and nothing else helps", async () => {
    const harness = createGuardHarness({ strategies: [] });
    const { clock, guards } = harness;
    const [first, second] = [httpError(500), httpError(503)];
    const { run } = workOf(harness, { afterMs: 200, error: first }, { afterMs: 10, error: second });
    const outcome = settled(guards.guard("http:search", { hedge, idempotent }).execute(run));
    await clock.advance(200);
    expect(await outcome).toEqual({ error: first });
    expect(harness.failures()).toHaveLength(2);
  });

  it("ends the race when an attempt shows that the caller itself is at fault", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const wrong = httpError(400);
    const { run, aborted } = workOf(harness, { afterMs: 150, error: wrong }, { afterMs: undefined });
    const outcome = settled(guards.guard("http:search", { hedge, idempotent }).execute(run));
    await clock.advance(150);
    expect(await outcome).toEqual({ error: wrong });
    expect(aborted).toHaveLength(1);
    expect(harness.failures()).toHaveLength(0);
  });

  it("is followed by retries when all attempts have failed", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const broken = { error: httpError(500) };
    const { run, begunAt } = workOf(harness, { afterMs: 150, ...broken }, { afterMs: 10, ...broken }, { afterMs: 0 });
    const outcome = guards.guard("http:search", { hedge, idempotent }).executeDetailed(run);
    await clock.advance(2_000);
    expect(await outcome).toMatchObject({ value: "answer 3", rescue: { kind: "retried", attempts: 3 } });
    expect(begunAt).toHaveLength(3);
    expect(harness.story()).toEqual(["hedged_request:failed", "exponential_backoff_retry:succeeded"]);
  });

  it("is made once more for each time that passes, up to as many as the policy says", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const { run, begunAt } = workOf(harness, { afterMs: undefined });
    const outcome = settled(
      guards.guard("http:search", { hedge: { afterMs: 100, maxHedges: 3 }, idempotent, timeoutMs: 5_000 }).execute(run),
    );
    await clock.advance(1_000);
    expect(begunAt).toEqual([0, 100, 200, 300]);
    await clock.advance(20_000);
    await outcome;
  });

  it("runs in the async context of its caller", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const guard = guards.guard("http:search", { hedge, idempotent });
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const outcomes = ["one", "two"].map((name) =>
      storage.run(name, () =>
        guard.execute(({ signal }) => {
          seen.push(storage.getStore());
          return seen.length > 2 ? "done" : new Promise((_, reject) => onAbort(signal, reject));
        }),
      ),
    );
    await clock.advance(100);
    await Promise.all(outcomes);
    expect(seen.toSorted()).toEqual(["one", "one", "two", "two"]);
  });
});

describe("a hedge is not made", () => {
  const refused: readonly (readonly [string, Parameters<GuardHarness["guards"]["guard"]>[1], boolean])[] = [
    ["of work that may not run twice", { hedge }, false],
    ["past the deadline", { hedge: { afterMs: 400 }, idempotent, timeoutMs: 300 }, false],
    ["when the retry budget is spent", { hedge, idempotent, retryBudget: { minRetries: 0, ratio: 0 } }, true],
    ["when the rescue budget is spent", { hedge, idempotent, rescueBudget: { maxAttempts: 0 } }, true],
    ["when no place in the bulkhead is free", { hedge, idempotent, maxConcurrent: 1, maxQueued: 5 }, true],
  ];

  it.each(refused)("%s", async (_name, policy, isTold) => {
    const harness = createGuardHarness({ strategies: [] });
    const { clock, guards } = harness;
    const { run, begunAt } = workOf(harness, { afterMs: 250 });
    const outcome = guards.guard("http:search", policy).executeDetailed(run);
    await clock.advance(250);
    expect(await outcome).toMatchObject({ value: "answer 1", rescue: { kind: "fresh", attempts: 1 } });
    expect(begunAt).toHaveLength(1);
    expect(hedges(harness)).toEqual(isTold ? ["refused"] : []);
    expect(harness.story()).toEqual(isTold ? ["hedged_request:skipped"] : []);
    expect(guards.guard("http:search").snapshot()).toMatchObject({ inFlight: 0, queued: 0 });
  });

  it("says which limit refused it", async () => {
    const harness = createGuardHarness({ strategies: [] });
    const { run } = workOf(harness, { afterMs: 250 });
    const policy = { hedge, idempotent, rescueBudget: { maxAttempts: 0 } };
    const outcome = harness.guards.guard("http:search", policy).execute(run);
    await harness.clock.advance(250);
    await outcome;
    expect(harness.rescues()).toMatchObject([
      { metadata: { lateMs: 100, refused: { hedged_request: "budget_attempts" } }, dryRun: false },
    ]);
  });

  it("in shadow mode, which writes down that it would be", async () => {
    const harness = createGuardHarness({ mode: "shadow" });
    const { run, begunAt } = workOf(harness, { afterMs: 250 });
    const outcome = harness.guards.guard("http:search", { hedge, idempotent }).execute(run);
    await harness.clock.advance(250);
    await outcome;
    expect(begunAt).toHaveLength(1);
    expect(harness.rescues()).toMatchObject([{ actionStrategy: "hedged_request", status: "skipped", dryRun: true }]);
  });

  it("while recovery, or retries, are switched off", async () => {
    for (const flags of [{ autoRecovery: false }, { retry: false }]) {
      const harness = createGuardHarness({ flags });
      const { run, begunAt } = workOf(harness, { afterMs: 250 });
      const outcome = harness.guards.guard("http:search", { hedge, idempotent }).execute(run);
      await harness.clock.advance(250);
      await outcome;
      expect(begunAt).toHaveLength(1);
    }
  });

  it("inside a guard that may run the work again itself", async () => {
    const callContext = createAsyncCallContext();
    const harness = createGuardHarness({ callContext });
    const { guards, clock } = harness;
    const outer = guards.guard("http:outer", { idempotent });
    const inner = guards.guard("http:inner", { hedge, idempotent });
    const { run, begunAt } = workOf(harness, { afterMs: 250 });
    const outcome = callContext.run(callOf(), () => outer.execute(() => inner.execute(run)));
    await clock.advance(250);
    await outcome;
    expect(begunAt).toHaveLength(1);
  });

  it("after a part of the result has reached the caller", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    let runs = 0;
    const outcome = guards.guard("http:search", { hedge, idempotent }).execute(async (context) => {
      runs += 1;
      context.delivered();
      await delay(clock, 250);
    });
    await clock.advance(250);
    await outcome;
    expect(runs).toBe(1);
  });

  it("when the caller has gone", async () => {
    const harness = createGuardHarness();
    const { clock, guards, registry } = harness;
    const controller = new AbortController();
    const { run, begunAt } = workOf(harness, { afterMs: undefined });
    const guard = guards.guard("http:search", { hedge, idempotent });
    const outcome = settled(guard.execute(run, { signal: controller.signal }));
    await clock.advance(50);
    const reason = new Error("gone");
    controller.abort(reason);
    await clock.advance(1_000);
    expect(await outcome).toEqual({ error: reason });
    expect(begunAt).toHaveLength(1);
    expect(registry.timers.size).toBe(0);
  });
});

describe("of several attempts under way", () => {
  it("the first that reaches the caller calls off the others, and decides how it ends", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const ends: string[] = [];
    let runs = 0;
    const broken = new Error("the stream broke");
    const outcome = settled(
      guards.guard("http:search", { hedge, idempotent }).execute(async (context) => {
        runs += 1;
        const name = `attempt ${runs}`;
        context.signal.addEventListener("abort", () => ends.push(`${name} called off`));
        await delay(clock, runs === 1 ? 500 : 20, context.signal);
        context.delivered();
        await delay(clock, 50);
        throw broken;
      }),
    );
    await clock.advance(200);
    expect(await outcome).toEqual({ error: broken });
    expect(ends).toEqual(["attempt 1 called off"]);
    expect(runs).toBe(2);
  });

  it("all end with their caller, and give back what they hold", async () => {
    const harness = createGuardHarness();
    const { clock, guards, registry } = harness;
    const controller = new AbortController();
    const { run, aborted } = workOf(harness, { afterMs: undefined });
    const guard = guards.guard("http:search", { hedge, idempotent, maxConcurrent: 2 });
    const outcome = settled(guard.execute(run, { signal: controller.signal }));
    await clock.advance(150);
    const reason = new Error("gone");
    controller.abort(reason);
    await settle();
    expect(await outcome).toEqual({ error: reason });
    expect(aborted).toEqual([reason, reason]);
    expect(guard.snapshot()).toMatchObject({ inFlight: 0, circuit: { failureCount: 0 } });
    expect(registry.timers.size).toBe(0);
  });
});

describe("a hedge at the next target", () => {
  const policy = { hedge: { afterMs: 100, target: "next" } as const, idempotent };

  it("asks the next one that admits calls, and both circuits count what is theirs", async () => {
    const harness = createGuardHarness();
    const { clock, guards, registry } = harness;
    guards.guard("http:a", policy);
    guards.guard("http:b", { idempotent });
    registry.getOrCreate("http:b").forceOpen("operator");
    guards.guard("http:c", { idempotent });
    const slow = workOf(harness, { afterMs: undefined });
    const quick = workOf(harness, { afterMs: 5 });
    const search = guards.operation("search", {
      targets: { "http:a": slow.run, "http:b": quick.run, "http:c": quick.run },
      idempotent,
    });
    const outcome = search.detailed();
    await clock.advance(105);
    expect(await outcome).toMatchObject({
      value: "answer 1",
      rescue: { kind: "hedged", target: "http:c", attempts: 2 },
    });
    expect(harness.rescues()).toMatchObject([{ actionType: "failover", target: "http:c" }]);
    expect(guards.guard("http:a").snapshot().retryTokens).toBeCloseTo(9.1, 1);
  });

  it("is not asked again by the failover that follows", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    guards.guard("http:a", policy);
    const slow = workOf(harness, { afterMs: 400, error: httpError(500) }, { afterMs: 0, error: httpError(500) });
    const broken = workOf(harness, { afterMs: 5, error: httpError(501) });
    const well = workOf(harness, { afterMs: 5 });
    const search = guards.operation("search", {
      targets: { "http:a": slow.run, "http:b": broken.run, "http:c": well.run },
      idempotent,
    });
    const outcome = search.detailed();
    await clock.advance(2_000);
    expect(await outcome).toMatchObject({ value: "answer 1", rescue: { kind: "failed_over", target: "http:c" } });
    expect(broken.begunAt).toHaveLength(1);
  });

  it("is made at the same one where there is no other", async () => {
    const harness = createGuardHarness();
    const { run, begunAt } = workOf(harness, { afterMs: undefined }, { afterMs: 5 });
    const outcome = harness.guards.guard("http:a", policy).executeDetailed(run);
    await harness.clock.advance(105);
    expect(await outcome).toMatchObject({ rescue: { kind: "hedged", target: "http:a" } });
    expect(begunAt).toHaveLength(2);
  });
});

describe("what is late by a percentile", () => {
  it("is learnt from the last answers, and nothing is hedged before enough are known", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const guard = guards.guard("http:search", { hedge: { afterPercentile: 90 }, idempotent });
    const answering = async (afterMs: number) => {
      const { run, begunAt } = workOf(harness, { afterMs });
      const outcome = guard.execute(run);
      await clock.advance(afterMs);
      await outcome;
      return begunAt.length;
    };
    for (let i = 1; i <= 20; i += 1) expect(await answering(i * 10)).toBe(1);
    expect(await answering(179)).toBe(1);
    expect(await answering(181)).toBe(2);
  });

  it("does not become ever quicker because hedges answer for the slow ones", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const retryBudget = { minRetries: 1_000 };
    const guard = guards.guard("http:search", { hedge: { afterPercentile: 90 }, idempotent, retryBudget });
    const ask = async (...fates: Fate[]) => {
      const { run, begunAt } = workOf(harness, ...fates);
      const outcome = guard.execute(run);
      await clock.advance(2_000);
      await outcome;
      return begunAt;
    };
    for (let i = 1; i <= 20; i += 1) await ask({ afterMs: i * 10 });
    for (let i = 0; i < 60; i += 1) await ask({ afterMs: undefined }, { afterMs: 5 });
    const [first = 0, second = 0] = await ask({ afterMs: undefined }, { afterMs: 5 });
    expect(second - first).toBeGreaterThanOrEqual(180);
  });

  it("goes by a given time until then", async () => {
    const harness = createGuardHarness();
    const { run, begunAt } = workOf(harness, { afterMs: 250 });
    const outcome = harness.guards
      .guard("http:search", { hedge: { afterMs: 200, afterPercentile: 90 }, idempotent })
      .execute(run);
    await harness.clock.advance(250);
    await outcome;
    expect(begunAt).toEqual([0, 200]);
  });
});

describe("the options of a hedge", () => {
  it.each([
    [{}, /hedge: needs afterMs or afterPercentile/],
    [{ afterMs: 0 }, /hedge\.afterMs: got 0; legal: \[1, 2147483647\]/],
    [{ afterPercentile: 49 }, /hedge\.afterPercentile: got 49; legal: \[50, 99\.9\]/],
    [{ afterMs: 1, maxHedges: 11 }, /hedge\.maxHedges: got 11; legal: \[1, 10\]/],
    [{ afterMs: 1, maxHedges: 1.5 }, /hedge\.maxHedges: got 1\.5; legal: a whole number/],
    [{ afterMs: 1, target: "all" as "next" }, /hedge\.target: got all; legal: same, next/],
    [{ afterMs: 1, delay: 3 } as HedgePolicy, /hedge\.delay: is unknown; the options of hedge are afterMs,/],
  ])("are refused when they make no sense: %j", (given, message) => {
    expect(() => createGuardHarness().guards.guard("http:search", { hedge: given })).toThrow(message);
  });
});

describe("whatever attempts do, with hedges and retries", () => {
  const fate = fc.record({
    afterMs: fc.option(fc.integer({ min: 0, max: 400 }), { nil: undefined }),
    error: fc.option(
      fc.constantFrom(500, 503, 429, 400).map((status) => httpError(status)),
      { nil: undefined },
    ),
  });

  it("each call settles once within its deadline, and every attempt is paid for, counted once and gives back what it held", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fate, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 8 }),
        fc.constantFrom<HedgePolicy["target"]>("same", "next"),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 0, max: 4 }),
        async (calls, target, maxHedges, minRetries) => {
          const harness = createGuardHarness();
          const { clock, guards, registry } = harness;
          const policy = {
            hedge: { afterMs: 50, maxHedges, target },
            idempotent,
            failureThreshold: 1_000,
            retryBudget: { minRetries, ratio: 0, windowMs: 1_000_000_000 },
          };
          for (const name of ["http:a", "http:b"]) guards.guard(name, policy);
          const works = calls.map((fates) => workOf(harness, ...fates));
          const outcomes = works.map(({ run }) => {
            const one = guards.operation("search", {
              targets: { "http:a": run, "http:b": run },
              idempotent,
              timeoutMs: 700,
            });
            let settledAt: number | undefined;
            void settled(one()).then(() => {
              settledAt = clock.monotonic();
            });
            return () => settledAt;
          });
          await clock.advance(2_000);
          for (const settledAt of outcomes) expect(settledAt()).toBeLessThanOrEqual(701);
          for (const { begunAt } of works) expect(Math.max(0, ...begunAt)).toBeLessThanOrEqual(700);
          const attempts = works.reduce((sum, { begunAt }) => sum + begunAt.length, 0);
          // A failover costs a tenth, what never began nothing; each service pays for its own.
          expect(attempts - calls.length).toBeLessThanOrEqual(2 * minRetries * 10);
          for (const name of ["http:a", "http:b"]) {
            const { inFlight, retryTokens, circuit } = guards.guard(name).snapshot();
            expect(inFlight).toBe(0);
            expect(retryTokens).toBeGreaterThanOrEqual(0);
            expect(circuit?.state).toBe("closed");
          }
          const measured = harness.points.filter(
            ({ name, outcome }) => name.endsWith(".duration") && outcome !== "rejected",
          );
          expect(measured).toHaveLength(attempts);
          expect(registry.timers.size).toBe(0);
          expect(harness.faults).toEqual([]);
        },
      ),
    );
  });
});
