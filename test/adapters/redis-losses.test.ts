/** What is trimmed away, cannot be read, or comes at the wrong moment on a real Redis: counted, kept, and in nobody's way. */
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { closeAccounts } from "../../server/accounting.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import type { RedisConnection } from "../../server/adapters/redis-connection.js";
import { redisFailure } from "../../server/adapters/redis-failure.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { type AggregatorOptions, createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import type { RollupStore } from "../../server/ports/store.js";
import { encodeBatch } from "../../shared/batch-codec.js";
import { ParamedicError } from "../../shared/errors.js";
import { DAY_MS } from "../../shared/units.js";
import { readNow, seqsOf } from "../conformance/metric-stream.js";
import { batchOf } from "../support/batches.js";
import { createRedisStreamUnderTest, type RedisStreamUnderTest } from "../support/redis-stream-under-test.js";

let under: RedisStreamUnderTest;
beforeEach(async () => {
  under = await createRedisStreamUnderTest(inject("redisUrl"));
});
afterEach(() => under.dispose());

const nobody = { boot: "nobody", recorded: 0, dropped: {} };

async function accountsOf(stream: MetricStream, store: Pick<RollupStore, "ledger">) {
  return closeAccounts(await store.ledger(), nobody, { backlog: await stream.backlog(), unsettledPoints: 0 }, []);
}

function aggregatorOn(stream: MetricStream, options: AggregatorOptions = {}) {
  const store = createMemoryStore({ clock: systemClock });
  const dead: { entryId: string; reason: string; payload: string }[] = [];
  const faults: unknown[] = [];
  const kept: Pick<RollupStore, "commitEntry" | "commitBatch" | "saveDeadBatch"> = {
    commitEntry: (fields) => store.commitEntry(fields),
    commitBatch: (batch) => store.commitBatch(batch),
    saveDeadBatch: async (one) => void dead.push(one),
  };
  const deps = { clock: systemClock, stream, store: kept, onFault: (error: unknown) => void faults.push(error) };
  return { aggregator: createAggregator(deps, options), store, dead, faults, kept };
}

describe("trimming", () => {
  it("I7: what was cut off before anybody read it is lost by as many points as it had, once a later batch tells", async () => {
    const stream = await under.consumer("a");
    const { aggregator, store } = aggregatorOn(stream);
    for (let seq = 1; seq <= 10; seq += 1) await stream.append(batchOf(seq, { values: [1, 2, 3] }));
    await under.admin.xtrim(under.key, "MAXLEN", 4);
    expect(await stream.backlog()).toBe(4);
    await aggregator.drain({ deadlineMs: 10_000 });
    // Redis 7.0 goes on counting the six into its lag.
    expect(await stream.backlog()).toBe(0);
    expect(await accountsOf(stream, store)).toMatchObject({ recorded: 30, rolledUp: 12, lost: 18, inFlight: 0 });
    await stream.append(batchOf(11, { values: [1, 2, 3] }));
    expect(await stream.backlog()).toBe(1);
    expect(await accountsOf(stream, store)).toMatchObject({ lost: 0, inFlight: 18 });
  });

  it("I7: what was cut off while it was pending is told by its ids, and lost by its points", async () => {
    const [dead, alive] = [await under.consumer("dead"), await under.consumer("alive")];
    const { aggregator, store } = aggregatorOn(alive);
    for (let seq = 1; seq <= 6; seq += 1) await dead.append(batchOf(seq, { values: [1, 2] }));
    await readNow(dead, 4);
    await under.letClaimsExpire();
    await under.admin.xtrim(under.key, "MAXLEN", 3);
    await aggregator.drain({ deadlineMs: 10_000 });
    expect(aggregator.stats()).toMatchObject({ committed: 3, lostEntries: 3, held: 0, left: 0, delivered: 6 });
    expect(await accountsOf(alive, store)).toMatchObject({ recorded: 12, rolledUp: 6, lost: 6, inFlight: 0 });
  });

  it("I10: a stream that nobody reads is held down by its length, and what that cuts off is lost to the unit", async () => {
    const stream = await under.consumer("a", { maxLength: 100 });
    const { aggregator, store } = aggregatorOn(stream);
    const sent = 1_000;
    for (let seq = 1; seq <= sent; seq += 1) await stream.append(batchOf(seq, { values: [1, 2] }));
    const kept = await under.admin.xlen(under.key);
    expect(kept).toBeLessThan(300);
    await aggregator.drain({ deadlineMs: 10_000 });
    expect(await accountsOf(stream, store)).toMatchObject({
      recorded: 2 * sent,
      rolledUp: 2 * kept,
      lost: 2 * (sent - kept),
      inFlight: 0,
    });
  });

  it("tells of a trimmed entry even when the question after it went unanswered", async () => {
    const writer = await under.consumer("writer");
    for (let seq = 1; seq <= 3; seq += 1) await writer.append(batchOf(seq));
    await readNow(writer);
    await under.letClaimsExpire();
    await under.admin.xtrim(under.key, "MAXLEN", 1);
    let cut = true;
    const redis = changed(under.redis, async (name, send) => {
      if (name !== "XPENDING" || !cut) return send();
      cut = false;
      throw new ParamedicError("STREAM_UNAVAILABLE", "cut");
    });
    const stream = createRedisStream({ redis, clock: systemClock }, { key: under.key, consumer: "b", claimAfterMs: 1 });
    await expect(readNow(stream)).rejects.toMatchObject({ code: "STREAM_UNAVAILABLE" });
    const lost: string[] = [];
    await expect
      .poll(async () => {
        for (const { id, fields } of await readNow(stream)) if (fields === undefined) lost.push(id);
        return lost.length;
      })
      .toBe(2);
  });
});

describe("Redis 6.2, which tells neither lag nor the ids of trimmed entries", () => {
  /** The same server, answering as 6.2 does: entries that were claimed and are gone stay pending, without a word. */
  function answeringAs62(redis: RedisConnection): RedisConnection {
    return changed(redis, async (name, send, args) => {
      if (name === "XINFO" && args[0] === "GROUPS") return withoutLag(await send());
      if (name !== "XAUTOCLAIM") return send();
      const [key, group] = args.map(String);
      const pending = (await under.admin.xpending(key ?? "", group ?? "", "-", "+", 1_000)) as [string, ...unknown[]][];
      const found = await Promise.all(pending.map(([id]) => under.admin.xrange(key ?? "", id, id)));
      return ["0-0", found.map(([entry]) => entry ?? null)];
    });
  }

  function withoutLag(reply: unknown): unknown {
    if (!Array.isArray(reply)) return reply;
    return reply.map((flat: unknown[]) => flat.slice(0, flat.indexOf("entries-read")));
  }

  it("finds what is lost among its own pending entries, however many there are, and knows when nothing waits", async () => {
    const redis = answeringAs62(under.redis);
    const options = { key: under.key, consumer: "a", claimAfterMs: 0 };
    const stream = createRedisStream({ redis, clock: systemClock }, options);
    const total = 250;
    for (let seq = 1; seq <= total; seq += 1) await stream.append(batchOf(seq));
    await under.admin.xgroup("CREATE", under.key, "paramedic", "0");
    await under.admin.xreadgroup("GROUP", "paramedic", "a", "COUNT", total, "STREAMS", under.key, ">");
    const [, [last = ""] = []] = await under.admin.xrange(under.key, "-", "+", "COUNT", 2);
    await under.admin.xtrim(under.key, "MAXLEN", 1);
    const entries = await readNow(stream);
    const lost = entries.filter(({ fields }) => fields === undefined).map(({ id }) => id);
    expect(lost).toHaveLength(total - 1);
    expect(lost).toContain(last);
    expect(seqsOf(entries.filter(({ fields }) => fields !== undefined))).toEqual([total]);
    await stream.acknowledge(entries.map(({ id }) => id));
    expect(await under.admin.xlen(under.key)).toBe(1);
    expect(await stream.backlog()).toBe(0);
    await stream.append(batchOf(total + 1));
    expect(await stream.backlog()).toBeGreaterThan(0);
  });
});

describe("a Redis older than 6.2", () => {
  /** What 6.0 answers to what it does not know. */
  function refusalOf60(name: string, args: readonly (string | number)[]): string | undefined {
    if (name === "XAUTOCLAIM") return "ERR unknown command `XAUTOCLAIM`, with args beginning with: ";
    if (args.includes("LIMIT")) return "ERR Invalid stream ID specified as stream command argument";
    return args.includes("MINID") ? "ERR syntax error" : undefined;
  }

  it("is given nothing that nobody could read there: all waits and merges until a newer one is there", async () => {
    let isOld = true;
    const redis = changed(under.redis, async (name, send, args) => {
      const refusal = isOld ? refusalOf60(name, args) : undefined;
      if (refusal === undefined) return send();
      throw redisFailure(new Error(refusal), `send ${name}`);
    });
    const stream = createRedisStream({ redis, clock: systemClock }, { key: under.key, consumer: "a", claimAfterMs: 1 });
    const { aggregator, store, faults } = aggregatorOn(stream);
    const collectorFaults: unknown[] = [];
    const onFault = (error: unknown) => void collectorFaults.push(error);
    const collector = new Collector({ clock: systemClock, stream, instance: "web-1", boot: "b1", onFault });
    const windows = 5;
    for (let window = 0; window < windows; window += 1) {
      collector.record({ metricType: "custom", metricName: "orders_total", value: 1 });
      await collector.flush();
      await aggregator.runOnce();
    }
    const tooOld = { code: "STREAM_MISCONFIGURED", message: expect.stringContaining("6.2 or newer is needed") };
    expect(collectorFaults).toMatchObject([tooOld]);
    expect(faults[0]).toMatchObject(tooOld);
    expect(await under.admin.xlen(under.key)).toBe(0);
    expect(collector.accounting()).toMatchObject({ recorded: windows, sent: 0, inFlight: windows });

    isOld = false;
    await collector.stop();
    expect(await under.admin.xlen(under.key)).toBe(2);
    await aggregator.drain({ deadlineMs: 10_000 });
    expect(await store.ledger()).toMatchObject([{ recorded: windows, rolledUp: windows }]);
  });
});

describe("an entry that nobody can fold", () => {
  it("I11: is kept raw with what is wrong, once, and the others go on", async () => {
    const stream = await under.consumer("a");
    const { aggregator, dead, store } = aggregatorOn(stream, { maxNewerDeliveries: 2 });
    await stream.append(batchOf(1));
    const torn = { ...encodeBatch(batchOf(2)), data: '{"from":' };
    const nameless = { ...encodeBatch(batchOf(2)), batch: "a\u0000b" };
    const newer = { ...encodeBatch(batchOf(2)), v: "2" };
    for (const fields of [{ hello: "world" }, torn, nameless, newer]) {
      await under.admin.xadd(under.key, "*", ...Object.entries(fields).flat());
    }
    await stream.append(batchOf(3));
    await aggregator.drain({ deadlineMs: 10_000 });
    expect(aggregator.stats()).toMatchObject({ committed: 2, dead: 3, left: 1, newerSeen: 1 });
    expect(dead.map(({ payload }) => JSON.parse(payload))).toEqual([{ hello: "world" }, torn, nameless]);
    for (const { reason } of dead) expect(reason).not.toMatch(/\p{Control}/u);
    // It waits for whoever reads it, and not for ever.
    expect(await stream.backlog()).toBe(1);
    await under.letClaimsExpire();
    await aggregator.drain({ deadlineMs: 10_000 });
    expect(dead.at(-1)).toMatchObject({
      reason: expect.stringMatching(/^newer_version: /),
      payload: JSON.stringify(newer),
    });
    expect(await stream.backlog()).toBe(0);
    expect(await store.ledger()).toMatchObject([{ rolledUp: 2 }]);
  });

  it("I11: is buried after as many deliveries as are allowed, whoever of the readers had it before and died", async () => {
    const first = await under.consumer("first");
    await first.append(batchOf(1));
    await readNow(first);
    for (const name of ["second", "third", "fourth"]) {
      await under.letClaimsExpire();
      expect(await readNow(await under.consumer(name))).toHaveLength(1);
    }
    await under.letClaimsExpire();
    const stream = await under.consumer("fifth");
    const { aggregator, dead, kept } = aggregatorOn(stream, { maxDeliveries: 5 });
    kept.commitEntry = async () => {
      throw new ParamedicError("STORE_REQUEST_INVALID", "a value is not allowed");
    };
    await aggregator.drain({ deadlineMs: 10_000 });
    expect(dead).toMatchObject([{ reason: "refused: a value is not allowed" }]);
    expect(await stream.backlog()).toBe(0);
  });
});

describe("a consumer that died with much that was pending", () => {
  it("leaves all of it to another one, page after page without a pause", async () => {
    const [dead, alive] = [await under.consumer("dead"), await under.consumer("alive")];
    for (let seq = 1; seq <= 25; seq += 1) await dead.append(batchOf(seq));
    await readNow(dead, 25);
    await under.letClaimsExpire();
    const pages: number[][] = [];
    for (let page = 0; page < 3; page += 1) pages.push(seqsOf(await readNow(alive, 10)));
    expect(pages.map(({ length }) => length)).toEqual([10, 10, 5]);
    expect(pages.flat()).toEqual(Array.from({ length: 25 }, (_, at) => at + 1));
  });
});

describe("a consumer that was quiet for a day", () => {
  /** Redis says that everybody was, and `before` happens just before a consumer would be deleted. */
  function quiet(before: () => Promise<unknown>): MetricStream {
    const redis = changed(under.redis, async (name, send, args) => {
      const deletes = name === "EVAL" || (name === "XGROUP" && args[0] === "DELCONSUMER");
      if (deletes) await before();
      const reply = await send();
      if (name !== "XINFO" || args[0] !== "CONSUMERS" || !Array.isArray(reply)) return reply;
      return reply.map((flat: unknown[]) => flat.map((value, at) => (flat[at - 1] === "idle" ? DAY_MS : value)));
    });
    return createRedisStream({ redis, clock: systemClock }, { key: under.key, consumer: "tidy", claimAfterMs: 60_000 });
  }
  const names = async () => JSON.stringify(await under.admin.xinfo("CONSUMERS", under.key, "paramedic"));

  it("is forgotten", async () => {
    const gone = await under.consumer("gone");
    await gone.append(batchOf(1));
    await gone.acknowledge((await readNow(gone)).map(({ id }) => id));
    await quiet(async () => undefined).trim();
    expect(await names()).not.toContain("gone");
  });

  it("stays when it reads again at that very moment, and what it read is not lost with it", async () => {
    const back = await under.consumer("back");
    await back.append(batchOf(1));
    await back.acknowledge((await readNow(back)).map(({ id }) => id));
    await back.append(batchOf(2));
    await quiet(() => readNow(back)).trim();
    expect(await names()).toContain("back");
    await under.letClaimsExpire();
    expect(seqsOf(await readNow(await under.consumer("heir")))).toEqual([2]);
  });
});

/** A connection whose single commands pass through `change`. */
function changed(
  redis: RedisConnection,
  change: (name: string, send: () => Promise<unknown>, args: readonly (string | number)[]) => Promise<unknown>,
): RedisConnection {
  return {
    ...redis,
    command: (doing, name, ...args) => change(name, () => redis.command(doing, name, ...args), args),
  };
}
