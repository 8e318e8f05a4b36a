/** The control channel between processes: real connections to a real Redis, one for each process that there would be. */
import { Redis } from "ioredis";
import { afterEach, describe, expect, inject, it } from "vitest";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisControlChannel } from "../../server/adapters/redis-control-channel.js";
import { systemClock } from "../../server/ports/clock.js";
import type { ControlMessage } from "../../server/ports/control-channel.js";
import { describeControlChannel, EVERY_MESSAGE } from "../conformance/control-channel.js";
import { ownKey } from "../services/own-key.js";
import { startTcpProxy } from "../support/tcp-proxy.js";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** One process, and what it heard. */
async function listening(name: string, sender: string, url: string | Redis = inject("redisUrl")) {
  const faults: unknown[] = [];
  const heard: { message: ControlMessage; remote: boolean }[] = [];
  const gaps: string[] = [];
  const redis = connectRedis(url, { clock: systemClock, random: () => 0 }, { commandTimeoutMs: 5_000 });
  const channel = createRedisControlChannel(
    { redis, onFault: (error) => faults.push(error) },
    { channel: name, sender },
  );
  channel.subscribe(
    (message, { remote }) => heard.push({ message, remote }),
    () => gaps.push("gap"),
  );
  cleanups.push(() => redis.close());
  return { redis, channel, faults, heard, gaps, ready: () => eventually(() => gaps.length).toBeGreaterThan(0) };
}

function eventually<T>(read: () => T) {
  return expect.poll(read, { interval: 10 });
}

describeControlChannel("the Redis control channel", async () => {
  const { channel, faults, redis } = await listening(ownKey("control"), "a");
  return { channel, faults, dispose: () => redis.close() };
});

describe("between processes", () => {
  it("every message arrives as it was, from elsewhere, and its sender does not hear it twice", async () => {
    const name = ownKey("control");
    const [a, b] = await Promise.all([listening(name, "a"), listening(name, "b")]);
    await Promise.all([a.ready(), b.ready()]);
    for (const message of EVERY_MESSAGE) a.channel.publish(message);
    await eventually(() => b.heard.length).toBe(EVERY_MESSAGE.length);
    expect(b.heard).toEqual(EVERY_MESSAGE.map((message) => ({ message, remote: true })));
    b.channel.publish({ type: "settings.changed", name: "mode" });
    await eventually(() => a.heard.length).toBe(EVERY_MESSAGE.length + 1);
    expect(a.heard.filter(({ remote }) => remote)).toHaveLength(1);
    expect([...a.faults, ...b.faults]).toEqual([]);
  });

  it("two apps on one Redis do not hear each other: by their stream's key, and by their clients' key prefix", async () => {
    const name = ownKey("control");
    const prefixed = new Redis(inject("redisUrl"), { keyPrefix: "app:", lazyConnect: true });
    const [a, b, c, d] = await Promise.all([
      listening(name, "a"),
      listening(`${name}:other`, "b"),
      listening(name, "c", prefixed),
      listening(name, "d", prefixed),
    ]);
    await Promise.all([a, b, c, d].map(({ ready }) => ready()));
    a.channel.publish({ type: "settings.changed", name: "safety_mode" });
    c.channel.publish({ type: "settings.changed", name: "mode" });
    await eventually(() => d.heard.length).toBe(1);
    expect(d.heard).toEqual([{ message: { type: "settings.changed", name: "mode" }, remote: true }]);
    expect([a.heard.length, b.heard.length, c.heard.length]).toEqual([1, 0, 1]);
  });

  it("a connection that broke is made again, and says that messages may have been missed", async () => {
    const name = ownKey("control");
    const proxy = await startTcpProxy({ port: Number(new URL(inject("redisUrl")).port) });
    cleanups.push(() => proxy.close());
    const [a, b] = await Promise.all([listening(name, "a"), listening(name, "b", `redis://127.0.0.1:${proxy.port}`)]);
    await Promise.all([a.ready(), b.ready()]);
    proxy.refuse();
    a.channel.publish({ type: "settings.changed", name: "safety_mode" });
    b.channel.publish({ type: "settings.changed", name: "emergency_stop" });
    await eventually(() => b.faults.length).toBeGreaterThan(0);
    expect(b.faults[0]).toMatchObject({ code: "STREAM_UNAVAILABLE" });
    proxy.resume();
    await eventually(() => b.gaps.length).toBe(2);
    a.channel.publish({ type: "settings.changed", name: "mode" });
    await eventually(() => b.heard.filter(({ remote }) => remote).length).toBe(1);
    expect(b.heard.at(-1)).toEqual({ message: { type: "settings.changed", name: "mode" }, remote: true });
    expect(a.heard.every(({ remote }) => !remote)).toBe(true);
  });

  it("what another version may mean is left alone; what is not ours is a fault, and neither ends anything", async () => {
    const name = ownKey("control");
    const a = await listening(name, "a");
    await a.ready();
    const stranger = new Redis(inject("redisUrl"), { protocol: 2 });
    cleanups.push(async () => stranger.disconnect());
    const envelope = (message: object, v = 1) => JSON.stringify({ v, from: "b", message });
    await stranger.publish(name, envelope({ type: "settings.changed", name: "mode" }, 2));
    await stranger.publish(name, envelope({ type: "circuit.polish", circuitName: "svc" }));
    const strange = [
      "hello",
      "null",
      "{}",
      envelope({ type: "settings.changed", name: 7 }),
      envelope({ type: "circuit.reset", circuitName: "" }),
      envelope({ type: "circuit.reset", circuitName: "x".repeat(70_000) }),
    ];
    for (const text of strange) await stranger.publish(name, text);
    await stranger.publish(name, envelope({ type: "settings.changed", name: "mode", since: "later" }));
    await eventually(() => a.heard.length).toBe(1);
    expect(a.heard).toEqual([{ message: { type: "settings.changed", name: "mode" }, remote: true }]);
    expect(a.faults).toHaveLength(strange.length);
    expect(String(a.faults[0])).toContain("is not ours");
  });

  it("a listener for gaps that throws disturbs nobody, and one that stopped is not told", async () => {
    const name = ownKey("control");
    const a = await listening(name, "a");
    const stop = a.channel.subscribe(
      () => undefined,
      () => a.gaps.push("stopped"),
    );
    stop();
    a.channel.subscribe(
      () => undefined,
      () => {
        throw new Error("gap");
      },
    );
    await a.ready();
    await eventually(() => a.faults.length).toBe(1);
    expect(a.gaps).toEqual(["gap"]);
  });
});
