import { AsyncLocalStorage } from "node:async_hooks";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ExecuteOptions, GuardContext } from "../../server/guard/guard.js";
import { ServiceReach } from "../../server/guard/reach/service-reach.js";
import { settle } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";
import { createGuardHarness, httpError, refusedConnection, settled } from "./guard-harness.js";

/** What a piece of work does each time it is run: the last of `runs` again and again. */
interface Run {
  /** Undefined: at once, in the same turn. */
  readonly endsAfterMs: number | undefined;
  readonly ends: "value" | "thenable" | "server_error" | "not_found" | "limited" | "refused" | "never";
  readonly readsSignal: boolean;
  readonly uses: boolean;
  /** Says the same again when it has long ended. */
  readonly speaksLate: boolean;
  /** Says so at its begin. */
  readonly delivers: { readonly timeoutMs?: number } | undefined;
}

interface Asked {
  readonly afterMs: number;
  readonly runs: readonly [Run, ...Run[]];
}

const run: fc.Arbitrary<Run> = fc.record({
  endsAfterMs: fc.constantFrom(undefined, 0, 5, 700, 900, 5_000),
  ends: fc.constantFrom("value", "value", "thenable", "server_error", "not_found", "limited", "refused", "never"),
  readsSignal: fc.boolean(),
  uses: fc.boolean(),
  speaksLate: fc.boolean(),
  delivers: fc.constantFrom(undefined, undefined, {}, { timeoutMs: 50 }, { timeoutMs: 3_000 }),
});

const asked: fc.Arbitrary<Asked> = fc.record({
  afterMs: fc.constantFrom(0, 0, 3, 500, 2_000),
  runs: fc.tuple(run, run).map(([first, second]) => [first, second] as const),
});

/** Everything that anybody can know of the same calls. */
async function storyOf(calls: readonly Asked[], options: ExecuteOptions<string> | undefined) {
  const reach = new ServiceReach();
  const defaults = { timeoutMs: 800, failureThreshold: 4, resetTimeoutMs: 3_000 };
  const harness = createGuardHarness({ defaults, reach });
  const { clock, guards, registry } = harness;
  const guard = guards.guard("llm:openai");
  const log: string[] = [];
  const outcomes: Promise<unknown>[] = [];

  const work = (name: string, todo: readonly Run[]) => {
    let ran = 0;
    return (context: GuardContext): Promise<string> | string => {
      const { endsAfterMs, ends, readsSignal, uses, speaksLate, delivers } =
        todo[Math.min(ran, todo.length - 1)] ?? todo[0] ?? never;
      ran += 1;
      const label = `${name} run ${ran}`;
      log.push(`${clock.monotonic()} ${label}`);
      if (readsSignal) {
        context.signal.addEventListener("abort", () => log.push(`${clock.monotonic()} ${label} aborted`));
      }
      if (uses) context.used({ tokens: 7 });
      if (delivers !== undefined) context.delivered(delivers);
      if (speaksLate) {
        clock.setTimer(() => {
          context.used({ tokens: 1 });
          context.delivered({ timeoutMs: 100 });
        }, 7_000);
      }
      const end = (): string => {
        log.push(`${label} ends, its signal ${context.signal.aborted ? "aborted" : "open"}`);
        if (ends === "server_error") throw httpError(503);
        if (ends === "not_found") throw httpError(404);
        if (ends === "limited") throw httpError(429, { "retry-after": "2" });
        if (ends === "refused") throw refusedConnection();
        return label;
      };
      if (ends === "never") return new Promise(() => {});
      // biome-ignore lint/suspicious/noThenProperty: a query builder of Drizzle is a thenable like this
      if (ends === "thenable") return { then: (resolve: (value: string) => void) => resolve(end()) } as never;
      if (endsAfterMs === undefined) return end();
      return new Promise((resolve, reject) => {
        clock.setTimer(() => {
          try {
            resolve(end());
          } catch (error) {
            reject(error);
          }
        }, endsAfterMs);
      });
    };
  };

  for (const [at, { afterMs, runs: todo }] of calls.entries()) {
    await clock.advance(afterMs);
    const name = `call ${at}`;
    const outcome = settled(guard.execute(work(name, todo), options)).then((how) => {
      log.push(`${clock.monotonic()} ${name} told`);
      return "value" in how ? how : { error: String(how.error) };
    });
    outcomes.push(outcome);
    await settle();
    log.push(`${clock.monotonic()} in flight ${guard.snapshot().inFlight}, of no call ${reach.unlinked}`);
  }
  for (let second = 0; second < 60; second += 1) await clock.advance(1_000);
  return {
    log: log.sort(),
    outcomes: await Promise.all(outcomes),
    failures: harness.failures().map(({ eventId: _id, errorStack: _stack, ...failure }) => failure),
    story: harness.story(),
    points: harness.points,
    snapshot: guard.snapshot(),
    unlinked: reach.unlinked,
    deadlines: registry.timers.size,
    faults: harness.faults,
  };
}

const never: Run = {
  endsAfterMs: undefined,
  ends: "never",
  readsSignal: false,
  uses: false,
  speaksLate: false,
  delivers: undefined,
};

describe("a plain call", () => {
  it("is to everybody what a call with options is, however its work ends", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 6 }), async (calls) => {
        expect(await storyOf(calls, undefined)).toEqual(await storyOf(calls, {}));
      }),
      { numRuns: runs(150, 0.2) },
    );
  });

  it("goes on in its caller's async context after its deadline, whoever's timer that was", async () => {
    const user = new AsyncLocalStorage<string>();
    const { guards, clock } = createGuardHarness({ defaults: { timeoutMs: 1_000 } });
    const guard = guards.guard("llm:openai");
    const seen: (string | undefined)[] = [];
    const ask = () =>
      guard.execute(() => {
        seen.push(user.getStore());
        return seen.length > 2 ? "answered" : new Promise<string>(() => {});
      });
    const calls = ["a", "b"].map((who) => user.run(who, ask));
    for (let second = 0; second < 20; second += 1) await clock.advance(1_000);
    expect(await Promise.all(calls)).toEqual(["answered", "answered"]);
    expect(seen).toEqual(["a", "b", "a", "b"]);
  });

  it("keeps its place among those in flight for as long as its work goes on, once", async () => {
    const { guards, clock } = createGuardHarness({ strategies: [], defaults: { timeoutMs: 100 } });
    const guard = guards.guard("http:billing");
    const ends: (() => void)[] = [];
    const late = settled(guard.execute(() => new Promise<void>((resolve) => ends.push(resolve))));
    await clock.advance(100);
    expect(await late).toHaveProperty("error");
    expect(guard.snapshot().inFlight).toBe(1);
    for (const end of ends) end();
    await settle();
    expect(guard.snapshot().inFlight).toBe(0);
  });

  it.each([
    { answers: true, next: { value: 1 } },
    { answers: false, next: { error: expect.objectContaining({ reason: "network_down" }) } },
  ])("speaks for the network where its service answers ($answers)", async ({ answers, next }) => {
    const { guards } = createGuardHarness({ strategies: [] });
    const [answering, ...failing] = ["http:one", "http:two", "http:three"].map((name) => guards.guard(name));
    if (answers) await answering?.execute(() => 1);
    for (const guard of failing) await settled(guard.execute(() => Promise.reject(refusedConnection())));
    expect(await settled(failing[0]?.execute(() => 1) ?? Promise.reject())).toEqual(next);
  });

  it("waits for circuits that are being restored", async () => {
    const { guards, registry } = createGuardHarness();
    let restored: () => void = () => {};
    registry.waitFor(new Promise<void>((resolve) => (restored = resolve)));
    let ran = 0;
    const call = guards.guard("http:billing").execute(() => (ran += 1));
    await settle();
    expect(ran).toBe(0);
    restored();
    expect(await call).toBe(1);
  });
});
