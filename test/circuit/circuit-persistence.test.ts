/** Circuits outlive their process and agree with other instances, and no call ever waits for the store but the first ones. */
import { afterEach, describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import type { CircuitBreaker } from "../../server/circuit/circuit-breaker.js";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { resetStored } from "../../server/circuit/operator-reset.js";
import type { ControlChannel, ControlListener } from "../../server/ports/control-channel.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { CircuitHold, CircuitTransition } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import { createFakeClock, type FakeClock, settle } from "../support/fake-clock.js";
import { createFleetStore, createInstance, startInstance, stopFleet } from "./fleet.js";

afterEach(stopFleet);

const moved: CircuitTransition = {
  circuitName: "svc",
  from: "closed",
  to: "open",
  reason: "failure_threshold",
  version: 7,
  at: 0,
  instance: "c",
  failureEventId: undefined,
};

const hold: CircuitHold = { state: "forced_open", by: "ada", reason: "migration", until: undefined };

describe("a restart", () => {
  it("brings an open circuit back for what is left of its time, with its version", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const before = await startInstance(clock, store);
    before.fail(2);
    await settle();
    await before.persistence.stop();
    await clock.advance(9_000);
    const after = await startInstance(clock, store);
    expect(after.svc().snapshot()).toMatchObject({ state: "open", version: 1, failureCount: 2 });
    expect(after.svc().tryAcquire()).toBeUndefined();
    await clock.advance(1_000);
    expect(after.svc().tryAcquire()).toBeDefined();
  });

  it("brings a streak back as it was at the last flush", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const before = await startInstance(clock, store);
    before.fail(1);
    await clock.advance(1_000);
    // Killed here: no stop.
    const after = await startInstance(clock, store);
    expect(after.svc().getState().failureCount).toBe(1);
    after.fail(1);
    expect(after.svc().getState().state).toBe("open");
  });

  it("brings a hold back, also for a circuit that is made long after the load", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    await store.inner.holdCircuit("svc", hold, clock.now());
    const after = await startInstance(clock, store);
    await clock.advance(60_000);
    expect(after.svc().snapshot().held).toEqual(hold);
    expect(after.svc().tryAcquire()).toBeUndefined();
  });
});

describe("the first calls", () => {
  it("wait for the stored circuits", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const before = await startInstance(clock, store);
    before.fail(2);
    await settle();
    await before.persistence.stop();

    let open: () => void = () => {};
    store.control.gate = new Promise((resolve) => (open = resolve));
    const after = createInstance(clock, {
      circuits: {
        ...store.circuits,
        loadCircuits: async () => {
          await store.control.gate;
          return store.inner.loadCircuits();
        },
      },
    });
    after.persistence.start();
    const call = after.svc().execute(() => "ran");
    call.catch(() => {});
    await clock.advance(900);
    expect(after.svc().ready).toBeDefined();
    open();
    await expect(call).rejects.toMatchObject({ circuitName: "svc" });
  });

  it("wait at most a second when the store does not answer, then run locally; the circuits are taken over later", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    await store.inner.holdCircuit("svc", hold, clock.now());
    store.control.down = true;
    const failing = {
      ...store.circuits,
      loadCircuits: () => (store.control.down ? Promise.reject(new Error("down")) : store.inner.loadCircuits()),
    };
    const after = createInstance(clock, { circuits: failing });
    after.persistence.start();
    let value: string | undefined;
    void after
      .svc()
      .execute(() => "ran")
      .then((given) => (value = given));
    await clock.advance(999);
    expect(value).toBeUndefined();
    await clock.advance(1);
    expect(value).toBe("ran");
    expect(after.faults.length).toBeGreaterThan(0);
    store.control.down = false;
    await clock.advance(1_000);
    expect(after.svc().snapshot().held).toEqual(hold);
  });

  it("are let go as soon as a store that was away for a moment answers", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    store.control.down = true;
    const a = createInstance(clock, store, { flushIntervalMs: 5_000 });
    a.persistence.start();
    await clock.advance(250);
    store.control.down = false;
    expect(a.svc().ready).toBeDefined();
    await clock.advance(50);
    expect(a.svc().ready).toBeUndefined();
    expect(store.asked).toEqual(["load", "load", "load", "load"]);
  });

  it("once they have waited long enough, the store is asked no more often than at each flush", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    store.control.down = true;
    const a = createInstance(clock, store, { flushIntervalMs: 2_000 });
    a.persistence.start();
    await clock.advance(1_050);
    store.control.asked.length = 0;
    await clock.advance(4_000);
    expect(store.asked).toEqual(["load", "load"]);
  });

  it("find what is stored although starting was asked for twice, which loads once", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    await store.inner.holdCircuit("svc", hold, clock.now());
    const a = createInstance(clock, store);
    a.persistence.start();
    a.persistence.start();
    await settle();
    expect(a.svc().snapshot().held).toEqual(hold);
    expect(store.asked).toEqual(["load"]);
  });

  it("write nothing: creating, starting and calling leave no transition, and no call asks the store", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = createInstance(clock, store);
    expect(store.asked).toEqual([]);
    expect(a.persistence.stats().inTouch).toBe(false);
    a.persistence.start();
    await settle();
    expect(store.asked).toEqual(["load"]);
    store.asked.length = 0;
    for (let i = 0; i < 50; i += 1) await a.svc().execute(() => i);
    expect(store.asked).toEqual([]);
    await clock.advance(1_000);
    expect(store.asked).toEqual(["refresh"]);
    expect(await store.rows()).toEqual([]);
  });
});

describe("transitions", () => {
  it("are written at once, in order, linked to their failure, told to the journal and to other instances", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    const heard: unknown[] = [];
    a.channel.subscribe((message) => heard.push(message));
    a.fail(1);
    a.svc().tryAcquire()?.failure({ failureEventId: "event-1" });
    await clock.advance(10_000);
    a.svc().tryAcquire()?.success();
    await settle();
    const moved = [
      { from: "closed", to: "open", version: 1, failureEventId: "event-1", instance: "a" },
      { from: "open", to: "half_open", version: 2 },
      { from: "half_open", to: "closed", version: 3 },
    ];
    expect(await store.rows()).toMatchObject(moved);
    expect(await store.row()).toMatchObject({ state: "closed", version: 3, failureCount: 0 });
    expect(a.journal.map((entry) => entry.type === "circuit.transitioned" && entry.transition)).toMatchObject(moved);
    expect(heard).toMatchObject(moved.map((transition) => ({ type: "circuit.transitioned", transition })));
  });

  it("survive the store's outage in order, while the circuit works on", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    store.control.down = true;
    a.fail(2);
    expect(a.svc().tryAcquire()).toBeUndefined();
    for (let round = 0; round < 3; round += 1) {
      await clock.advance(10_000);
      a.svc().tryAcquire()?.failure();
    }
    expect(await store.rows()).toEqual([]);
    expect(a.persistence.stats()).toMatchObject({ pending: 7 });
    store.control.down = false;
    await clock.advance(1_000);
    expect((await store.rows()).map(({ version, to }) => `${version} ${to}`)).toEqual([
      "1 open",
      "2 half_open",
      "3 open",
      "4 half_open",
      "5 open",
      "6 half_open",
      "7 open",
    ]);
    expect(a.persistence.stats()).toMatchObject({ pending: 0, merged: 0, superseded: 0 });
  });

  it("beyond the bound become one, counted, and the row ends where the circuit is", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { maxPendingTransitions: 3 });
    store.control.down = true;
    a.fail(2);
    for (let round = 0; round < 4; round += 1) {
      await clock.advance(10_000);
      a.svc().tryAcquire()?.failure();
    }
    // The first is on its way to the store and waits for nothing.
    expect(a.persistence.stats()).toMatchObject({ pending: 3, merged: 6 });
    store.control.down = false;
    await clock.advance(1_000);
    expect(await store.rows()).toMatchObject([
      { version: 1, from: "closed", to: "open" },
      { version: 2, from: "open", to: "half_open" },
      { version: 3, from: "half_open", to: "open" },
    ]);
    expect(await store.row()).toMatchObject({ state: "open", version: 3 });
    a.svc().reset("operator");
    await settle();
    expect(await store.row()).toMatchObject({ state: "closed", version: 4 });
  });

  it("are written again after a reply that was lost, once", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    let lose = true;
    const circuits: typeof store.circuits = {
      ...store.circuits,
      async commitTransition(snapshot, transition) {
        const result = await store.inner.commitTransition(snapshot, transition);
        if (!lose) return result;
        lose = false;
        throw new Error("the connection broke before the reply");
      },
    };
    const a = await startInstance(clock, { circuits });
    a.fail(2);
    await clock.advance(1_000);
    expect(await store.rows()).toHaveLength(1);
    expect(a.persistence.stats()).toMatchObject({ pending: 0, merged: 0, superseded: 0 });
  });

  it("that the store can never take are dropped, counted and told, and those of other circuits are written", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const refused = new ParamedicError("STORE_REQUEST_INVALID", "no such circuit can be kept");
    const circuits: typeof store.circuits = {
      ...store.circuits,
      commitTransition: (snapshot, ...rest) =>
        snapshot.name === "svc" ? Promise.reject(refused) : store.circuits.commitTransition(snapshot, ...rest),
    };
    const a = await startInstance(clock, { circuits }, { syncIntervalMs: 1_000_000 });
    const heard: unknown[] = [];
    a.channel.subscribe((message) => heard.push(message));
    a.fail(2);
    a.registry.getOrCreate("other").forceOpen("operator");
    await settle();
    expect(a.faults).toEqual([refused]);
    expect(a.persistence.stats()).toMatchObject({ pending: 0, superseded: 1, inTouch: true });
    expect(await store.rows("other")).toHaveLength(1);
    expect(heard).toHaveLength(1);
    expect(a.svc().state).toBe("open");
    // It is refreshed like any other, and so gets its turn to probe.
    await clock.advance(12_500);
    expect(a.svc().tryAcquire()).toBeDefined();
    expect(a.faults.slice(1).every((fault) => fault === refused)).toBe(true);
  });

  it("of a circuit that has left meanwhile give way like any other", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { maxCircuits: 1 });
    store.control.down = true;
    a.svc().forceOpen("operator");
    a.svc().reset("operator");
    a.registry.getOrCreate("other");
    expect(a.registry.get("svc")).toBeUndefined();
    await store.inner.commitTransition(
      { ...a.registry.getOrCreate("other").snapshot(), name: "svc", state: "open", version: 7 },
      moved,
    );
    store.control.down = false;
    a.faults.length = 0;
    await clock.advance(1_000);
    expect(a.persistence.stats()).toMatchObject({ pending: 0, superseded: 2, inTouch: true });
    expect(a.faults).toEqual([]);
    expect(await store.row()).toMatchObject({ state: "open", version: 7 });
  });

  it("that happened before the start are written after it, and ask nothing of the store before", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = createInstance(clock, store);
    a.fail(2);
    a.channel.publish({ type: "circuit.transitioned", transition: moved });
    await settle();
    expect(store.asked).toEqual([]);
    a.persistence.start();
    await settle();
    expect(await store.rows()).toMatchObject([{ version: 1, to: "open" }]);
    expect(a.svc().getState().state).toBe("open");
  });
});

async function closedAtVersionTwo(clock: FakeClock, store: ReturnType<typeof createFleetStore>) {
  const a = await startInstance(clock, store);
  a.svc().forceOpen("operator");
  a.svc().reset("operator");
  await settle();
  await a.persistence.stop();
}

async function startedWithoutStore(clock: FakeClock, store: ReturnType<typeof createFleetStore>) {
  store.control.down = true;
  const made = createInstance(clock, store, { name: "b", syncIntervalMs: 1_000_000 });
  made.persistence.start();
  await clock.advance(1_000);
  return made;
}

describe("two instances", () => {
  it("that open at once leave one transition: the slower one takes over what the faster one stored", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { name: "a" });
    const b = await startInstance(clock, store, { name: "b" });
    a.fail(2);
    await clock.advance(0);
    b.fail(2);
    await settle();
    expect(await store.rows()).toMatchObject([{ instance: "a", to: "open", version: 1 }]);
    expect(b.persistence.stats()).toMatchObject({ pending: 0, superseded: 1 });
    expect(b.svc().snapshot()).toMatchObject({ state: "open", version: 1 });
  });

  it("follow one another over the channel: one opens, the other opens; it closes, the other closes", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const channel = createLocalControlChannel({ onFault() {} });
    const a = await startInstance(clock, store, { name: "a", channel });
    const b = await startInstance(clock, store, { name: "b", channel });
    b.svc();
    a.fail(2);
    await settle();
    expect(b.svc().tryAcquire()).toBeUndefined();
    await clock.advance(10_000);
    const probe = a.svc().tryAcquire();
    await settle();
    // While a probes, b waits for its verdict.
    expect(b.svc().tryAcquire()).toBeUndefined();
    probe?.success();
    await settle();
    expect(b.svc().tryAcquire()).toBeDefined();
    expect(await store.rows()).toHaveLength(3);
  });

  it("without a channel meet in the store: state, and holds placed by the other", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { name: "a" });
    const b = await startInstance(clock, store, { name: "b" });
    b.svc();
    a.fail(2);
    await store.inner.holdCircuit("other", hold, clock.now());
    await clock.advance(5_000);
    expect(b.svc().getState().state).toBe("open");
    expect(b.registry.getOrCreate("other").tryAcquire()).toBeUndefined();
    await store.inner.holdCircuit("other", undefined, clock.now());
    await clock.advance(5_000);
    expect(b.registry.getOrCreate("other").tryAcquire()).toBeDefined();
  });

  it("where one knew nothing of the stored history, what it did is written after it and stays", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    await closedAtVersionTwo(clock, store);
    const b = await startedWithoutStore(clock, store);
    b.fail(2);
    await clock.advance(10_000);
    b.svc().tryAcquire()?.failure();
    store.control.down = false;
    await clock.advance(1_000);
    expect((await store.rows()).slice(2)).toMatchObject([
      { version: 3, instance: "b", from: "closed", to: "open" },
      { version: 4, from: "open", to: "half_open" },
      { version: 5, from: "half_open", to: "open" },
    ]);
    expect(await store.row()).toMatchObject({ state: "open", version: 5 });
    expect(b.svc().getState().state).toBe("open");
    b.svc().reset("operator");
    await settle();
    expect(await store.row()).toMatchObject({ state: "closed", version: 6 });
  });

  it("where one knew nothing of the stored history and is probing, that is written after it too, and goes on", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    await closedAtVersionTwo(clock, store);
    const b = await startedWithoutStore(clock, store);
    b.fail(2);
    await clock.advance(10_000);
    const probe = b.svc().tryAcquire();
    store.control.down = false;
    await clock.advance(1_000);
    expect((await store.rows()).slice(2)).toMatchObject([{ version: 3 }, { version: 4, to: "half_open" }]);
    probe?.success();
    await settle();
    expect(await store.row()).toMatchObject({ state: "closed", version: 5 });
    expect(b.persistence.stats()).toMatchObject({ pending: 0, superseded: 0 });
  });

  it("a store that has fallen behind is brought up to where the circuit is, and counts on by itself", async () => {
    const clock = createFakeClock();
    const first = createFleetStore(clock);
    const older = createFleetStore(clock);
    await older.inner.refreshCircuits(
      [new CircuitBreakerRegistry({ clock }).getOrCreate("svc").snapshot()],
      clock.now(),
    );
    let { circuits } = first;
    const a = await startInstance(clock, {
      circuits: new Proxy(circuits, { get: (_, key) => Reflect.get(circuits, key) }),
    });
    a.svc().forceOpen("operator");
    a.svc().reset("operator");
    await settle();
    circuits = older.circuits;
    a.fail(2);
    await settle();
    expect(await older.row()).toMatchObject({ state: "open", version: 1 });
    expect(await older.rows()).toMatchObject([{ version: 1, to: "open" }]);
  });
});

describe("in step with the store", () => {
  it("a sync leaves alone what is as new as the store: streaks, probes in flight, holds of this process", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    a.fail(1);
    await clock.advance(1_000);
    a.fail(1);
    a.svc().hold({ ...hold, state: "metrics_only" });
    await clock.advance(10_000);
    const probe = a.svc().tryAcquire();
    await clock.advance(6_000);
    expect(a.svc().snapshot()).toMatchObject({ state: "half_open", version: 2, held: { state: "metrics_only" } });
    probe?.success();
    expect(a.svc().getState().state).toBe("closed");
    await clock.advance(6_000);
    expect(store.asked.filter((name) => name === "load").length).toBeGreaterThan(2);
    expect(a.svc().snapshot()).toMatchObject({ state: "closed", version: 3, held: { state: "metrics_only" } });
  });

  it("a sync leaves a streak alone that was not written yet", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000 });
    await a.svc().execute(() => 1);
    await clock.advance(1_000);
    a.fail(1);
    store.control.asked.length = 0;
    await clock.advance(1_000);
    expect(store.asked).toEqual(["refresh", "load"]);
    expect(a.svc().getState().failureCount).toBe(1);
  });

  it("each part of a hold that changed in the store is taken over", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000 });
    a.svc();
    const changes: CircuitHold[] = [
      hold,
      { ...hold, state: "disabled" },
      { ...hold, state: "disabled", by: "bob" },
      { ...hold, state: "disabled", by: "bob", reason: "other" },
      { ...hold, state: "disabled", by: "bob", reason: "other", until: clock.now() + 60_000 },
    ];
    for (const change of changes) {
      await store.inner.holdCircuit("svc", change, clock.now());
      await clock.advance(1_000);
      expect(a.svc().snapshot().held).toEqual(change);
    }
  });

  it("a hold that arrived by message is taken once: what is done here afterwards stays", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000 });
    a.svc();
    await clock.advance(1_000);
    await store.inner.holdCircuit("svc", hold, clock.now());
    a.channel.publish({ type: "circuit.hold", circuitName: "svc", hold });
    expect(a.svc().snapshot().held).toEqual(hold);
    await settle();
    a.svc().release();
    await clock.advance(1_000);
    expect(a.svc().snapshot().held).toBeUndefined();
  });

  it("what others did unheard is known after a sync interval, also where that is shorter than a flush", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { flushIntervalMs: 10_000, syncIntervalMs: 300 });
    await clock.advance(6_000);
    await store.inner.commitTransition({ ...a.svc().snapshot(), state: "open", version: 7 }, moved);
    await clock.advance(300);
    expect(a.svc().snapshot()).toMatchObject({ state: "open", version: 7 });
  });

  it("what a hint was about is read again as soon as may be when reading it failed", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000_000 });
    a.svc();
    await store.inner.commitTransition({ ...a.svc().snapshot(), state: "open", version: 7 }, moved);
    store.control.down = true;
    a.channel.publish({ type: "circuit.transitioned", transition: moved });
    await settle();
    expect(a.persistence.stats().inTouch).toBe(false);
    store.control.down = false;
    await clock.advance(999);
    expect(a.svc().state).toBe("closed");
    await clock.advance(1);
    expect(a.svc().state).toBe("open");
    store.control.asked.length = 0;
    await clock.advance(10_000);
    expect(store.asked.filter((name) => name === "load")).toEqual([]);
  });

  it("results of calls in flight do not count in a state that was taken over, though its version is lower than here", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    store.control.down = true;
    for (let round = 0; round < 2; round += 1) {
      a.svc().forceOpen("operator");
      a.svc().reset("operator");
    }
    const inFlight = [a.svc().tryAcquire(), a.svc().tryAcquire()];
    // Another instance was faster.
    const snapshot = a.svc().snapshot();
    await store.inner.commitTransition({ ...snapshot, state: "open", version: 1 }, { ...moved, version: 1 });
    store.control.down = false;
    await clock.advance(1_000);
    expect(a.svc().snapshot()).toMatchObject({ state: "open", version: 5 });
    await store.inner.commitTransition(
      { ...snapshot, state: "closed", version: 2 },
      { ...moved, version: 2, from: "open", to: "closed" },
    );
    await clock.advance(5_000);
    expect(a.svc().snapshot()).toMatchObject({ state: "closed", version: 5, failureCount: 0 });
    for (const permit of inFlight) permit?.failure();
    expect(a.svc().snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("counts of a circuit whose transitions wait are not written: they are of a state that the store does not know", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const sharing = () => "quorum" as const;
    const [a, b] = [
      await startInstance(clock, store, { name: "a", sharing }),
      await startInstance(clock, store, { name: "b", sharing }),
    ];
    for (const { svc } of [a, b]) svc().tryAcquire()?.success();
    await clock.advance(1_000);
    a.fail(2);
    await clock.advance(5_000);
    expect(a.persistence.stats().pending).toBe(1);
    expect(await store.row()).toMatchObject({ state: "closed", failureCount: 0, lastFailureAt: undefined });
  });

  it("how long ago everything was read is known, and nothing while it never was", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    store.control.down = true;
    const a = createInstance(clock, store, { flushIntervalMs: 500 });
    a.persistence.start();
    await clock.advance(2_000);
    expect(a.persistence.stats().ageMs).toBeUndefined();
    store.control.down = false;
    await clock.advance(500);
    await clock.advance(4_000.6);
    a.channel.publish({ type: "circuit.transitioned", transition: moved });
    await settle();
    expect(a.persistence.stats().ageMs).toBe(4_001);
    await clock.advance(1_000);
    expect(a.persistence.stats().ageMs).toBeLessThanOrEqual(500);
  });

  it("hints, however many, do not put off the next read of everything", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    await store.inner.commitTransition({ ...a.svc().snapshot(), state: "open", version: 7 }, moved);
    for (let passed = 0; passed < 5_000; passed += 500) {
      a.channel.publish({ type: "circuit.transitioned", transition: { ...moved, circuitName: "other" } });
      await clock.advance(500);
    }
    expect(a.svc().state).toBe("open");
  });

  it("a hold is placed once, also where the circuit moved since: what is done here afterwards stays", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    await store.inner.holdCircuit("svc", hold, clock.now());
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000 });
    a.svc().forceOpen("operator");
    await settle();
    a.svc().release();
    await clock.advance(2_000);
    expect(a.svc().snapshot().held).toBeUndefined();
  });

  it("no turn to probe is asked for while the store has yet to hear that the circuit is open", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    let answer: () => void = () => {};
    const answered = new Promise<void>((resolve) => (answer = resolve));
    const circuits: typeof store.circuits = {
      ...store.circuits,
      async commitTransition(...step) {
        await answered;
        return store.circuits.commitTransition(...step);
      },
    };
    const a = await startInstance(clock, { circuits });
    a.svc().tryAcquire()?.success();
    await clock.advance(6_000);
    a.fail(2);
    await clock.advance(20_000);
    expect(store.asked).not.toContain("lease");
    expect(a.svc().tryAcquire()).toBeUndefined();
    answer();
    await clock.advance(100);
    expect(store.asked).toContain("lease");
  });

  it("counts are written once an interval, however often the store is read in between", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    await clock.advance(1_000);
    store.control.asked.length = 0;
    for (let hint = 1; hint <= 3; hint += 1) {
      a.svc().tryAcquire()?.success();
      a.channel.publish({ type: "circuit.transitioned", transition: { ...moved, version: hint } });
      await clock.advance(100);
    }
    expect(store.asked.filter((name) => name === "refresh")).toEqual([]);
    await clock.advance(1_000);
    expect(store.asked.filter((name) => name === "refresh")).toHaveLength(1);
  });

  it.each([
    { what: "a closed one", prepare: (breaker: CircuitBreaker) => breaker.tryAcquire()?.success(), state: "closed" },
    {
      what: "one that was only opened by hand",
      prepare: (breaker: CircuitBreaker) => breaker.forceOpen("operator"),
      state: "open",
    },
  ])("a row that is gone is made anew: $what", async ({ prepare, state }) => {
    const clock = createFakeClock();
    let { circuits } = createFleetStore(clock);
    const through = new Proxy(circuits, { get: (_, key) => Reflect.get(circuits, key) });
    const a = await startInstance(clock, { circuits: through });
    prepare(a.svc());
    a.registry.getOrCreate("never used");
    await clock.advance(1_000);
    const empty = createFleetStore(clock);
    circuits = empty.circuits;
    await clock.advance(5_500);
    expect(await empty.row()).toMatchObject({ name: "svc", state });
    expect(await empty.row("never used")).toBeUndefined();
  });

  it("counts are written when they changed, and not otherwise", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000_000 });
    const refreshes = async (ms: number) => {
      store.asked.length = 0;
      await clock.advance(ms);
      return store.asked.length;
    };
    a.svc();
    expect(await refreshes(10_000)).toBe(0);
    a.fail(1);
    expect(await refreshes(1_000)).toBe(1);
    expect(await refreshes(10_000)).toBe(0);
    a.svc().reset("operator");
    expect(await refreshes(1_000)).toBe(1);
    await a.svc().execute(() => 1);
    expect(await refreshes(1_000)).toBe(1);
    expect(await store.row()).toMatchObject({ failureCount: 0, lastSuccessAt: expect.any(Number) });
    store.control.asked.length = 0;
    await clock.advance(1_000_000);
    expect(store.asked).toEqual(["load"]);
  });

  it("a circuit that left the registry and came back counts on where it was", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { maxCircuits: 1 });
    const first = a.svc();
    first.forceOpen("operator");
    first.reset("operator");
    await settle();
    a.registry.getOrCreate("other");
    expect(a.registry.get("svc")).toBeUndefined();
    expect(a.svc()).not.toBe(first);
    expect(a.svc().snapshot()).toMatchObject({ state: "closed", version: 2 });
  });

  it("a message that another instance moved a circuit is a hint: only what the store says is taken over", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    a.svc();
    a.channel.publish({ type: "circuit.transitioned", transition: { ...moved, at: clock.now() } });
    await settle();
    expect(store.asked).toEqual(["load", "load"]);
    expect(a.svc().getState().state).toBe("closed");
    await store.inner.commitTransition({ ...a.svc().snapshot(), state: "open", version: 7 }, moved);
    a.channel.publish({ type: "circuit.transitioned", transition: moved });
    await settle();
    expect(a.svc().snapshot()).toMatchObject({ state: "open", version: 7 });
    store.asked.length = 0;
    a.channel.publish({ type: "circuit.transitioned", transition: moved });
    await settle();
    expect(store.asked).toEqual([]);
  });

  it("one that does not know yet that another probes asks for its turn, is refused, and learns where the circuit is", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store, { name: "a" });
    const b = await startInstance(clock, store, { name: "b", syncIntervalMs: 1_000_000 });
    a.fail(2);
    await settle();
    b.fail(2);
    await settle();
    await clock.advance(10_100);
    const [first, second] = [a.svc().tryAcquire(), b.svc().tryAcquire()];
    expect([first, second].filter((permit) => permit !== undefined)).toHaveLength(1);
    await clock.advance(100);
    const rows = await store.rows();
    expect(rows).toMatchObject([{ version: 1 }, { version: 2, to: "half_open" }]);
    expect((await store.row())?.probeLease?.owner).toBe(rows[1]?.instance);
    expect([a.svc().getState().state, b.svc().getState().state].toSorted()).toEqual(["half_open", "open"]);
  });

  it("a store that always says somebody was faster is asked a few times, then at the next flush", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    let commits = 0;
    const circuits: typeof store.circuits = {
      ...store.circuits,
      async commitTransition(snapshot) {
        commits += 1;
        const rest = { updatedAt: 0, readAt: 0, probeLease: undefined };
        return { committed: false, stored: { ...snapshot, ...rest, state: "closed", version: 100 + commits } };
      },
    };
    const a = await startInstance(clock, { circuits }, { syncIntervalMs: 1_000_000 });
    a.fail(2);
    await settle();
    expect(commits).toBe(4);
    expect(a.persistence.stats().pending).toBe(1);
    await clock.advance(1_000);
    expect(commits).toBe(8);
  });
});

describe("logs", () => {
  it("have one line per transition, a warning when it opened, and a logger that throws is a fault of ours", async () => {
    const clock = createFakeClock();
    const lines: unknown[] = [];
    const logger = {
      ...silentLogger,
      warn: (fields: object, message: string) => void lines.push(["warn", fields, message]),
      info(fields: object, message: string): void {
        lines.push(["info", fields, message]);
        throw new Error("disk full");
      },
    };
    const a = await startInstance(clock, createFleetStore(clock), { logger });
    a.fail(2);
    a.svc().reset("operator");
    const of = { event: "circuit", subject: "svc" };
    expect(lines).toEqual([
      ["warn", { ...of, from: "closed", to: "open", reason: "failure_threshold", version: 1 }, 'circuit "svc" opened'],
      ["info", { ...of, from: "open", to: "closed", reason: "operator", version: 2 }, 'circuit "svc" is closed'],
    ]);
    expect(a.faults).toEqual([new Error("disk full")]);
    expect(a.journal).toHaveLength(2);
  });
});

describe("control messages", () => {
  it("open, reset, hold and release; a hold for a circuit that does not exist here yet waits for it", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    a.svc();
    const send = a.channel.publish;
    send({ type: "circuit.open", circuitName: "svc", reason: "circuit_break", failureEventId: "event-9" });
    expect(a.svc().getState().state).toBe("open");
    send({ type: "circuit.reset", circuitName: "svc", reason: "operator" });
    expect(a.svc().getState().state).toBe("closed");
    await settle();
    expect(await store.rows()).toMatchObject([
      { to: "open", reason: "repair", failureEventId: "event-9" },
      { to: "closed", reason: "operator" },
    ]);
    send({ type: "circuit.hold", circuitName: "svc", hold });
    expect(a.svc().tryAcquire()).toBeUndefined();
    send({ type: "circuit.release", circuitName: "svc" });
    expect(a.svc().tryAcquire()).toBeDefined();
    await store.inner.holdCircuit("later", hold, clock.now());
    send({ type: "circuit.hold", circuitName: "later", hold });
    await settle();
    expect(a.registry.getOrCreate("later").tryAcquire()).toBeUndefined();
    const circuitName = "nobody";
    send({ type: "circuit.open", circuitName, reason: "operator", failureEventId: undefined });
    send({ type: "circuit.reset", circuitName, reason: "operator" });
    send({ type: "circuit.release", circuitName });
    send({ type: "circuit.transitioned", transition: { ...moved, circuitName } });
    send({ type: "settings.changed", name: "mode" });
    expect(a.registry.get(circuitName)).toBeUndefined();
    expect(a.faults).toEqual([]);
  });
});

describe("an operator's reset", () => {
  const openedElsewhere = async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const snapshot = new CircuitBreakerRegistry({ clock }).getOrCreate("svc").snapshot();
    const counts = { failureCount: 3, successCount: 1, openedAt: clock.now(), nextRetryAt: clock.now() + 10_000 };
    await store.inner.commitTransition({ ...snapshot, ...counts, state: "open", version: 7 }, moved);
    const a = await startInstance(clock, store, { syncIntervalMs: 1_000_000 });
    const heard: unknown[] = [];
    a.channel.subscribe((message) => heard.push(message));
    return { clock, store, heard, reset: (name = "svc") => a.persistence.reset(name) };
  };

  it("closes a circuit of this process, here and in the store, and says so", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    a.fail(2);
    await settle();
    expect(await a.persistence.reset("svc")).toEqual({ stored: true });
    expect(a.svc().state).toBe("closed");
    expect((await store.rows()).at(-1)).toMatchObject({ from: "open", to: "closed", reason: "operator", version: 2 });
  });

  it("is stored although a write was under way when it came, and said not to be while the store is away", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    let answer: () => void = () => {};
    store.control.gate = new Promise((resolve) => (answer = resolve));
    a.fail(2);
    const reset = a.persistence.reset("svc");
    answer();
    expect(await reset).toEqual({ stored: true });
    a.fail(2);
    await settle();
    store.control.down = true;
    expect(await a.persistence.reset("svc")).toEqual({ stored: false });
    expect(a.svc().state).toBe("closed");
    store.control.asked.length = 0;
    store.control.down = false;
    expect(await a.persistence.reset("svc")).toEqual({ stored: true });
    expect(store.asked.filter((name) => name === "commit")).toHaveLength(1);
  });

  it("is stored although a run was under way that had written all that it knew of", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    a.fail(2);
    await clock.advance(4_900);
    let answer: () => void = () => {};
    store.control.gate = new Promise((resolve) => (answer = resolve));
    await clock.advance(100);
    expect(store.asked.at(-1)).toBe("load");
    const reset = a.persistence.reset("svc");
    answer();
    expect(await reset).toEqual({ stored: true });
    expect(await store.row()).toMatchObject({ state: "closed", version: 2 });
  });

  it("closes a circuit that only other instances use in the store, and tells them", async () => {
    const { clock, store, heard, reset } = await openedElsewhere();
    expect(await reset()).toEqual({ stored: true });
    const transition = {
      circuitName: "svc",
      from: "open",
      to: "closed",
      reason: "operator",
      version: 8,
      at: clock.now(),
      instance: "a",
      failureEventId: undefined,
    };
    expect((await store.rows()).at(-1)).toEqual(transition);
    expect(heard).toEqual([{ type: "circuit.transitioned", transition }]);
    const none = { failureCount: 0, successCount: 0, openedAt: undefined, nextRetryAt: undefined };
    expect(await store.row()).toMatchObject({ state: "closed", version: 8, ...none });
    store.control.asked.length = 0;
    expect(await reset()).toEqual({ stored: true });
    expect(store.asked).toEqual(["load"]);
  });

  it("tells nobody where another instance was faster, and is nothing where nobody knows the circuit", async () => {
    const { store, heard, reset } = await openedElsewhere();
    const { circuits } = store;
    const row = await store.row();
    if (row === undefined) throw new Error("no row");
    const late = { ...circuits, commitTransition: async () => ({ committed: false, stored: row }) as const };
    const deps = { store: late, channel: { publish: (message: unknown) => void heard.push(message) }, instance: "b" };
    expect(await resetStored("svc", { ...deps, clock: createFakeClock() })).toEqual({ stored: false });
    expect(heard).toEqual([]);
    expect(await reset("nobody")).toBeUndefined();
  });
});

describe("messages of other processes", () => {
  it("that a hold was placed or released are hints: the store's holds, with deadlines by its clock, and nothing else", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    let tell: ControlListener = () => {};
    const channel: ControlChannel = {
      publish() {},
      subscribe(listener) {
        tell = listener;
        return () => undefined;
      },
    };
    const a = await startInstance(clock, store, { channel, syncIntervalMs: 1_000_000 });
    const elsewhere = { remote: true };
    a.svc();
    tell({ type: "circuit.hold", circuitName: "svc", hold }, elsewhere);
    expect(a.svc().snapshot().held).toBeUndefined();
    await settle();
    expect(a.svc().snapshot().held).toBeUndefined();
    await store.inner.holdCircuit("svc", hold, clock.now());
    tell({ type: "circuit.hold", circuitName: "svc", hold }, elsewhere);
    await settle();
    expect(a.svc().snapshot().held).toEqual(hold);
    tell({ type: "circuit.release", circuitName: "svc" }, elsewhere);
    await settle();
    expect(a.svc().snapshot().held).toEqual(hold);
    await store.inner.holdCircuit("svc", undefined, clock.now());
    tell({ type: "circuit.release", circuitName: "svc" }, elsewhere);
    await settle();
    expect(a.svc().snapshot().held).toBeUndefined();
  });

  it("that passed unheard are made up for by reading everything, at once", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    let missed: () => void = () => {};
    const channel: ControlChannel = {
      publish() {},
      subscribe(_listener, onGap = () => {}) {
        missed = onGap;
        return () => undefined;
      },
    };
    const a = await startInstance(clock, store, { channel, syncIntervalMs: 1_000_000 });
    await store.inner.commitTransition({ ...a.svc().snapshot(), state: "open", version: 7 }, moved);
    missed();
    await settle();
    expect(a.svc().state).toBe("open");
  });
});

describe("stopping", () => {
  it("leaves circuits that probe by themselves", async () => {
    const clock = createFakeClock();
    const a = await startInstance(clock, createFleetStore(clock));
    a.fail(2);
    await a.persistence.stop();
    await clock.advance(10_000);
    expect(a.svc().tryAcquire()).toBeDefined();
  });

  it("writes what waits, leaves no timer, and lets calls go", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(clock, store);
    a.fail(1);
    await a.persistence.stop();
    expect(await store.row()).toMatchObject({ failureCount: 1 });
    await clock.advance(100);
    expect(clock.pendingTimers).toBe(0);
  });

  it("before it could load, lets the waiting calls go at once", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    store.control.down = true;
    const a = createInstance(clock, store);
    const call = a.svc().execute(() => "ran");
    await a.persistence.stop();
    await expect(call).resolves.toBe("ran");
  });
});
