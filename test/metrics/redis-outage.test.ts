import { afterEach, expect, it } from "vitest";
import { ownKey } from "../services/own-key.js";
import { type RedisServer, startRedis } from "../services/redis-server.js";
import { startChild } from "../support/child-process.js";
import type { OutageReport } from "./redis-outage.child.js";

let redis: RedisServer | undefined;
afterEach(() => redis?.stop());

const MEBIBYTE = 2 ** 20;

it("I1 I10: Redis dead for ten minutes at 5,000 calls a second costs no count, and memory stays flat", async () => {
  redis = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
  const script = new URL("./redis-outage.child.ts", import.meta.url);
  const child = startChild(script, redis.url, ownKey("outage"), ["--expose-gc"]);
  expect(await child.nextLine()).toBe("kill");
  await redis.kill();
  child.process.stdin?.write("killed\n");
  expect(await child.nextLine()).toBe("restart");
  await redis.restart();
  child.process.stdin?.write("restarted\n");
  const report: OutageReport = JSON.parse(await child.nextLine());

  const { calls, beforeRedisIsBack, accounting, ledger, durations, heap, faults } = report;
  expect(calls).toBe(5_000 * 601);
  expect(faults).toBeGreaterThanOrEqual(600);
  expect(beforeRedisIsBack.recorded - beforeRedisIsBack.sent).toBe(beforeRedisIsBack.inFlight);
  expect(beforeRedisIsBack.inFlight).toBeGreaterThan(5_000 * 600);
  expect(accounting).toMatchObject({ inFlight: 0, dropped: {}, sent: accounting.recorded });
  expect(ledger).toMatchObject([{ recorded: accounting.recorded, rolledUp: accounting.recorded }]);
  expect(durations).toBe(calls);

  const [, settled = 0] = heap;
  expect(Math.max(...heap.slice(1)) - settled, `bytes a minute: ${heap.join(", ")}`).toBeLessThan(MEBIBYTE);
}, 180_000);
