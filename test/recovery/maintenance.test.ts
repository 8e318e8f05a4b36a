/** Announced work on a service, from the operator who announces it to the repairs that rest. */
import { initTRPC } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { createMaintenanceRouter } from "../../server/api/maintenance-router.js";
import { createProcedures } from "../../server/api/procedures.js";
import { createMaintenance } from "../../server/recovery/maintenance.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { createFakeClock, settle } from "../support/fake-clock.js";
import { aFailure, aStrategy } from "./a-failure.js";

const MINUTE = 60_000;
const reason = "a new disk";

function setUp() {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  let id = 0;
  const instanceOf = (instance: string, reads = store) => {
    const ids = () => `${instance}-${++id}`;
    const maintenance = createMaintenance({ clock, ids, store: reads, onFault });
    const engine = new RecoveryEngine({ clock, store, instance, inMaintenance: maintenance.covers });
    const strategy = aStrategy();
    engine.registerStrategy(strategy);
    maintenance.start();
    const access = async (ctx: object) => ({
      role: "role" in ctx ? ("operate" as const) : ("read" as const),
      actor: "ada",
    });
    const router = createMaintenanceRouter(createProcedures({ clock, store, onFault, access }), {
      clock,
      store,
      maintenance,
    });
    const callers = initTRPC.context<object>().create().createCallerFactory(router);
    const fail = () => engine.handleFailure(aFailure({ timestamp: clock.now() }));
    return { maintenance, engine, strategy, fail, reader: callers({}), operator: callers({ role: "operate" }) };
  };
  const rows = async () => (await store.listRecoveries({ limit: 50 })).items;
  return { clock, store, faults, instanceOf, rows };
}

describe("maintenance", () => {
  it("holds from its announcement on, though a reading that was asked for before it is answered after it", async () => {
    const { clock, store, instanceOf } = setUp();
    let answer = () => {};
    const reads: typeof store = {
      ...store,
      async listMaintenance(query) {
        const found = await store.listMaintenance(query);
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
        return found;
      },
    };
    const { maintenance, operator } = instanceOf("a", reads);
    await settle();
    await operator.announce({ services: ["llm:*"], forMs: 10 * MINUTE, reason });
    answer();
    await settle();
    expect(maintenance.covers("llm:openai", clock.now())).toBe(true);
    answer();
    await settle();
    expect(maintenance.covers("llm:openai", clock.now())).toBe(true);
  });

  it("lets the repairs of its services rest, and says why in the row", async () => {
    const { store, instanceOf, rows } = setUp();
    const { operator, fail, strategy } = instanceOf("a");
    const window = await operator.announce({ services: ["llm:*"], forMs: 10 * MINUTE, reason });
    expect(window).toMatchObject({ services: ["llm:*"], createdBy: "ada", reason });
    expect((await fail()).recovered).toBe(false);
    expect(strategy.executed).toEqual([]);
    expect(await rows()).toMatchObject([
      { status: "skipped", dryRun: false, result: { refused: { reconnect_service: "maintenance" } } },
    ]);
    expect((await store.listAudit({ limit: 10 })).items).toMatchObject([
      { action: "maintenance.announce", subject: "llm:*", reason, outcome: "succeeded" },
      { action: "maintenance.announce", subject: "llm:*", reason, outcome: "requested" },
    ]);
  });

  it("writes that row also of a failure that a guard was told of", async () => {
    const { instanceOf, rows } = setUp();
    const { operator, engine } = instanceOf("a");
    await operator.announce({ services: ["llm:*"], forMs: 10 * MINUTE, reason });
    const failure = aFailure({ context: { target: "llm:openai" } });
    engine.journal.append({ type: "failure.observed", failure, rescued: false });
    await engine.drainOnce();
    expect(await rows()).toMatchObject([{ result: { refused: { reconnect_service: "maintenance" } } }]);
  });

  it("holds in other instances within seconds", async () => {
    const { clock, instanceOf } = setUp();
    const [one, other] = [instanceOf("a"), instanceOf("b")];
    await one.operator.announce({ services: ["llm:openai"], forMs: 10 * MINUTE, reason });
    await clock.advance(5_000);
    await other.fail();
    expect(other.strategy.executed).toEqual([]);
  });

  it.each([
    ["of another service", { services: ["db:main"], forMs: MINUTE }, 0],
    ["that is over", { services: ["*"], forMs: MINUTE }, MINUTE],
    ["that is still to come", { services: ["*"], forMs: MINUTE, startsAt: Date.UTC(2100, 0, 1) }, 0],
  ])("changes nothing by a window %s", async (_, window, passedMs) => {
    const { clock, instanceOf } = setUp();
    const { operator, fail, strategy } = instanceOf("a");
    await operator.announce({ ...window, reason });
    await clock.advance(passedMs);
    expect((await fail()).recovered).toBe(true);
    expect(strategy.executed).toHaveLength(1);
  });

  it("is over at once when an operator ends it, and cannot be ended twice", async () => {
    const { instanceOf } = setUp();
    const { operator, reader, fail } = instanceOf("a");
    const { windowId } = await operator.announce({ services: ["*"], forMs: 10 * MINUTE, reason });
    expect(await reader.list()).toHaveLength(1);
    await operator.end({ windowId, reason: "done early" });
    expect(await reader.list()).toEqual([]);
    expect(await reader.list({ all: true })).toHaveLength(1);
    expect((await fail()).recovered).toBe(true);
    await expect(operator.end({ windowId, reason })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("needs an operator and a reason", async () => {
    const { instanceOf } = setUp();
    const { reader, operator } = instanceOf("a");
    await expect(reader.announce({ services: ["*"], forMs: MINUTE, reason })).rejects.toMatchObject({
      code: "FORBIDDEN",
    });
    await expect(operator.announce({ services: ["*"], forMs: MINUTE, reason: " " })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
  });

  it("goes on by what was known last while the store is away", async () => {
    const { clock, store, faults, instanceOf } = setUp();
    let isAway = false;
    const { operator, fail, strategy } = instanceOf("a", {
      ...store,
      listMaintenance: (query) => (isAway ? Promise.reject(new Error("away")) : store.listMaintenance(query)),
    });
    await operator.announce({ services: ["*"], forMs: 10 * MINUTE, reason });
    isAway = true;
    await clock.advance(MINUTE);
    await fail();
    expect(strategy.executed).toEqual([]);
    expect(faults.length).toBeGreaterThan(0);
  });
});
