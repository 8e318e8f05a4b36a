import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commitEntry } from "../../server/adapters/commit-entry.js";
import { createLocalStream } from "../../server/adapters/local-stream.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { type AggregatorOptions, createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import type { MetricStream, StreamEntry } from "../../server/ports/metric-stream.js";
import { encodeBatch } from "../../shared/batch-codec.js";
import { ParamedicError } from "../../shared/errors.js";
import { type Batch, pointsIn } from "../../shared/series.js";
import { batchOf } from "../support/batches.js";
import { createFakeClock } from "../support/fake-clock.js";
import { runs } from "../support/property-runs.js";

const never = new AbortController().signal;
const away = new ParamedicError("STORE_UNAVAILABLE", "locked");

function setUp(options: AggregatorOptions = {}) {
  const clock = createFakeClock();
  const log: string[] = [];
  const faults: unknown[] = [];
  const inner = createLocalStream({ clock }, { capacity: 10_000, visibilityMs: 60_000 });
  const stream: MetricStream = {
    ...inner,
    acknowledge: async (ids) => {
      log.push(`acknowledge ${ids.join(",")}`);
      await inner.acknowledge(ids);
    },
    trim: async () => void log.push("trim"),
  };
  const memory = createMemoryStore({ clock });
  const dead: { entryId: string; reason: string; payload: string }[] = [];
  let failCommit: ((batch: Batch) => Error | undefined) | undefined;
  let failBury: Error | undefined;
  const commitBatch = async (batch: Batch) => {
    const failure = failCommit?.(batch);
    if (failure) throw failure;
    const fresh = await memory.commitBatch(batch);
    log.push(`commit ${batch.seq}`);
    return fresh;
  };
  const store = {
    commitBatch,
    commitEntry: (fields: Readonly<Record<string, string>>) => commitEntry(fields, commitBatch),
    async saveDeadBatch(one: { entryId: string; reason: string; payload: string; at: number }) {
      if (failBury) throw failBury;
      dead.push(one);
    },
  };
  const aggregator = createAggregator({ clock, stream, store, onFault: (error) => faults.push(error) }, options);
  return {
    clock,
    stream,
    inner,
    memory,
    dead,
    log,
    faults,
    aggregator,
    whenCommitting(fail: typeof failCommit) {
      failCommit = fail;
    },
    whenBurying(error: Error | undefined) {
      failBury = error;
    },
  };
}

/** Puts raw fields where `stream.read` finds them next, as a foreign writer would. */
function withForeign(context: ReturnType<typeof setUp>, entries: StreamEntry[]) {
  const { stream } = context;
  const read = stream.read;
  const acknowledged: string[] = [];
  const pending = new Map(entries.map((entry) => [entry.id, { entry, deliveries: entry.deliveries }]));
  stream.read = async (options) => {
    const own = [...pending.values()].map((item) => {
      const { id, fields } = item.entry;
      const delivered = { id, fields, deliveries: item.deliveries };
      item.deliveries += 1;
      return delivered;
    });
    return own.length > 0 ? [...own, ...(await read({ ...options, waitMs: 0 }))] : read(options);
  };
  const acknowledge = stream.acknowledge;
  stream.acknowledge = async (ids) => {
    for (const id of ids) {
      pending.delete(id);
      acknowledged.push(id);
    }
    await acknowledge(ids);
  };
  const { clock, faults, dead, memory } = context;
  const store = {
    commitBatch: memory.commitBatch,
    commitEntry: memory.commitEntry,
    saveDeadBatch: async (one: { entryId: string; reason: string; payload: string; at: number }) => void dead.push(one),
  };
  const aggregator = (options: AggregatorOptions = {}) =>
    createAggregator({ clock, stream, store, onFault: (error) => faults.push(error) }, options);
  return { acknowledged, aggregator };
}

describe("the aggregator", () => {
  it("I8: commits, and only then acknowledges", async () => {
    const { aggregator, inner, log } = setUp();
    await inner.append(batchOf(1));
    await inner.append(batchOf(2));
    await aggregator.runOnce();
    expect(log).toEqual(["commit 1", "commit 2", expect.stringMatching(/^acknowledge \d+-1,\d+-2$/)]);
    expect(await aggregator.lag()).toBe(0);
    expect(aggregator.stats()).toMatchObject({ committed: 2, committedPoints: 2, duplicates: 0, held: 0 });
  });

  it("tells how long handing an entry to the store held the event loop", async () => {
    const { clock, inner, memory } = setUp();
    let heldMs = 0;
    const store = {
      ...memory,
      commitEntry: (fields: Readonly<Record<string, string>>) => {
        heldMs += 3;
        return memory.commitEntry(fields);
      },
    };
    const busyClock = { ...clock, monotonic: () => clock.monotonic() + heldMs };
    const aggregator = createAggregator({ clock: busyClock, stream: inner, store });
    await inner.append(batchOf(1));
    await inner.append(batchOf(2));
    await aggregator.runOnce();
    const { bounds, counts, sum } = aggregator.stats().blocks;
    expect(counts[bounds.indexOf(0.005)]).toBe(2);
    expect(Array.from(counts).reduce((all, count) => all + count, 0)).toBe(2);
    expect(sum).toBeCloseTo(0.006, 9);
  });

  it("I2 I9: folds a batch once, however often it is delivered or folded by hand", async () => {
    const { aggregator, inner, memory } = setUp();
    expect(await aggregator.fold(batchOf(1))).toBe(true);
    for (let time = 0; time < 3; time += 1) await inner.append(batchOf(1));
    await aggregator.runOnce();
    expect(await aggregator.fold(batchOf(1))).toBe(false);
    expect(aggregator.stats()).toMatchObject({ committed: 1, duplicates: 4 });
    expect(await memory.ledger()).toMatchObject([{ rolledUp: 1 }]);
  });

  it("I11: keeps entries that cannot be read, raw, and goes on with the others", async () => {
    const context = setUp();
    const corrupt = { ...encodeBatch(batchOf(7)), data: '{"from":1' };
    const foreign = withForeign(context, [
      { id: "x1", fields: { hello: "world" }, deliveries: 1 },
      { id: "x2", fields: corrupt, deliveries: 1 },
    ]);
    await context.inner.append(batchOf(1));
    const aggregator = foreign.aggregator();
    await aggregator.runOnce();
    expect(context.dead).toMatchObject([
      { entryId: "x1", reason: expect.stringMatching(/^missing_fields: /), payload: '{"hello":"world"}' },
      { entryId: "x2", reason: expect.stringMatching(/^not_json: /), payload: JSON.stringify(corrupt) },
    ]);
    expect(foreign.acknowledged).toEqual(["x1", "x2", expect.stringMatching(/-1$/)]);
    expect(aggregator.stats()).toMatchObject({ committed: 1, dead: 2 });
  });

  it("counts an entry whose content was trimmed away as lost", async () => {
    const context = setUp();
    const foreign = withForeign(context, [{ id: "x1", fields: undefined, deliveries: 3 }]);
    const aggregator = foreign.aggregator();
    await aggregator.runOnce();
    expect(aggregator.stats()).toMatchObject({ lostEntries: 1, dead: 0 });
    expect(foreign.acknowledged).toEqual(["x1"]);
  });

  it("leaves a newer format to those who read it, and keeps it as dead after many deliveries", async () => {
    const context = setUp();
    const newer = { ...encodeBatch(batchOf(1)), v: "2" };
    const foreign = withForeign(context, [{ id: "x1", fields: newer, deliveries: 1 }]);
    const aggregator = foreign.aggregator({ maxNewerDeliveries: 3 });
    await aggregator.runOnce();
    await aggregator.runOnce();
    expect(foreign.acknowledged).toEqual([]);
    expect(context.dead).toEqual([]);
    await aggregator.runOnce();
    expect(context.dead).toMatchObject([{ entryId: "x1", reason: expect.stringMatching(/^newer_version: /) }]);
    expect(foreign.acknowledged).toEqual(["x1"]);
  });

  it("I8: holds what it read while the store is away, reads no more, and loses nothing", async () => {
    const { aggregator, clock, inner, memory, whenCommitting, faults } = setUp({ readCount: 2 });
    whenCommitting(() => away);
    for (let seq = 1; seq <= 5; seq += 1) await inner.append(batchOf(seq));
    aggregator.start();
    await clock.advance(60_000);
    expect(aggregator.stats()).toMatchObject({ committed: 0, held: 2, dead: 0 });
    expect(await aggregator.lag()).toBe(5);
    expect(faults.length).toBeLessThan(15);
    whenCommitting(undefined);
    await clock.advance(20_000);
    expect(aggregator.stats()).toMatchObject({ committed: 5, held: 0, dead: 0 });
    expect(await memory.ledger()).toMatchObject([{ recorded: 5, rolledUp: 5 }]);
    expect(await aggregator.lag()).toBe(0);
    await aggregator.stop();
  });

  it("never buries a batch because the store was away, however often it was delivered", async () => {
    const { aggregator, inner, dead, clock, whenCommitting } = setUp({ maxDeliveries: 2 });
    await inner.append(batchOf(1));
    for (let delivery = 0; delivery < 5; delivery += 1) {
      await inner.read({ count: 1, waitMs: 0, signal: never });
      await clock.advance(60_000);
    }
    whenCommitting(() => away);
    await aggregator.runOnce();
    whenCommitting(undefined);
    await aggregator.runOnce();
    expect(dead).toEqual([]);
    expect(aggregator.stats().committed).toBe(1);
  });

  it("I11: does not let one batch that the store refuses hold up the others", async () => {
    const { aggregator, clock, inner, dead, whenCommitting } = setUp({ maxDeliveries: 3 });
    whenCommitting((batch) => (batch.seq === 1 ? new Error("constraint failed") : undefined));
    for (let seq = 1; seq <= 3; seq += 1) await inner.append(batchOf(seq));
    aggregator.start();
    await clock.advance(100);
    expect(aggregator.stats()).toMatchObject({ committed: 2, held: 1, dead: 0 });
    await clock.advance(10_000);
    expect(aggregator.stats()).toMatchObject({ committed: 2, held: 0, dead: 1 });
    expect(dead).toMatchObject([{ reason: "refused: constraint failed" }]);
    expect(await aggregator.lag()).toBe(0);
    await aggregator.stop();
  });

  it("I11: a flood of batches that the store refuses is kept as dead, in bounded memory, and blocks no other", async () => {
    const { aggregator, clock, inner, dead, whenCommitting } = setUp({ readCount: 5 });
    whenCommitting((batch) => (batch.seq <= 50 ? new Error("constraint failed") : undefined));
    for (let seq = 1; seq <= 53; seq += 1) await inner.append(batchOf(seq));
    aggregator.start();
    await clock.advance(100);
    expect(aggregator.stats().committed).toBe(3);
    expect(aggregator.stats().held).toBe(5);
    await clock.advance(30_000);
    expect(aggregator.stats()).toMatchObject({ committed: 3, held: 0, dead: 50 });
    expect(dead.map(({ entryId }) => entryId.split("-").at(-1)).toSorted()).toEqual(
      Array.from({ length: 50 }, (_, at) => String(at + 1)).toSorted(),
    );
    expect(await aggregator.lag()).toBe(0);
    await aggregator.stop();
  });

  it("leaves an unreadable entry in the stream when it cannot be kept", async () => {
    const context = setUp();
    context.whenBurying(new Error("too large"));
    await context.inner.append({ ...batchOf(1), windowEnd: 0 });
    await context.inner.append(batchOf(2));
    await context.aggregator.runOnce();
    expect(context.aggregator.stats()).toMatchObject({ committed: 1, dead: 0 });
    expect(await context.aggregator.lag()).toBe(1);
    expect(context.faults).toMatchObject([{ message: "too large" }]);
  });

  it("survives a stream that fails, with longer and longer pauses, and takes up again", async () => {
    const { aggregator, clock, stream, inner, faults } = setUp();
    const read = stream.read;
    let reads = 0;
    const failing: MetricStream["read"] = async () => {
      reads += 1;
      throw new ParamedicError("STREAM_UNAVAILABLE", "away");
    };
    const context = { clock, stream: { ...stream, read: failing }, store: createMemoryStore({ clock }) };
    const other = createAggregator({ ...context, onFault: (error) => faults.push(error) });
    other.start();
    await clock.advance(60_000);
    expect(reads).toBeGreaterThan(5);
    expect(reads).toBeLessThan(15);
    context.stream.read = read;
    await inner.append(batchOf(1));
    await clock.advance(10_000);
    await other.stop();
    aggregator.start();
    await clock.advance(60_000);
    expect((await aggregator.lag()) + other.stats().committed).toBe(1);
    await aggregator.stop();
  });

  it("I2 I8: counts a batch once when its acknowledgement was lost", async () => {
    const { aggregator, clock, inner, stream, memory } = setUp();
    await inner.append(batchOf(1));
    const acknowledge = stream.acknowledge;
    stream.acknowledge = async () => {
      throw new ParamedicError("STREAM_UNAVAILABLE", "cut");
    };
    const other = createAggregator({ clock, stream, store: memory });
    await other.runOnce();
    stream.acknowledge = acknowledge;
    await clock.advance(60_000);
    await aggregator.runOnce();
    expect(aggregator.stats()).toMatchObject({ committed: 0, duplicates: 1 });
    expect(await memory.ledger()).toMatchObject([{ rolledUp: 1 }]);
    expect(await aggregator.lag()).toBe(0);
  });

  it("waits calmly when there is nothing, and trims from time to time", async () => {
    const { aggregator, clock, log } = setUp({ trimIntervalMs: 30_000 });
    aggregator.start();
    await clock.advance(95_000);
    expect(log).toEqual(["trim", "trim", "trim"]);
    await aggregator.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  it("does not spin on a stream that answers at once", async () => {
    const { aggregator, clock, inner } = setUp();
    await inner.close();
    aggregator.start();
    await clock.advance(1_000);
    expect(clock.pendingTimers).toBe(1);
    await aggregator.stop();
  });

  it("starts once, stops while it waits, and starts again", async () => {
    const { aggregator, clock, inner } = setUp();
    aggregator.start();
    aggregator.start();
    await clock.advance(100);
    await aggregator.stop();
    await inner.append(batchOf(1));
    await clock.advance(5_000);
    expect(aggregator.stats().committed).toBe(0);
    aggregator.start();
    await clock.advance(100);
    expect(aggregator.stats().committed).toBe(1);
    await aggregator.stop();
  });

  it("drains the stream at the end, as far as the store takes it", async () => {
    const { aggregator, inner, whenCommitting } = setUp({ readCount: 3 });
    for (let seq = 1; seq <= 10; seq += 1) await inner.append(batchOf(seq));
    whenCommitting((batch) => (batch.seq === 8 ? away : undefined));
    await aggregator.drain({ deadlineMs: 1_000 });
    expect(aggregator.stats()).toMatchObject({ committed: 7, held: 2 });
    whenCommitting(undefined);
    await aggregator.drain({ deadlineMs: 1_000 });
    expect(aggregator.stats()).toMatchObject({ committed: 10, held: 0 });
    expect(await aggregator.lag()).toBe(0);
  });

  it("rejects when it is to fold a batch and the store is away", async () => {
    const { aggregator, whenCommitting } = setUp();
    whenCommitting(() => away);
    await expect(aggregator.fold(batchOf(1))).rejects.toBe(away);
  });
});

/** Everything a reader can see of what was folded; when it was committed is another matter. */
async function rollupsOf(store: ReturnType<typeof createMemoryStore>, metricNames: readonly string[]) {
  const all = [];
  for (const metricName of metricNames) {
    all.push(await store.readSeries({ metricName, from: 0, to: Date.UTC(2027, 0, 1), stepMs: 10_000, limit: 1_000 }));
  }
  return { all, ledger: (await store.ledger()).map(({ lastAt: _lastAt, ...counts }) => counts) };
}

describe("an id that came again for another batch, as after a failover of Redis", () => {
  it("I8: hides no batch, and is acknowledged only when everything under it is settled", async () => {
    const context = setUp();
    const { memory } = context;
    const taken: string[] = [];
    let refusing = true;
    const under = (batch: Batch): StreamEntry => ({ id: "7-0", fields: encodeBatch(batch), deliveries: 1 });
    const deliveries = [[under(batchOf(1))], [under(batchOf(2))], []];
    const stream: MetricStream = {
      ...context.stream,
      read: async () => deliveries.shift() ?? [],
      acknowledge: async (ids) => void taken.push(...ids),
    };
    const store = {
      ...memory,
      commitEntry: async (fields: Readonly<Record<string, string>>) => {
        if (refusing && fields.batch?.endsWith(":1")) throw new ParamedicError("STORE_REQUEST_INVALID", "not now");
        return memory.commitEntry(fields);
      },
    };
    const aggregator = createAggregator({ clock: context.clock, stream, store });
    await aggregator.runOnce();
    expect(aggregator.stats()).toMatchObject({ held: 1, committed: 0 });
    await aggregator.runOnce();
    expect(aggregator.stats()).toMatchObject({ held: 1, committed: 1 });
    expect(taken).toEqual([]);
    refusing = false;
    await context.clock.advance(60_000);
    await aggregator.runOnce();
    expect(await memory.ledger()).toMatchObject([{ rolledUp: 2 }]);
    expect(taken).toEqual(["7-0"]);
  });
});

describe("the same batches", () => {
  it("I6 I9: give the same rollups in any order, with any repetition and any split over readers", async () => {
    const names = ["a_total", "b_total", "c_total"];
    const batches = fc.array(
      fc.record({
        metricName: fc.constantFrom(...names),
        values: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 5 }),
      }),
      { minLength: 1, maxLength: 30, size: "max" },
    );
    await fc.assert(
      fc.asyncProperty(batches, fc.infiniteStream(fc.nat(1_000_000)), async (parts, chance) => {
        let recordedTotal = 0;
        const sent = parts.map((part, at) => {
          recordedTotal += part.values.length;
          return batchOf(at + 1, { ...part, recordedTotal });
        });
        const straight = createMemoryStore({ clock: createFakeClock() });
        for (const batch of sent) await straight.commitBatch(batch);

        const clock = createFakeClock();
        const store = createMemoryStore({ clock });
        const stream = createLocalStream({ clock }, { capacity: 10_000, visibilityMs: 1_000 });
        const pick = () => chance.next().value ?? 0;
        const shuffled = sent
          .flatMap((batch) => Array(1 + (pick() % 3)).fill(batch) as Batch[])
          .map((batch) => ({ batch, place: pick() }))
          .sort((a, b) => a.place - b.place);
        for (const { batch } of shuffled) await stream.append(batch);
        const readers = [1, 2, 3].map((readCount) => createAggregator({ clock, stream, store }, { readCount }));
        while ((await stream.backlog()) > 0) {
          // Now and then a reader dies with what it has read.
          if (pick() % 4 === 0) await stream.read({ count: 3, waitMs: 0, signal: never });
          await Promise.all(readers.map((reader) => reader.runOnce()));
          await clock.advance(1_000);
        }
        expect(await rollupsOf(store, names)).toEqual(await rollupsOf(straight, names));
        for (const { delivered, committed, duplicates, dead, lostEntries, left, held } of readers.map((one) =>
          one.stats(),
        )) {
          expect(committed + duplicates + dead + lostEntries + left + held).toBe(delivered);
        }
      }),
      { numRuns: runs(60) },
    );
  });
});

describe("collector, stream and aggregator together", () => {
  it("account for every point while the store comes and goes", async () => {
    const { clock, inner, memory, aggregator, whenCommitting } = setUp();
    const collector = new Collector({ clock, stream: inner, instance: "web-1", boot: "b1" }, { batchSize: 3 });
    collector.start();
    aggregator.start();
    const outage = (second: number) => second >= 20 && second < 50;
    for (let second = 0; second < 120; second += 1) {
      whenCommitting(() => (outage(second) ? away : undefined));
      for (let at = 0; at < 7; at += 1) {
        collector.record({ metricType: "custom", metricName: `m${at}_total`, value: at });
        collector.record({ metricType: "custom", metricName: `m${at}.duration`, unit: "ms", value: second });
      }
      collector.record({ metricType: "custom", metricName: "bad", value: Number.NaN });
      await clock.advance(1_000);
    }
    whenCommitting(undefined);
    await collector.stop();
    await aggregator.stop();
    await aggregator.drain({ deadlineMs: 1_000 });
    for (const batch of collector.drain()) await aggregator.fold(batch);
    expect(await memory.ledger()).toMatchObject([
      { recorded: 120 * 15, rolledUp: 120 * 14, dropped: { not_finite: 120 } },
    ]);
    const [point] = await memory.readSeries({
      metricName: "m3_total",
      from: 0,
      to: Date.UTC(2027, 0, 1),
      stepMs: 86_400_000,
      limit: 10,
    });
    expect(point).toMatchObject({ count: 120, sum: 360 });
  });

  it("lose no point when the process ends while the stream is full and the store was away", async () => {
    const { clock, memory } = setUp();
    const stream = createLocalStream({ clock }, { capacity: 2 });
    const collector = new Collector({ clock, stream, instance: "web-1", boot: "b1" }, { batchSize: 1 });
    const aggregator = createAggregator({ clock, stream, store: memory });
    collector.start();
    for (let second = 0; second < 30; second += 1) {
      for (const name of ["a_total", "b_total", "c_total"]) {
        collector.record({ metricType: "custom", metricName: name, value: 1 });
      }
      await clock.advance(1_000);
    }
    await collector.stop();
    const left = collector.drain();
    await aggregator.drain({ deadlineMs: 1_000 });
    for (const batch of left) await aggregator.fold(batch);
    expect(left.reduce((sum, batch) => sum + pointsIn(batch), 0)).toBeGreaterThan(80);
    expect(await memory.ledger()).toMatchObject([{ recorded: 90, rolledUp: 90 }]);
  });
});
