/** What is left to callers of whom everybody else is away: a target that rests a moment, and retries that were kept for them. */
import { describe, expect, it } from "vitest";
import { createGuardHarness, httpError, settled } from "./guard-harness.js";

const idempotent = true;
/** Asks for a rest of two seconds. */
const resting = () => httpError(429, { "retry-after": "2" });

describe("a target that rests a moment", () => {
  it("is waited for when all others have failed, and asked once its rest is over", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const askedAt: number[] = [];
    const first = () => {
      askedAt.push(clock.monotonic());
      return askedAt.length === 1 ? Promise.reject(resting()) : Promise.resolve("well again");
    };
    const ask = guards.operation("ask", {
      targets: { "llm:a": first, "llm:b": () => Promise.reject(httpError(401)) },
      timeoutMs: 10_000,
    });
    const before = settled(ask());
    await clock.advance(10);
    expect(await before).toMatchObject({ error: { status: 401 } });
    const outcome = ask.detailed();
    await clock.advance(1_900);
    expect(askedAt).toEqual([0]);
    await clock.advance(100);
    expect(await outcome).toMatchObject({ value: "well again" });
    expect(askedAt[1]).toBeGreaterThanOrEqual(2_000);
    expect(askedAt[1]).toBeLessThan(2_010);
  });

  it("is not waited for longer than half of the time that is left", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    let asked = 0;
    const first = () => {
      asked += 1;
      return Promise.reject(resting());
    };
    const ask = guards.operation("ask", {
      targets: { "llm:a": first, "llm:b": () => Promise.reject(httpError(401)) },
      timeoutMs: 3_900,
    });
    for (let i = 0; i < 2; i += 1) {
      const outcome = settled(ask());
      await clock.advance(10);
      expect(await outcome).toMatchObject({ error: { status: 401 } });
    }
    expect(asked).toBe(1);
  });

  it("is passed over for one that admits calls, and gets its share of the time", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const refused = settled(guards.guard("llm:a").execute(() => Promise.reject(resting()), { timeoutMs: 1_000 }));
    await clock.advance(10);
    await refused;
    const ask = guards.operation("ask", {
      targets: { "llm:a": async () => "a", "llm:b": () => new Promise<string>(() => {}) },
      timeoutMs: 10_000,
    });
    const outcome = ask();
    await clock.advance(20_000);
    expect(await outcome).toBe("a");
    expect(harness.failures().map(({ errorMessage }) => errorMessage)).toContain("llm:b took longer than 5000 ms");
  });

  it("costs those who wait at its door nothing: they ask for the first time", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    let asked = 0;
    const guard = guards.guard("llm:a", { retryBudget: { ratio: 0, minRetries: 0 } });
    const run = () => {
      asked += 1;
      return asked === 1 ? Promise.reject(resting()) : Promise.resolve("well again");
    };
    const first = settled(guard.execute(run));
    await clock.advance(10);
    expect(await first).toMatchObject({ error: { status: 429 } });
    const outcomes = Array.from({ length: 20 }, () => guard.execute(run, { timeoutMs: 10_000 }));
    await clock.advance(3_000);
    expect(await Promise.all(outcomes)).toEqual(Array.from({ length: 20 }, () => "well again"));
    expect(asked).toBe(21);
  });
});

describe("a retry budget", () => {
  const retryBudget = { ratio: 0, minRetries: 4, windowMs: 1_000_000_000 };

  it("keeps half of its minimum for those who have nowhere else to go", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    guards.guard("llm:a", { retryBudget, failureThreshold: 1_000 });
    let asked = 0;
    const fail = () => {
      asked += 1;
      return Promise.reject(httpError(500));
    };
    const either = guards.operation("either", { targets: { "llm:a": fail, "llm:b": async () => "b" } });
    for (let i = 0; i < 10; i += 1) {
      const outcome = either();
      await clock.advance(1_000);
      expect(await outcome).toBe("b");
    }
    // One retry; then less than it needs is left beside what is kept. Each failover cost a tenth.
    expect(asked).toBe(11);
    const alone = settled(guards.guard("llm:a").execute(fail));
    await clock.advance(60_000);
    await alone;
    // What was kept pays for two more here.
    expect(asked).toBe(14);
    expect(guards.guard("llm:a").snapshot().retryTokens).toBeLessThan(1);
  });

  it("is not spent on hedges to the last", async () => {
    const harness = createGuardHarness();
    const { clock, guards } = harness;
    const guard = guards.guard("http:a", { retryBudget, hedge: { afterMs: 10 }, idempotent });
    let asked = 0;
    for (let i = 0; i < 10; i += 1) {
      const outcome = guard.execute(async () => {
        asked += 1;
        await new Promise((resolve) => clock.setTimer(() => resolve(undefined), 20));
      });
      await clock.advance(100);
      await outcome;
    }
    expect(asked).toBe(12);
    expect(guard.snapshot().retryTokens).toBeGreaterThanOrEqual(2);
  });
});
