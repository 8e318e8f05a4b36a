/** Two instances of recovery on one real database file, each with its own store, writer thread and connection. */
import { afterEach, describe, expect, it } from "vitest";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure, aResult, aStrategy } from "./a-failure.js";

const endings: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

function setUp() {
  const { path, remove } = createTempFolder();
  endings.push(remove);
  const clock = createFakeClock();
  const instance = async (name: string, strategy: RecoveryStrategy) => {
    const store = createSqliteStore({ clock }, { path });
    endings.push(() => store.close());
    await store.open();
    const faults: unknown[] = [];
    const engine = new RecoveryEngine({ clock, store, instance: name, onFault: (error) => faults.push(error) });
    engine.registerStrategy(strategy);
    return { engine, store, faults };
  };
  return { clock, instance };
}

describe("recovery on SQLite", () => {
  it("repairs a failure that two instances see once, and counts both sightings in one event", async () => {
    const { instance } = setUp();
    const strategy = aStrategy({ verify: async () => true });
    const one = await instance("a", strategy);
    const other = await instance("b", strategy);
    for (const { engine } of [one, other]) {
      const failure = aFailure({ context: { attempt: 1 } });
      engine.journal.append({ type: "failure.observed", failure, rescued: false });
    }
    await Promise.all([one.engine.drainOnce(), other.engine.drainOnce()]);

    expect(strategy.executed).toHaveLength(1);
    expect((await one.store.listFailures({ limit: 9 })).items).toMatchObject([{ occurrences: 2, resolved: false }]);
    expect((await one.store.listRecoveries({ limit: 9 })).items).toMatchObject([
      { status: "succeeded", scope: "service", result: { message: "reconnected", verified: true } },
    ]);
    expect([...one.faults, ...other.faults]).toEqual([]);
  });

  it("lets the survivor end what a killed instance left in progress, and repair what it did not", async () => {
    const { clock, instance } = setUp();
    let reached = () => {};
    const begun = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const dead = await instance(
      "dead",
      aStrategy({
        execute: () => {
          reached();
          return new Promise(() => {});
        },
      }),
    );
    void dead.engine.handleFailure(aFailure({ timestamp: clock.now() }));
    await begun;
    await dead.store.close();

    const strategy = aStrategy({ execute: async () => aResult() });
    const survivor = await instance("b", strategy);
    await survivor.engine.drainOnce();
    expect((await survivor.store.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "in_progress" }]);

    clock.stepWall(120_000);
    const handled = await survivor.engine.handleFailure(aFailure({ timestamp: clock.now() }));
    expect(handled).toMatchObject({ recovered: true });
    const { items } = await survivor.store.listRecoveries({ limit: 9 });
    expect(items.map(({ instance, status }) => [instance, status])).toEqual([
      ["b", "succeeded"],
      ["dead", "abandoned"],
    ]);
  });

  it("lands rescues, openings and decisions with their failures, and keeps counting into the same rows", async () => {
    const { clock, instance } = setUp();
    const { engine, store, faults } = await instance("a", aStrategy({ applicableFailureTypes: ["dns_error"] }));
    for (let round = 0; round < 3; round += 1) {
      const failure = aFailure({ timestamp: clock.now(), context: { target: "llm:openai" } });
      engine.journal.append({ type: "failure.observed", failure, rescued: true });
      engine.journal.append({
        type: "rescue.ended",
        rescue: {
          failureEventId: failure.eventId,
          timestamp: clock.now(),
          actionType: "failover",
          actionStrategy: "provider_failover",
          status: "succeeded",
          target: "llm:gemini",
          durationMs: 12.5,
          message: "another target answered",
          metadata: { from: "llm:openai" },
          dryRun: false,
        },
      });
      engine.journal.append({
        type: "circuit.transitioned",
        transition: {
          circuitName: "llm:openai",
          from: "half_open",
          to: "open",
          reason: "probe_failed",
          version: 2 * round + 1,
          at: clock.now(),
          instance: "a",
          failureEventId: undefined,
        },
      });
      await engine.drainOnce();
    }
    expect((await store.listFailures({ limit: 9 })).items).toMatchObject([{ occurrences: 3 }]);
    const { items } = await store.listRecoveries({ limit: 9 });
    expect(items.map(({ actionStrategy, occurrences }) => [actionStrategy, occurrences]).toSorted()).toEqual([
      ["circuit_break", 3],
      ["provider_failover", 3],
    ]);
    expect(faults).toEqual([]);
  });
});
