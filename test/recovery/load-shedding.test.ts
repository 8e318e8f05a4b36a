import { once } from "node:events";
import { createServer } from "node:http";
import { initTRPC } from "@trpc/server";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/paramedic.js";
import { systemClock } from "../../server/ports/clock.js";
import type { JournalEntry } from "../../server/ports/journal.js";
import { createLoadShedder } from "../../server/recovery/load-shedder.js";
import { CALM, type LoadState, nextLoad } from "../../shared/load-level.js";
import { createFakeClock } from "../support/fake-clock.js";

const limits = { maxDelayMs: 200 };
const stateAfter = (...delays: readonly number[]): LoadState =>
  delays.reduce((state, delayMs) => nextLoad(state, delayMs, limits), CALM);
const times = (count: number, delayMs: number) => Array.from({ length: count }, () => delayMs);

describe("the load level", () => {
  it("rises after three late readings in a row, not for one block however long", () => {
    expect(stateAfter(60_000, 0, 60_000, 0).level).toBe(0);
    expect(stateAfter(250, 250).level).toBe(0);
    expect(stateAfter(250, 250, 250).level).toBe(1);
    expect(stateAfter(450, 450, 450).level).toBe(2);
    expect(stateAfter(250, 250, 250, 450, 450, 450).level).toBe(2);
  });

  it("falls a level at a time, after twenty calm readings in a row", () => {
    expect(stateAfter(...times(3, 450), ...times(19, 0)).level).toBe(2);
    expect(stateAfter(...times(3, 450), ...times(20, 0)).level).toBe(1);
    expect(stateAfter(...times(3, 450), ...times(40, 0)).level).toBe(0);
    expect(stateAfter(...times(3, 450), ...times(19, 0), 300, ...times(19, 0)).level).toBe(2);
  });

  it("stays within its levels and comes to rest, whatever the readings", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 2_000 }), { size: "max", maxLength: 200 }), (delays) => {
        const state = stateAfter(...delays);
        expect([0, 1, 2]).toContain(state.level);
        expect(times(60, 0).reduce((last, delayMs) => nextLoad(last, delayMs, limits), state).level).toBe(0);
      }),
    );
  });
});

describe("shedding", () => {
  /** A clock whose timers fire late by as much as the test says. */
  function lateClock() {
    const clock = createFakeClock();
    const state = { lateMs: 0 };
    return {
      state,
      clock: { ...clock, setTimer: (run: () => void, delayMs: number) => clock.setTimer(run, delayMs + state.lateMs) },
      advance: (ms: number) => clock.advance(ms),
    };
  }

  function setUp(permitted: boolean | (() => boolean) = true) {
    const { clock, state, advance } = lateClock();
    const entries: JournalEntry[] = [];
    let sequence = 0;
    const shedder = createLoadShedder(
      {
        clock,
        ids: () => `f${++sequence}`,
        journal: { append: (entry) => void entries.push(entry) },
        instance: "web-1",
        permitted: () => (typeof permitted === "boolean" ? permitted : permitted()),
      },
      limits,
    );
    shedder.start();
    return { shedder, state, advance, entries };
  }

  it("refuses what matters least while the loop is late, and tells what it was and what came of it", async () => {
    const { shedder, state, advance, entries } = setUp();
    state.lateMs = 300;
    await advance(2_000);
    expect(shedder.gate.level).toBe(1);
    expect([shedder.gate.refuses("optional"), shedder.gate.refuses("important")]).toEqual([true, false]);
    state.lateMs = 500;
    await advance(3_000);
    expect([shedder.gate.refuses("important"), shedder.gate.refuses("critical")]).toEqual([true, false]);
    state.lateMs = 0;
    await advance(6_000);
    expect(shedder.gate.level).toBe(0);
    expect(shedder.gate.refuses("optional")).toBe(false);
    expect(entries[0]).toMatchObject({
      failure: { failureType: "event_loop_blocked", affectedService: "process:web-1", severity: "high" },
    });
    expect(entries.at(-1)).toMatchObject({
      rescue: {
        failureEventId: "f1",
        actionType: "shed",
        actionStrategy: "load_shedding",
        status: "succeeded",
        scope: "service",
        metadata: { refused: 2, peakDelayMs: 500 },
        dryRun: false,
      },
    });
  });

  it("refuses nothing where the mode does not permit it, and tells what it would have done", async () => {
    const { shedder, state, advance, entries } = setUp(false);
    state.lateMs = 500;
    await advance(3_000);
    expect(shedder.gate.level).toBe(0);
    shedder.stop();
    expect(entries.at(-1)).toMatchObject({ rescue: { status: "cancelled", dryRun: true } });
  });

  it("refuses no more calls as soon as the mode does not permit it any more, however late the loop is still", async () => {
    let permitted = true;
    const { shedder, state, advance, entries } = setUp(() => permitted);
    state.lateMs = 500;
    await advance(3_000);
    expect(shedder.gate.refuses("important")).toBe(true);
    permitted = false;
    await advance(700);
    expect(shedder.gate.refuses("important")).toBe(false);
    expect(entries).toContainEqual(
      expect.objectContaining({
        rescue: expect.objectContaining({ status: "cancelled", dryRun: false, failureEventId: "f1" }),
      }),
    );
    shedder.stop();
    expect(entries.at(-1)).toMatchObject({ rescue: { status: "cancelled", dryRun: true } });
  });
});

describe("an overloaded process", () => {
  const endings: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end();
  });

  it("refuses optional calls with TOO_MANY_REQUESTS before their work, answers critical ones, and is open again afterwards", async () => {
    const store = createMemoryStore({ clock: systemClock });
    const paramedic = createParamedic({
      logger: false,
      redis: false,
      instance: "web-1",
      // More than a busy machine is late by itself, or it would go on shedding.
      loadShedding: { maxDelayMs: 100 },
      overrides: { store, environment: readEnvironment({}) },
    });
    endings.push(() => paramedic.shutdown());
    await paramedic.ready;
    interface Meta {
      paramedic?: { criticality?: "critical" | "important" | "optional" };
    }
    const t = initTRPC.meta<Meta>().create();
    const procedure = t.procedure.use(paramedic.middleware());
    const ran: string[] = [];
    const router = t.router({
      teaser: procedure.meta({ paramedic: { criticality: "optional" } }).query(() => ran.push("teaser")),
      pay: procedure.meta({ paramedic: { criticality: "critical" } }).mutation(() => ran.push("pay")),
    });
    const caller = t.createCallerFactory(router)({});

    // The loop is really blocked, again and again.
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    endings.push(() => server.close());
    let refusal: unknown;
    for (let round = 0; round < 60 && refusal === undefined; round += 1) {
      block(270);
      await new Promise((resolve) => setTimeout(resolve, 1));
      ran.length = 0;
      refusal = await caller.teaser().then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    expect(refusal).toMatchObject({ code: "TOO_MANY_REQUESTS", name: "TRPCError" });
    expect(ran).toEqual([]);
    await caller.pay();
    expect(ran).toEqual(["pay"]);

    await expect
      .poll(
        () =>
          caller.teaser().then(
            () => true,
            () => false,
          ),
        { interval: 100 },
      )
      .toBe(true);
    await expect
      .poll(async () => (await store.listRecoveries({ actionStrategy: "load_shedding", limit: 9 })).items)
      .toMatchObject([{ actionType: "shed", status: "succeeded", scope: "service", target: "process:web-1" }]);
    const failures = await store.listFailures({ limit: 9 });
    expect(failures.items.map(({ failureType }) => failureType)).toEqual(["event_loop_blocked"]);
  }, 120_000);
});

function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}
