import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../../server/adapters/memory/memory-store.js";
import { describeStore } from "../../conformance/store.js";
import { batchOf, repairOf, rescueOf, START, sightingOf } from "../../conformance/store-fixtures.js";
import { createFakeClock } from "../../support/fake-clock.js";

describeStore("the memory store", async () => {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  return { clock, store, second: store, dispose: () => store.close() };
});

describe("the memory store is bounded", () => {
  it("forgets the oldest rows of each kind beyond its capacity", async () => {
    const store = createMemoryStore({ clock: createFakeClock() }, { capacity: 3, bucketsPerSeries: 2 });
    for (let index = 0; index < 6; index += 1) {
      const sighting = sightingOf({ affectedService: `service-${index}`, timestamp: START + index });
      await store.recordFailures([sighting]);
      await store.recordRescues([rescueOf(sighting.failure.eventId)]);
      await store.leaseRepair(repairOf(sighting.failure.eventId));
      await store.commitBatch(batchOf({ seq: index + 1, windowEnd: START + (index + 1) * 10_000 }));
    }
    const failures = (await store.listFailures({ limit: 100 })).items;
    expect(failures.map(({ affectedService }) => affectedService)).toEqual(["service-5", "service-4", "service-3"]);
    const known = new Set(failures.map(({ eventId }) => eventId));
    const actions = (await store.listRecoveries({ limit: 100 })).items;
    expect(actions.every(({ failureEventId }) => known.has(failureEventId))).toBe(true);
    expect(actions.length).toBeLessThanOrEqual(4);
    const query = { metricName: "trpc.ask.duration", from: 0, to: START * 2, stepMs: 10_000, limit: 100 };
    expect(await store.readSeries(query)).toHaveLength(2);
    expect(await store.ledger()).toMatchObject([{ rolledUp: 18, batches: 6 }]);
  });

  it("opens a new event when a failure returns whose event was forgotten", async () => {
    const store = createMemoryStore({ clock: createFakeClock() }, { capacity: 1 });
    await store.recordFailures([sightingOf({ affectedService: "first" })]);
    await store.recordFailures([sightingOf({ affectedService: "second" })]);
    const again = sightingOf({ affectedService: "first" });
    expect((await store.recordFailures([again])).get(again.failure.eventId)).toBe(again.failure.eventId);
    expect(await store.getFailure(again.failure.eventId)).toMatchObject({ occurrences: 1 });
  });
});
