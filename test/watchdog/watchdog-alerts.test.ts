import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { Notification } from "../../server/ports/notifier.js";
import type { WatchdogAlert } from "../../server/ports/watchdog.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { createWatchdogAlerts } from "../../server/watchdog-alerts.js";
import type { Mode } from "../../shared/mode.js";
import { createFakeClock } from "../support/fake-clock.js";

const alert: WatchdogAlert = { rule: "own_failure_rate", severity: "critical", summary: "four of five repairs fail" };

function setUp(mode: Mode) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const settings = { mode: () => mode, stopped: () => false };
  const engine = new RecoveryEngine({ clock, store, settings });
  const faults: unknown[] = [];
  const told: Notification[] = [];
  let id = 0;
  const tell = createWatchdogAlerts({
    clock,
    ids: () => `id-${++id}`,
    store,
    journal: engine.journal,
    settings,
    notifier: { notify: (notification) => void told.push(notification) },
    drain: () => engine.drainOnce(),
    onFault: (error) => void faults.push(error),
  });
  const alerts = async () => (await store.listAlerts({ limit: 10 })).items;
  return { store, engine, tell, alerts, told, faults };
}

describe("an alert of the watchdog", () => {
  it("is on the incident of its failure until it is over, once however often it is told", async () => {
    const { store, tell, alerts, told, faults } = setUp("full");
    tell(alert, "firing");
    tell(alert, "firing");
    await expect
      .poll(alerts)
      .toMatchObject([
        { rule: "own_failure_rate", severity: "critical", status: "firing", subject: "paramedic.watchdog" },
      ]);
    const [incident] = (await store.listIncidents({ limit: 10 })).items;
    expect(incident).toMatchObject({ affectedService: "paramedic.watchdog" });
    expect((await alerts())[0]?.incidentId).toBe(incident?.incidentId);
    tell(alert, "resolved");
    await expect.poll(alerts).toMatchObject([{ status: "resolved" }]);
    expect(told.map(({ status }) => status)).toEqual(["firing", "firing", "resolved"]);
    expect(faults).toEqual([]);
  });

  it("that an earlier life left firing is over once a later one finds it calm, and somebody is told once", async () => {
    const { tell, alerts, told, faults } = setUp("full");
    tell(alert, "calm");
    expect(told).toEqual([]);
    tell(alert, "firing");
    await expect.poll(alerts).toMatchObject([{ status: "firing" }]);
    tell(alert, "calm");
    await expect.poll(alerts).toMatchObject([{ status: "resolved" }]);
    await expect.poll(() => told.map(({ status }) => status)).toEqual(["firing", "resolved"]);
    tell(alert, "calm");
    expect(told).toHaveLength(2);
    expect(faults).toEqual([]);
  });

  it("is told to nobody in shadow, and its failure is there", async () => {
    const { store, engine, tell, alerts, told } = setUp("shadow");
    tell(alert, "firing");
    await engine.drainOnce();
    expect((await store.listFailures({ limit: 10 })).items).toMatchObject([{ errorMessage: alert.summary }]);
    expect(await alerts()).toEqual([]);
    expect(told).toEqual([]);
  });
});
