import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attemptTimeMs, FALLBACK_LEAST_MS, isTooShortToTell } from "../../server/guard/attempt-time.js";
import { createBulkhead } from "../../server/guard/bulkhead.js";
import { withDeadline } from "../../server/guard/deadline.js";
import { isIdempotent } from "../../server/guard/idempotency.js";
import { createRetryBudget, FAILOVER_COST, RETRY_COST } from "../../server/guard/retry-budget.js";
import { PROCEDURE_TYPES } from "../../shared/outcome.js";
import { createFakeClock } from "../support/fake-clock.js";
import { settled } from "./guard-harness.js";

const maybe = fc.option(fc.boolean(), { nil: undefined });
const services = fc.array(
  fc.record({ name: fc.constantFrom("llm:openai", "llm:gemini", "http:billing", "db:main"), idempotent: maybe }),
  { minLength: 1, size: "max", maxLength: 12 },
);
const call = fc.option(fc.record({ type: fc.constantFrom(...PROCEDURE_TYPES), idempotent: maybe }), { nil: undefined });

describe("safe repetition", () => {
  it.each([
    [undefined, "llm:openai", undefined, "mutation", true],
    [undefined, "llm:openai", undefined, undefined, true],
    [undefined, "llm:openai", false, "query", false],
    [false, "llm:openai", undefined, "query", false],
    [undefined, "http:billing", undefined, "query", true],
    [undefined, "http:billing", undefined, "mutation", false],
    [undefined, "http:billing", undefined, "subscription", false],
    [undefined, "http:billing", undefined, undefined, false],
    [undefined, "http:billing", true, "mutation", true],
    [true, "http:billing", false, "mutation", true],
  ] as const)("said %s, service %s with policy %s, in a %s: %s", (said, name, idempotent, type, expected) => {
    const within = type === undefined ? undefined : { type, idempotent: undefined };
    expect(isIdempotent(said, [{ name, idempotent }], within)).toBe(expected);
  });

  it.each([
    ["http:billing", undefined, "mutation", true, true],
    ["http:billing", undefined, "query", false, false],
    ["http:billing", false, "mutation", true, false],
    ["llm:openai", undefined, "mutation", false, true],
  ] as const)(
    "service %s with policy %s, in a %s whose procedure says %s: %s",
    (name, idempotent, type, said, expected) => {
      expect(isIdempotent(undefined, [{ name, idempotent }], { type, idempotent: said })).toBe(expected);
    },
  );

  it("what was said wins; one unsafe service makes the work unsafe; what nobody knows is unsafe", () => {
    fc.assert(
      fc.property(maybe, services, call, (said, used, within) => {
        const answer = isIdempotent(said, used, within);
        if (said !== undefined) expect(answer).toBe(said);
        else if (used.some(({ idempotent }) => idempotent === false)) expect(answer).toBe(false);
        else if (used.every(({ name, idempotent }) => idempotent ?? name.startsWith("llm:"))) expect(answer).toBe(true);
        else expect(answer).toBe(within?.idempotent ?? within?.type === "query");
      }),
    );
  });
});

describe("the time of an attempt", () => {
  const terms = fc.record({
    policyMs: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    remainingMs: fc.oneof(fc.double({ min: -1e6, max: 1e9, noNaN: true }), fc.constant(Number.POSITIVE_INFINITY)),
    waysLeft: fc.integer({ min: 1, max: 100 }),
    hasFallback: fc.boolean(),
  });

  it("never exceeds the policy, nor what remains, and leaves every other way its share and the fallback its reserve", () => {
    fc.assert(
      fc.property(terms, (given) => {
        const timeMs = attemptTimeMs(given);
        expect(timeMs).toBeLessThanOrEqual(given.policyMs);
        expect(timeMs * given.waysLeft).toBeLessThanOrEqual(Math.max(given.remainingMs, 0) + 1e-3);
        if (given.remainingMs <= 0) expect(timeMs).toBeLessThanOrEqual(0);
        if (given.hasFallback && given.remainingMs > 0 && given.remainingMs < Number.POSITIVE_INFINITY) {
          const left = given.remainingMs - timeMs * given.waysLeft;
          expect(left).toBeGreaterThanOrEqual(Math.min(FALLBACK_LEAST_MS, given.remainingMs * 0.1) - 1e-3);
        }
      }),
    );
  });

  it("tells something of a service that had its policy's time, or a second", () => {
    expect(isTooShortToTell(10, 10)).toBe(false);
    expect(isTooShortToTell(999, 30_000)).toBe(true);
    expect(isTooShortToTell(1_000, 30_000)).toBe(false);
  });
});

describe("the retry budget", () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant("earn" as const) }),
      fc.record({ do: fc.constant("take" as const), cost: fc.constantFrom(RETRY_COST, FAILOVER_COST, 0) }),
      fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 5_000 }) }),
    ),
    { size: "max", maxLength: 300 },
  );

  it("never pays more than it began with, was earned and came back with time", () => {
    fc.assert(
      fc.property(
        steps,
        fc.record({
          ratio: fc.double({ min: 0, max: 1, noNaN: true }),
          minRetries: fc.integer({ min: 0, max: 50 }),
          windowMs: fc.integer({ min: 1, max: 60_000 }),
        }),
        (taken, policy) => {
          let now = 0;
          let paid = 0;
          let calls = 0;
          const budget = createRetryBudget(policy, now);
          for (const step of taken) {
            if (step.do === "wait") now += step.ms;
            if (step.do === "earn") {
              budget.earn();
              calls += 1;
            }
            if (step.do === "take") {
              const could = budget.has(step.cost, now);
              expect(budget.take(step.cost, now)).toBe(could);
              if (could) paid += step.cost;
            }
            const most = policy.minRetries * (1 + now / policy.windowMs) + calls * policy.ratio;
            expect(paid).toBeLessThanOrEqual(most + 1e-3);
            expect(budget.tokens(now)).toBeGreaterThanOrEqual(0);
          }
        },
      ),
    );
  });

  it("comes back with time alone, up to the minimum", () => {
    const budget = createRetryBudget({ ratio: 0, minRetries: 10, windowMs: 10_000 }, 0);
    for (let retry = 0; retry < 10; retry += 1) expect(budget.take(RETRY_COST, 0)).toBe(true);
    expect(budget.take(RETRY_COST, 500)).toBe(false);
    expect(budget.take(RETRY_COST, 1_000)).toBe(true);
    expect(budget.tokens(1_000_000)).toBe(10);
  });

  it("is earned by calls beyond that, within a bound", () => {
    const budget = createRetryBudget({ ratio: 0.5, minRetries: 10, windowMs: 10_000 }, 0);
    for (let call = 0; call < 1_000; call += 1) budget.earn();
    expect(budget.tokens(0)).toBe(100);
  });

  it("keeps half of what a window brings, by time and by calls, for those with nowhere else to go", () => {
    const budget = createRetryBudget({ ratio: 0.1, minRetries: 10, windowMs: 10_000 }, 0);
    expect(budget.kept(0)).toBe(5);
    for (let call = 0; call < 600; call += 1) budget.earn();
    expect(budget.kept(60_000)).toBeCloseTo(10, 6);
    for (let call = 0; call < 300; call += 1) budget.earn();
    expect(budget.kept(65_000)).toBeCloseTo(20, 6);
    expect(budget.kept(70_000)).toBeCloseTo(20, 6);
    expect(budget.kept(80_000)).toBe(5);
    for (let call = 0; call < 10_000; call += 1) budget.earn();
    expect(budget.kept(80_001)).toBe(50);
  });
});

describe("the bulkhead", () => {
  it("never lets more in than it may, serves in order, and forgets nobody", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 0, max: 4 }),
        fc.array(fc.constantFrom("enter", "leave", "abort"), { size: "max", maxLength: 80 }),
        async (maxConcurrent, maxQueued, moves) => {
          const bulkhead = createBulkhead({ maxConcurrent, maxQueued });
          const waiting: { controller: AbortController; isEntered: Promise<boolean> }[] = [];
          let inside = 0;
          for (const move of moves) {
            if (move === "enter") {
              const controller = new AbortController();
              const queuedBefore = bulkhead.queued;
              const isEntered = bulkhead.enter(controller.signal);
              if (bulkhead.queued > queuedBefore) waiting.push({ controller, isEntered });
              else if (await isEntered) inside += 1;
              else expect(inside).toBe(maxConcurrent);
            }
            if (move === "leave" && inside > 0) {
              bulkhead.leave();
              const next = waiting.shift();
              if (next === undefined) inside -= 1;
              else expect(await next.isEntered).toBe(true);
            }
            if (move === "abort") {
              const last = waiting.pop();
              last?.controller.abort();
              if (last !== undefined) expect(await last.isEntered).toBe(false);
            }
            expect(bulkhead.queued).toBe(waiting.length);
            expect(bulkhead.queued).toBeLessThanOrEqual(maxQueued);
            expect(inside).toBeLessThanOrEqual(maxConcurrent);
          }
          for (; inside > 0; inside -= 1) {
            bulkhead.leave();
            if (waiting.shift() !== undefined) inside += 1;
          }
          for (let place = 0; place < maxConcurrent; place += 1) expect(bulkhead.tryEnter()).toBe(true);
          expect(bulkhead.tryEnter()).toBe(false);
        },
      ),
    );
  });

  it("does not let in who is gone already", async () => {
    const bulkhead = createBulkhead({ maxConcurrent: 1, maxQueued: 1 });
    expect(await bulkhead.enter(AbortSignal.abort())).toBe(false);
    expect(bulkhead.tryEnter()).toBe(true);
  });
});

describe("a bounded wait", () => {
  it("settles as the work does, in time, and leaves no timer", async () => {
    const clock = createFakeClock();
    const bounds = { timeoutMs: 10, onTimeout: () => "late" };
    expect(await withDeadline(clock, Promise.resolve(1), bounds)).toBe(1);
    expect(await settled(withDeadline(clock, Promise.reject("no"), bounds))).toEqual({ error: "no" });
    expect(clock.pendingTimers).toBe(0);
  });

  it("ends at its time or with its signal, whichever is first", async () => {
    const clock = createFakeClock();
    const never = new Promise(() => {});
    const late = settled(withDeadline(clock, never, { timeoutMs: 10, onTimeout: () => "late" }));
    await clock.advance(10);
    expect(await late).toEqual({ error: "late" });
    const gone = { timeoutMs: Number.POSITIVE_INFINITY, onTimeout: () => "late", signal: AbortSignal.abort("gone") };
    expect(await settled(withDeadline(clock, never, gone))).toEqual({ error: "gone" });
    expect(clock.pendingTimers).toBe(0);
  });
});
