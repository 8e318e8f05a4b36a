import { describe, expect, it } from "vitest";
import { FailoverStrategy } from "../../server/recovery/failover-strategy.js";
import { FallbackStrategy } from "../../server/recovery/fallback-strategy.js";
import { RetryStrategy } from "../../server/recovery/retry-strategy.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure } from "./a-failure.js";
import { type Script, scriptedOperation } from "./scripted-operation.js";

const down = new Error("boom");

/** Runs a retry to its end, letting time pass, with the highest waits that chance allows. */
async function retry(
  script: Omit<Script, "clock">,
  { failure = aFailure(), options = {}, chance = 1 }: RetryCase = {},
) {
  const clock = createFakeClock();
  const operation = scriptedOperation({ ...script, clock });
  const strategy = new RetryStrategy({ ...options, clock, random: () => chance });
  const running = strategy.execute(failure, operation);
  await clock.advance(1_000_000);
  return { result: await running, operation };
}
interface RetryCase {
  readonly failure?: ReturnType<typeof aFailure>;
  readonly options?: ConstructorParameters<typeof RetryStrategy>[0];
  readonly chance?: number;
}

describe("RetryStrategy", () => {
  it("is the first of the built-in ones and takes the types that time may heal", () => {
    expect(new RetryStrategy()).toMatchObject({
      name: "exponential_backoff_retry",
      scope: "call",
      actionType: "retry",
      priority: 1,
      applicableFailureTypes: [
        "api_timeout",
        "connection_refused",
        "dns_error",
        "service_unavailable",
        "server_error",
        "rate_limit",
        "malformed_response",
        "stream_broken",
      ],
    });
  });

  it("really runs the operation again until it succeeds, waiting longer each time", async () => {
    const { result, operation } = await retry({ targets: { a: [down, down, down, "answer"] } });
    expect(result).toMatchObject({ success: true, value: "answer", actionStrategy: "exponential_backoff_retry" });
    expect(operation.asked).toEqual(["a", "a", "a", "a"]);
    expect(operation.waits).toEqual([1_000, 2_000, 4_000]);
    expect(result.durationMs).toBe(7_000);
    expect(result.metadata).toEqual({ target: "a", delaysMs: [1_000, 2_000, 4_000] });
  });

  it("gives up after its tries, with the last error by reference", async () => {
    const last = new Error("the last one");
    const { result, operation } = await retry({ targets: { a: [down, down, down, last] } });
    expect(result.success).toBe(false);
    expect(result.error).toBe(last);
    expect(operation.attempts).toBe(4);
  });

  it("waits anywhere below the ceiling: full jitter", async () => {
    const { operation } = await retry({ targets: { a: [down, down, "answer"] } }, { chance: 0.25 });
    expect(operation.waits).toEqual([250, 500]);
  });

  it("lets the wait that the target asked for win over the backoff", async () => {
    const failure = aFailure({ failureType: "rate_limit", context: { holdMs: 7_000 } });
    const { operation } = await retry({ targets: { a: [down, "answer"] } }, { failure, chance: 0 });
    expect(operation.waits).toEqual([7_000]);
  });

  it("spreads callers who were told the same wait, never below it", async () => {
    const failure = aFailure({ context: { holdMs: 5_000 } });
    const { operation } = await retry({ targets: { a: [down, "answer"] } }, { failure, chance: 0.5 });
    expect(operation.waits).toEqual([5_250]);
  });

  it("heeds the wait that a later error asks for", async () => {
    const limited = Object.assign(new Error("slow down"), { status: 429, headers: { "retry-after": "3" } });
    const { operation } = await retry({ targets: { "llm:a": [down, limited, "answer"] } }, { chance: 0 });
    expect(operation.waits).toEqual([0, 3_000]);
  });

  it("stops when an error says that another try cannot help", async () => {
    const refused = Object.assign(new Error("bad key"), { status: 401 });
    const { result, operation } = await retry({ targets: { "llm:a": [down, refused, "answer"] } });
    expect(result.error).toBe(refused);
    expect(operation.attempts).toBe(2);
  });

  it("tries once and soon while another target is left", async () => {
    const { result, operation } = await retry({ targets: { a: [down, down, "answer"], b: ["other"] } });
    expect(result.success).toBe(false);
    expect(operation.asked).toEqual(["a", "a"]);
    expect(operation.waits).toEqual([100]);
  });

  it("waits for at most half of the time that is left, so that the target has time to answer", async () => {
    const { result, operation } = await retry({ targets: { a: [down, down, down, "answer"] }, deadlineMs: 4_000 });
    expect(operation.waits).toEqual([1_000, 1_500, 750]);
    expect(result).toMatchObject({ success: true, durationMs: 3_250 });
  });

  it("does not begin a wait that does not fit the deadline", async () => {
    const held = aFailure({ failureType: "rate_limit", context: { holdMs: 1_000 } });
    for (const [deadlineMs, failure] of [
      [199, aFailure()],
      [900, held],
    ] as const) {
      const { result, operation } = await retry({ targets: { a: [down, "answer"] }, deadlineMs }, { failure });
      expect(result).toMatchObject({ success: false, durationMs: 0 });
      expect(result.message).toMatch(/^a wait of 1[01]00 ms is more than the caller has time for$/);
      expect(operation.attempts).toBe(1);
    }
  });

  it("waits a minute where there is no deadline, and no longer, however long the target asks for", async () => {
    const limited = (seconds: string) =>
      Object.assign(new Error("slow down"), { status: 429, headers: { "retry-after": seconds } });
    const script = { deadlineMs: Number.POSITIVE_INFINITY };
    const patient = await retry({ ...script, targets: { "llm:a": [down, limited("60"), "answer"] } }, { chance: 0 });
    expect(patient.operation.waits).toEqual([0, 60_000]);
    const last = limited("61");
    const { result, operation } = await retry({ ...script, targets: { "llm:a": [down, last, "answer"] } });
    expect(result).toMatchObject({ success: false, error: last });
    expect(operation.attempts).toBe(2);
  });

  it("does not begin for a caller who is gone", async () => {
    const { result, operation } = await retry({ targets: { a: [down, "answer"] }, signal: AbortSignal.abort() });
    expect(result).toMatchObject({ success: false, durationMs: 0, message: "the caller is gone" });
    expect(operation.attempts).toBe(1);
  });

  it("keeps the error of the last try that was really made when a later one is refused", async () => {
    const clock = createFakeClock();
    const openCircuits: string[] = [];
    const second = new Error("second");
    const operation = scriptedOperation({ clock, targets: { a: [down, second, "answer"] }, openCircuits });
    const running = new RetryStrategy({ clock, random: () => 1 }).execute(aFailure(), operation);
    await clock.advance(999);
    openCircuits.push("a");
    await clock.advance(10_000);
    const result = await running;
    expect(result.error).toBe(second);
    expect(result.message).toBe("no more tries: the circuit is open");
    expect(operation.attempts).toBe(2);
  });

  it.each([
    ["its safety", { idempotent: false }],
    ["an open circuit", { openCircuits: ["a"] }],
  ])("stops at once when the operation refuses for %s", async (_, more) => {
    const { result, operation } = await retry({ targets: { a: [down, "answer"] }, ...more });
    expect(result).toMatchObject({ success: false, durationMs: 0 });
    expect(operation.attempts).toBe(1);
  });

  it("ends at once when the caller goes away in the middle of a wait", async () => {
    const clock = createFakeClock();
    const caller = new AbortController();
    const operation = scriptedOperation({ clock, targets: { a: [down, "answer"] }, signal: caller.signal });
    const running = new RetryStrategy({ clock, random: () => 1 }).execute(aFailure(), operation);
    await clock.advance(500);
    caller.abort(new Error("gone"));
    expect(await running).toMatchObject({ success: false, durationMs: 500 });
    expect(operation.attempts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("does nothing without an operation, and says so", async () => {
    expect(await new RetryStrategy().execute(aFailure())).toMatchObject({
      success: false,
      message: "nothing to retry: the failure came without its operation",
    });
  });

  it.each([
    ["maxAttempts", 1.5, "[0, 100]"],
    ["maxAttempts", 101, "[0, 100]"],
    ["baseDelayMs", -1, "[0, 2147483647]"],
    ["maxDelayMs", Number.NaN, "[0, 2147483647]"],
  ])("refuses %s %d in one line that says what is legal", (option, value, legal) => {
    expect(() => new RetryStrategy({ [option]: value })).toThrow(
      expect.objectContaining({
        code: "CONFIGURATION_INVALID",
        message: `RetryStrategy: ${option} is ${value}; legal is ${legal}`,
      }),
    );
  });
});

describe("FailoverStrategy", () => {
  it("asks the next target once and says which one answered", async () => {
    const operation = scriptedOperation({
      clock: createFakeClock(),
      targets: { a: [down], b: ["other"], c: ["third"] },
    });
    const result = await new FailoverStrategy().execute(aFailure({ affectedService: "a" }), operation);
    expect(result).toMatchObject({
      success: true,
      value: "other",
      actionType: "failover",
      actionStrategy: "provider_failover",
      metadata: { from: "a", target: "b" },
    });
    expect(operation.asked).toEqual(["a", "b"]);
  });

  it("fails with the next target's error by reference, and leaves it to the plan to go on", async () => {
    const other = new Error("b is down too");
    const operation = scriptedOperation({ clock: createFakeClock(), targets: { a: [down], b: [other], c: ["third"] } });
    const result = await new FailoverStrategy().execute(aFailure(), operation);
    expect(result).toMatchObject({ success: false, message: "the next target failed too" });
    expect(result.error).toBe(other);
    expect(operation.targetsLeft).toBe(1);
  });

  it("says that no target is left", async () => {
    const operation = scriptedOperation({ clock: createFakeClock(), targets: { a: [down] } });
    expect(await new FailoverStrategy().execute(aFailure(), operation)).toMatchObject({
      success: false,
      message: "no other target is left",
    });
  });

  it("leaves contention and errors without a name alone", () => {
    const { applicableFailureTypes: types } = new FailoverStrategy();
    for (const type of ["database_busy", "database_conflict", "unknown"] as const) {
      expect(types).not.toContain(type);
    }
    expect(types).toEqual(expect.arrayContaining(["api_timeout", "service_unavailable", "auth_failed"]));
  });
});

describe("FallbackStrategy", () => {
  it("answers from the fallback", async () => {
    const operation = scriptedOperation({ clock: createFakeClock(), targets: { a: [down] }, fallback: () => "kept" });
    expect(await new FallbackStrategy().execute(aFailure(), operation)).toMatchObject({
      success: true,
      value: "kept",
      actionType: "fallback",
      actionStrategy: "last_good_fallback",
    });
  });

  it("fails with the fallback's own error", async () => {
    const broken = new Error("nothing kept");
    const fallback = () => {
      throw broken;
    };
    const operation = scriptedOperation({ clock: createFakeClock(), targets: { a: [down] }, fallback });
    const result = await new FallbackStrategy().execute(aFailure(), operation);
    expect(result).toMatchObject({ success: false, message: "the fallback failed too" });
    expect(result.error).toBe(broken);
  });
});
