import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createDatabaseFailures } from "../../../server/guard/database/database-failures.js";
import { type RepeatDeps, type RepeatedWork, repeat } from "../../../server/guard/database/repeat.js";
import { repetitionOf } from "../../../server/guard/database/repeat-rule.js";
import { TransactionError } from "../../../server/guard/database/transaction-error.js";
import { createRetryBudget } from "../../../server/guard/retry-budget.js";
import { noCallContext } from "../../../server/ports/call-context.js";
import type { JournalEntry } from "../../../server/ports/journal.js";
import { classify } from "../../../shared/classify.js";
import { REJECTION } from "../../../shared/rejection.js";
import { createFakeClock } from "../../support/fake-clock.js";

const pg = (code: string) => Object.assign(new Error("failed"), { code, severity: "ERROR" });
const refused = () => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
const lost = () => new Error("Connection terminated unexpectedly");
const pooled = { isPooled: true, isHarmless: true };

describe("what may be done again", () => {
  it.each([
    ["a deadlock", pg("40P01"), { isPooled: false, isHarmless: false }, "contention"],
    ["a conflict", pg("40001"), { isPooled: true, isHarmless: false }, "contention"],
    ["a lock that was not to be had", pg("55P03"), { isPooled: false, isHarmless: false }, "contention"],
    ["a deadlock in a program", pg("40P01"), { isPooled: true, isHarmless: false, isAtomic: false }, undefined],
    ["a read-only server in one", pg("25006"), { isPooled: true, isHarmless: false, isAtomic: false }, undefined],
    ["a conflict of somebody else", pg("40001"), { isPooled: true, isHarmless: true, isForeign: true }, undefined],
    ["a refused connection", refused(), { isPooled: true, isHarmless: false }, "fresh_connection"],
    ["a server that is starting", pg("57P03"), { isPooled: true, isHarmless: false }, "fresh_connection"],
    ["a lost connection, harmlessly", lost(), pooled, "fresh_connection"],
    ["a lost connection in a write", lost(), { isPooled: true, isHarmless: false }, undefined],
    ["a lost connection that nobody can replace", lost(), { isPooled: false, isHarmless: true }, undefined],
    ["what leads to a read-only server", pg("25006"), pooled, "redirected"],
    ["a COMMIT of which nothing is known", new TransactionError("outcome_unknown"), pooled, undefined],
    ["what the server does not know", pg("08007"), pooled, undefined],
    ["too many connections", pg("53300"), pooled, undefined],
    ["a full disk", pg("53100"), pooled, undefined],
    ["a constraint", pg("23505"), pooled, undefined],
    ["a statement that took too long", pg("57014"), pooled, undefined],
    ["a closed pool", new Error("Cannot use a pool after calling end on the pool"), pooled, undefined],
    ["a refused account", pg("28P01"), pooled, undefined],
    ["the caller's own error", new Error("mine"), pooled, undefined],
  ] as const)("%s: decided", (_name, error, work, why) => {
    expect(repetitionOf(classify(error, "db:main"), work)?.why).toBe(why);
  });
});

function setUp(overrides: Partial<RepeatDeps> = {}) {
  const clock = createFakeClock();
  const journal: JournalEntry[] = [];
  const append = (entry: JournalEntry) => void journal.push(entry);
  let id = 0;
  const failures = createDatabaseFailures({
    clock,
    ids: () => `failure-${++id}`,
    journal: { append },
    callContext: noCallContext,
  });
  const deps: RepeatDeps = {
    clock,
    random: () => 0.5,
    journal: { append },
    settings: { mode: () => "full", stopped: () => false },
    failures,
    flags: { enabled: true, autoRecovery: true, retry: true },
    ...overrides,
  };
  const run = (script: readonly unknown[], more: Partial<RepeatedWork<string>> = {}) => {
    const left = [...script];
    let attempts = 0;
    const running = repeat(deps, {
      service: "db:main",
      strategy: "statement_retry",
      system: "postgresql",
      sqlOf: () => "select 1",
      deadlineAt: 30_000,
      signal: undefined,
      budget: undefined,
      async once() {
        attempts += 1;
        const next = left.shift();
        if (next instanceof Error) throw next;
        return "done";
      },
      failed: () => pooled,
      ...more,
    });
    running.catch(() => {});
    return { running, attempts: () => attempts };
  };
  const rescues = () => journal.flatMap((entry) => (entry.type === "rescue.ended" ? [entry.rescue] : []));
  const seen = () => journal.flatMap((entry) => (entry.type === "failure.observed" ? [entry.failure] : []));
  return { clock, run, rescues, seen };
}

describe("work on a database that failed", () => {
  it("is done again after contention as long as there is time, and told in one row", async () => {
    const { clock, run, rescues, seen } = setUp();
    const { running, attempts } = run(Array(500).fill(pg("40001")), { deadlineAt: 5_000 });
    await clock.advance(5_000);
    await expect(running).rejects.toMatchObject({ code: "40001" });
    expect(attempts()).toBeGreaterThan(20);
    expect(seen()).toHaveLength(1);
    expect(rescues()).toMatchObject([{ status: "timed_out", metadata: { attempts: attempts() } }]);
  });

  it("begins no wait that cannot end in time", async () => {
    const { run, rescues, clock } = setUp();
    const { running, attempts } = run([refused(), refused()], { deadlineAt: 10 });
    await expect(running).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(attempts()).toBe(1);
    expect(rescues()).toMatchObject([{ status: "timed_out" }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("is done again four times at most when connections are lost, and once when they lead to a read-only server", async () => {
    const { clock, run } = setUp();
    const connecting = run(Array(10).fill(refused()));
    const redirected = run(Array(10).fill(pg("25006")));
    await clock.advance(30_000);
    expect([connecting.attempts(), redirected.attempts()]).toEqual([5, 2]);
  });

  it("that led to a read-only server waits until old connections are gone, and no longer than its deadline", async () => {
    const { clock, run, rescues } = setUp();
    let known = () => {};
    const checked = () => new Promise<void>((resolve) => (known = resolve));
    const redirected = run([pg("25006")], { checked });
    const late = run([pg("25006")], { deadlineAt: 9_000, checked: () => new Promise(() => {}) });
    const controller = new AbortController();
    const left = run([pg("25006")], { signal: controller.signal, checked: () => new Promise(() => {}) });
    const refusedElsewhere = run([refused()], { checked: () => new Promise(() => {}) });
    await clock.advance(5_000);
    expect([redirected, late, left, refusedElsewhere].map(({ attempts }) => attempts())).toEqual([1, 1, 1, 2]);
    known();
    expect(await redirected.running).toBe("done");
    controller.abort(new Error("gone"));
    await expect(left.running).rejects.toThrow("gone");
    await clock.advance(4_000);
    await expect(late.running).rejects.toMatchObject({ code: "25006" });
    expect(rescues().map(({ status }) => status)).toEqual(["succeeded", "succeeded", "cancelled", "timed_out"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("costs the retry budget where the database may not be well, and nothing where it is only busy", async () => {
    const { clock, run, rescues } = setUp();
    const budget = createRetryBudget({ ratio: 0, minRetries: 1, windowMs: 1_000_000 }, 0);
    const first = run([refused(), refused()], { budget });
    await clock.advance(10_000);
    expect(first.attempts()).toBe(2);
    const second = run([refused()], { budget });
    await clock.advance(10_000);
    expect(second.attempts()).toBe(1);
    const busy = run([pg("40001"), pg("40P01"), pg("55P03")], { budget });
    await clock.advance(10_000);
    expect(await busy.running).toBe("done");
    expect(rescues().map(({ status }) => status)).toEqual(["failed", "failed", "succeeded"]);
  });

  it("gives what opened the circuit, not that it is open", async () => {
    const { clock, run } = setUp();
    const open = Object.assign(new Error("circuit is open"), { [REJECTION]: true, circuitName: "db:main" });
    const error = refused();
    const { running, attempts } = run([error, open]);
    await clock.advance(10_000);
    await expect(running).rejects.toBe(error);
    expect(attempts()).toBe(2);
  });

  it("ends with the reason of a signal, and a wait ends at once", async () => {
    const { clock, run, rescues } = setUp();
    const controller = new AbortController();
    const { running } = run([pg("40001")], { signal: controller.signal });
    await clock.advance(0);
    controller.abort(new Error("gone"));
    await expect(running).rejects.toThrow("gone");
    expect(rescues()).toMatchObject([{ status: "cancelled" }]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("is done once where flags or mode do not allow more, and only recorded where the mode does not", async () => {
    const off = setUp({ flags: { enabled: true, autoRecovery: true, retry: false } });
    const first = off.run([pg("40001")]);
    await expect(first.running).rejects.toMatchObject({ code: "40001" });
    expect(off.rescues()).toEqual([]);
    const shadow = setUp({ settings: { mode: () => "shadow", stopped: () => false } });
    await expect(shadow.run([pg("40001")]).running).rejects.toMatchObject({ code: "40001" });
    expect(shadow.rescues()).toMatchObject([{ status: "skipped", dryRun: true }]);
  });

  it("never outlives its deadline, whatever happens", async () => {
    const errors = fc.constantFrom("40001", "57P03", "25006", "23505", "53300");
    await fc.assert(
      fc.asyncProperty(
        fc.array(errors, { maxLength: 40, size: "max" }),
        fc.integer({ min: 0, max: 20_000 }),
        async (codes, deadlineAt) => {
          const { clock, run, rescues, seen } = setUp();
          const { running } = run(codes.map(pg), { deadlineAt });
          await clock.advance(deadlineAt);
          const settled = await Promise.race([
            running.then(
              () => true,
              () => true,
            ),
            new Promise((resolve) => setImmediate(resolve, false)),
          ]);
          expect(settled).toBe(true);
          expect(seen().length).toBeLessThanOrEqual(1);
          expect(rescues().length).toBeLessThanOrEqual(1);
        },
      ),
      { numRuns: 60 },
    );
  });
});
