import { expect, it } from "vitest";
import { createLocalStream } from "../../server/adapters/local-stream.js";
import { describeMetricStream, readNow, seqsOf } from "../conformance/metric-stream.js";
import { batchOf } from "../support/batches.js";
import { createFakeClock } from "../support/fake-clock.js";
import { createShiftedClock } from "../support/shifted-clock.js";

describeMetricStream("in process", async () => {
  const clock = createShiftedClock();
  const stream = createLocalStream({ clock }, { visibilityMs: 10_000 });
  return {
    consumer: async () => stream,
    letClaimsExpire: async () => clock.shift(10_000),
    dispose: () => stream.close(),
  };
});

it("refuses what exceeds its capacity, and takes it again once something was acknowledged", async () => {
  const stream = createLocalStream({ clock: createFakeClock() }, { capacity: 2 });
  await stream.append(batchOf(1));
  await stream.append(batchOf(2));
  await expect(stream.append(batchOf(3))).rejects.toMatchObject({ code: "STREAM_UNAVAILABLE" });
  const [first] = await readNow(stream);
  await stream.acknowledge([first?.id ?? ""]);
  await stream.append(batchOf(3));
  expect(await stream.backlog()).toBe(2);
});

it("wakes a waiting reader when an unacknowledged entry becomes available again", async () => {
  const clock = createFakeClock();
  const stream = createLocalStream({ clock }, { visibilityMs: 1_000 });
  await stream.append(batchOf(1));
  await readNow(stream);
  const waiting = stream.read({ count: 1, waitMs: 5_000, signal: new AbortController().signal });
  await clock.advance(1_000);
  expect(seqsOf(await waiting)).toEqual([1]);
});

it("ends waiting readers and takes nothing more when it is closed", async () => {
  const clock = createFakeClock();
  const stream = createLocalStream({ clock });
  const waiting = stream.read({ count: 1, waitMs: 5_000, signal: new AbortController().signal });
  await stream.close();
  expect(await waiting).toEqual([]);
  await expect(stream.append(batchOf(1))).rejects.toMatchObject({ code: "CLOSED" });
  expect(clock.pendingTimers).toBe(0);
});

it("names its entries otherwise than an earlier life did, so that what is kept by their ids is kept apart", async () => {
  const clock = createFakeClock();
  const ids: (string | undefined)[] = [];
  for (let life = 0; life < 2; life += 1) {
    const stream = createLocalStream({ clock });
    await stream.append(batchOf(1));
    ids.push((await readNow(stream))[0]?.id);
    await clock.advance(1);
  }
  expect(ids[0]).not.toBe(ids[1]);
});
