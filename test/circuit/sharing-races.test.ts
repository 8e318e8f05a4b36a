/** B1, B2: instances whose requests reach one store in any order, as they do over networks that owe nobody anything. */
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import type { CircuitPersistenceDeps } from "../../server/circuit/circuit-persistence.js";
import type { Permit } from "../../server/circuit/permit.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { createFakeClock, type FakeClock, settle } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";
import { createFleetStore, createInstance, type Instance, stopFleet } from "./fleet.js";

afterEach(stopFleet);

const circuit = { failureThreshold: 1, resetTimeoutMs: 1_000, successThreshold: 2, halfOpenPermits: 2 };

type SharedStore = CircuitPersistenceDeps["store"];

/** Requests and answers wait until the scheduler lets them pass. */
function scheduled(store: SharedStore, scheduler: fc.Scheduler): SharedStore {
  const late =
    <Args extends unknown[], Result>(name: string, ask: (...args: Args) => Promise<Result>) =>
    async (...args: Args): Promise<Result> => {
      await scheduler.schedule(Promise.resolve(), `${name} asked`);
      const result = await ask(...args);
      await scheduler.schedule(Promise.resolve(), `${name} answered`);
      return result;
    };
  return {
    loadCircuits: late("load", store.loadCircuits),
    commitTransition: late("commit", store.commitTransition),
    refreshCircuits: late("refresh", store.refreshCircuits),
    holdCircuit: late("hold", store.holdCircuit),
    leaseProbes: late("lease", store.leaseProbes),
    recordOpinions: late("opinions", store.recordOpinions),
    listTransitions: store.listTransitions,
    ping: late("ping", store.ping),
  };
}

async function drain(scheduler: fc.Scheduler): Promise<void> {
  await settle();
  for (let asked = 0; scheduler.count() > 0; asked += 1) {
    if (asked === 10_000) throw new Error("the instances ask without end");
    await scheduler.waitOne();
    await settle();
  }
}

async function pass(clock: FakeClock, scheduler: fc.Scheduler, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 50) {
    await clock.advance(50);
    await drain(scheduler);
  }
}

const LEGAL = new Set(["closed open", "open half_open", "half_open open", "half_open closed", "open closed"]);

function expectOneHistory(rows: readonly CircuitTransition[]): void {
  expect(rows.map(({ version }) => version)).toEqual(rows.map((_, index) => index + 1));
  let before: CircuitTransition["from"] = "closed";
  for (const { from, to, reason } of rows) {
    expect(from).toBe(before);
    expect(LEGAL.has(`${from} ${to}`), `${from} ${to}`).toBe(true);
    if (from === "open" && to === "closed") expect(reason).toBe("operator");
    before = to;
  }
}

const deeds = fc.array(
  fc.record({
    who: fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 4 }),
    deed: fc.constantFrom("fail", "succeed", "hang", "reset", "end well", "end badly"),
    passMs: fc.constantFrom(0, 50, 500, 1_100, 2_500),
  }),
  { size: "max", maxLength: 12 },
);

describe("three instances that act at once", () => {
  it("B1, B2: leave one history, never more probes than one circuit may have, and end up of one mind", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), deeds, async (scheduler, plan) => {
        const clock = createFakeClock();
        const store = createFleetStore(clock);
        const through = scheduled(store.inner, scheduler);
        const instances = ["a", "b", "c"].map((name, index) =>
          createInstance(clock, { circuits: through }, { name, circuit, random: () => index / 3 }),
        );
        for (const { persistence, svc } of instances) {
          persistence.start();
          svc();
        }
        await drain(scheduler);
        const inFlight: { permit: Permit; generation: string }[] = [];

        const call = async (instance: Instance, deed: string) => {
          if (deed === "reset") instance.svc().reset("operator");
          if (deed.startsWith("end")) {
            const [probe] = inFlight.splice(0, 1);
            if (deed === "end well") probe?.permit.success();
            else probe?.permit.failure();
            return;
          }
          const permit = instance.svc().tryAcquire();
          if (permit === undefined) return;
          if (deed === "fail") permit.failure();
          else if (deed !== "hang") permit.success();
          else if (instance.svc().state === "closed") permit.ignored();
          else {
            const row = await store.row();
            const generation = `${row?.state === "open" ? row.version + 1 : row?.version}`;
            inFlight.push({ permit, generation });
            const same = inFlight.filter((probe) => probe.generation === generation);
            expect(same.length).toBeLessThanOrEqual(circuit.halfOpenPermits);
          }
        };

        for (const { who, deed, passMs } of plan) {
          for (const index of who) {
            const instance = instances[index];
            if (instance !== undefined) await call(instance, deed);
          }
          await drain(scheduler);
          await pass(clock, scheduler, passMs);
        }
        await pass(clock, scheduler, 6_500);
        expectOneHistory(await store.rows());
        const stored = (await store.row())?.state ?? "closed";
        for (const { svc, persistence } of instances) {
          expect(svc().isClosed).toBe(stored === "closed");
          expect(persistence.stats()).toMatchObject({ pending: 0, localProbes: 0, merged: 0 });
        }
        // What is stopped asks the store once more.
        const stopped = stopFleet();
        let over = false;
        void stopped.then(() => (over = true));
        for (let turn = 0; !over && turn < 1_000; turn += 1) await drain(scheduler);
        expect(over).toBe(true);
      }),
      { numRuns: runs(60, 0.2) },
    );
  });
});
