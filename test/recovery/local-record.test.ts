import { describe, expect, it } from "vitest";
import { createLocalRecord } from "../../server/recovery/local-record.js";
import { fingerprintOf } from "../../shared/failure.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import { aFailure } from "./a-failure.js";

const sighting = (eventId: string, affectedService = "llm:a", lastSeenAt = 1_000) => {
  const failure = aFailure({ eventId, affectedService, timestamp: lastSeenAt });
  return { failure, fingerprint: fingerprintOf(failure), occurrences: 1, lastSeenAt, instance: "a" };
};

const anAction = (given: Partial<RecoveryAction> = {}): RecoveryAction => ({
  actionId: "r1",
  failureEventId: "f1",
  timestamp: 1_000,
  actionType: "reconnect",
  actionStrategy: "reconnect",
  status: "in_progress",
  scope: "service",
  target: "llm:a",
  automated: true,
  triggeredBy: "engine",
  parameters: undefined,
  result: undefined,
  durationMs: undefined,
  completedAt: undefined,
  occurrences: 1,
  lastAt: 1_000,
  leaseUntil: 5_000,
  instance: "a",
  dryRun: false,
  ...given,
});

describe("local record", () => {
  it("folds repeats into the open event, and begins a new one after it was resolved", async () => {
    const record = createLocalRecord();
    await record.recordFailures([sighting("f1"), sighting("f2")]);
    expect(await record.recordFailures([sighting("f3")])).toEqual(new Map([["f3", "f1"]]));
    expect(await record.resolveQuietFailures(2_000, 3_000)).toBe(1);
    expect(await record.recordFailures([sighting("f4")])).toEqual(new Map([["f4", "f4"]]));
  });

  it("leases a repair once, and again only after its lease lapsed", async () => {
    const record = createLocalRecord();
    expect(await record.leaseRepair(anAction())).toBe(true);
    expect(await record.leaseRepair(anAction({ actionId: "r2", timestamp: 4_999 }))).toBe(false);
    expect(await record.leaseRepair(anAction({ actionId: "r3", timestamp: 5_000 }))).toBe(true);
    const ending = { result: undefined, durationMs: 1, completedAt: 6_000, status: "succeeded" } as const;
    expect(await record.completeRepair({ ...ending, actionId: "r1" })).toBe(false);
    expect(await record.completeRepair({ ...ending, actionId: "r3" })).toBe(true);
    expect(await record.leaseRepair(anAction({ actionId: "r4", timestamp: 90_000 }))).toBe(false);
    const { items } = await record.listRecoveries({ limit: 9 });
    expect(items.map(({ actionId, status }) => [actionId, status])).toEqual([
      ["r3", "succeeded"],
      ["r1", "abandoned"],
    ]);
  });

  it("folds rescues alike, and writes one that is repeated once", async () => {
    const record = createLocalRecord();
    const rescue = anAction({ scope: "call", status: "succeeded", leaseUntil: undefined });
    await record.recordRescues([rescue]);
    await record.recordRescues([rescue]);
    await record.recordRescues([{ ...rescue, actionId: "r2", occurrences: 3, lastAt: 9_000 }]);
    const { items } = await record.listRecoveries({ limit: 9 });
    expect(items).toMatchObject([{ actionId: "r1", occurrences: 4, lastAt: 9_000 }]);
  });

  it("forgets the oldest rows beyond its capacity", async () => {
    const record = createLocalRecord({ capacity: 2 });
    await record.recordFailures(["a", "b", "c"].map((service) => sighting(service, service)));
    expect(await record.recordFailures([sighting("again-a", "a")])).toEqual(new Map([["again-a", "again-a"]]));
    for (const actionId of ["1", "2", "3"]) {
      await record.recordRescues([anAction({ actionId, target: actionId, leaseUntil: undefined, status: "failed" })]);
    }
    const { items } = await record.listRecoveries({ limit: 9, status: "failed" });
    expect(items.map(({ actionId }) => actionId)).toEqual(["3", "2"]);
  });

  it("forgets repairs that ended in its capacity too, and none that is under way", async () => {
    const record = createLocalRecord({ capacity: 2 });
    for (const actionId of ["1", "2", "3", "4"]) {
      expect(await record.leaseRepair(anAction({ actionId, target: actionId }), {})).toBe(true);
      const end = { status: "succeeded", result: {}, durationMs: 1, completedAt: 1_001 } as const;
      if (actionId !== "1") await record.completeRepair({ actionId, ...end });
    }
    const { items } = await record.listRecoveries({ limit: 9 });
    expect(items.map(({ actionId, status }) => [actionId, status])).toEqual([
      ["4", "succeeded"],
      ["1", "in_progress"],
    ]);
  });
});
