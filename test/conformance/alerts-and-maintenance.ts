/** What every store promises of alerts and of maintenance windows. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RaisedAlert } from "../../server/ports/alert-store.js";
import type { Store } from "../../server/ports/store.js";
import type { MaintenanceWindow } from "../../shared/maintenance.js";
import { ALERT_OPERATOR } from "../../shared/recovery.js";
import { freshId, START, sightingOf } from "./store-fixtures.js";
import type { StoreHarness } from "./store-harness.js";

const MINUTE = 60_000;

export function describeAlertsAndMaintenance(name: string, create: () => Promise<StoreHarness>): void {
  describe(`${name} keeps alerts and maintenance windows`, () => {
    let harness: StoreHarness;
    let store: Store;
    let second: Store;

    beforeEach(async () => {
      harness = await create();
      ({ store, second } = harness);
    });
    afterEach(() => harness.dispose());

    const alertOf = (given: Partial<RaisedAlert> = {}): RaisedAlert => ({
      alertId: freshId("alert"),
      dedupeKey: "safety paramedic.watchdog",
      rule: "safety",
      severity: "high",
      subject: "paramedic.watchdog",
      summary: "too many repairs fail",
      detail: undefined,
      incidentId: undefined,
      at: START,
      ...given,
    });
    const listed = async (query: Partial<Parameters<Store["listAlerts"]>[0]> = {}) =>
      (await second.listAlerts({ limit: 50, ...query })).items;

    it("fire an alert once while its trouble lasts, and again after it", async () => {
      const alert = alertOf({ detail: { share: 0.6 } });
      await Promise.all([store.raiseAlert(alert), second.raiseAlert(alert)]);
      await second.raiseAlert(alertOf({ at: START + 1 }));
      const { at, ...told } = alert;
      const fired = { ...told, status: "firing", startedAt: at, firedAt: at, resolvedAt: undefined };
      expect(await listed()).toEqual([fired]);
      expect(await store.resolveAlert({ dedupeKey: alert.dedupeKey, at: START + MINUTE })).toBe(true);
      expect(await second.resolveAlert({ dedupeKey: alert.dedupeKey, at: START + MINUTE })).toBe(false);
      await store.raiseAlert(alert);
      expect(await listed()).toEqual([{ ...fired, status: "resolved", resolvedAt: START + MINUTE }]);
      await store.raiseAlert(alertOf({ at: START + 2 * MINUTE }));
      expect((await listed()).map(({ status, startedAt }) => [status, startedAt])).toEqual([
        ["firing", START + 2 * MINUTE],
        ["resolved", START],
      ]);
      expect(await listed({ status: "firing" })).toHaveLength(1);
    });

    it("show an incident the alerts that were raised for it, and end with it that a human was told", async () => {
      const sighting = sightingOf();
      const { eventId } = sighting.failure;
      await store.recordFailures([sighting]);
      const incidentId = (await store.getFailure(eventId))?.incidentId;
      await store.raiseAlert(alertOf({ dedupeKey: "told", rule: ALERT_OPERATOR, incidentId }));
      await store.raiseAlert(alertOf({ dedupeKey: "other", incidentId }));
      await store.raiseAlert(alertOf({ dedupeKey: "elsewhere", rule: ALERT_OPERATOR }));
      expect((await listed({ incidentId })).map(({ dedupeKey }) => dedupeKey).toSorted()).toEqual(["other", "told"]);
      await store.resolveFailure(eventId, START + MINUTE);
      const states = (await listed()).map(({ dedupeKey, status, resolvedAt }) => [dedupeKey, status, resolvedAt]);
      expect(states.toSorted()).toEqual([
        ["elsewhere", "firing", undefined],
        ["other", "firing", undefined],
        ["told", "resolved", START + MINUTE],
      ]);
    });

    it("are kept while they are open, and then as long as they are asked for", async () => {
      await store.raiseAlert(alertOf({ dedupeKey: "open" }));
      await store.raiseAlert(alertOf({ dedupeKey: "over" }));
      await store.resolveAlert({ dedupeKey: "over", at: START + MINUTE });
      await store.announceMaintenance(windowOf());
      for (const kind of ["alerts", "maintenance_windows"] as const) {
        expect(await store.pruneRecords({ kind, before: START + MINUTE, limit: 10 })).toBe(0);
        expect(await second.pruneRecords({ kind, before: START + 11 * MINUTE, limit: 10 })).toBe(1);
      }
      expect((await listed()).map(({ dedupeKey }) => dedupeKey)).toEqual(["open"]);
      expect(await store.listMaintenance({ limit: 10 })).toEqual([]);
    });

    const windowOf = (given: Partial<MaintenanceWindow> = {}): MaintenanceWindow => ({
      windowId: freshId("window"),
      services: ["db:*"],
      createdBy: "ada",
      reason: "a new disk",
      startsAt: START,
      endsAt: START + 10 * MINUTE,
      ...given,
    });

    it("know of maintenance until it is over, or ended before its time", async () => {
      const [long, short] = [windowOf({ endsAt: START + 20 * MINUTE }), windowOf()];
      for (const window of [short, long, short]) await store.announceMaintenance(window);
      const windows = (endsAfter?: number) => second.listMaintenance({ endsAfter, limit: 10 });
      expect(await windows(START)).toEqual([long, short]);
      expect(await windows(START + 10 * MINUTE)).toEqual([long]);
      expect(await second.endMaintenance({ windowId: long.windowId, at: START + 5 * MINUTE })).toBe(true);
      expect(await store.endMaintenance({ windowId: long.windowId, at: START + 6 * MINUTE })).toBe(false);
      expect(await store.endMaintenance({ windowId: "none", at: START })).toBe(false);
      expect(await windows(START + 5 * MINUTE)).toEqual([short]);
      expect(await windows()).toEqual([short, { ...long, endsAt: START + 5 * MINUTE }]);
    });
  });
}
