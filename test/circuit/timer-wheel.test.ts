/** Deadlines fire at their time, once, in order, unless cancelled: in any history, with hardly any timers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createTimerWheel, Deadline } from "../../server/circuit/timer-wheel.js";
import { createFakeClock } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";

class Probe extends Deadline {
  constructor(readonly fired: (lateMs: number) => void) {
    super();
  }
  override onDeadline(lateMs: number): void {
    this.fired(lateMs);
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

  it("keeps its time for a deadline that is a little more than one round away, and beats every 20 ms on the way", async () => {
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
    expect(timers).toBeGreaterThanOrEqual(1 + Math.floor(32_770 / 20));
    expect(timers).toBeLessThanOrEqual(3 + Math.floor(32_770 / 20));
    expect(clock.pendingTimers).toBe(0);
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
    expect(blockedFor(59, 10).fired.toSorted()).toEqual(["answered", "silent"]);
    expect(blockedFor(60, 10).fired).toEqual(["silent"]);
  });
});

describe("how late the event loop was, as a deadline that fires is told", () => {
  /** A loop whose every timer fires at the end of the block it falls into: `[from, until]`, in order and apart. */
  function loopWith(blocks: readonly (readonly [number, number])[]) {
    let now = 0;
    let timers: { readonly at: number; readonly run: () => void }[] = [];
    const endOfBlock = (at: number) => blocks.find(([from, until]) => from <= at && at < until)?.[1] ?? at;
    const wheel = createTimerWheel({
      now: () => now,
      monotonic: () => now,
      setTimer(run, delayMs) {
        const timer = { at: now + Math.max(delayMs, 0), run };
        timers.push(timer);
        return {
          cancel: () => {
            timers = timers.filter((one) => one !== timer);
          },
        };
      },
    });
    /** What is done by others at a time happens then, also within a block: it is what blocks. */
    const runUntil = (end: number) => {
      for (;;) {
        const [next] = timers.toSorted((a, b) => a.at - b.at);
        if (next === undefined || endOfBlock(next.at) > end) break;
        timers = timers.filter((one) => one !== next);
        now = Math.max(now, endOfBlock(next.at));
        next.run();
      }
      now = end;
    };
    return { wheel, runUntil };
  }

  /** By what a deadline armed at `at`, one way or the other, was told that the loop was late. */
  function toldLate(blocks: readonly (readonly [number, number])[], at: number, timeoutMs: number, loosely: boolean) {
    const { wheel, runUntil } = loopWith(blocks);
    const told: number[] = [];
    runUntil(at);
    const deadline = new Probe((lateMs) => told.push(lateMs));
    if (loosely) wheel.armLoosely(deadline, timeoutMs);
    else wheel.arm(deadline, at, timeoutMs);
    runUntil(1_000_000);
    expect(told).toHaveLength(1);
    return told[0];
  }

  it.each([
    ["exactly", false],
    ["loosely", true],
  ])("is nothing for one armed %s while the loop keeps up", (_how, loosely) => {
    expect(toldLate([], 0, 1_000, loosely)).toBe(0);
  });

  it.each([
    ["exactly", false],
    ["loosely", true],
  ])("is what blocks took from one armed %s, but for what falls between two beats", (_how, loosely) => {
    // Beats are due at 20, 40, …: the first block makes that of 20 wait until 320, the second that of 420 until 820.
    const blocks = [
      [10, 320],
      [415, 820],
    ] as const;
    expect(toldLate(blocks, 0, 1_000, loosely)).toBe(300 + 400);
  });

  it("is what a block took until the deadline fires, though that is after its time", () => {
    expect(toldLate([[10, 5_000]], 0, 1_000, false)).toBe(4_980);
    expect(toldLate([[10, 5_000]], 0, 1_000, true)).toBe(4_980);
  });

  it("is of its own time alone: not of a block before it, nor of the part of one that was over when it was armed", () => {
    const blocks = [
      [10, 500],
      [1_010, 1_600],
    ] as const;
    const { wheel, runUntil } = loopWith(blocks);
    const told = new Map<string, number>();
    const probe = (name: string) => new Probe((lateMs) => told.set(name, lateMs));
    wheel.arm(probe("from the start"), 0, 3_000);
    runUntil(300);
    wheel.arm(probe("within the first, exactly"), 300, 3_000);
    wheel.armLoosely(probe("within the first, loosely"), 3_000);
    runUntil(1_600);
    wheel.arm(probe("after both"), 1_600, 3_000);
    runUntil(10_000);
    expect(Object.fromEntries(told)).toEqual({
      "from the start": 480 + 580,
      "within the first, exactly": 200 + 580,
      "within the first, loosely": 200 + 580,
      "after both": 0,
    });
  });

  it("is never more than its time and what it fired late by, nor less than the blocks took beyond a beat each", () => {
    const gapsAndBlocks = fc.array(fc.record({ gap: fc.integer({ min: 1, max: 400 }), block: fc.nat(700) }), {
      size: "max",
      maxLength: 30,
    });
    fc.assert(
      fc.property(
        gapsAndBlocks,
        fc.nat(2_000),
        fc.integer({ min: 1, max: 4_000 }),
        fc.boolean(),
        (plan, at, timeoutMs, loosely) => {
          let end = at;
          const blocks = plan.map(({ gap, block }) => {
            const from = end + gap;
            end = from + block;
            return [from, end] as const;
          });
          const { wheel, runUntil } = loopWith(blocks);
          const told: { readonly lateMs: number; readonly at: number }[] = [];
          runUntil(at);
          const deadline = new Probe((lateMs) => told.push({ lateMs, at: wheel.roughNow() }));
          if (loosely) wheel.armLoosely(deadline, timeoutMs);
          else wheel.arm(deadline, at, timeoutMs);
          runUntil(1_000_000);
          const [fired] = told;
          if (fired === undefined) return expect.unreachable("it fires");
          const took = blocks.filter(([, until]) => until <= fired.at).map(([from, until]) => until - from);
          const sum = (durations: readonly number[]) => durations.reduce((all, one) => all + one, 0);
          expect(fired.lateMs).toBeLessThanOrEqual(sum(took));
          expect(fired.lateMs).toBeGreaterThanOrEqual(sum(took.map((ms) => Math.max(0, ms - 20))));
          expect(fired.lateMs).toBeLessThanOrEqual(fired.at - at);
        },
      ),
      { numRuns: runs(200) },
    );
  });

  it("keeps no timer once nothing is armed, and is not counted meanwhile", async () => {
    const { wheel, runUntil } = loopWith([[110, 900]]);
    const cancelled = new Probe(() => expect.unreachable("cancelled"));
    wheel.arm(cancelled, 0, 5_000);
    wheel.cancel(cancelled);
    runUntil(1_000);
    const told: number[] = [];
    wheel.arm(new Probe((lateMs) => told.push(lateMs)), 1_000, 100);
    runUntil(2_000);
    expect(told).toEqual([0]);
  });
});
