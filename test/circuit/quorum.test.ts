/** Where most of those who use a circuit decide: one that is alone with its failures refuses its own calls and nobody else's. */
import { afterEach, describe, expect, it } from "vitest";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { createCircuitLedger } from "../../server/circuit/circuit-ledger.js";
import { carries, createQuorum } from "../../server/circuit/quorum.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { OpinionTally } from "../../server/ports/store.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { createFleetStore, type Instance, type InstanceOptions, startInstance, stopFleet } from "./fleet.js";
import { createStillClock } from "./still-clock.js";

afterEach(stopFleet);

const circuit = { failureThreshold: 2, resetTimeoutMs: 60_000, successThreshold: 1 };

/** Instances that all use the circuit. */
async function fleetOf(names: readonly string[], options: InstanceOptions = {}) {
  const clock = createFakeClock();
  const store = createFleetStore(clock);
  const instances: Instance[] = [];
  for (const name of names) {
    const instance = await startInstance(clock, store, { circuit, name, sharing: () => "quorum", ...options });
    instance.svc().tryAcquire()?.success();
    instances.push(instance);
  }
  await clock.advance(1_000);
  return { clock, store, instances };
}

function use(instances: readonly Instance[]) {
  for (const instance of instances) instance.svc().tryAcquire()?.success();
}

describe("most of the instances", () => {
  it.each([
    [1, 1, true],
    [1, 2, false],
    [2, 2, true],
    [1, 3, false],
    [2, 3, true],
    [2, 4, false],
    [3, 4, true],
    [3, 5, true],
    [0, 0, false],
  ])("%i of %i: %s", (failing, total, carried) => {
    expect(carries({ failing, total })).toBe(carried);
  });
});

describe("a quorum", () => {
  it("lets the circuit open for all when more than half see it failing, and not before", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"]);
    const [a, b, c] = instances;
    a?.fail(2);
    expect(a?.svc().tryAcquire()).toBeUndefined();
    await clock.advance(6_000);
    expect([b, c].map((other) => other?.svc().state)).toEqual(["closed", "closed"]);
    expect(await store.rows()).toEqual([]);
    b?.fail(2);
    await clock.advance(6_000);
    expect(instances.map((instance) => instance.svc().state)).toEqual(["open", "open", "open"]);
    expect(await store.rows()).toMatchObject([{ instance: "b", to: "open", version: 1 }]);
    expect(instances.map((instance) => instance.persistence.stats().pending)).toEqual([0, 0, 0]);
    await clock.advance(60_000);
    expect(instances.some((instance) => instance.svc().tryAcquire() !== undefined)).toBe(true);
  });

  it("flags an instance that stays alone for a window as poisoned, once, and lets it try the service by itself", async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_fields: object, message: string) => void warnings.push(message) };
    const { clock, store, instances } = await fleetOf(["a", "b", "c"], { logger, quorumWindowMs: 30_000 });
    const [a, b, c] = instances;
    if (a === undefined || b === undefined || c === undefined) throw new Error("no instance");
    a.fail(2);
    for (let second = 0; second < 29; second += 1) {
      use([b, c]);
      await clock.advance(1_000);
    }
    expect(a.persistence.stats()).toMatchObject({ poisoned: [], poisonings: 0 });
    for (let second = 0; second < 20; second += 1) {
      use([b, c]);
      await clock.advance(1_000);
    }
    expect(a.persistence.stats()).toMatchObject({ poisoned: ["svc"], poisonings: 1 });
    expect(warnings.filter((message) => message.includes("in this instance alone: 1 of 3"))).toHaveLength(1);
    expect(b.persistence.stats()).toMatchObject({ poisoned: [], poisonings: 0 });
    await clock.advance(13_000);
    a.svc().tryAcquire()?.success();
    expect(a.svc().state).toBe("closed");
    expect(a.persistence.stats().localProbes).toBe(1);
    await clock.advance(1_000);
    expect(a.persistence.stats()).toMatchObject({ poisoned: [], pending: 0 });
    expect([b, c].map((other) => other.svc().state)).toEqual(["closed", "closed"]);
    expect(await store.rows()).toEqual([]);
    a.fail(2);
    await clock.advance(1_000);
    b.fail(2);
    await clock.advance(6_000);
    expect(c.svc().state).toBe("open");
    expect((await store.rows())[0]).toMatchObject({ version: 1, from: "closed", to: "open" });
  });

  it("is of those who use the circuit: alone in using it, or when the others have left, an instance decides", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"], { quorumWindowMs: 6_000 });
    const [a, b] = instances;
    await b?.persistence.stop();
    await clock.advance(1_000);
    a?.fail(2);
    await clock.advance(2_000);
    expect(await store.rows()).toEqual([]);
    await clock.advance(6_000);
    expect(await store.rows()).toMatchObject([{ instance: "a", to: "open" }]);
    const alone = await fleetOf(["only"]);
    alone.instances[0]?.fail(2);
    await alone.clock.advance(0);
    expect(await alone.store.rows()).toHaveLength(1);
  });

  it("forgets an opinion that changed: one that recovered is not counted for the next", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"]);
    const [a, b, c] = instances;
    a?.fail(2);
    await clock.advance(1_000);
    a?.svc().reset("operator");
    await clock.advance(1_000);
    b?.fail(2);
    await clock.advance(2_000);
    expect(c?.svc().state).toBe("closed");
    expect(await store.rows()).toEqual([]);
  });

  it("is joined by one that was alone when another opened it, and not when others closed it meanwhile", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"]);
    const [a, b] = instances;
    if (a === undefined || b === undefined) throw new Error("no instance");
    a.fail(2);
    await clock.advance(1_000);
    b.svc().forceOpen("operator");
    b.svc().reset("operator");
    await clock.advance(6_000);
    expect(await store.row()).toMatchObject({ state: "closed", version: 2 });
    expect([a.svc().state, a.persistence.stats().pending]).toEqual(["open", 1]);
    b.svc().forceOpen("operator");
    await clock.advance(6_000);
    expect([a.svc().state, a.persistence.stats().pending]).toEqual(["open", 0]);
    expect(a.persistence.stats().superseded).toBe(1);
  });

  it("is waited for by what is not alone: what was done here is settled when it is written", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    const [a, b] = instances;
    if (a === undefined || b === undefined) throw new Error("no instance");
    b.svc().forceOpen("operator");
    await clock.advance(6_000);
    expect(a.svc().state).toBe("open");
    store.control.down = true;
    a.svc().reset("operator");
    await settle();
    store.control.down = false;
    await clock.advance(6_000);
    expect(await store.row()).toMatchObject({ state: "closed", version: 2 });
    expect(instances.map(({ svc }) => svc().state)).toEqual(["closed", "closed"]);
  });

  it("is not asked about what an operator does", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"]);
    instances[0]?.svc().forceOpen("operator");
    await clock.advance(6_000);
    expect(instances.map((instance) => instance.svc().state)).toEqual(["open", "open", "open"]);
    expect(await store.rows()).toMatchObject([{ reason: "operator" }]);
  });

  it("is asked about what a repair does, and about a trip of circuits below", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"]);
    instances[0]?.svc().forceOpen("repair");
    instances[0]?.registry.getOrCreate("llm").forceOpen("children_open");
    await clock.advance(6_000);
    expect(instances.map((instance) => instance.svc().state)).toEqual(["open", "closed", "closed"]);
    expect(await store.rows()).toEqual([]);
  });

  it("that cannot be asked leaves the instance alone with it, until it can", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b"]);
    const [a, b] = instances;
    store.control.down = true;
    a?.fail(2);
    b?.fail(2);
    await clock.advance(3_000);
    expect([a, b].map((instance) => instance?.svc().tryAcquire())).toEqual([undefined, undefined]);
    store.control.down = false;
    await clock.advance(6_000);
    expect(await store.rows()).toMatchObject([{ to: "open" }]);
    expect([a, b].map((instance) => instance?.persistence.stats().pending)).toEqual([0, 0]);
  });

  it("does not write while the instance is trying the service by itself: an opening, or nothing", async () => {
    const { clock, store, instances } = await fleetOf(["a", "b", "c"], {
      circuit: { ...circuit, resetTimeoutMs: 5_000 },
    });
    const [a, b] = instances;
    a?.fail(2);
    await clock.advance(7_000);
    const probe = a?.svc().tryAcquire();
    expect(a?.svc().state).toBe("half_open");
    b?.fail(2);
    await clock.advance(500);
    expect((await store.rows()).map(({ instance, to }) => `${instance} ${to}`)).toEqual(["b open"]);
    await clock.advance(5_500);
    expect(a?.svc().state).not.toBe("closed");
    probe?.success();
    expect(a?.svc().state).not.toBe("closed");
  });
});

/** One instance's part, with a store that says what a test wants; its window is 30 s. */
function onePart() {
  const clock = createStillClock();
  clock.leap(1_000_000);
  const registry = new CircuitBreakerRegistry({ clock });
  const ledger = createCircuitLedger(10);
  const svc = registry.getOrCreate("svc", circuit);
  const said: (readonly boolean[])[] = [];
  const warnings: [object, string][] = [];
  const store = { down: false, failing: 1, total: 3 };
  const quorum = createQuorum({
    registry,
    ledger,
    clock,
    logger: { ...silentLogger, warn: (fields: object, message: string) => void warnings.push([fields, message]) },
    instance: "a",
    decidesTogether: (name) => name === "svc",
    windowMs: 30_000,
    store: {
      async recordOpinions({ opinions }): Promise<readonly OpinionTally[]> {
        if (store.down) throw new Error("store is down");
        said.push(opinions.map(({ failing }) => failing));
        return opinions.map(({ circuitName }) => ({ circuitName, failing: store.failing, total: store.total }));
      },
    },
  });
  const wait = (from: CircuitTransition["from"], to: CircuitTransition["to"], reason: CircuitTransition["reason"]) => {
    const at = { wall: clock.now(), monotonic: clock.monotonic() };
    const moved = { circuitName: "svc", from, to, reason, version: 1, at: at.wall, instance: "a" };
    ledger.pendingOf("svc").push({
      transition: { ...moved, failureEventId: undefined },
      snapshot: svc.snapshot(),
      instant: at,
    });
  };
  const trip = () => {
    for (let i = 0; i < 2; i += 1) svc.tryAcquire()?.failure();
    wait("closed", "open", "failure_threshold");
  };
  const poll = async (afterMs = 0) => {
    clock.leap(afterMs);
    await quorum.poll();
  };
  return { quorum, ledger, svc, store, said, warnings, trip, wait, poll };
}

describe("an instance's part in a quorum", () => {
  it("is alone from the moment it trips, and until it has heard that most agree", async () => {
    const { quorum, store, trip, poll } = onePart();
    expect(quorum.isAlone("svc")).toBe(false);
    trip();
    expect(quorum.isAlone("svc")).toBe(true);
    store.down = true;
    await expect(poll()).rejects.toThrow("store is down");
    expect(quorum.isAlone("svc")).toBe(true);
    store.down = false;
    await poll();
    expect(quorum.isAlone("svc")).toBe(true);
    store.failing = 2;
    await poll(10_000);
    expect(quorum.isAlone("svc")).toBe(false);
  });

  it("is alone again while it tries the service by itself, whatever the others think", async () => {
    const { quorum, store, trip, wait, poll } = onePart();
    store.failing = 2;
    trip();
    await poll();
    wait("open", "half_open", "reset_timeout");
    expect(quorum.isAlone("svc")).toBe(true);
  });

  it("is nothing where what it did began with no closed circuit, or where nobody decides together", () => {
    const { quorum, ledger, wait } = onePart();
    wait("half_open", "open", "probe_failed");
    expect(quorum.isAlone("svc")).toBe(false);
    ledger.drop("svc");
    wait("closed", "open", "operator");
    expect(quorum.isAlone("svc")).toBe(false);
    expect(quorum.isAlone("other")).toBe(false);
  });

  it("is an opinion when that changes, and again each third of the window while it is failing", async () => {
    const { said, svc, trip, poll } = onePart();
    await poll();
    expect(said).toEqual([]);
    trip();
    await poll();
    await poll(9_999);
    expect(said).toEqual([[true]]);
    await poll(1);
    expect(said).toEqual([[true], [true]]);
    svc.reset("repair");
    await poll();
    expect(said).toEqual([[true], [true], [false]]);
    await poll(9_999);
    expect(said).toHaveLength(3);
  });

  it("is an opinion of a circuit that does well while it was used within the window", async () => {
    const { said, svc, poll } = onePart();
    svc.tryAcquire()?.success();
    await poll();
    await poll(9_999);
    expect(said).toEqual([[false]]);
    await poll(1);
    await poll(19_999);
    expect(said).toEqual([[false], [false], [false]]);
    await poll(1);
    await poll(10_000);
    expect(said).toHaveLength(3);
  });

  it("is no opinion from the end of the window on", async () => {
    const { said, svc, poll } = onePart();
    svc.tryAcquire()?.success();
    await poll();
    await poll(30_000);
    expect(said).toEqual([[false]]);
  });

  it("is poisoned when a window has passed since it tripped, and not a moment before", async () => {
    const { quorum, warnings, trip, poll } = onePart();
    trip();
    await poll();
    await poll(29_999);
    expect([quorum.poisoned(), quorum.poisonings]).toEqual([[], 0]);
    await poll(10_000);
    expect([quorum.poisoned(), quorum.poisonings]).toEqual([["svc"], 1]);
    expect(warnings).toEqual([
      [
        { event: "circuit", subject: "svc", failing: 1, instances: 3 },
        'circuit "svc" is open in this instance alone: 1 of 3 instances see it failing',
      ],
    ]);
  });

  it("is poisoned exactly at the end of the window", async () => {
    const { quorum, trip, poll } = onePart();
    trip();
    await poll();
    await poll(30_000);
    expect(quorum.poisoned()).toEqual(["svc"]);
  });
});
