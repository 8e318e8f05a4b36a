import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { decodeBatch } from "../../shared/batch-codec.js";
import { describeMetricStream, readNow, seqsOf } from "../conformance/metric-stream.js";
import { anyBatch } from "../support/arbitrary-batches.js";
import { batchOf } from "../support/batches.js";
import { runs } from "../support/property-runs.js";
import { createRedisStreamUnderTest, type RedisStreamUnderTest } from "../support/redis-stream-under-test.js";

describeMetricStream("Redis", () => createRedisStreamUnderTest(inject("redisUrl")));

describe("the Redis stream", () => {
  let under: RedisStreamUnderTest;
  beforeEach(async () => {
    under = await createRedisStreamUnderTest(inject("redisUrl"));
  });
  afterEach(() => under.dispose());

  it("writes entries that an operator can read", async () => {
    await (await under.consumer("a")).append(batchOf(1));
    const [[, fields] = ["", []]] = await under.admin.xrange(under.key, "-", "+");
    expect(fields.filter((_, at) => at % 2 === 0)).toEqual(["v", "batch", "data"]);
    expect(fields[3]).toBe("test:boot:1");
    expect(JSON.parse(fields[5] ?? "")).toMatchObject({ series: [{ name: "orders_total", count: 1 }] });
  });

  it("carries any batch as it is, whatever its series, tags and numbers", async () => {
    const stream = await under.consumer("a");
    await fc.assert(
      fc.asyncProperty(anyBatch(), async (batch) => {
        await stream.append(batch);
        const [entry] = await readNow(stream);
        expect(decodeBatch(entry?.fields ?? {})).toEqual({ ok: true, batch });
        await stream.acknowledge([entry?.id ?? ""]);
      }),
      { numRuns: runs(50, 1 / 10) },
    );
  });

  it("I7: gives the id of an entry that was trimmed while it was pending, as lost", async () => {
    const stream = await under.consumer("a");
    for (let seq = 1; seq <= 3; seq += 1) await stream.append(batchOf(seq));
    const read = await readNow(stream);
    await under.letClaimsExpire();
    await under.admin.xtrim(under.key, "MAXLEN", 1);
    const again = await readNow(await under.consumer("b"));
    const lost = again.filter(({ fields }) => fields === undefined);
    expect(lost.map(({ id }) => id)).toEqual(read.slice(0, 2).map(({ id }) => id));
    expect(seqsOf(again.filter(({ fields }) => fields !== undefined))).toEqual([3]);
  });

  it("keeps reading after the key was deleted, the group with it", async () => {
    const stream = await under.consumer("a");
    await stream.append(batchOf(1));
    await readNow(stream);
    await under.admin.del(under.key);
    await stream.append(batchOf(2));
    expect(seqsOf(await readNow(stream))).toEqual([2]);
    expect(await stream.backlog()).toBe(1);
  });

  it("ends a waiting read with what comes, after the group was destroyed under it", async () => {
    const stream = await under.consumer("a");
    await readNow(stream);
    const waiting = stream.read({ count: 1, waitMs: 5_000, signal: new AbortController().signal });
    await untilBlocked(under);
    await under.admin.del(under.key);
    await stream.append(batchOf(1));
    expect(seqsOf(await waiting)).toEqual([1]);
  });

  it("I10: keeps about as many entries as it is told to, read or not", async () => {
    const stream = await under.consumer("a", { maxLength: 100 });
    for (let seq = 1; seq <= 500; seq += 1) await stream.append(batchOf(seq));
    expect(await under.admin.xlen(under.key)).toBeLessThan(300);
  });

  it("trims behind the slowest of several groups", async () => {
    const stream = await under.consumer("a");
    for (let seq = 1; seq <= 4; seq += 1) await stream.append(batchOf(seq));
    await under.admin.xgroup("CREATE", under.key, "another", "0");
    await under.admin.xreadgroup("GROUP", "another", "x", "COUNT", 2, "STREAMS", under.key, ">");
    const entries = await readNow(stream);
    await stream.acknowledge(entries.map(({ id }) => id));
    await stream.trim();
    expect(await under.admin.xlen(under.key)).toBe(4);
    const [first] = entries;
    await under.admin.xack(under.key, "another", first?.id ?? "");
    await stream.trim();
    expect(await under.admin.xlen(under.key)).toBe(3);
  });

  it("forgets its consumer when it closes with nothing pending, and keeps it otherwise", async () => {
    const [tidy, busy] = [await under.consumer("tidy"), await under.consumer("busy")];
    await tidy.append(batchOf(1));
    await readNow(busy);
    await readNow(tidy);
    await tidy.close();
    await busy.close();
    const consumers = await under.admin.xinfo("CONSUMERS", under.key, "paramedic");
    expect(JSON.stringify(consumers)).not.toContain("tidy");
    expect(JSON.stringify(consumers)).toContain("busy");
    expect(await readNow(tidy)).toEqual([]);
  });

  it("says in one line what to do about a key of another type", async () => {
    await under.admin.set(under.key, "text");
    const stream = await under.consumer("a");
    const misconfigured = {
      code: "STREAM_MISCONFIGURED",
      message: expect.stringMatching(/something other than a stream.*METRICS_REDIS_STREAM_KEY/),
    };
    await expect(stream.append(batchOf(1))).rejects.toMatchObject(misconfigured);
    await expect(readNow(stream)).rejects.toMatchObject(misconfigured);
    await under.admin.del(under.key);
    await stream.append(batchOf(1));
    expect(seqsOf(await readNow(stream))).toEqual([1]);
  });
});

/** Until Redis says that some client of ours waits in a blocking command. */
async function untilBlocked({ admin }: RedisStreamUnderTest): Promise<void> {
  await expect.poll(async () => /blocked_clients:[1-9]/.test(await admin.info("clients"))).toBe(true);
}
