/** When an instance asks the store for the right to probe, what it does with the answer, and how it gets along without one. */
import { describe, expect, it } from "vitest";
import { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { createProbeTurns } from "../../server/circuit/probe-turns.js";
import type { Clock } from "../../server/ports/clock.js";
import type { CircuitStore, StoredCircuit } from "../../server/ports/store.js";
import type { HeldState } from "../../shared/circuit.js";
import { createFakeClock, settle } from "../support/fake-clock.js";

type Answer = Awaited<ReturnType<CircuitStore["leaseProbes"]>>;

const leased: Answer = { leased: true };

/** An instance whose circuit opens after one failure, at 0, for 10 s; what it asks is answered by `answer`. */
function instance({ random = 0, resetTimeoutMs = 10_000, leases = true } = {}) {
  const fake = createFakeClock();
  const timers = { set: 0 };
  const frozen = { ms: 0 };
  const clock: Clock = {
    now: fake.now,
    monotonic: () => fake.monotonic() + frozen.ms,
    setTimer(...args) {
      timers.set += 1;
      return fake.setTimer(...args);
    },
  };
  const asked: number[] = [];
  const behind: string[] = [];
  const away: unknown[] = [];
  const store = { answer: async (): Promise<Answer> => leased, inTouch: true, version: 1 as number | undefined };
  const turns = createProbeTurns({
    store: {
      leaseProbes(lease) {
        asked.push(clock.monotonic());
        expect(lease).toEqual({ circuitName: "svc", owner: "a", version: 1, leaseMs: 5_000 });
        return store.answer();
      },
    },
    clock,
    random: () => random,
    instance: "a",
    storedVersion: () => store.version,
    asksStore: () => store.inTouch,
    onBehind: (name) => behind.push(name),
    onAway: (error) => away.push(error),
    onFault: (error) => expect.unreachable(String(error)),
  });
  const breaker = new CircuitBreaker(
    "svc",
    { failureThreshold: 1, resetTimeoutMs, successThreshold: 2, halfOpenPermits: 2, probeLeaseMs: 30_000 },
    { clock },
  );
  breaker.leaseProbes(leases);
  breaker.tryAcquire()?.failure();
  turns.watch(breaker);
  const refuses = (change: Partial<StoredCircuit> = {}) => {
    store.answer = async () => {
      const row = { ...breaker.snapshot(), version: 1, updatedAt: 0, probeLease: undefined, readAt: fake.now() };
      return { leased: false, stored: { ...row, ...change } };
    };
  };
  const heldBy = (ms: number) => refuses({ probeLease: { owner: "b", until: fake.now() + ms }, readAt: fake.now() });
  return { advance: fake.advance, fake, timers, frozen, asked, behind, away, store, turns, breaker, refuses, heldBy };
}

describe("an instance whose circuit is open", () => {
  it("asks for a turn as soon as the wait is over, and once while it has no answer", async () => {
    const { advance, asked, store, breaker } = instance();
    store.answer = () => new Promise(() => undefined);
    await advance(10_900);
    expect(asked).toEqual([10_000]);
    expect(breaker.tryAcquire()).toBeUndefined();
  });

  it("with its turn may have as many probes in flight as its configuration says", async () => {
    const { advance, breaker } = instance();
    await advance(10_000);
    expect([breaker.tryAcquire(), breaker.tryAcquire()]).not.toContain(undefined);
    expect(breaker.tryAcquire()).toBeUndefined();
  });

  it("does not ask before it is known where the store is", async () => {
    const { advance, asked, store } = instance();
    store.version = undefined;
    await advance(20_000);
    expect(asked).toEqual([]);
    store.version = 1;
    await advance(50);
    expect(asked).toHaveLength(1);
  });

  it.each<[HeldState, number]>([
    ["forced_open", 0],
    ["disabled", 0],
    ["metrics_only", 1],
  ])("under a hold %s asks %i times", async (state, times) => {
    const { advance, asked, breaker } = instance();
    breaker.hold({ state, by: "ada", reason: "x", until: undefined });
    await advance(12_000);
    expect(asked).toHaveLength(times);
  });

  it("asks for no turn where its circuit probes by itself", async () => {
    const { advance, asked } = instance({ leases: false });
    await advance(20_000);
    expect(asked).toEqual([]);
  });

  it("sets no timer once it is closed", async () => {
    const { advance, timers, breaker } = instance();
    await advance(10_000);
    breaker.tryAcquire()?.success();
    breaker.tryAcquire()?.success();
    await advance(100);
    timers.set = 0;
    await advance(60_000);
    expect(timers.set).toBe(0);
  });

  it("sets no timer when the last of several is closed, and looks after one that is still open", async () => {
    const { advance, asked, turns, breaker } = instance();
    const other = new CircuitBreaker("other");
    other.leaseProbes(true);
    turns.watch(other);
    await advance(100);
    expect(breaker.state).toBe("open");
    await advance(9_900);
    expect(asked).toHaveLength(1);
  });
});

describe("a turn", () => {
  it("that nobody used is given back when it is over, and its owner steps back", async () => {
    const { advance, asked, breaker } = instance();
    await advance(14_999);
    expect(breaker.tryAcquire()).toBeDefined();
    const idle = instance();
    await idle.advance(15_249);
    expect(idle.asked).toEqual([10_000]);
    expect(idle.breaker.tryAcquire()).toBeUndefined();
    await idle.advance(1);
    expect(idle.asked).toEqual([10_000, 15_250]);
    expect(asked).toEqual([10_000]);
  });

  it("is prolonged after a third while a probe is in flight, and no sooner", async () => {
    const { advance, asked, breaker } = instance();
    await advance(10_000);
    breaker.tryAcquire();
    await advance(5_100);
    expect(asked).toEqual([10_000, 11_700, 13_400, 15_100]);
    expect(breaker.state).toBe("half_open");
  });

  it("is prolonged when a probe has begun and ended in it", async () => {
    const { advance, asked, breaker } = instance();
    await advance(10_000);
    breaker.tryAcquire()?.success();
    await advance(1_700);
    expect(asked).toEqual([10_000, 11_700]);
  });

  it("is over where another instance has it meanwhile", async () => {
    const { advance, asked, breaker, heldBy } = instance();
    await advance(10_000);
    breaker.tryAcquire();
    heldBy(60_000);
    await advance(6_000);
    expect(asked).toEqual([10_000, 11_700]);
    expect(breaker.tryAcquire()).toBeUndefined();
  });

  it("is none when the answer comes after it would be over, as in a process that was frozen", async () => {
    const { advance, frozen, asked, breaker, store } = instance();
    let answer: (given: Answer) => void = () => {};
    store.answer = () => new Promise((resolve) => (answer = resolve));
    await advance(10_000);
    frozen.ms = 5_000;
    answer(leased);
    await settle();
    expect(breaker.state).toBe("open");
    await advance(50);
    expect(asked).toEqual([10_000, 15_050]);
  });

  it("ends here before it does in the store: it is counted from before the question", async () => {
    const { advance, breaker, store, fake } = instance();
    store.answer = () => new Promise((resolve) => fake.setTimer(() => resolve(leased), 900));
    await advance(14_999);
    expect(breaker.wantsProbe()).toBe(false);
    await advance(1);
    expect(breaker.wantsProbe()).toBe(true);
  });

  it("is not begun by an answer that comes after the stop, and nothing is looked after then", async () => {
    const { advance, asked, turns, breaker, store } = instance();
    let answer: (given: Answer) => void = () => {};
    store.answer = () => new Promise((resolve) => (answer = resolve));
    await advance(10_000);
    await turns.stop();
    answer(leased);
    await settle();
    expect(breaker.state).toBe("open");
    turns.watch(breaker);
    await advance(20_000);
    expect(asked).toEqual([10_000]);
  });
});

describe("an instance that is refused a turn", () => {
  it.each([
    { what: "one without calls waits until the other's is over, and a random moment more", busy: false, next: 11_800 },
    { what: "one with calls goes first", busy: true, next: 11_100 },
  ])("$what", async ({ busy, next }) => {
    const { advance, asked, breaker, heldBy } = instance({ random: 0.5 });
    await advance(9_999);
    // A call before it was refused says nothing of what is needed now.
    breaker.tryAcquire();
    heldBy(1_041);
    await advance(1);
    if (busy) breaker.tryAcquire();
    await advance(next - 10_001);
    expect(asked).toEqual([10_000]);
    await advance(1);
    expect(asked).toEqual([10_000, next]);
  });

  it.each([
    { what: "the lease is as good as over", change: { probeLease: { owner: "b", until: 10 }, readAt: 0 }, after: 50 },
    {
      what: "the lease lasts absurdly long",
      change: { probeLease: { owner: "b", until: 1e6 }, readAt: 0 },
      after: 10_000,
    },
    { what: "nobody has one", change: {}, after: 50 },
    {
      what: "the circuit has moved",
      change: { version: 2, probeLease: { owner: "b", until: 9_000 }, readAt: 0 },
      after: 50,
    },
  ])("tries again after $after ms when $what", async ({ change, after }) => {
    const { advance, asked, away, breaker, refuses } = instance();
    refuses(change);
    await advance(10_000);
    breaker.tryAcquire();
    await advance(after - 1);
    expect(asked).toEqual([10_000]);
    await advance(1);
    expect(asked).toEqual([10_000, 10_000 + after]);
    expect(away).toEqual([]);
  });

  it("says that the store knows of something only where it does", async () => {
    const same = instance();
    same.heldBy(1_000);
    await same.advance(10_000);
    expect(same.behind).toEqual([]);
    const moved = instance();
    moved.refuses({ version: 2 });
    await moved.advance(10_000);
    expect(moved.behind).toEqual(["svc"]);
    const gone = instance();
    gone.store.answer = async () => ({ leased: false, stored: undefined });
    await gone.advance(10_000);
    expect(gone.behind).toEqual(["svc"]);
    await gone.advance(299);
    expect(gone.asked).toHaveLength(1);
    await gone.advance(1);
    expect(gone.asked).toHaveLength(2);
  });
});

describe("a store that is away", () => {
  it("is one that does not answer for a second; a timer is kept for no longer than the answer takes", async () => {
    const { advance, away, store, fake } = instance();
    store.answer = () => new Promise(() => undefined);
    await advance(10_999);
    expect(away).toEqual([]);
    await advance(1);
    expect(away).toEqual([new Error('the store did not answer within 1000 ms who may probe "svc"')]);
    const answered = instance();
    await answered.advance(10_000);
    expect(answered.fake.pendingTimers).toBe(1);
    expect(fake.pendingTimers).toBeGreaterThan(0);
  });

  it("is told of with its own error, and asked again while it is said to be there", async () => {
    const { advance, asked, away, store } = instance();
    const broken = new Error("the connection broke");
    store.answer = () => Promise.reject(broken);
    await advance(10_050);
    expect(away).toEqual([broken, broken]);
    expect(asked).toEqual([10_000, 10_050]);
  });

  it.each([
    { resetTimeoutMs: 60_000, at: 60_500 },
    { resetTimeoutMs: 4_000, at: 4_200 },
  ])(
    "leaves an instance to one probe by itself, after a random part of a second, or of a tenth of the wait of $resetTimeoutMs ms",
    async ({ resetTimeoutMs, at }) => {
      const { advance, asked, turns, breaker, store } = instance({ random: 0.5, resetTimeoutMs });
      store.inTouch = false;
      await advance(at - 1);
      expect(breaker.tryAcquire()).toBeUndefined();
      await advance(1);
      expect(breaker.tryAcquire()).toBeDefined();
      expect(breaker.tryAcquire()).toBeUndefined();
      expect([asked, turns.localProbes]).toEqual([[], 1]);
    },
  );

  it("counts a turn by itself once, as long as a probe's lease lasts", async () => {
    const { advance, turns, store } = instance();
    store.inTouch = false;
    await advance(40_249);
    expect(turns.localProbes).toBe(1);
    await advance(1);
    expect(turns.localProbes).toBe(2);
  });

  it("that is there again is asked after the step back where no probe was made without it, and at once where one was", async () => {
    const idle = instance();
    idle.store.inTouch = false;
    await idle.advance(11_000);
    idle.store.inTouch = true;
    await idle.advance(299);
    expect(idle.asked).toEqual([]);
    expect(idle.breaker.tryAcquire()).toBeUndefined();
    const used = instance();
    used.store.inTouch = false;
    await used.advance(11_000);
    used.breaker.tryAcquire()?.success();
    used.store.inTouch = true;
    await used.advance(50);
    expect(used.asked).toEqual([11_050]);
  });

  it("that is there again leaves a probe that runs to its end", async () => {
    const { advance, asked, breaker, store } = instance();
    store.inTouch = false;
    await advance(11_000);
    const probe = breaker.tryAcquire();
    store.inTouch = true;
    await advance(20_000);
    expect(asked).toEqual([]);
    probe?.success();
    await advance(50);
    expect(asked).toEqual([31_050]);
  });
});
