/** What every store promises of settings, of tasks under watch, and of the sums that reports are made of. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { SettingChange } from "../../server/ports/settings-store.js";
import type { Store } from "../../server/ports/store.js";
import { runs } from "../support/property-runs.js";
import { freshId, repairOf, rescueOf, START, sightingOf } from "./store-fixtures.js";
import type { StoreHarness } from "./store-harness.js";

const HOUR = 3_600_000;

export function describeSettingsAndTasks(name: string, create: () => Promise<StoreHarness>): void {
  describe(`${name} keeps settings, tasks and sums`, () => {
    let harness: StoreHarness;
    let store: Store;
    let second: Store;

    beforeEach(async () => {
      harness = await create();
      ({ store, second } = harness);
    });
    afterEach(() => harness.dispose());

    describe("settings", () => {
      const change = (overrides: Partial<SettingChange> = {}): SettingChange => ({
        name: "mode",
        value: "shadow",
        changedBy: "ada",
        reason: "a look first",
        changedAt: START,
        ...overrides,
      });

      it("are seen by every instance once they are changed, with who, why and when", async () => {
        expect(await store.loadSettings()).toEqual([]);
        const stored = { ...change(), version: 1 };
        expect(await store.changeSetting(change())).toEqual({ committed: true, stored });
        expect(await second.loadSettings()).toEqual([stored]);
        await second.changeSetting(change({ name: "emergency_stop", value: true }));
        expect((await store.loadSettings()).map(({ name, value }) => [name, value])).toEqual([
          ["emergency_stop", true],
          ["mode", "shadow"],
        ]);
      });

      it("tell the second of two operators who decided upon the same version", async () => {
        await store.changeSetting(change({ expectedVersion: 0 }));
        const refused = await second.changeSetting(change({ value: "full", changedBy: "bob", expectedVersion: 0 }));
        expect(refused).toMatchObject({ committed: false, stored: { value: "shadow", changedBy: "ada", version: 1 } });
        expect(
          await second.changeSetting(change({ value: "full", changedBy: "bob", expectedVersion: 1 })),
        ).toMatchObject({
          committed: true,
          stored: { version: 2 },
        });
      });

      it("change once, however often the same change arrives", async () => {
        await store.changeSetting(change({ expectedVersion: 0 }));
        expect(await second.changeSetting(change({ expectedVersion: 0 }))).toMatchObject({
          committed: true,
          stored: { version: 1 },
        });
        expect((await store.listSettingChanges({ limit: 10 })).items).toHaveLength(1);
      });

      it("go back to their default, and their versions go on", async () => {
        await store.changeSetting(change());
        await store.changeSetting(change({ value: undefined, changedAt: START + 1 }));
        expect(await second.loadSettings()).toEqual([]);
        await store.changeSetting(change({ value: "limited", changedAt: START + 2 }));
        const { items } = await second.listSettingChanges({ name: "mode", limit: 2 });
        expect(items).toMatchObject([
          { value: "limited", version: 3 },
          { value: undefined, version: 2 },
        ]);
        const { nextCursor } = await store.listSettingChanges({ limit: 2 });
        expect((await store.listSettingChanges({ limit: 2, cursor: nextCursor })).items).toMatchObject([
          { version: 1 },
        ]);
      });

      it("keep the last line of their history, whatever its age", async () => {
        for (const changedAt of [START, START + 1, START + 2]) await store.changeSetting(change({ changedAt }));
        const slice = { kind: "settings_history", before: START + HOUR } as const;
        expect(await store.pruneRecords({ ...slice, limit: 1 })).toBe(1);
        expect(await store.pruneRecords({ ...slice, limit: 10 })).toBe(1);
        expect(await store.pruneRecords({ ...slice, limit: 10 })).toBe(0);
        expect((await store.changeSetting(change({ changedAt: START + 9 }))).stored).toMatchObject({ version: 4 });
      });
    });

    describe("tasks", () => {
      const begin = (overrides: Partial<Parameters<Store["beginTask"]>[0]> = {}) => ({
        taskId: "import",
        name: "import",
        owner: "a",
        stuckAfterMs: HOUR,
        detail: { file: "rows.csv" },
        ...overrides,
      });
      const end = { name: "import", status: "reset", reason: "silent for an hour", limit: 10 } as const;

      it("run under one owner at a time", async () => {
        const first = await store.beginTask(begin());
        expect(first).toMatchObject({ begun: true, run: { fence: 1, attempts: 1, status: "running" } });
        expect(first.run.stuckAt - first.run.heartbeatAt).toBe(HOUR);
        expect(await second.beginTask(begin({ owner: "b" }))).toEqual({ begun: false, run: first.run });
        expect(await second.beginTask(begin())).toEqual({ begun: true, run: first.run });
      });

      it("begin again once they ended, under a new token", async () => {
        await store.beginTask(begin());
        expect(await store.endTask({ taskId: "import", fence: 1, status: "succeeded", detail: { rows: 7 } })).toBe(
          true,
        );
        expect((await second.listTasks({ limit: 1 })).items).toMatchObject([
          { status: "succeeded", detail: { file: "rows.csv", rows: 7 }, endedAt: expect.any(Number) },
        ]);
        expect(await second.beginTask(begin({ owner: "b" }))).toMatchObject({
          begun: true,
          run: { fence: 2, attempts: 2, endedAt: undefined },
        });
      });

      it("R6: are not reset while their owner is heard of", async () => {
        await store.beginTask(begin({ stuckAfterMs: 0 }));
        expect(await second.listStuckTasks({ limit: 10 })).toMatchObject([{ taskId: "import" }]);
        expect(await store.beatTask({ taskId: "import", fence: 1, stuckAfterMs: HOUR })).toBe(true);
        expect(await second.listStuckTasks({ limit: 10 })).toEqual([]);
        expect(await second.endStuckTasks(end)).toEqual([]);
        expect(await store.endTask({ taskId: "import", fence: 1, status: "succeeded", detail: undefined })).toBe(true);
      });

      it.each(["reset", "failed"] as const)("R6: refuse the late owner once they are %s", async (status) => {
        await store.beginTask(begin({ stuckAfterMs: 0 }));
        expect(await second.endStuckTasks({ ...end, status })).toMatchObject([
          { status, fence: 2, detail: { reason: "silent for an hour", stuckOwner: "a", file: "rows.csv" } },
        ]);
        expect(await store.beatTask({ taskId: "import", fence: 1, stuckAfterMs: HOUR })).toBe(false);
        expect(await store.endTask({ taskId: "import", fence: 1, status: "succeeded", detail: undefined })).toBe(false);
        const next = await second.beginTask(begin({ owner: "b" }));
        expect(next).toMatchObject({ begun: true, run: { fence: 3, attempts: 2 } });
        expect(await store.endTask({ taskId: "import", fence: 2, status: "succeeded", detail: undefined })).toBe(false);
      });

      it("go over to who begins one that is stuck, and the one before is refused", async () => {
        await store.beginTask(begin({ stuckAfterMs: 0 }));
        expect(await second.beginTask(begin({ owner: "b" }))).toMatchObject({ begun: true, run: { fence: 2 } });
        expect(await store.endTask({ taskId: "import", fence: 1, status: "failed", detail: undefined })).toBe(false);
      });

      it("are ended by one of two watchdogs, those of the name asked for, as many as it may", async () => {
        for (const taskId of ["one", "two", "three"]) await store.beginTask(begin({ taskId, stuckAfterMs: 0 }));
        await store.beginTask(begin({ taskId: "other", name: "other", stuckAfterMs: 0 }));
        const [some, more] = await Promise.all([
          store.endStuckTasks({ ...end, limit: 2 }),
          second.endStuckTasks({ ...end, limit: 2 }),
        ]);
        expect([...some, ...more].map(({ taskId }) => taskId).toSorted()).toEqual(["one", "three", "two"]);
        expect(await store.listStuckTasks({ limit: 10 })).toMatchObject([{ taskId: "other" }]);
        expect((await store.listTasks({ name: "import", status: "reset", limit: 10 })).items).toHaveLength(3);
      });

      it("an end that is delivered again is one end, an end of nobody's task none", async () => {
        await store.beginTask(begin());
        const ended = { taskId: "import", fence: 1, status: "failed", detail: undefined } as const;
        expect(await store.endTask(ended)).toBe(true);
        expect(await second.endTask(ended)).toBe(true);
        expect(await second.endTask({ ...ended, status: "succeeded" })).toBe(false);
        expect(await second.endTask({ ...ended, taskId: "nobody's" })).toBe(false);
        await expect(store.beginTask(begin({ stuckAfterMs: -1 }))).rejects.toMatchObject({
          code: "STORE_REQUEST_INVALID",
        });
      });

      it("R6: whatever happens, the token never falls and at most one holder of a token is heard", async () => {
        const step = fc.oneof(
          {
            weight: 3,
            arbitrary: fc.record({ kind: fc.constant("begin"), owner: fc.constantFrom("a", "b"), stuck: fc.boolean() }),
          },
          { weight: 2, arbitrary: fc.record({ kind: fc.constant("beat"), back: fc.nat(2), stuck: fc.boolean() }) },
          { weight: 2, arbitrary: fc.record({ kind: fc.constant("end"), back: fc.nat(2) }) },
          { weight: 2, arbitrary: fc.record({ kind: fc.constant("sweep") }) },
        );
        await fc.assert(
          fc.asyncProperty(fc.array(step, { maxLength: 30, size: "max" }), async (steps) => {
            const taskId = freshId("task");
            let fence = 0;
            let live = false;
            for (const move of steps) {
              const held = { taskId, fence: Math.max(0, fence - ("back" in move ? move.back : 0)) };
              const stuckAfterMs = "stuck" in move && move.stuck ? 0 : HOUR;
              if (move.kind === "begin" && "owner" in move) {
                const { begun, run } = await store.beginTask({
                  taskId,
                  name: taskId,
                  owner: move.owner,
                  stuckAfterMs,
                  detail: undefined,
                });
                expect(run.fence).toBeGreaterThanOrEqual(fence);
                if (begun) live = true;
                ({ fence } = run);
              } else if (move.kind === "beat") {
                expect(await second.beatTask({ ...held, stuckAfterMs })).toBe(live && held.fence === fence);
              } else if (move.kind === "end") {
                const ended = await store.endTask({ ...held, status: "succeeded", detail: undefined });
                if (held.fence !== fence) expect(ended).toBe(false);
                if (ended) live = false;
              } else {
                const ended = await second.endStuckTasks({ ...end, name: taskId });
                expect(ended.length).toBeLessThanOrEqual(live ? 1 : 0);
                for (const run of ended) {
                  expect(run.fence).toBe(fence + 1);
                  ({ fence } = run);
                  live = false;
                }
              }
            }
          }),
          { numRuns: runs(15, 1 / 50) },
        );
      });

      it("that ended are forgotten by age, those that run never", async () => {
        for (const taskId of ["one", "two", "three"]) await store.beginTask(begin({ taskId }));
        await store.endTask({ taskId: "one", fence: 1, status: "succeeded", detail: undefined });
        await store.endTask({ taskId: "two", fence: 1, status: "failed", detail: undefined });
        const slice = { kind: "tasks", before: Date.UTC(2100, 0, 1) } as const;
        expect(await store.pruneRecords({ ...slice, limit: 1 })).toBe(1);
        expect(await store.pruneRecords({ ...slice, limit: 10 })).toBe(1);
        expect((await store.listTasks({ limit: 10 })).items).toMatchObject([{ taskId: "three" }]);
      });
    });

    describe("sums", () => {
      const range = { from: START, to: START + HOUR };

      it("count actions by strategy, scope, status, dry run, and whether a guard did it itself", async () => {
        const sighting = sightingOf();
        await store.recordFailures([sighting]);
        const { eventId } = sighting.failure;
        await store.recordRescues([
          rescueOf(eventId, { occurrences: 3 }),
          rescueOf(eventId, { status: "failed" }),
          rescueOf(eventId, { target: "llm:other", dryRun: true, status: "skipped" }),
          rescueOf(eventId, { scope: "service", actionStrategy: "circuit_break", triggeredBy: "guard" }),
          rescueOf(eventId, { target: "late", timestamp: START + HOUR }),
        ]);
        await store.leaseRepair(repairOf(eventId));
        const retry = { actionStrategy: "exponential_backoff_retry", scope: "call", byGuard: true, rows: 1 };
        const service = { scope: "service", dryRun: false, rows: 1, occurrences: 1 };
        expect(await second.countActions(range)).toEqual([
          { ...service, actionStrategy: "circuit_break", status: "succeeded", byGuard: true },
          { ...retry, status: "failed", dryRun: false, occurrences: 1 },
          { ...retry, status: "skipped", dryRun: true, occurrences: 1 },
          { ...retry, status: "succeeded", dryRun: false, occurrences: 3 },
          { ...service, actionStrategy: "reconnect", status: "in_progress", byGuard: false },
        ]);
      });

      it("tell how many failures there were and how long they lasted", async () => {
        expect(await store.sumFailures(range)).toEqual({ events: 0, occurrences: 0, resolved: 0, meanRepairMs: 0 });
        const sightings = ["a", "b", "c"].map((affectedService) => sightingOf({ affectedService }, { occurrences: 2 }));
        await store.recordFailures(sightings);
        await store.resolveFailure(sightings[0]?.failure.eventId ?? "", START + 1_000);
        await store.resolveFailure(sightings[1]?.failure.eventId ?? "", START + 4_000);
        expect(await second.sumFailures(range)).toEqual({
          events: 3,
          occurrences: 6,
          resolved: 2,
          meanRepairMs: 2_500,
        });
        expect(await second.sumFailures({ from: START + 1, to: START + 2 })).toMatchObject({ events: 0 });
      });

      it("list how repairs ended, newest first, without those under way and without dry runs", async () => {
        const sighting = sightingOf();
        await store.recordFailures([sighting]);
        const { eventId } = sighting.failure;
        const ended = async (target: string, at: number, status: "failed" | "succeeded") => {
          const repair = repairOf(eventId, { target, timestamp: START + at, leaseUntil: START + HOUR });
          await store.leaseRepair(repair);
          await store.completeRepair({
            actionId: repair.actionId,
            status,
            result: undefined,
            durationMs: 5,
            completedAt: START + at + 5,
          });
        };
        await ended("db:a", 0, "succeeded");
        await ended("db:b", 1, "failed");
        await store.leaseRepair(repairOf(eventId, { target: "db:c", leaseUntil: START + HOUR }));
        await store.recordRescues([rescueOf(eventId)]);
        expect(await second.listRepairEnds({ from: START, limit: 10 })).toMatchObject([
          { target: "db:b", status: "failed", completedAt: START + 6 },
          { target: "db:a", status: "succeeded", completedAt: START + 5 },
        ]);
        expect(await second.listRepairEnds({ from: START + 1, limit: 1 })).toMatchObject([{ target: "db:b" }]);
      });

      it("count tasks by how they ended, and subjects of operators' actions once each", async () => {
        const task = { name: "import", owner: "a", stuckAfterMs: 0, detail: undefined };
        for (const taskId of ["one", "two", "three"]) await store.beginTask({ ...task, taskId });
        await store.endTask({ taskId: "one", fence: 1, status: "succeeded", detail: undefined });
        await store.endTask({ taskId: "two", fence: 1, status: "failed", detail: undefined });
        await store.endStuckTasks({ name: "import", status: "reset", reason: "silent", limit: 10 });
        expect(await second.countTaskEnds({ from: 0, to: Date.UTC(2100, 0, 1) })).toEqual({
          succeeded: 1,
          failed: 1,
          reset: 1,
        });
        expect(await second.countTaskEnds({ from: 0, to: 1 })).toEqual({ succeeded: 0, failed: 0, reset: 0 });

        const entry = {
          at: START,
          actor: "ada",
          action: "failure.false_alarm",
          reason: "planned",
          detail: undefined,
        } as const;
        await store.recordAudit({ ...entry, subject: "event-1", outcome: "requested" });
        await store.recordAudit({ ...entry, subject: "event-1", outcome: "succeeded" });
        await store.recordAudit({ ...entry, subject: "event-1", outcome: "succeeded" });
        await store.recordAudit({ ...entry, subject: "event-2", outcome: "failed" });
        expect(await second.countAudited({ ...range, action: entry.action })).toBe(1);
        expect(await second.countAudited({ ...range, action: "mode.set" })).toBe(0);
        expect(await store.pruneRecords({ kind: "operator_audit", before: START + 1, limit: 3 })).toBe(3);
        expect(await store.pruneRecords({ kind: "operator_audit", before: START + 1, limit: 3 })).toBe(1);
      });

      it("nothing that is absent is deleted", async () => {
        for (const kind of ["last_good_values", "sessions"] as const) {
          expect(await store.pruneRecords({ kind, before: START, limit: 10 })).toBe(0);
        }
      });
    });

    it("forgets holds of circuits whose time is over, and no others", async () => {
      const hold = { state: "disabled", by: "ada", reason: "upgrade" } as const;
      const at = harness.clock.now();
      await store.holdCircuit("over", { ...hold, until: at }, at);
      await store.holdCircuit("lasts", { ...hold, until: at + HOUR }, at);
      await store.holdCircuit("stays", { ...hold, until: undefined }, at);
      expect(await second.releaseExpiredHolds()).toBe(1);
      expect(await second.releaseExpiredHolds()).toBe(0);
      const circuits = await store.loadCircuits();
      expect(circuits.map(({ name: circuit, held }) => [circuit, held?.state])).toEqual([
        ["lasts", "disabled"],
        ["over", undefined],
        ["stays", "disabled"],
      ]);
    });
  });
}
