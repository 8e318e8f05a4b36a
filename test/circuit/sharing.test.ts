/** A fleet over one store: who probes, who hears of what, and what happens when clocks, store or messages do not do their part. */
import { afterEach, describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import type { Permit } from "../../server/circuit/permit.js";
import { PROBE_TURN_MS } from "../../server/circuit/probe-turns.js";
import { createFakeClock, type FakeClock, settle } from "../support/fake-clock.js";
import {
  callUntil,
  createFleetStore,
  createInstance,
  type Instance,
  type InstanceOptions,
  skewedClock,
  startInstance,
  stopFleet,
} from "./fleet.js";

afterEach(stopFleet);

const circuit = { failureThreshold: 2, resetTimeoutMs: 10_000, successThreshold: 2, halfOpenPermits: 2 };

async function fleetOf(names: readonly string[], options: InstanceOptions = {}) {
  const clock = createFakeClock();
  const store = createFleetStore(clock);
  const instances: Instance[] = [];
  for (const [index, name] of names.entries()) {
    const random = () => (index === 0 ? 0 : 0.5);
    instances.push(await startInstance(clock, store, { circuit, name, random, ...options }));
  }
  return { clock, store, instances };
}

/** `first` trips the circuit, and the others hear of it. */
async function openEverywhere(clock: FakeClock, [first, ...others]: readonly Instance[]) {
  for (const other of others) other.svc();
  first?.fail(2);
  await clock.advance(5_001);
  for (const other of others) expect(other.svc().state).toBe("open");
}

describe("probes of a fleet", () => {
  it("B2: are as many as one circuit's, over all instances, however many call", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c", "d"]);
    await openEverywhere(clock, instances);
    const inFlight: { permit: Permit; instance: Instance }[] = [];
    let most = 0;
    await callUntil(clock, 12_000, instances, (permit, instance) => {
      inFlight.push({ permit, instance });
      most = Math.max(most, inFlight.length);
    });
    expect(most).toBe(2);
    expect(new Set(inFlight.map(({ instance }) => instance.name)).size).toBe(1);
    expect((await store.rows()).map(({ to }) => to)).toEqual(["open", "half_open"]);
    for (const { permit } of inFlight) permit.success();
    await clock.advance(5_001);
    expect(instances.map((instance) => instance.svc().state)).toEqual(["closed", "closed", "closed", "closed"]);
    expect(instances.map((instance) => instance.persistence.stats().localProbes)).toEqual([0, 0, 0, 0]);
  });

  it("B2: of an owner that was killed are followed by another's once its turn is over, within the same half-open", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"]);
    await openEverywhere(clock, instances);
    const owners: string[] = [];
    const took = (permit: Permit, instance: Instance) => {
      owners.push(instance.name);
      if (owners.length === 1) permit.ignored();
    };
    const [a] = instances;
    if (a === undefined) throw new Error("no instance");
    await callUntil(clock, 6_000, [a], took);
    expect(new Set(owners)).toEqual(new Set(["a"]));
    // Killed: it neither calls nor renews. What it had in flight is gone with it.
    const rest = instances.filter((instance) => instance !== a);
    store.control.unheard = "a";
    owners.length = 0;
    await callUntil(clock, PROBE_TURN_MS + 500, rest, took);
    expect(new Set(owners).size).toBe(1);
    expect(["b", "c"]).toContain(owners[0]);
    expect((await store.rows()).map(({ to }) => to)).toEqual(["open", "half_open"]);
  });

  it("begin in time although nobody calls, so that the first call is one", async () => {
    const { clock, instances } = await fleetOf(["a"]);
    instances[0]?.fail(2);
    await clock.advance(10_100);
    expect(instances[0]?.svc().tryAcquire()).toBeDefined();
  });

  it("are handed to who has calls: an idle instance gives up a turn that it does not use", async () => {
    const { clock, store, instances } = await fleetOf(["idle", "busy"]);
    await openEverywhere(clock, instances);
    const [, busy] = instances;
    if (busy === undefined) throw new Error("no instance");
    // The idle one tripped it, so its wait is over first.
    await clock.advance(5_500);
    expect((await store.row())?.probeLease?.owner).toBe("idle");
    let firstAt: number | undefined;
    const from = clock.monotonic();
    await callUntil(clock, 6_000, [busy], (permit) => {
      firstAt ??= clock.monotonic() - from;
      permit.success();
    });
    expect(firstAt).toBeLessThanOrEqual(PROBE_TURN_MS + 250);
    expect(busy.svc().state).toBe("closed");
    expect((await store.rows()).map(({ to, instance }) => `${instance} ${to}`)).toEqual([
      "idle open",
      "idle half_open",
      "busy closed",
    ]);
  });

  it("leave a moment between two turns of an idle owner, in which one with calls comes first", async () => {
    const { clock, store, instances } = await fleetOf(["a"]);
    instances[0]?.fail(2);
    await clock.advance(10_100);
    let free = 0;
    for (let passed = 0; passed < 2 * PROBE_TURN_MS; passed += 10) {
      await clock.advance(10);
      const row = await store.row();
      if ((row?.probeLease?.until ?? 0) <= (row?.readAt ?? 0)) free += 10;
    }
    expect(free).toBeGreaterThanOrEqual(200);
    expect(free).toBeLessThan(1_000);
  });

  it("last as long as they need: a turn with a probe in flight is prolonged", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    await openEverywhere(clock, instances);
    const permits: Permit[] = [];
    await callUntil(clock, 6_000, instances.slice(0, 1), (permit) => permits.push(permit));
    await callUntil(clock, 4 * PROBE_TURN_MS, instances, (permit) => permits.push(permit), 100);
    expect(permits).toHaveLength(2);
    for (const permit of permits) permit.success();
    await settle();
    expect((await store.rows()).at(-1)).toMatchObject({ to: "closed", instance: "a" });
  });

  it("go on for ever where nobody calls, with few writes and no further transitions", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    await openEverywhere(clock, instances);
    await clock.advance(10_000);
    store.asked.length = 0;
    await clock.advance(60_000);
    const leases = store.asked.filter((name) => name === "lease").length;
    expect(leases).toBeGreaterThan(5);
    expect(leases).toBeLessThan(40);
    expect(await store.rows()).toHaveLength(2);
  });

  it("B4: a verdict that comes when another instance has the turn counts for nothing", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    const [a, b] = instances;
    if (a === undefined || b === undefined) throw new Error("no instance");
    await openEverywhere(clock, instances);
    const late: Permit[] = [];
    await callUntil(clock, 6_000, [a], (permit) => late.push(permit));
    // Stopped for a while, as a frozen machine is: its turn is over in the store, and it has not noticed.
    store.control.unheard = "a";
    await callUntil(clock, PROBE_TURN_MS + 500, [b], () => undefined);
    expect((await store.row())?.probeLease?.owner).toBe("b");
    for (const permit of late) permit.success();
    await settle();
    expect(await store.row()).toMatchObject({ state: "half_open", version: 2 });
    expect(a.svc().state).toBe("open");
    expect(a.persistence.stats().superseded).toBeGreaterThan(0);
  });
});

describe("what one instance did", () => {
  it("B3: is known to all by messages at once, and without them by the next read of the store", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const channel = createLocalControlChannel({ onFault() {} });
    const [a, b] = [
      await startInstance(clock, store, { circuit, name: "a", channel }),
      await startInstance(clock, store, { circuit, name: "b", channel }),
    ];
    const c = await startInstance(clock, store, { circuit, name: "c", syncIntervalMs: 2_000 });
    for (const instance of [b, c]) instance.svc();
    await clock.advance(1_990);
    a.fail(2);
    await settle();
    expect([b.svc().state, c.svc().state]).toEqual(["open", "closed"]);
    await clock.advance(2_000);
    expect(c.svc().state).toBe("open");
  });

  it("B3: outlives all instances, with what is left of the wait, and wins over first calls", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const before = await startInstance(clock, store, { circuit, name: "a" });
    before.fail(2);
    await settle();
    await clock.advance(4_000);
    await stopFleet();
    await clock.advance(3_000);
    const after = createInstance(clock, store, { circuit, name: "b" });
    const call = after.svc().execute(() => "ran");
    call.catch(() => undefined);
    after.persistence.start();
    await expect(call).rejects.toMatchObject({ circuitName: "svc" });
    await clock.advance(2_900);
    expect(after.svc().tryAcquire()).toBeUndefined();
    await clock.advance(300);
    expect(after.svc().tryAcquire()).toBeDefined();
  });

  it("holds nobody for ever: a row that nobody refreshed for days lets the first call probe", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const before = await startInstance(clock, store, { circuit, name: "a" });
    before.fail(2);
    await clock.advance(10_100);
    expect((await store.row())?.state).toBe("half_open");
    before.svc().tryAcquire();
    await clock.advance(1_000);
    await stopFleet();
    await clock.advance(3 * 24 * 3_600_000);
    const after = await startInstance(clock, store, { circuit, name: "b" });
    expect(after.svc().tryAcquire()).toBeUndefined();
    await clock.advance(50);
    expect(after.svc().tryAcquire()).toBeDefined();
  });

  it("stays here with `local`: neither state nor counts are shared, but a hold by hand is", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"], { sharing: () => "local" });
    const [a, b] = instances;
    if (a === undefined || b === undefined) throw new Error("no instance");
    b.svc();
    a.fail(2);
    await clock.advance(10_000);
    expect([a.svc().state, b.svc().state]).toEqual(["open", "closed"]);
    expect(a.svc().tryAcquire()).toBeDefined();
    expect(await store.row()).toBeUndefined();
    expect(a.journal).toHaveLength(2);
    await store.inner.holdCircuit(
      "svc",
      { state: "forced_open", by: "ada", reason: "x", until: undefined },
      clock.now(),
    );
    await clock.advance(5_001);
    expect([a.svc().tryAcquire(), b.svc().tryAcquire()]).toEqual([undefined, undefined]);
    const shared = await startInstance(clock, store, { circuit, name: "s" });
    shared.svc().forceOpen("operator");
    await settle();
    const late = await startInstance(clock, store, { circuit, name: "c", sharing: () => "local" });
    expect(late.svc().tryAcquire()).toBeUndefined();
    expect(late.svc().state).toBe("closed");
  });

  it("B8: does not move a hold by hand: it wins in every instance, over probes too, until it is released or expires", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    await openEverywhere(clock, instances);
    const hold = { state: "forced_open", by: "ada", reason: "migration", until: clock.now() + 30_000 } as const;
    await store.inner.holdCircuit("svc", hold, clock.now());
    await clock.advance(5_001);
    store.asked.length = 0;
    await callUntil(clock, 20_000, instances, () => expect.unreachable("a call passed the hold"), 100);
    expect(store.asked).not.toContain("lease");
    const probes: Permit[] = [];
    await callUntil(clock, 12_000, instances, (permit) => probes.push(permit), 100);
    expect(probes.length).toBeGreaterThan(0);
  });
});

describe("clocks that do not agree", () => {
  it.each([
    { ahead: 300_000, behind: -300_000 },
    { ahead: -300_000, behind: 300_000 },
  ])(
    "B5: do no harm: the wait is as long for everybody, with clocks $ahead ms and $behind ms off",
    async ({ ahead, behind }) => {
      const clock = createFakeClock();
      const store = createFleetStore(clock);
      const a = await startInstance(skewedClock(clock, ahead), store, { circuit, name: "a" });
      const b = await startInstance(skewedClock(clock, behind), store, { circuit, name: "b" });
      b.svc();
      a.fail(2);
      const from = clock.monotonic();
      await clock.advance(5_001);
      expect(b.svc().state).toBe("open");
      await stopFleet();
      const c = await startInstance(skewedClock(clock, ahead), store, { circuit, name: "c" });
      const d = await startInstance(skewedClock(clock, behind), store, { circuit, name: "d" });
      let firstAt: number | undefined;
      await callUntil(clock, 6_000, [c, d], () => {
        firstAt ??= clock.monotonic() - from;
      });
      expect(firstAt).toBeGreaterThanOrEqual(10_000);
      expect(firstAt).toBeLessThanOrEqual(10_500);
    },
  );

  it("B5: also where a wait is longer than the circuit's usual one, because the service asked for it", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const a = await startInstance(skewedClock(clock, 300_000), store, { circuit, name: "a" });
    const from = clock.monotonic();
    a.svc().tryAcquire()?.failure({ openForMs: 40_000 });
    await settle();
    await stopFleet();
    const b = await startInstance(skewedClock(clock, -300_000), store, { circuit, name: "b" });
    let firstAt: number | undefined;
    await callUntil(
      clock,
      45_000,
      [b],
      () => {
        firstAt ??= clock.monotonic() - from;
      },
      50,
    );
    expect(firstAt).toBeGreaterThanOrEqual(40_000);
    expect(firstAt).toBeLessThanOrEqual(40_500);
  });

  it("B5: and a wall clock that steps while the circuit is open changes nothing for who runs", async () => {
    const clock = createFakeClock();
    const wall = skewedClock(clock, 0);
    const store = createFleetStore(clock);
    const a = await startInstance(wall, store, { circuit, name: "a" });
    a.fail(2);
    await clock.advance(1_000);
    for (const step of [-3_600_000, 7_200_000, -3_600_000]) {
      wall.stepWall(step);
      await clock.advance(2_000);
      expect(a.svc().tryAcquire()).toBeUndefined();
    }
    await clock.advance(3_100);
    expect(a.svc().tryAcquire()).toBeDefined();
  });

  it("B5: and a store whose clock stepped ahead or back never keeps a circuit open beyond its longest wait", async () => {
    const clock = createFakeClock();
    const databaseClock = skewedClock(clock, 0);
    const store = createFleetStore(databaseClock);
    const a = await startInstance(clock, store, {
      name: "a",
      circuit: { ...circuit, maxResetTimeoutMs: 15_000 },
    });
    a.fail(2);
    await settle();
    await stopFleet();
    databaseClock.stepWall(-3_600_000);
    const b = await startInstance(clock, store, { name: "b", circuit: { ...circuit, maxResetTimeoutMs: 15_000 } });
    let probes = 0;
    await callUntil(clock, 15_000 + 3 * PROBE_TURN_MS, [b], () => {
      probes += 1;
    });
    expect(probes).toBeGreaterThan(0);
  });
});

describe("a store that is away", () => {
  it("B6: leaves each instance on its own: it opens, and probes alone after a random wait, counted", async () => {
    const clock = createFakeClock();
    const store = createFleetStore(clock);
    const random = { a: 0.2, b: 0.9 };
    const instances = [
      await startInstance(clock, store, { circuit, name: "a", random: () => random.a }),
      await startInstance(clock, store, { circuit, name: "b", random: () => random.b }),
    ];
    store.control.down = true;
    for (const instance of instances) instance.fail(2);
    const began = new Map<string, number>();
    const inFlight = new Map<string, number>();
    await callUntil(clock, 12_000, instances, (_permit, { name }) => {
      if (!began.has(name)) began.set(name, clock.monotonic());
      inFlight.set(name, (inFlight.get(name) ?? 0) + 1);
    });
    expect([...inFlight]).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
    expect((began.get("b") ?? 0) - (began.get("a") ?? 0)).toBeGreaterThan(500);
    for (const { persistence, faults } of instances) {
      expect(persistence.stats()).toMatchObject({ localProbes: 1, inTouch: false, pending: 2 });
      expect(faults.length).toBeGreaterThan(0);
    }
  });

  it("B6: is told of all that happened in one step when it is back: nobody sees what was over meanwhile", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    const [a, b] = instances;
    if (a === undefined || b === undefined) throw new Error("no instance");
    b.svc();
    store.control.down = true;
    a.fail(2);
    await callUntil(clock, 13_000, [a], (permit) => permit.success());
    expect(a.svc().state).toBe("closed");
    const seen: string[] = [];
    b.registry.subscribe({ moved: (breaker) => void seen.push(breaker.state) });
    store.control.down = false;
    await clock.advance(7_000);
    expect((await store.rows()).map(({ to }) => to)).toEqual(["open", "half_open", "closed"]);
    expect(seen).toEqual(["closed"]);
    expect(a.persistence.stats()).toMatchObject({ pending: 0, inTouch: true });
  });

  it("B6: is told of it in one step also where requests hang until it is back, and one that was sent before got lost", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"], { syncIntervalMs: 1_000_000 });
    const [a, b] = instances;
    if (a === undefined || b === undefined) throw new Error("no instance");
    store.control.down = true;
    a.fail(2);
    await settle();
    store.control.down = false;
    let arrive: () => void = () => {};
    store.control.gate = new Promise((resolve) => (arrive = resolve));
    await callUntil(clock, 14_000, [a], (permit) => permit.success());
    expect(a.svc().state).toBe("closed");
    store.asked.length = 0;
    arrive();
    await settle();
    expect(store.asked.filter((name) => name === "commit")).toHaveLength(1);
    expect(await store.row()).toMatchObject({ state: "closed", version: 3 });
  });

  it("B6: takes over a probe that runs: the turn goes on without it, and the service is asked by no second one", async () => {
    const { clock, store, instances } = await fleetOf(["a"]);
    const [a] = instances;
    if (a === undefined) throw new Error("no instance");
    a.fail(2);
    const permits: Permit[] = [];
    await callUntil(clock, 10_200, [a], (permit) => permits.push(permit));
    expect(permits).toHaveLength(2);
    store.control.down = true;
    await callUntil(clock, 2 * PROBE_TURN_MS, [a], (permit) => permits.push(permit), 50);
    expect(permits).toHaveLength(2);
    for (const permit of permits) permit.success();
    expect(a.svc().state).toBe("closed");
  });

  it("B6: that hangs makes no call wait: after a second the probe goes without it", async () => {
    const { clock, store, instances } = await fleetOf(["a"]);
    const [a] = instances;
    if (a === undefined) throw new Error("no instance");
    a.fail(2);
    await clock.advance(9_000);
    let answer: () => void = () => {};
    store.control.gate = new Promise((resolve) => (answer = resolve));
    let firstAt: number | undefined;
    const from = clock.monotonic();
    await callUntil(clock, 4_000, [a], () => {
      firstAt ??= clock.monotonic() - from;
    });
    expect(firstAt).toBeGreaterThan(1_000);
    expect(firstAt).toBeLessThan(3_300);
    answer();
  });

  it("hands a local turn back to the fleet when it is there again", async () => {
    const { clock, store, instances } = await fleetOf(["a"]);
    const [a] = instances;
    if (a === undefined) throw new Error("no instance");
    store.control.down = true;
    a.fail(2);
    await clock.advance(12_000);
    expect(a.svc().state).toBe("half_open");
    store.control.down = false;
    await clock.advance(3_000);
    expect((await store.row())?.probeLease?.owner).toBe("a");
    expect([a.svc().tryAcquire(), a.svc().tryAcquire()]).not.toContain(undefined);
  });

  it("that lost a circuit's row gets it again, and the circuit its probes", async () => {
    const clock = createFakeClock();
    const first = createFleetStore(clock);
    let { circuits } = first;
    const through = new Proxy(circuits, { get: (_, key) => Reflect.get(circuits, key) });
    const a = await startInstance(clock, { circuits: through }, { circuit, name: "a" });
    a.fail(2);
    await clock.advance(1_000);
    const empty = createFleetStore(clock);
    circuits = empty.circuits;
    await clock.advance(5_500);
    expect(await empty.row()).toMatchObject({ name: "svc", state: "open" });
    await clock.advance(5_000);
    expect(a.svc().tryAcquire()).toBeDefined();
  });
});
