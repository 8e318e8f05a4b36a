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

  it("is waited for once more when its rest grows meanwhile", async () => {
    const { clock, guards } = createGuardHarness();
    const askedAt: number[] = [];
    const first = () => {
      askedAt.push(clock.monotonic());
      return askedAt.length === 1 ? Promise.reject(resting()) : Promise.resolve("well again");
    };
    const guard = guards.guard("llm:a");
    const ask = guards.operation("ask", {
      targets: { "llm:a": first, "llm:b": () => Promise.reject(httpError(401)) },
      timeoutMs: 10_000,
    });
    const slow = () => new Promise<string>((_, reject) => clock.setTimer(() => reject(resting()), 1_500));
    const late = settled(guard.execute(slow, { timeoutMs: 2_000 }));
    const before = settled(ask());
    await clock.advance(10);
    await before;
    const outcome = ask();
    await clock.advance(4_000);
    expect(await outcome).toBe("well again");
    expect(askedAt[1]).toBeGreaterThanOrEqual(3_500);
    expect(await late).toMatchObject({ error: { status: 429 } });
  });
});

describe("targets that were all asked", () => {
  /** `a` and `b` answer nothing but failures until the given try of either. */
  const scripted = (
    harness: ReturnType<typeof createGuardHarness>,
    fates: Readonly<Record<string, readonly unknown[]>>,
  ) => {
    const asked: string[] = [];
    const target = (name: string) => async () => {
      const nth = asked.filter((one) => one === name).length;
      asked.push(name);
      const fate = fates[name]?.[nth] ?? "an answer";
      if (fate instanceof Error) throw fate;
      return fate;
    };
    const ask = harness.guards.operation("ask", {
      targets: { "llm:a": target("a"), "llm:b": target("b") },
      timeoutMs: 60_000,
    });
    return { ask, asked };
  };
  const overloaded = () => httpError(503);

  it("take turns, each with its tries, while the caller waits no longer than for one", async () => {
    const harness = createGuardHarness();
    const { ask, asked } = scripted(harness, {
      a: Array.from({ length: 9 }, overloaded),
      b: Array.from({ length: 9 }, overloaded),
    });
    const outcome = settled(ask());
    await harness.clock.advance(10_000);
    expect(await outcome).toMatchObject({ error: { status: 503 } });
    expect(asked.join("")).toBe("aab" + "ababab");
    expect(harness.story()).toEqual([
      "exponential_backoff_retry:failed",
      "provider_failover:failed",
      "exponential_backoff_retry:failed",
    ]);
    // A quick retry, then both at 500, 1,000 and 2,000 ms, at the longest.
    expect(harness.rescues()[2]?.durationMs).toBeLessThanOrEqual(7_000);
  });

  it("say where the answer came from, and each pays for its own tries", async () => {
    const harness = createGuardHarness();
    for (const name of ["llm:a", "llm:b"]) harness.guards.guard(name, { retryBudget: { ratio: 0, windowMs: 1e9 } });
    const { ask, asked } = scripted(harness, { a: [overloaded(), overloaded(), overloaded()], b: [overloaded()] });
    const outcome = ask.detailed();
    await harness.clock.advance(10_000);
    expect(await outcome).toMatchObject({ value: "an answer", rescue: { kind: "failed_over", target: "llm:b" } });
    expect(asked.join("")).toBe("aabab");
    const spentBy = (name: string) => 10 - harness.guards.guard(name).snapshot().retryTokens;
    // Two tries and a failover, and one try.
    expect([spentBy("llm:a"), spentBy("llm:b")].map((tokens) => tokens.toFixed(1))).toEqual(["2.1", "1.0"]);
  });

  it("pass over one whose budget is spent, and one that another try cannot help", async () => {
    const spent = createGuardHarness();
    spent.guards.guard("llm:b", { retryBudget: { ratio: 0, minRetries: 0 } });
    const alone = scripted(spent, { a: [overloaded(), overloaded(), overloaded()], b: [overloaded()] });
    const value = alone.ask();
    await spent.clock.advance(20_000);
    expect([await value, alone.asked.join("")]).toEqual(["an answer", "aabaa"]);

    const refused = createGuardHarness();
    const { ask, asked } = scripted(refused, {
      a: [overloaded(), overloaded(), overloaded()],
      b: [overloaded(), httpError(401)],
    });
    const other = ask();
    await refused.clock.advance(20_000);
    expect([await other, asked.join("")]).toEqual(["an answer", "aababa"]);
  });

  it("have no more tries for it that only one of them is asked again", async () => {
    const harness = createGuardHarness();
    harness.guards.guard("llm:b", { retryBudget: { ratio: 0, minRetries: 0 } });
    const { ask, asked } = scripted(harness, { a: Array.from({ length: 99 }, overloaded), b: [overloaded()] });
    const outcome = settled(ask());
    await harness.clock.advance(60_000);
    expect([await outcome, asked.join("")]).toMatchObject([{ error: { status: 503 } }, "aabaaa"]);
  });

  it("let the one be who asked for longer than there is time, and ask the other again", async () => {
    const harness = createGuardHarness();
    const { ask, asked } = scripted(harness, {
      a: [overloaded(), overloaded()],
      b: [httpError(429, { "retry-after": "100" })],
    });
    const outcome = ask();
    await harness.clock.advance(20_000);
    expect([await outcome, asked.join("")]).toEqual(["an answer", "aaba"]);
  });

  it("stop at a request that is the caller's own mistake", async () => {
    const harness = createGuardHarness();
    const { ask, asked } = scripted(harness, {
      a: [overloaded(), overloaded(), httpError(400)],
      b: [overloaded()],
    });
    const outcome = settled(ask());
    await harness.clock.advance(20_000);
    expect([await outcome, asked.join("")]).toMatchObject([{ error: { status: 400 } }, "aaba"]);
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
