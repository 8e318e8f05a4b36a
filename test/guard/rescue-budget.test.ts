/** What rescues may cost in a window, in attempts, tokens or money, for one service or several. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GuardContext } from "../../server/guard/guard.js";
import { createRescueBudget, type Usage } from "../../server/guard/rescue-budget.js";
import type { RescueBudgetPolicy } from "../../server/guard/rescue-budget-policy.js";
import { createGuardHarness, httpError, refusedConnection, settled } from "./guard-harness.js";

const idempotent = true;

describe("a budget of what rescues cost", () => {
  it("lets so many extra attempts be made in a window, and more when that has passed", () => {
    const budget = createRescueBudget("llm", { maxAttempts: 2, windowMs: 1_000 });
    expect([budget.book(0), budget.book(500), budget.book(600)].map((booking) => booking !== undefined)).toEqual([
      true,
      true,
      false,
    ]);
    expect(budget.spent(900)).toBe("attempts");
    expect(budget.left(1_100)).toEqual({ attempts: 1 });
    expect(budget.left(1_700)).toEqual({ attempts: 2 });
  });

  it("is spent when what attempts used is more than what is left for another one", () => {
    const budget = createRescueBudget("llm", { maxTokens: 1_000 });
    budget.book(0)?.settle({ tokens: 400 });
    budget.learn({ tokens: 400 });
    expect(budget.left(0)).toEqual({ tokens: 600 });
    budget.book(0)?.settle({ tokens: 300 });
    expect(budget.spent(0)).toBe("tokens");
    expect(budget.book(0)).toBeUndefined();
  });

  it("books attempts under way at what such attempts used lately, so that many at once cannot overrun it", () => {
    const budget = createRescueBudget("llm", { maxCost: 1 });
    budget.learn({ cost: 0.3 });
    const bookings = Array.from({ length: 100 }, () => budget.book(0)).filter((booking) => booking !== undefined);
    expect(bookings).toHaveLength(3);
    expect(budget.spent(0)).toBe("cost");
    // Two used nothing after all; of the third nobody knows, and it may have been billed.
    for (const booking of bookings.slice(1)) booking.settle({ cost: 0 });
    expect(budget.left(0).cost).toBeCloseTo(0.7);
  });

  it("never books more attempts in any span of the window than it may, nor more tokens than attempts can use at once beyond it", () => {
    const step = fc.record({
      waitMs: fc.integer({ min: 0, max: 400 }),
      tokens: fc.option(fc.integer({ min: 0, max: 100 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 0, max: 1_500 }),
        (steps, maxAttempts, maxTokens) => {
          const windowMs = 1_000;
          const budget = createRescueBudget("llm", { maxAttempts, maxTokens, windowMs });
          const made: { readonly at: number; readonly tokens: number }[] = [];
          let now = 0;
          for (const { waitMs, tokens } of steps) {
            now += waitMs;
            const booking = budget.book(now);
            if (booking === undefined) {
              expect(budget.spent(now)).toBeDefined();
              continue;
            }
            if (tokens !== undefined) {
              booking.settle({ tokens });
              booking.settle({ tokens: 1_000_000 });
              budget.learn({ tokens });
            }
            made.push({ at: now, tokens: tokens ?? 0 });
          }
          for (const { at } of made) {
            const inWindow = made.filter((one) => one.at >= at && one.at < at + windowMs);
            expect(inWindow.length).toBeLessThanOrEqual(maxAttempts);
            // The last one may use up to 100 more than was left.
            expect(inWindow.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(maxTokens + 100);
          }
        },
      ),
    );
  });
});

describe("a guard with a rescue budget", () => {
  const policy = (rescueBudget: RescueBudgetPolicy) => ({ idempotent, failureThreshold: 1_000, rescueBudget });

  /** Each attempt says what it used; fails as long as `failing` says. */
  function workUsing(usage: Usage | undefined, failing: () => boolean, error: () => unknown = () => httpError(500)) {
    const state = { attempts: 0 };
    const run = async (context: GuardContext) => {
      state.attempts += 1;
      if (usage !== undefined) context.used(usage);
      if (failing()) throw error();
      return "answer";
    };
    return { run, state };
  }

  it("makes no extra attempt once they are spent, and gives the caller the service's own error", async () => {
    const harness = createGuardHarness();
    const { guards, clock } = harness;
    const guard = guards.guard("http:billing", policy({ maxAttempts: 2 }));
    const { run, state } = workUsing(undefined, () => true);
    const outcome = settled(guard.execute(run));
    await clock.advance(60_000);
    expect(await outcome).toMatchObject({ error: { status: 500 } });
    expect(state.attempts).toBe(3);
    const again = settled(guard.execute(run));
    await clock.advance(10);
    expect(await again).toMatchObject({ error: { status: 500 } });
    expect(harness.rescues().at(-1)).toMatchObject({
      actionStrategy: "none",
      status: "skipped",
      metadata: { refused: { exponential_backoff_retry: "budget_attempts" } },
    });
    await clock.advance(70_000);
    void settled(guard.execute(run));
    await clock.advance(60_000);
    expect(state.attempts).toBe(7);
  });

  it("counts the tokens of extra attempts, and not those of first ones", async () => {
    const harness = createGuardHarness();
    const { guards, clock } = harness;
    const guard = guards.guard("llm:a", policy({ maxTokens: 250, windowMs: 1_000_000 }));
    const { run, state } = workUsing({ tokens: 100 }, () => state.attempts % 2 === 1);
    for (let i = 0; i < 4; i += 1) {
      const outcome = settled(guard.execute(run));
      await clock.advance(5_000);
      await outcome;
    }
    // Two retries of 100 each; what is left is less than another one would use.
    expect(harness.story().filter((line) => line === "exponential_backoff_retry:succeeded")).toHaveLength(2);
    expect(guard.snapshot().rescueBudget).toEqual({ name: "llm:a", left: { tokens: 50 } });
    expect(harness.rescues().at(-1)?.metadata).toMatchObject({
      refused: { exponential_backoff_retry: "budget_tokens" },
    });
  });

  it("charges nothing for attempts that were answered with an error and said nothing", async () => {
    const harness = createGuardHarness();
    const guard = harness.guards.guard("llm:a", policy({ maxTokens: 250, windowMs: 1_000_000 }));
    await guard.execute((context) => context.used({ tokens: 100 }));
    const { run } = workUsing(undefined, () => true);
    const outcome = settled(guard.execute(run));
    await harness.clock.advance(60_000);
    await outcome;
    expect(guard.snapshot().rescueBudget?.left).toEqual({ tokens: 250 });
  });

  it("keeps what was booked for attempts that timed out: they may have been billed", async () => {
    const harness = createGuardHarness();
    const { guards, clock } = harness;
    const guard = guards.guard("llm:a", { ...policy({ maxTokens: 250, windowMs: 1_000_000 }), timeoutMs: 1_000 });
    await guard.execute((context) => context.used({ tokens: 100 }));
    let attempts = 0;
    const outcome = settled(
      guard.execute(() => {
        attempts += 1;
        return new Promise(() => {});
      }),
    );
    await clock.advance(60_000);
    expect(await outcome).toMatchObject({ error: { reason: "attempt_timeout" } });
    expect(attempts).toBe(3);
    expect(guard.snapshot().rescueBudget?.left).toEqual({ tokens: 50 });
  });

  it("is one for all services that name it, for their retries, hedges and failovers", async () => {
    const harness = createGuardHarness();
    const { guards, clock } = harness;
    const shared = { name: "all", maxAttempts: 3, windowMs: 1_000_000 };
    guards.guard("llm:a", { ...policy(shared), hedge: { afterMs: 100 } });
    guards.guard("llm:b", policy(shared));
    let attempts = 0;
    const run = async () => {
      attempts += 1;
      if (attempts === 1)
        await clock.advance(0).then(() => new Promise((resolve) => clock.setTimer(() => resolve(0), 200)));
      throw httpError(500);
    };
    const operation = guards.operation("ask", { targets: { "llm:a": run, "llm:b": run } });
    const outcome = settled(operation());
    await clock.advance(60_000);
    expect(await outcome).toMatchObject({ error: { status: 500 } });
    // The first attempt, its hedge, the retry, and the failover; then nothing is left for the retries at llm:b.
    expect(attempts).toBe(4);
    expect(guards.guard("llm:b").snapshot().rescueBudget).toEqual({ name: "all", left: { attempts: 0 } });
  });

  it("does not charge a failover from what was never reached", async () => {
    const harness = createGuardHarness();
    const { guards, clock } = harness;
    guards.guard("llm:a", policy({ maxAttempts: 0 }));
    const operation = guards.operation("ask", {
      targets: { "llm:a": () => Promise.reject(refusedConnection()), "llm:b": async () => "answer" },
    });
    const outcome = operation.detailed();
    await clock.advance(1_000);
    expect(await outcome).toMatchObject({ value: "answer", rescue: { kind: "failed_over" } });
  });

  it("lets the fallback answer when it is spent", async () => {
    const harness = createGuardHarness();
    const guard = harness.guards.guard("llm:a", policy({ maxAttempts: 0 }));
    const { run } = workUsing(undefined, () => true);
    expect(await guard.execute(run, { fallback: () => "resting" })).toBe("resting");
    expect(harness.rescues()).toMatchObject([
      { actionStrategy: "last_good_fallback", metadata: { refused: { exponential_backoff_retry: "budget_attempts" } } },
    ]);
  });

  it("keeps the limits that were given first for a name, and says so", () => {
    const { guards, warnings } = createGuardHarness();
    guards.guard("llm:a", policy({ name: "all", maxAttempts: 3 }));
    guards.guard("llm:b", policy({ name: "all", maxAttempts: 3 }));
    expect(warnings).toEqual([]);
    guards.guard("llm:c", policy({ name: "all", maxAttempts: 4 }));
    expect(warnings).toEqual(['the rescue budget "all" has other limits already; the first ones stand']);
    expect(guards.guard("llm:c").snapshot().rescueBudget?.left).toEqual({ attempts: 3 });
  });

  it.each([
    [{}, /rescueBudget: needs maxAttempts, maxTokens or maxCost/],
    [{ maxAttempts: -1 }, /rescueBudget\.maxAttempts: got -1; legal: \[0, 1000000000\]/],
    [{ maxTokens: 1.5 }, /rescueBudget\.maxTokens: got 1\.5; legal: a whole number/],
    [{ maxCost: Number.NaN }, /rescueBudget\.maxCost: got NaN; legal: \[0, /],
    [{ maxCost: 1, windowMs: 9 }, /rescueBudget\.windowMs: got 9; legal: \[10, 2147483647\]/],
    [{ maxCost: 1, name: "" }, /rescueBudget\.name: got ""; legal: a name/],
    [{ maxCosts: 1 } as RescueBudgetPolicy, /rescueBudget\.maxCosts: is unknown/],
  ])("refuses options that make no sense: %j", (rescueBudget, message) => {
    expect(() => createGuardHarness().guards.guard("llm:a", { rescueBudget })).toThrow(message);
  });
});
