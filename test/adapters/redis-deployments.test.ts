/** The stream on Redis as people run it: behind TLS, with a user of few rights, watched by Sentinel, as a Cluster, and old. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Cluster, Redis } from "ioredis";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { connectRedis, type RedisConnection } from "../../server/adapters/redis-connection.js";
import { createRedisControlChannel, REDIS_CONTROL_PERMISSIONS } from "../../server/adapters/redis-control-channel.js";
import { createRedisStream, REDIS_STREAM_PERMISSIONS } from "../../server/adapters/redis-stream.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import { readNow, seqsOf } from "../conformance/metric-stream.js";
import { createCertificate } from "../services/certificate.js";
import { ownKey } from "../services/own-key.js";
import { freePort, type RedisServer, startRedis } from "../services/redis-server.js";
import { batchOf } from "../support/batches.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function ownRedis(options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
  const redis = await startRedis(options);
  cleanups.push(() => redis.stop());
  return redis;
}

function owned<T extends Redis | Cluster>(client: T): T {
  client.on("error", () => undefined);
  cleanups.push(() => client.disconnect());
  return client;
}

const adminOf = ({ url }: RedisServer) => owned(new Redis(url, { protocol: 2 }));

function connectTo(
  target: string | Redis | Cluster,
  { onFault, commandTimeoutMs = 5_000 }: { onFault?: (error: unknown) => void; commandTimeoutMs?: number } = {},
): RedisConnection {
  const redis = connectRedis(target, { clock: systemClock, random: () => 0, onFault }, { commandTimeoutMs });
  cleanups.push(() => redis.close());
  return redis;
}

function streamOn(redis: RedisConnection, key = ownKey("stream"), consumer = "a"): MetricStream {
  return createRedisStream({ redis, clock: systemClock }, { key, consumer, claimAfterMs: 50 });
}

function eventually<T>(read: () => T, patienceMs = 30_000) {
  return expect.poll(read, { timeout: patienceMs, interval: 50 });
}

/** Everything that a stream does in its life. */
async function liveThrough(stream: MetricStream, patienceMs?: number): Promise<void> {
  await stream.append(batchOf(1));
  const signal = new AbortController().signal;
  const [first] = await stream.read({ count: 10, waitMs: 1_000, signal });
  expect(seqsOf(first ? [first] : [])).toEqual([1]);
  const again = async () => (await readNow(stream)).map(({ deliveries }) => deliveries);
  await eventually(again, patienceMs).toEqual([2]);
  await stream.append(batchOf(2));
  expect(await stream.backlog()).toBe(2);
  expect(await stream.read({ count: 10, waitMs: 1_000, signal })).toHaveLength(1);
  await stream.acknowledge([first?.id ?? ""]);
  await stream.trim();
  expect(await stream.backlog()).toBe(1);
}

/** Reads and acknowledges until nothing is left, what others hold included. */
async function takeAll(stream: MetricStream): Promise<void> {
  while ((await stream.backlog()) > 0) {
    const signal = new AbortController().signal;
    const entries = await stream.read({ count: 10, waitMs: 100, signal });
    await stream.acknowledge(entries.map(({ id }) => id));
  }
}

describe("behind TLS", () => {
  async function tlsRedis() {
    const certificate = createCertificate();
    cleanups.push(() => certificate.remove());
    const port = await freePort();
    const { certFile, keyFile } = certificate;
    const server = await ownRedis({
      args: ["--tls-port", String(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile].concat(
        "--tls-ca-cert-file",
        certFile,
        "--tls-auth-clients",
        "no",
      ),
    });
    return { certificate, server, port, url: `rediss://127.0.0.1:${port}` };
  }

  it("lives through everything with a client that knows the authority", async () => {
    const { certificate, port } = await tlsRedis();
    const mine = owned(new Redis({ host: "127.0.0.1", port, tls: { ca: certificate.pem } }));
    await liveThrough(streamOn(connectTo(mine)));
  });

  it("takes a rediss:// URL whose authority the process trusts", async () => {
    const { certificate, url } = await tlsRedis();
    const at = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
    const script = `
      import { connectRedis } from ${at("../../server/adapters/redis-connection.ts")};
      import { systemClock as clock } from ${at("../../server/ports/clock.ts")};
      const redis = connectRedis(${JSON.stringify(url)}, { clock, random: Math.random });
      await redis.ping().then(() => console.log("pong"), (error) => console.log(error.message));`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: certificate.certFile },
    });
    cleanups.push(() => child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (data) => {
      output += String(data);
    });
    // Once all that it printed is here too, which it need not be at its exit.
    await new Promise((resolve) => child.once("close", resolve));
    expect(output).toBe("pong\n");
  });

  it("says in one line what to do about a certificate that nobody trusts, or that names another host", async () => {
    const { certificate, port, url } = await tlsRedis();
    await expect(streamOn(connectTo(url)).append(batchOf(1))).rejects.toMatchObject({
      code: "STREAM_MISCONFIGURED",
      message: expect.stringContaining("NODE_EXTRA_CA_CERTS"),
    });
    const elsewhere = { ca: certificate.pem, servername: "redis.example" };
    const mine = owned(new Redis({ host: "127.0.0.1", port, tls: elsewhere, lazyConnect: true }));
    await expect(streamOn(connectTo(mine)).append(batchOf(1))).rejects.toMatchObject({ code: "STREAM_MISCONFIGURED" });
  });

  it("settles when one side speaks TLS and the other does not", async () => {
    const { server, port } = await tlsRedis();
    for (const url of [`redis://127.0.0.1:${port}`, server.url.replace("redis:", "rediss:")]) {
      const redis = connectTo(url, { commandTimeoutMs: 1_000 });
      await expect(streamOn(redis).append(batchOf(1))).rejects.toMatchObject({ code: "STREAM_UNAVAILABLE" });
    }
  });
});

describe("as a user with only the documented permissions", () => {
  it("has them documented where an operator looks", () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
    const [, rules = ""] = /ACL SETUSER paramedic ([^`]+)/.exec(readme) ?? [];
    expect(rules.split(/\s+/).filter((rule) => rule.startsWith("+"))).toEqual(REDIS_STREAM_PERMISSIONS);
  });

  it("says and hears on the control channel with the rights that are documented for it, and no others", async () => {
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
    expect(readme).toContain(`&metrics:stream:control ${REDIS_CONTROL_PERMISSIONS.join(" ")}`);
    const server = await ownRedis();
    const channel = ownKey("stream:control");
    const rules = [
      "on",
      ">secret",
      "resetchannels",
      `&${channel}`,
      "-@all",
      "+ping",
      "+info",
      ...REDIS_CONTROL_PERMISSIONS,
    ];
    await adminOf(server).call("ACL", "SETUSER", "paramedic", ...rules);
    const faults: unknown[] = [];
    const onFault = (error: unknown) => void faults.push(error);
    const channelOf = (sender: string) => {
      const redis = connectTo(server.url.replace("//", "//paramedic:secret@"), { onFault });
      return createRedisControlChannel({ redis, onFault }, { channel, sender });
    };
    const heard: string[] = [];
    let listening = 0;
    channelOf("a").subscribe(
      ({ type }) => void heard.push(type),
      () => {
        listening += 1;
      },
    );
    await expect.poll(() => listening).toBe(1);
    channelOf("b").publish({ type: "circuit.reset", circuitName: "llm:openai", reason: "because" });
    await expect.poll(() => heard).toEqual(["circuit.reset"]);
    expect(faults).toEqual([]);
  });

  it("lives through everything, forgets consumers, and complains nowhere", async () => {
    const warn = vi.spyOn(console, "warn");
    const server = await ownRedis();
    const admin = adminOf(server);
    const key = ownKey("stream");
    const rules = ["on", ">secret", `~${key}`, "resetchannels", "-@all", ...REDIS_STREAM_PERMISSIONS];
    await admin.call("ACL", "SETUSER", "paramedic", ...rules);
    const faults: unknown[] = [];
    const redis = connectTo(server.url.replace("//", "//paramedic:secret@"), {
      onFault: (error) => faults.push(error),
    });
    const stream = streamOn(redis, key);
    await liveThrough(stream);
    expect(await redis.ping()).toBeGreaterThanOrEqual(0);
    const passing = streamOn(redis, key, "passing");
    await stream.append(batchOf(3));
    await takeAll(passing);
    expect(JSON.stringify(await admin.xinfo("CONSUMERS", key, "paramedic"))).toContain("passing");
    await passing.close();
    expect(JSON.stringify(await admin.xinfo("CONSUMERS", key, "paramedic"))).not.toContain("passing");
    expect(faults).toEqual([]);
    expect(warn).not.toHaveBeenCalled();
    await expect(redis.command("look elsewhere", "GET", key)).rejects.toMatchObject({ code: "STREAM_MISCONFIGURED" });
  });

  it.each(REDIS_STREAM_PERMISSIONS.filter((rule) => rule !== "+info"))(
    "needs %s: without it something is refused",
    async (rule) => {
      const server = await ownRedis();
      const admin = adminOf(server);
      const key = ownKey("stream");
      const rules = REDIS_STREAM_PERMISSIONS.filter((other) => other !== rule);
      await admin.call("ACL", "SETUSER", "paramedic", "on", ">secret", `~${key}`, "-@all", ...rules);
      await admin.call("ACL", "LOG", "RESET");
      const redis = connectTo(server.url.replace("//", "//paramedic:secret@"));
      await liveThrough(streamOn(redis, key), 2_000).catch(() => undefined);
      await redis.ping().catch(() => undefined);
      const passing = streamOn(redis, key, "passing");
      await takeAll(passing).catch(() => undefined);
      await passing.close();
      expect(JSON.stringify(await admin.call("ACL", "LOG"))).toContain(rule.slice(1).split("|", 1)[0]);
    },
  );
});

describe("watched by Sentinel", () => {
  /** @param downAfterMs long, so that nobody who is only slow is thought to be gone */
  async function watchedRedis(downAfterMs = 30_000) {
    const master = await ownRedis({ args: ["--repl-diskless-sync-delay", "0"] });
    const replica = await ownRedis({ args: ["--replicaof", `127.0.0.1 ${master.port}`] });
    await eventually(() => adminOf(replica).info("replication")).toContain("master_link_status:up");
    const sentinel = await ownRedis({ watches: { name: "main", port: master.port, downAfterMs } });
    await eventually(() => adminOf(sentinel).call("SENTINEL", "REPLICAS", "main")).toHaveLength(1);
    const mine = owned(
      new Redis({
        sentinels: [{ host: "127.0.0.1", port: sentinel.port }],
        name: "main",
        sentinelRetryStrategy: () => 100,
      }),
    );
    return { master, replica, sentinel, mine };
  }

  it("lives through everything", async () => {
    const { mine } = await watchedRedis();
    await liveThrough(streamOn(connectTo(mine)));
  });

  it("follows a failover: everything is sent, and only what the new master never got is missing", async () => {
    const { master, mine } = await watchedRedis(500);
    const redis = connectTo(mine);
    const stream = streamOn(redis);
    const store = createMemoryStore({ clock: systemClock });
    const collector = new Collector(
      { clock: systemClock, stream, instance: "web-1", boot: "b1" },
      { flushIntervalMs: 20, appendTimeoutMs: 1_000 },
    );
    const aggregator = createAggregator({ clock: systemClock, stream, store }, { waitMs: 50 });
    collector.start();
    aggregator.start();
    const record = async (times: number) => {
      for (let at = 0; at < times; at += 1) {
        collector.record({ metricType: "custom", metricName: "orders_total", value: 1 });
        await collector.flush();
      }
    };
    await record(30);
    await master.kill();
    await record(10);
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
    await record(10);
    await eventually(() => collector.flush().then(() => collector.accounting().inFlight)).toBe(0);
    await eventually(() => stream.backlog()).toBe(0);
    await collector.stop();
    await aggregator.stop();
    expect(collector.accounting()).toMatchObject({ recorded: 50, sent: 50 });
    const own = (await store.ledger()).find(({ boot }) => boot === "b1");
    expect(own?.recorded).toBe(50);
    expect(own?.rolledUp).toBeLessThanOrEqual(50);
    expect(own?.rolledUp).toBeGreaterThanOrEqual(20);
  });

  it("settles while no Sentinel is there, and goes on when one is", async () => {
    const { sentinel, mine } = await watchedRedis();
    await sentinel.kill();
    const stream = streamOn(connectTo(mine));
    await expect(stream.append(batchOf(1))).rejects.toMatchObject({ code: "STREAM_UNAVAILABLE" });
    await sentinel.restart();
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
  });
});

describe("as a Cluster", () => {
  async function ownCluster(size: number): Promise<readonly RedisServer[]> {
    const args = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "2000"];
    const nodes = await Promise.all(Array.from({ length: size }, () => ownRedis({ args })));
    const share = Math.ceil(16_384 / size);
    for (const [at, node] of nodes.entries()) {
      const last = Math.min((at + 1) * share, 16_384) - 1;
      await adminOf(node).cluster("ADDSLOTSRANGE", at * share, last);
      await adminOf(node).call("CLUSTER", "MEET", "127.0.0.1", nodes[0]?.port ?? 0);
    }
    for (const node of nodes) {
      await eventually(() => adminOf(node).cluster("INFO")).toContain("cluster_state:ok");
      await eventually(() => adminOf(node).cluster("INFO")).toContain(`cluster_known_nodes:${size}`);
    }
    return nodes;
  }

  it("keeps all keys of one operation in one slot, wherever among the nodes that is", async () => {
    const [first] = await ownCluster(3);
    const mine = owned(new Cluster([{ host: "127.0.0.1", port: first?.port ?? 0 }]));
    const redis = connectTo(mine);
    // Spread over all nodes by their names.
    for (const name of ["metrics:a", "metrics:b", "metrics:c", "metrics:d"]) {
      await liveThrough(streamOn(redis, name));
      const passing = streamOn(redis, name, "passing");
      await takeAll(passing);
      await passing.close();
      expect(JSON.stringify(await mine.xinfo("CONSUMERS", name, "paramedic"))).not.toContain("passing");
    }
  });

  it("goes on after its node was killed and came back", async () => {
    const [node] = await ownCluster(1);
    const mine = owned(new Cluster([{ host: "127.0.0.1", port: node?.port ?? 0 }], { keyPrefix: "app:" }));
    const stream = streamOn(connectTo(mine), "metrics");
    await eventually(() => stream.append(batchOf(1)).then(() => "there")).toBe("there");
    await node?.kill();
    await expect(stream.append(batchOf(2))).rejects.toMatchObject({ code: "STREAM_UNAVAILABLE" });
    await node?.restart();
    await eventually(() => stream.append(batchOf(2)).then(() => "there")).toBe("there");
    expect(seqsOf(await readNow(stream))).toContain(2);
  });
});
