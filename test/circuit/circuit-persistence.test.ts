/** Circuits outlive their process and agree with other instances, and no call ever waits for the store but the first ones. */
import { afterEach, describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { CircuitStore } from "../../server/ports/store.js";
import type { CircuitHold, CircuitTransition } from "../../shared/circuit.js";
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

  it("write nothing: creating, starting and calling leave no transition, and no call asks the store", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = createInstance(clock, store);
    expect(store.asked).toEqual([]);
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
    const circuits: CircuitStore = {
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

  it("that happened before the start are written after it", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = createInstance(clock, store);
    a.fail(2);
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
    a.svc().reset("operator");
    expect(await refreshes(1_000)).toBe(1);
    await a.svc().execute(() => 1);
    expect(await refreshes(1_000)).toBe(1);
    expect(await store.row()).toMatchObject({ failureCount: 0, lastSuccessAt: expect.any(Number) });
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
    const circuits: CircuitStore = {
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
      info: (): void => {
        throw new Error("disk full");
      },
    };
    const a = await startInstance(clock, createFleetStore(clock), { logger });
    a.fail(2);
    a.svc().reset("operator");
    expect(lines).toEqual([
      [
        "warn",
        expect.objectContaining({ from: "closed", to: "open", reason: "failure_threshold", version: 1 }),
        'circuit "svc" opened',
      ],
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

describe("stopping", () => {
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
