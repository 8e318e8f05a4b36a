import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import { PROCEDURE_TYPES } from "../../shared/outcome.js";
import type { RescueOperation } from "../../shared/recovery.js";
import { callOf, createGuardHarness, httpError, refusedConnection, settled, userStrategy } from "./guard-harness.js";

/** Whatever a strategy asks for, in whatever order, and also all at once. */
const wishes = fc.array(fc.constantFrom("again", "next", "fallback"), { minLength: 1, maxLength: 8, size: "max" });
/** What each run of the work does: fails with proof that nothing was sent, fails, or delivers a part and fails. */
const runs = fc.array(fc.constantFrom("not sent", "failed", "delivered"), { minLength: 12, maxLength: 12 });

describe("whatever a strategy asks for", () => {
  it("unsafe work runs again only on proof that nothing was sent, and never after output reached the caller", async () => {
    await fc.assert(
      fc.asyncProperty(
        wishes,
        runs,
        fc.option(fc.boolean(), { nil: undefined }),
        fc.option(fc.constantFrom(...PROCEDURE_TYPES), { nil: undefined }),
        fc.constantFrom("llm", "http"),
        fc.boolean(),
        async (asked, script, said, callType, kind, atOnce) => {
          const callContext = createAsyncCallContext();
          const greedy = userStrategy(
            async (_failure, operation: RescueOperation) => {
              const ask = (wish: (typeof asked)[number]) => operation[wish]().catch(() => {});
              if (atOnce) await Promise.all(asked.map(ask));
              else for (const wish of asked) await ask(wish);
              return {};
            },
            { actionType: "fallback", applicableFailureTypes: ["server_error", "connection_refused"] },
          );
          const { guards, clock } = createGuardHarness({
            callContext,
            strategies: [greedy],
            defaults: { failureThreshold: 1_000 },
          });
          const ran: string[] = [];
          let fellBackAfterDelivery = false;
          const work = (context: { delivered(): void }) => {
            const step = script[ran.length] ?? "failed";
            ran.push(step);
            if (step === "delivered") context.delivered();
            throw step === "not sent" ? refusedConnection() : httpError(500);
          };
          const operation = guards.operation("work", {
            targets: { [`${kind}:a`]: work, [`${kind}:b`]: work },
            fallback: () => {
              fellBackAfterDelivery ||= ran.includes("delivered");
              throw new Error("no fallback today");
            },
            idempotent: said,
          });
          const start = () => settled(operation());
          const outcome = callType === undefined ? start() : callContext.run(callOf({ type: callType }), start);
          await clock.advance(1);
          expect(await outcome).toHaveProperty("error");

          const isSafe = said ?? (kind === "llm" || callType === "query");
          const before = ran.slice(0, -1);
          expect(before).not.toContain("delivered");
          if (!isSafe) expect(before).not.toContain("failed");
          expect(fellBackAfterDelivery).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("no run begins after the deadline", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 5_000 }),
        fc.integer({ min: 0, max: 2_000 }),
        async (waits, timeoutMs, workMs) => {
          const eager = userStrategy(async (_failure, operation) => {
            for (const delayMs of waits) await operation.again({ delayMs }).catch(() => {});
            return {};
          });
          const { guards, clock } = createGuardHarness({ strategies: [eager], defaults: { failureThreshold: 1_000 } });
          const begun: number[] = [];
          const outcome = settled(
            guards.guard("llm:a").execute(
              async () => {
                begun.push(clock.monotonic());
                await new Promise<void>((resolve) => clock.setTimer(resolve, workMs));
                throw httpError(500);
              },
              { timeoutMs },
            ),
          );
          for (let step = 0; step < 60; step += 1) await clock.advance(100);
          expect(await outcome).toHaveProperty("error");
          for (const at of begun) expect(at).toBeLessThan(timeoutMs);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("unsafe work that is asked for twice at once runs once", async () => {
    const hasty = userStrategy(
      async (_failure, operation) => {
        const [again, next] = await Promise.allSettled([operation.again(), operation.next()]);
        expect(next).toMatchObject({ status: "rejected", reason: { reason: "unsafe" } });
        return again.status === "fulfilled" ? { success: true, value: again.value } : {};
      },
      { applicableFailureTypes: ["connection_refused"] },
    );
    const { guards, clock } = createGuardHarness({ strategies: [hasty] });
    const ran: string[] = [];
    let isRefused = true;
    const pay = guards.operation("pay", {
      targets: {
        "http:a": async () => {
          if (isRefused) {
            isRefused = false;
            throw refusedConnection();
          }
          ran.push("a");
          await new Promise((resolve) => clock.setTimer(() => resolve(undefined), 100));
          return "paid";
        },
        "http:b": async () => ran.push("b"),
      },
    });
    const outcome = settled(pay());
    await clock.advance(200);
    expect(await outcome).toEqual({ value: "paid" });
    expect(ran).toEqual(["a"]);
    expect(guards.all().map((guard) => guard.snapshot().inFlight)).toEqual([0, 0]);
  });
});
