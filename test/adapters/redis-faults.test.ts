import { spawn } from "node:child_process";
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { afterEach, describe, expect, inject, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { connectRedis, type RedisConnection } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { HOUR_MS } from "../../shared/units.js";
import { readNow, seqsOf } from "../conformance/metric-stream.js";
import { ownKey } from "../services/own-key.js";
import { type RedisServer, startRedis } from "../services/redis-server.js";
import { batchOf } from "../support/batches.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function ownRedis(args: readonly string[] = []): Promise<RedisServer> {
  const redis = await startRedis({ args });
  cleanups.push(() => redis.stop());
  return redis;
}

/** Patient, unless the time that a command is given is what a test is about. */
function connectTo(target: string | Redis | Cluster, commandTimeoutMs = 5_000): RedisConnection {
  const redis = connectRedis(target, { clock: systemClock, random: () => 0 }, { commandTimeoutMs });
  cleanups.push(() => redis.close());
  return redis;
}

function streamOn(redis: RedisConnection, key = ownKey("stream"), consumer = "a", claimAfterMs = 50) {
  return createRedisStream({ redis, clock: systemClock }, { key, consumer, claimAfterMs });
}

function adminOf(url: string): Redis {
  const admin = new Redis(url, { protocol: 2 });
  admin.on("error", () => undefined);
  cleanups.push(async () => admin.disconnect());
  return admin;
}

async function proxyTo(port: number) {
  const proxy = await startTcpProxy({ port });
  cleanups.push(() => proxy.close());
  return { proxy, url: `redis://127.0.0.1:${proxy.port}` };
}

/** Waits for the world outside. */
function eventually<T>(read: () => T) {
  return expect.poll(read, { interval: 20 });
}

const unavailable = { code: "STREAM_UNAVAILABLE" };
const misconfigured = { code: "STREAM_MISCONFIGURED" };

describe("a command always settles", () => {
  it("at once while nobody listens, and works as soon as Redis is there", async () => {
    const redis = await ownRedis();
    await redis.kill();
    const stream = streamOn(connectTo(redis.url));
    await expect(stream.append(batchOf(1))).rejects.toMatchObject({
      ...unavailable,
      message: expect.stringContaining("ECONNREFUSED"),
    });
    await redis.restart();
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
  });

  it("when Redis is killed while a read waits in it, and reads on after its restart", async () => {
    const redis = await ownRedis();
    const stream = streamOn(connectTo(redis.url));
    await stream.append(batchOf(1));
    await stream.acknowledge((await readNow(stream)).map(({ id }) => id));
    const waiting = stream.read({ count: 1, waitMs: 60_000, signal: new AbortController().signal });
    const rejected = expect(waiting).rejects.toMatchObject(unavailable);
    await eventually(() => adminOf(redis.url).info("clients")).toMatch(/blocked_clients:1/);
    await redis.kill();
    await rejected;
    await redis.restart();
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toEqual([2]);
  });

  it("at once while a read waits in Redis, which has a connection of its own", async () => {
    const redis = await ownRedis();
    const stream = streamOn(connectTo(redis.url));
    const waiting = stream.read({ count: 10, waitMs: 10_000, signal: new AbortController().signal });
    await eventually(() => adminOf(redis.url).info("clients")).toContain("blocked_clients:1");
    await stream.append(batchOf(1));
    expect(seqsOf(await waiting)).toEqual([1]);
  });

  it("when the reply is lost, and the command is not sent again by itself", async () => {
    const server = await ownRedis();
    const { proxy, url } = await proxyTo(server.port);
    const key = ownKey("stream");
    const stream = streamOn(connectTo(url), key);
    const admin = adminOf(server.url);
    await stream.append(batchOf(1));
    proxy.blackhole("to_client");
    const lost = expect(stream.append(batchOf(2))).rejects.toMatchObject(unavailable);
    await eventually(() => admin.xlen(key)).toBe(2);
    proxy.cut();
    await lost;
    proxy.resume();
    await eventually(() => stream.append(batchOf(3)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toEqual([1, 2, 3]);
  });

  it("when everything vanishes on the way, after the time it was given", async () => {
    const server = await ownRedis();
    const { proxy, url } = await proxyTo(server.port);
    const stream = streamOn(connectTo(url, 100));
    const backlog = () => stream.backlog().catch(() => "away");
    await eventually(backlog).toBe(0);
    proxy.blackhole();
    await expect(stream.append(batchOf(1))).rejects.toMatchObject(unavailable);
    await expect(readNow(stream)).rejects.toMatchObject(unavailable);
    // The swallowed replies never come: had the connection been kept, each reply would be taken for an earlier command's.
    proxy.resume();
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    await eventually(backlog).toBeGreaterThan(0);
  });

  it("when a waiting read hears nothing any more, and the next one has a new connection", async () => {
    const server = await ownRedis();
    const { proxy, url } = await proxyTo(server.port);
    const key = ownKey("stream");
    const stream = streamOn(connectTo(url), key, "a", HOUR_MS);
    await stream.append(batchOf(1));
    const read = (waitMs: number) => stream.read({ count: 1, waitMs, signal: new AbortController().signal });
    // The second one says with nothing that it has a connection to wait on, which is the one that falls silent.
    expect([await read(1_000), await read(1)].map(seqsOf)).toEqual([[1], []]);
    proxy.blackhole("to_client");
    await expect(read(200)).rejects.toMatchObject(unavailable);
    proxy.resume();
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    const found = new Set<number>();
    await eventually(async () => {
      for (const seq of seqsOf(await read(1))) found.add(seq);
      return found;
    }).toEqual(new Set([1, 2]));
  });

  it("when its caller ends it while the answer is on its way: the next read has what was given to nobody", async () => {
    const server = await ownRedis();
    const { proxy, url } = await proxyTo(server.port);
    const key = ownKey("stream");
    const stream = streamOn(connectTo(url), key, "a", HOUR_MS);
    await stream.append(batchOf(1));
    await stream.acknowledge((await readNow(stream)).map(({ id }) => id));
    const leaving = new AbortController();
    const waiting = stream.read({ count: 10, waitMs: 10_000, signal: leaving.signal });
    await eventually(() => adminOf(server.url).info("clients")).toMatch(/blocked_clients:1/);
    proxy.blackhole("to_client");
    for (const seq of [2, 3]) await streamOn(connectTo(server.url), key).append(batchOf(seq));
    await eventually(() => adminOf(server.url).xpending(key, "paramedic")).toContain(1);
    leaving.abort();
    expect(await waiting).toEqual([]);
    proxy.resume();
    const next = await readNow(stream);
    expect(seqsOf(next)).toEqual([2]);
    expect(next[0]?.deliveries).toBe(2);
    expect(seqsOf(await readNow(stream))).toEqual([3]);
    expect(seqsOf(await readNow(stream))).toEqual([]);
  });

  it("when the greeting of a new connection is lost, and a waiting read finds its way again", async () => {
    const server = await ownRedis();
    const { proxy, url } = await proxyTo(server.port);
    const stream = streamOn(connectTo(url, 1_000));
    await stream.append(batchOf(1));
    const read = () => stream.read({ count: 10, waitMs: 50, signal: new AbortController().signal });
    await stream.acknowledge((await read()).map(({ id }) => id));
    proxy.blackhole("to_client");
    proxy.cut();
    await eventually(() => adminOf(server.url).client("LIST")).toContain("cmd=info");
    await expect(read()).rejects.toMatchObject(unavailable);
    proxy.resume();
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    await eventually(() => read().then(seqsOf, () => [])).toEqual([2]);
  });

  it("at once while a connection is being made, and is not kept to be sent later", async () => {
    const server = await ownRedis();
    const { proxy, url } = await proxyTo(server.port);
    const key = ownKey("stream");
    const stream = streamOn(connectTo(url, 8_000), key);
    await stream.append(batchOf(1));
    proxy.blackhole("to_client");
    proxy.cut();
    await eventually(() => adminOf(server.url).client("LIST")).toContain("cmd=info");
    const begunAt = performance.now();
    await expect(stream.append(batchOf(2))).rejects.toMatchObject(unavailable);
    expect(performance.now() - begunAt).toBeLessThan(6_000);
    proxy.resume();
    proxy.cut();
    await eventually(() => stream.append(batchOf(3)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toEqual([1, 3]);
  });

  it("when a connection breaks twice over, which ends no process", async () => {
    const twins: Redis[] = [];
    class Watched extends Redis {
      override duplicate(options?: RedisOptions): Redis {
        const twin = super.duplicate(options);
        twins.push(twin);
        return twin;
      }
    }
    const mine = new Watched(inject("redisUrl"));
    cleanups.push(async () => mine.disconnect());
    const redis = connectTo(mine);
    await redis.ping();
    const [{ stream } = mine] = twins;
    for (const time of ["first", "second", "third"]) stream.emit("error", new Error(`the ${time} time`));
    await eventually(() => redis.ping().then(() => "there")).toBe("there");
  });

  it("after it was closed, with a clear error", async () => {
    const redis = connectTo(inject("redisUrl"));
    const stream = streamOn(redis);
    await redis.close();
    await expect(stream.append(batchOf(1))).rejects.toMatchObject({ code: "CLOSED" });
    await stream.close();
  });
});

describe("what Redis refuses", () => {
  it("is waited for when it may pass: out of memory", async () => {
    const redis = await ownRedis();
    const stream = streamOn(connectTo(redis.url));
    await adminOf(redis.url).config("SET", "maxmemory", "1");
    await expect(stream.append(batchOf(1))).rejects.toMatchObject({
      ...unavailable,
      message: expect.stringContaining("OOM"),
    });
    await adminOf(redis.url).config("SET", "maxmemory", "0");
    await stream.append(batchOf(1));
  });

  it("is waited for when it may pass: a replica, and we connect anew", async () => {
    const redis = await ownRedis();
    const stream = streamOn(connectTo(redis.url));
    const admin = adminOf(redis.url);
    await admin.call("REPLICAOF", "127.0.0.1", "1");
    await stream.backlog();
    const connections = async () => /total_connections_received:(\d+)/.exec(await admin.info("stats"))?.[1];
    const before = Number(await connections());
    await expect(stream.append(batchOf(1))).rejects.toMatchObject(unavailable);
    // Behind the same name there may be another master by now.
    await eventually(connections).toBe(String(before + 1));
    await admin.call("REPLICAOF", "NO", "ONE");
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
  });

  it("is waited for when it may pass: a replica that serves nothing while its master is gone", async () => {
    // One that took writes in general; the usual one answers them with READONLY.
    const redis = await ownRedis(["--replica-serve-stale-data", "no", "--replica-read-only", "no"]);
    const stream = streamOn(connectTo(redis.url));
    await stream.append(batchOf(1));
    const admin = adminOf(redis.url);
    await admin.call("REPLICAOF", "127.0.0.1", "1");
    const masterdown = { ...unavailable, message: expect.stringContaining("MASTERDOWN") };
    await expect(stream.append(batchOf(2))).rejects.toMatchObject(masterdown);
    await expect(readNow(stream)).rejects.toMatchObject(masterdown);
    await expect(stream.backlog()).rejects.toMatchObject(masterdown);
    await admin.call("REPLICAOF", "NO", "ONE");
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toEqual([1, 2]);
  });

  it("is waited for when it may pass: too few replicas", async () => {
    const redis = await ownRedis();
    const stream = streamOn(connectTo(redis.url));
    await adminOf(redis.url).config("SET", "min-replicas-to-write", "1");
    await expect(stream.append(batchOf(1))).rejects.toMatchObject(unavailable);
  });

  it("is waited for when it may pass: it is loading its data", async () => {
    const slowly = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
    const redis = await ownRedis(slowly);
    const stream = streamOn(connectTo(redis.url));
    await stream.append(batchOf(1));
    const admin = adminOf(redis.url);
    await admin.mset(Object.fromEntries(Array.from({ length: 1_000 }, (_, at) => [`key${at}`, "x".repeat(100)])));
    await admin.save();
    await redis.kill();
    const back = redis.restart();
    const raw = new Redis(redis.url, { protocol: 2, enableReadyCheck: false, disableClientInfo: true });
    raw.on("error", () => undefined);
    cleanups.push(async () => raw.disconnect());
    await eventually(() => raw.ping().catch((error: Error) => error.message)).toContain("LOADING");
    await expect(stream.append(batchOf(2))).rejects.toMatchObject(unavailable);
    await back;
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toContain(1);
  });

  it("is waited for when it may pass: it cannot save its data", async () => {
    const redis = await ownRedis(["--save", "3600 1", "--dbfilename", "taken"]);
    const stream = streamOn(connectTo(redis.url));
    await stream.append(batchOf(1));
    const admin = adminOf(redis.url);
    // Where its file is to be there is a folder, which no file can replace.
    const [, folder = ""] = (await admin.config("GET", "dir")) as string[];
    mkdirSync(join(folder, "taken"));
    await admin.bgsave();
    await eventually(() => admin.info("persistence")).toContain("rdb_last_bgsave_status:err");
    await expect(stream.append(batchOf(2))).rejects.toMatchObject({
      ...unavailable,
      message: expect.stringContaining("MISCONF"),
    });
    rmdirSync(join(folder, "taken"));
    await admin.bgsave();
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toEqual([1, 2]);
  });

  it("is waited for when it may pass: a script that does not end", async () => {
    const redis = await ownRedis(["--busy-reply-threshold", "50"]);
    const stream = streamOn(connectTo(redis.url));
    await stream.append(batchOf(1));
    const admin = adminOf(redis.url);
    await admin.ping();
    const endless = adminOf(redis.url)
      .eval("while true do end", 0)
      .catch(() => "ended");
    await eventually(() => stream.append(batchOf(2)).catch((error: Error) => error.message)).toContain("BUSY");
    await admin.script("KILL");
    expect(await endless).toBe("ended");
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
  });

  it("is waited for when it may pass: too many clients", async () => {
    const redis = await ownRedis();
    const admin = adminOf(redis.url);
    await admin.ping();
    await admin.config("SET", "maxclients", "1");
    const stream = streamOn(connectTo(redis.url));
    await expect(stream.append(batchOf(1))).rejects.toMatchObject(unavailable);
    await admin.config("SET", "maxclients", "100");
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
  });

  it("is somebody's to correct: no password, or a wrong one, which is not repeated", async () => {
    const redis = await ownRedis(["--requirepass", "correct-horse"]);
    await expect(streamOn(connectTo(redis.url)).append(batchOf(1))).rejects.toMatchObject(misconfigured);
    const wrong = redis.url.replace("//", "//:battery-staple@");
    const failure = await streamOn(connectTo(wrong))
      .append(batchOf(1))
      .catch((error: unknown) => error);
    expect(failure).toMatchObject(misconfigured);
    expect(String(failure)).not.toContain("staple");
    const right = redis.url.replace("//", "//:correct-horse@");
    await streamOn(connectTo(right)).append(batchOf(1));
  });

  it("is somebody's to correct: a user without permission", async () => {
    const redis = await ownRedis();
    await adminOf(redis.url).call("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-xadd");
    const stream = streamOn(connectTo(redis.url.replace("//", "//app:secret@")));
    await expect(stream.append(batchOf(1))).rejects.toMatchObject(misconfigured);
  });
});

describe("a client that was given", () => {
  it("is left alone: its options, its connection and its end are its owner's", async () => {
    const mine = new Redis(inject("redisUrl"), { keyPrefix: "app:" });
    cleanups.push(async () => mine.disconnect());
    const key = ownKey("stream");
    const redis = connectTo(mine);
    const stream = streamOn(redis, key);
    await stream.append(batchOf(1));
    const entries = await readNow(stream);
    expect(seqsOf(entries)).toEqual([1]);
    expect(await mine.xlen(key)).toBe(1);
    await stream.acknowledge(entries.map(({ id }) => id));
    await stream.trim();
    expect(await mine.xlen(key)).toBe(0);
    await redis.close();
    expect(await mine.ping()).toBe("PONG");
    await mine.del(key);
  });

  it("may be a cluster", async () => {
    const node = await ownRedis(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    await adminOf(node.url).cluster("ADDSLOTSRANGE", 0, 16_383);
    await eventually(() => adminOf(node.url).cluster("INFO")).toContain("cluster_state:ok");
    const mine = new Cluster([{ host: "127.0.0.1", port: node.port }]);
    mine.on("error", () => undefined);
    cleanups.push(async () => mine.disconnect());
    const redis = connectTo(mine, 1_000);
    const stream = streamOn(redis);
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
    const entries = await stream.read({ count: 10, waitMs: 1_000, signal: new AbortController().signal });
    expect(seqsOf(entries)).toEqual([1]);
    await stream.acknowledge(entries.map(({ id }) => id));
    await stream.trim();
    expect(await stream.backlog()).toBe(0);
  });

  it("is refused in one line when it is no Redis address, without its password", () => {
    const connect = () => connectTo("localhost:6379/hunter2");
    expect(connect).toThrow("redis://");
    expect(connect).not.toThrow("hunter2");
  });
});

describe("an idle connection", () => {
  it.each([
    ["there", false],
    ["away", true],
  ])("keeps no process alive while Redis is %s", async (_, isAway) => {
    const url = isAway ? "redis://127.0.0.1:1" : inject("redisUrl");
    const at = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
    const script = `
      import { connectRedis } from ${at("../../server/adapters/redis-connection.ts")};
      import { createRedisStream } from ${at("../../server/adapters/redis-stream.ts")};
      import { systemClock as clock } from ${at("../../server/ports/clock.ts")};
      const redis = connectRedis(${JSON.stringify(url)}, { clock, random: Math.random });
      const stream = createRedisStream({ redis, clock }, { key: "paramedic-test:idle", consumer: "a" });
      const signal = new AbortController().signal;
      await redis.ping().then(() => console.log("pong"), () => console.log("none"));
      stream.read({ count: 1, waitMs: 60_000, signal }).catch(() => undefined);
      setTimeout(() => console.log("end"), 300);`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script]);
    cleanups.push(async () => child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (data) => {
      output += String(data);
    });
    // Once all that it printed is here too, which it need not be at its exit.
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect(output).toBe(`${isAway ? "none" : "pong"}\nend\n`);
    expect(code).toBe(0);
  });
});

describe("collector, Redis and aggregator together", () => {
  it("account for every point although Redis is killed, comes back empty and replies get lost", async () => {
    const server = await ownRedis(["--appendonly", "yes", "--appendfsync", "always"]);
    const { proxy, url } = await proxyTo(server.port);
    const key = ownKey("stream");
    const store = createMemoryStore({ clock: systemClock });
    const redis = connectTo(url, 300);
    const stream = streamOn(redis, key);
    const deps = { clock: systemClock, stream, instance: "web-1", boot: "b1" };
    const collector = new Collector(deps, { batchSize: 2, flushIntervalMs: 20, appendTimeoutMs: 400 });
    const aggregator = createAggregator({ clock: systemClock, stream, store }, { waitMs: 50 });
    collector.start();
    aggregator.start();

    let recorded = 0;
    const record = async (flushes: number) => {
      for (let at = 0; at < flushes; at += 1) {
        for (const name of ["a_total", "b_total", "c_total"]) {
          collector.record({ metricType: "custom", metricName: name, value: 1 });
          recorded += 1;
        }
        await collector.flush();
      }
    };
    await record(20);
    await server.kill();
    await record(5);
    await server.restart();
    await eventually(() => redis.ping().then(() => "there")).toBe("there");
    await record(10);
    for (let cut = 0; cut < 5; cut += 1) {
      proxy.blackhole("to_client");
      await record(1);
      proxy.cut();
      proxy.resume();
      await record(1);
    }
    await eventually(() => collector.flush().then(() => collector.accounting().inFlight)).toBe(0);
    await eventually(() => stream.backlog().catch(() => -1)).toBe(0);
    await collector.stop();
    await aggregator.stop();
    expect(collector.accounting()).toMatchObject({ recorded, sent: recorded });
    expect(await store.ledger()).toMatchObject([{ recorded, rolledUp: recorded }]);
    expect(aggregator.stats().duplicates).toBeGreaterThan(0);
  });
});
