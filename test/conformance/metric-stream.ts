/** What every metric stream promises, whatever carries it. */
import { afterEach, describe, expect, it } from "vitest";
import type { MetricStream, StreamEntry } from "../../server/ports/metric-stream.js";
import { decodeBatch } from "../../shared/batch-codec.js";
import { batchOf } from "../support/batches.js";

export interface StreamUnderTest {
  /** Another consumer of the same stream; the same object where there is only one. */
  consumer(name: string): Promise<MetricStream>;
  /** Lets entries that were read and not acknowledged become available again. */
  letClaimsExpire(): Promise<void>;
  dispose(): Promise<void>;
}

const never = new AbortController().signal;

/** @example describeMetricStream("Redis", () => createRedisUnderTest(url)); */
export function describeMetricStream(name: string, create: () => Promise<StreamUnderTest>): void {
  describe(`metric stream: ${name}`, () => {
    let under: StreamUnderTest | undefined;
    const open = async () => {
      under = await create();
      return under;
    };
    afterEach(async () => {
      await under?.dispose();
      under = undefined;
    });

    it("delivers what was appended, once, as it was", async () => {
      const stream = await (await open()).consumer("a");
      await stream.append(batchOf(1, { values: [3, 4] }));
      const [entry] = await readNow(stream);
      expect(entry?.deliveries).toBe(1);
      expect(decodeBatch(entry?.fields ?? {})).toEqual({ ok: true, batch: batchOf(1, { values: [3, 4] }) });
      expect(await readNow(stream)).toEqual([]);
    });

    it("delivers what was appended before anybody read", async () => {
      const { consumer } = await open();
      const writer = await consumer("writer");
      for (let seq = 1; seq <= 3; seq += 1) await writer.append(batchOf(seq));
      expect(seqsOf(await readNow(await consumer("late")))).toEqual([1, 2, 3]);
    });

    it("gives at most as many entries as asked for, and the rest next time", async () => {
      const stream = await (await open()).consumer("a");
      for (let seq = 1; seq <= 5; seq += 1) await stream.append(batchOf(seq));
      const first = await readNow(stream, 2);
      const rest = await readNow(stream, 10);
      expect(first).toHaveLength(2);
      expect(seqsOf([...first, ...rest]).sort()).toEqual([1, 2, 3, 4, 5]);
    });

    it("forgets an entry once it is acknowledged", async () => {
      const { consumer, letClaimsExpire } = await open();
      const stream = await consumer("a");
      await stream.append(batchOf(1));
      await acknowledge(stream, await readNow(stream));
      await letClaimsExpire();
      expect(await readNow(stream)).toEqual([]);
      expect(await stream.backlog()).toBe(0);
    });

    it("delivers an entry again when its consumer died, and says how often", async () => {
      const { consumer, letClaimsExpire } = await open();
      await (await consumer("a")).append(batchOf(1));
      expect(await readNow(await consumer("a"))).toHaveLength(1);
      await letClaimsExpire();
      const [again] = await readNow(await consumer("b"));
      expect(again?.deliveries).toBe(2);
      expect(seqsOf(again ? [again] : [])).toEqual([1]);
      await letClaimsExpire();
      expect((await readNow(await consumer("b")))[0]?.deliveries).toBe(3);
    });

    it("does not deliver an entry again while its consumer may still work on it", async () => {
      const { consumer } = await open();
      const stream = await consumer("a");
      await stream.append(batchOf(1));
      await readNow(stream);
      expect(await readNow(await consumer("b"))).toEqual([]);
    });

    it("counts waiting and pending entries", async () => {
      const stream = await (await open()).consumer("a");
      expect(await stream.backlog()).toBe(0);
      for (let seq = 1; seq <= 3; seq += 1) await stream.append(batchOf(seq));
      expect(await stream.backlog()).toBe(3);
      const entries = await readNow(stream, 2);
      expect(await stream.backlog()).toBe(3);
      await acknowledge(stream, entries);
      expect(await stream.backlog()).toBe(1);
    });

    it("trims only what is acknowledged", async () => {
      const { consumer, letClaimsExpire } = await open();
      const stream = await consumer("a");
      for (let seq = 1; seq <= 6; seq += 1) await stream.append(batchOf(seq));
      const [first, second, third] = await readNow(stream, 3);
      await acknowledge(
        stream,
        [first, third].filter((entry) => entry !== undefined),
      );
      await stream.trim();
      await letClaimsExpire();
      const left = [...(await readNow(stream)), ...(await readNow(stream))];
      expect(left.every(({ fields }) => fields !== undefined)).toBe(true);
      expect(left.map(({ id }) => id)).toContain(second?.id);
      expect(seqsOf(left).sort()).toEqual([2, 4, 5, 6]);
    });

    it("waits for the first entry, and no longer than asked", async () => {
      const stream = await (await open()).consumer("a");
      const waiting = stream.read({ count: 10, waitMs: 5_000, signal: never });
      await stream.append(batchOf(1));
      expect(seqsOf(await waiting)).toEqual([1]);
      expect(await stream.read({ count: 10, waitMs: 30, signal: never })).toEqual([]);
    });

    it("ends a waiting read when its caller aborts, and loses nothing by it", async () => {
      const { consumer, letClaimsExpire } = await open();
      const stream = await consumer("a");
      const caller = new AbortController();
      const waiting = stream.read({ count: 10, waitMs: 60_000, signal: caller.signal });
      caller.abort();
      expect(await waiting).toEqual([]);
      expect(await stream.read({ count: 10, waitMs: 60_000, signal: caller.signal })).toEqual([]);
      await stream.append(batchOf(1));
      await letClaimsExpire();
      expect(seqsOf(await readNow(stream))).toEqual([1]);
    });

    it("gives each entry to one of several readers", async () => {
      const { consumer } = await open();
      const [a, b] = [await consumer("a"), await consumer("b")];
      for (let seq = 1; seq <= 20; seq += 1) await a.append(batchOf(seq));
      const read = await Promise.all([readNow(a, 7), readNow(b, 7), readNow(a, 20), readNow(b, 20)]);
      expect(seqsOf(read.flat()).sort((x, y) => x - y)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    });
  });
}

export function readNow(stream: MetricStream, count = 100): Promise<readonly StreamEntry[]> {
  return stream.read({ count, waitMs: 0, signal: never });
}

function acknowledge(stream: MetricStream, entries: readonly StreamEntry[]): Promise<void> {
  return stream.acknowledge(entries.map(({ id }) => id));
}

export function seqsOf(entries: readonly StreamEntry[]): number[] {
  return entries.map(({ fields }) => {
    const decoded = decodeBatch(fields ?? {});
    return decoded.ok ? decoded.batch.seq : Number.NaN;
  });
}
