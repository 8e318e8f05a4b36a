import { describe, expect, it } from "vitest";
import { ParamedicError } from "../../shared/errors.js";
import { MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { failureOf, repairOf, rescueOf, sightingOf } from "../conformance/store-fixtures.js";
import { checkOf, createWatchdogHarness } from "./watchdog-harness.js";

const by = { changedBy: "ada", reason: "repaired by hand" };

describe("the watchdog's safety mode", () => {
  it("begins above half of own repairs failing, over all instances, and ends once that has fallen", async () => {
    const { clock, watchdog, settings, repaired, alerts } = await createWatchdogHarness();
    await repaired("failed", 5);
    await repaired("succeeded", 5);
    await watchdog.beat();
    expect(settings.safety?.()).toBe(false);
    await repaired("rolled_back", 1);
    await watchdog.beat();
    expect(settings.safety?.()).toBe(true);
    expect(settings.stopped()).toBe(false);
    expect(watchdog.state()).toMatchObject({ verdict: "safety", own: { ended: 11, failed: 6 } });
    expect(alerts).toEqual([]);
    await clock.advance(31 * MINUTE_MS);
    await watchdog.beat();
    expect(settings.safety?.()).toBe(false);
    await clock.advance(SECOND_MS);
    expect(settings.stored("safety_mode")).toMatchObject({ value: false, changedBy: "watchdog" });
  });

  it("says nothing of fewer than ten repairs", async () => {
    const { watchdog, settings, repaired } = await createWatchdogHarness();
    await repaired("failed", 9);
    await watchdog.beat();
    expect(settings.safety?.()).toBe(false);
    expect(watchdog.state().own.rate).toBeUndefined();
  });

  it("is not switched on by users' calls: ten thousand failed rescues in an outage leave repairs on", async () => {
    const { watchdog, settings, memory, clock } = await createWatchdogHarness();
    for (let i = 0; i < 100; i += 1) {
      const sighting = sightingOf({ affectedService: `llm:${i}`, timestamp: clock.now() }, { occurrences: 100 });
      await memory.recordFailures([sighting]);
      await memory.recordRescues([
        rescueOf(sighting.failure.eventId, { status: "failed", occurrences: 100, timestamp: clock.now() }),
      ]);
    }
    await watchdog.beat();
    expect(watchdog.state()).toMatchObject({ verdict: "normal", own: { ended: 0 } });
    expect([settings.safety?.(), settings.stopped()]).toEqual([false, false]);
  });

  it("has repairs decided and recorded, not carried out", async () => {
    const { watchdog, engine, settings, repaired, store } = await createWatchdogHarness();
    let effects = 0;
    engine.registerStrategy({
      name: "reconnect_it",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["database_connection"],
      async execute() {
        effects += 1;
        return { success: true, actionType: "reconnect", actionStrategy: "reconnect_it", durationMs: 1, message: "" };
      },
    });
    const broken = () => failureOf({ affectedService: "db:other", failureType: "database_connection" });
    await repaired("succeeded", 4);
    await repaired("failed", 6);
    await watchdog.beat();
    expect(settings.safety?.()).toBe(true);
    await engine.handleFailure(broken());
    expect(effects).toBe(0);
    expect((await store.listRecoveries({ target: "db:other", limit: 9 })).items).toMatchObject([
      { dryRun: true, status: "skipped", actionStrategy: "reconnect_it" },
    ]);
    await settings.change({ name: "safety_mode", value: false, ...by });
    await engine.handleFailure(failureOf({ affectedService: "db:third", failureType: "database_connection" }));
    expect(effects).toBe(1);
  });

  it("that an operator began is the operator's to end", async () => {
    const { watchdog, settings } = await createWatchdogHarness();
    await settings.change({ name: "safety_mode", value: true, ...by });
    await watchdog.beat();
    expect(settings.safety?.()).toBe(true);
  });

  it("says once of what does not hold from its start on that it does not: an earlier life may have told it", async () => {
    const { clock, watchdog, calm, alerts } = await createWatchdogHarness();
    await watchdog.beat();
    await watchdog.beat();
    expect(calm).toEqual(["own_failure_rate", "emergency_stop"]);
    await clock.advance(60 * 60_000);
    await watchdog.beat();
    expect(alerts.map(([rule]) => rule)).toEqual(["no_activity"]);
  });

  it("above four of five failing tells somebody once, and once that it is over", async () => {
    const { clock, watchdog, repaired, alerts } = await createWatchdogHarness();
    await repaired("succeeded", 2);
    await repaired("timed_out", 9);
    await watchdog.beat();
    await watchdog.beat();
    expect(alerts).toMatchObject([["own_failure_rate", "firing", expect.stringContaining("9 of 11")]]);
    expect(watchdog.state().firing).toMatchObject([{ rule: "own_failure_rate", severity: "critical" }]);
    await clock.advance(31 * MINUTE_MS);
    await watchdog.beat();
    expect(alerts.filter(([rule]) => rule === "own_failure_rate").map(([, status]) => status)).toEqual([
      "firing",
      "resolved",
    ]);
  });
});

describe("the emergency stop", () => {
  it("comes after ten failed repairs in a row, is stored, and only an operator takes it back", async () => {
    const { clock, watchdog, settings, repaired, alerts, memory } = await createWatchdogHarness();
    await repaired("succeeded", 1);
    await clock.advance(1);
    await repaired("failed", 9);
    await watchdog.beat();
    expect(settings.stopped()).toBe(false);
    await repaired("failed", 1);
    await watchdog.beat();
    expect(settings.stopped()).toBe(true);
    await clock.advance(SECOND_MS);
    expect(await memory.loadSettings()).toMatchObject([
      { name: "emergency_stop", value: true, changedBy: "watchdog", reason: "10 repairs failed in a row" },
      { name: "safety_mode", value: true },
    ]);
    expect(alerts.map(([rule]) => rule)).toContain("emergency_stop");
    await clock.advance(60 * MINUTE_MS);
    await watchdog.beat();
    expect(settings.stopped()).toBe(true);
    await settings.change({ name: "emergency_stop", value: false, ...by });
    await watchdog.beat();
    expect(settings.stopped()).toBe(false);
    expect(alerts.filter(([rule]) => rule === "emergency_stop").map(([, status]) => status)).toEqual([
      "firing",
      "resolved",
    ]);
  });

  it("that was taken back comes again only for ten more", async () => {
    const { clock, watchdog, settings, repaired } = await createWatchdogHarness();
    await repaired("failed", 10);
    await watchdog.beat();
    await clock.advance(SECOND_MS);
    await settings.change({ name: "emergency_stop", value: false, ...by });
    await clock.advance(1);
    await repaired("failed", 9);
    await watchdog.beat();
    expect(settings.stopped()).toBe(false);
    await repaired("failed", 1);
    await watchdog.beat();
    expect(settings.stopped()).toBe(true);
  });

  it("comes after ten failed checks of one critical dependency in a row, each result counted once", async () => {
    const { clock, watchdog, settings, setChecks } = await createWatchdogHarness();
    watchdog.start();
    for (let check = 1; check <= 9; check += 1) {
      setChecks([
        checkOf({ checkedAt: check }),
        checkOf({ name: "redis", criticality: "important", checkedAt: check }),
      ]);
      await clock.advance(30 * SECOND_MS);
      watchdog.countChecks();
    }
    expect(settings.stopped()).toBe(false);
    setChecks([checkOf({ checkedAt: 10 })]);
    await clock.advance(30 * SECOND_MS);
    expect(settings.stopped()).toBe(true);
    await settings.change({ name: "emergency_stop", value: false, ...by });
    await clock.advance(60 * SECOND_MS);
    expect(settings.stopped()).toBe(false);
    await watchdog.stop();
    await settings.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it("R5: lets no new repair begin, and what is under way ends", async () => {
    const { engine, settings, store } = await createWatchdogHarness();
    const begun: string[] = [];
    let release = () => {};
    engine.registerStrategy({
      name: "slow",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["database_connection"],
      async execute({ affectedService }) {
        begun.push(affectedService);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { success: true, actionType: "reconnect", actionStrategy: "slow", durationMs: 1, message: "" };
      },
    });
    const broken = (affectedService: string) => failureOf({ affectedService, failureType: "database_connection" });
    const underWay = engine.handleFailure(broken("db:first"));
    await expect.poll(() => begun).toEqual(["db:first"]);
    settings.demand("emergency_stop", true, "ten repairs failed in a row");
    expect(await engine.handleFailure(broken("db:second"))).toMatchObject({ recovered: false });
    release();
    expect(await underWay).toMatchObject({ recovered: true });
    expect(begun).toEqual(["db:first"]);
    expect((await store.listRecoveries({ target: "db:first", limit: 9 })).items).toMatchObject([
      { status: "succeeded" },
    ]);
  });
});

describe("a beat", () => {
  it("comes every five minutes, and within seconds when something happened", async () => {
    const { clock, watchdog } = await createWatchdogHarness();
    watchdog.start();
    await clock.advance(1);
    expect(watchdog.state()).toMatchObject({ beats: 1, missed: false });
    await clock.advance(5 * MINUTE_MS);
    expect(watchdog.state().beats).toBe(2);
    for (let i = 0; i < 100; i += 1) watchdog.poke();
    await clock.advance(5 * SECOND_MS);
    expect(watchdog.state().beats).toBe(3);
    await watchdog.stop();
  });

  it("that does not come is seen", async () => {
    let hangs = false;
    const { clock, watchdog } = await createWatchdogHarness({}, (memory) => ({
      abandonExpired: (now) => (hangs ? new Promise(() => {}) : memory.abandonExpired(now)),
    }));
    watchdog.start();
    await clock.advance(1);
    hangs = true;
    await clock.advance(7 * MINUTE_MS);
    expect(watchdog.state().missed).toBe(false);
    await clock.advance(MINUTE_MS);
    expect(watchdog.state()).toMatchObject({ missed: true, beats: 1 });
  });

  it("goes through all of its steps, whichever of them fail", async () => {
    const away = () => Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "away"));
    const { watchdog, faults, repaired, settings } = await createWatchdogHarness({}, () => ({
      abandonExpired: away,
      releaseExpiredHolds: away,
      countTaskEnds: away,
      listStuckTasks: away,
    }));
    await repaired("failed", 10);
    await watchdog.beat();
    expect(faults).toHaveLength(4);
    expect(settings.stopped()).toBe(true);
  });

  it("abandons repairs that outlived their lease and forgets holds that are over", async () => {
    const { clock, watchdog, memory } = await createWatchdogHarness();
    const sighting = sightingOf({ timestamp: clock.now() });
    await memory.recordFailures([sighting]);
    await memory.leaseRepair(repairOf(sighting.failure.eventId, { timestamp: clock.now() }));
    const until = clock.now() + SECOND_MS;
    await memory.holdCircuit("db:main", { state: "disabled", by: "ada", reason: "upgrade", until }, clock.now());
    await clock.advance(MINUTE_MS);
    await watchdog.beat();
    expect((await memory.listRecoveries({ limit: 9 })).items).toMatchObject([{ status: "abandoned" }]);
    expect(await memory.loadCircuits()).toMatchObject([{ held: undefined }]);
  });

  it("tells after an hour without a call and without an action, and that it is over", async () => {
    const { clock, watchdog, alerts, repaired } = await createWatchdogHarness();
    await clock.advance(59 * MINUTE_MS);
    await watchdog.beat();
    expect(alerts).toEqual([]);
    await clock.advance(MINUTE_MS);
    await watchdog.beat();
    expect(alerts).toMatchObject([["no_activity", "firing", "no call and no action for 60 minutes"]]);
    await repaired("succeeded", 1);
    await watchdog.beat();
    expect(alerts.map(([, status]) => status)).toEqual(["firing", "resolved"]);
  });
});
