/** Deadlines fire at their time, once, in order, unless cancelled: in any history, with hardly any timers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTimerWheel, Deadline } from "../../server/circuit/timer-wheel.js";
import { createFakeClock } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";

class Probe extends Deadline {
  constructor(readonly fired: () => void) {
    super();
  }
  override onDeadline(): void {
    this.fired();
  }
}

const delays = fc.oneof(
  fc.integer({ min: 0, max: 200 }),
  fc.integer({ min: 900, max: 1_100 }),
  // Beyond one round, and right at it.
  fc.integer({ min: 32_000, max: 33_500 }),
  fc.integer({ min: 60_000, max: 90_000 }),
);

describe("a timer wheel", () => {
  it("fires every deadline that was not cancelled, once, at its exact time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ after: fc.nat(500), delay: delays, cancelAfter: fc.option(fc.nat(40_000)) }), {
          size: "max",
          maxLength: 40,
        }),
        async (plans) => {
          const clock = createFakeClock();
          const wheel = createTimerWheel(clock);
          const expected: [number, number][] = [];
          const fired: [number, number][] = [];
          const cancels: { at: number; deadline: Deadline }[] = [];
          for (const [index, { after, delay, cancelAfter }] of plans.entries()) {
            await clock.advance(after);
            const now = clock.monotonic();
            const deadline = new Probe(() => fired.push([index, clock.monotonic()]));
            wheel.arm(deadline, now, delay);
            if (cancelAfter !== null && cancelAfter < delay) {
              if (cancelAfter === 0) wheel.cancel(deadline);
              else clock.setTimer(() => wheel.cancel(deadline), cancelAfter);
              cancels.push({ at: now + cancelAfter, deadline });
            } else expected.push([index, now + delay]);
          }
          await clock.advance(200_000);
          expect(fired.toSorted((a, b) => a[0] - b[0])).toEqual(expected);
          expect(fired.map(([, at]) => at)).toEqual(fired.map(([, at]) => at).toSorted((a, b) => a - b));
          expect(wheel.size).toBe(0);
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: runs(60) },
    );
  }, 60_000);

  it("fires loosely armed deadlines never early and at most 20 ms late; short ones exactly", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ after: fc.nat(30), delay: delays, cancel: fc.boolean() }), { size: "max", maxLength: 60 }),
        async (plans) => {
          const clock = createFakeClock();
          const wheel = createTimerWheel(clock);
          const late = new Map<number, number>();
          const expected: number[] = [];
          for (const [index, { after, delay, cancel }] of plans.entries()) {
            await clock.advance(after);
            const due = clock.monotonic() + delay;
            const deadline = new Probe(() => late.set(index, clock.monotonic() - due));
            wheel.armLoosely(deadline, delay);
            if (cancel) wheel.cancel(deadline);
            else expected.push(index);
          }
          await clock.advance(100_000);
          expect([...late.keys()].sort((a, b) => a - b)).toEqual(expected);
          for (const [index, ms] of late) {
            expect(ms).toBeGreaterThanOrEqual(0);
            expect(ms).toBeLessThanOrEqual((plans[index]?.delay ?? 0) < 1_000 ? 0 : 20);
          }
          expect(clock.pendingTimers).toBe(0);
        },
      ),
      { numRuns: runs(60) },
    );
  }, 60_000);

  it("sets one timer for a thousand deadlines that end before their time", async () => {
    const clock = createFakeClock();
    let timers = 0;
    const wheel = createTimerWheel({
      ...clock,
      setTimer: (run, ms) => {
        timers += 1;
        return clock.setTimer(run, ms);
      },
    });
    for (let i = 0; i < 1_000; i += 1) {
      const deadline = new Probe(() => expect.unreachable("cancelled"));
      wheel.arm(deadline, clock.monotonic(), 5_000);
      wheel.cancel(deadline);
    }
    expect(timers).toBe(1);
    await clock.advance(5_000);
    expect(timers).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it("holds what was armed for an earlier time than it swept, and fires it at once", async () => {
    const clock = createFakeClock();
    const wheel = createTimerWheel(clock);
    wheel.arm(new Probe(() => {}), clock.monotonic(), 1_000);
    await clock.advance(1_000);
    let fired = false;
    wheel.arm(
      new Probe(() => {
        fired = true;
      }),
      100,
      200,
    );
    await clock.advance(1);
    expect(fired).toBe(true);
  });

  it("does not fire what another deadline of the same moment has cancelled, and fires what it armed", async () => {
    const clock = createFakeClock();
    const wheel = createTimerWheel(clock);
    const fired: string[] = [];
    const second = new Probe(() => fired.push("second"));
    const third = new Probe(() => fired.push("third"));
    const first = new Probe(() => {
      fired.push("first");
      wheel.cancel(second);
      wheel.arm(third, clock.monotonic(), 10);
    });
    wheel.arm(second, 0, 100);
    wheel.arm(first, 0, 100);
    await clock.advance(100);
    expect(fired).toEqual(["first"]);
    await clock.advance(10);
    expect(fired).toEqual(["first", "third"]);
  });

  it("fires what became due while the process stood still in the order of the deadlines", async () => {
    const clock = createFakeClock();
    let stoodStillMs = 0;
    const wheel = createTimerWheel({ ...clock, monotonic: () => clock.monotonic() + stoodStillMs });
    const fired: number[] = [];
    for (const ms of [70, 300, 65, 40_000, 100, 64]) wheel.arm(new Probe(() => fired.push(ms)), 0, ms);
    stoodStillMs = 50_000;
    await clock.advance(64);
    expect(fired).toEqual([64, 65, 70, 100, 300, 40_000]);
  });

  it("keeps its time for a deadline that is a little more than one round away, and sets few timers on the way", async () => {
    const clock = createFakeClock();
    let timers = 0;
    const wheel = createTimerWheel({
      ...clock,
      setTimer: (run, ms) => {
        timers += 1;
        return clock.setTimer(run, ms);
      },
    });
    const fired: number[] = [];
    for (const ms of [1, 32_770]) wheel.arm(new Probe(() => fired.push(clock.monotonic())), 0, ms);
    await clock.advance(40_000);
    expect(fired).toEqual([1, 32_770]);
    expect(timers).toBeLessThan(5);
  });

  it("keeps its list of fresh deadlines short where no timer gets its turn", () => {
    const clock = createFakeClock();
    let reads = 0;
    const wheel = createTimerWheel({
      ...clock,
      monotonic: () => {
        reads += 1;
        return clock.monotonic();
      },
    });
    const hung = Array.from({ length: 200 }, () => new Probe(() => {}));
    for (const deadline of hung) wheel.armLoosely(deadline, 30_000);
    expect(wheel.size).toBe(200);
    expect(reads).toBeLessThan(10);
    for (const deadline of hung) wheel.cancel(deadline);
    expect(wheel.size).toBe(0);
  });

  it("tells rough time without the clock while it has read it lately, the exact time otherwise", async () => {
    const clock = createFakeClock();
    const wheel = createTimerWheel(clock);
    await clock.advance(7);
    wheel.armLoosely(new Probe(() => {}), 30_000);
    await clock.advance(13);
    expect(wheel.roughNow()).toBe(7);
    await clock.advance(10);
    expect(wheel.roughNow()).toBe(30);
  });
});

describe("an event loop that was blocked", () => {
  /** Timers fire when they are told to, however late; what came meanwhile has its turn after the first of them. */
  function blockedFor(blockedMs: number, timeoutMs: number, times = 1) {
    const timers: (() => void)[] = [];
    let now = 0;
    const wheel = createTimerWheel({
      now: () => now,
      monotonic: () => now,
      setTimer(run) {
        timers.push(run);
        return { cancel: () => void timers.splice(timers.indexOf(run), 1) };
      },
    });
    const fired: string[] = [];
    for (let time = 0; time < times; time += 1) {
      const answered = new Probe(() => fired.push("answered"));
      wheel.arm(answered, now, timeoutMs);
      wheel.arm(new Probe(() => fired.push("silent")), now, timeoutMs);
      now += blockedMs;
      timers.shift()?.();
      wheel.cancel(answered);
      timers.shift()?.();
    }
    return { fired, left: wheel.size, timers };
  }

  it("gives answers that wait their turn before it ends what has had no answer", () => {
    expect(blockedFor(1_000, 500)).toEqual({ fired: ["silent"], left: 0, timers: [] });
  });

  it("is waited for each time that it was", () => {
    expect(blockedFor(1_000, 500, 3)).toEqual({ fired: ["silent", "silent", "silent"], left: 0, timers: [] });
  });

  it("is told from a timer that fires a little late, as they do", () => {
    expect(blockedFor(549, 500).fired.toSorted()).toEqual(["answered", "silent"]);
    expect(blockedFor(550, 500).fired).toEqual(["silent"]);
  });
});
