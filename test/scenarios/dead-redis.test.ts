/** What callers feel of a Redis that is there and answers nothing: nothing. */
import { initTRPC } from "@trpc/server";
import { expect, it, onTestFinished } from "vitest";
import { createParamedic } from "../../server/index.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { startRedis } from "../services/redis-server.js";

/** Some half a second of them. */
const CALLS = 20_000;
const FLUSH_INTERVAL_MS = 20;
/** What a loaded machine adds by itself; whoever waited for Redis would wait for whole flushes and commands. */
const NOISE_MS = 5;

it("I10: the p99 of calls is what it was, within noise, while Redis is stopped under them", async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.stop());
  const temp = createTempFolder();
  onTestFinished(() => temp.remove());
  const paramedic = createParamedic({
    database: `file:${temp.path}`,
    redis: redis.url,
    logger: false,
    metricsFlushIntervalMs: FLUSH_INTERVAL_MS,
  });
  onTestFinished(() => paramedic.shutdown());
  await paramedic.ready;
  const t = initTRPC.create();
  const guard = paramedic.guard("http:billing");
  const router = t.router({
    pay: t.procedure.use(paramedic.middleware()).query(() => guard.execute(async () => 1)),
  });
  const caller = t.createCallerFactory(router)({});

  const p99Of = async (calls: number) => {
    const durations: number[] = [];
    for (let call = 0; call < calls; call += 1) {
      const startedAt = performance.now();
      await caller.pay();
      durations.push(performance.now() - startedAt);
      // Flushes and their commands have their turn between calls.
      if (call % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return durations.sort((a, b) => a - b)[Math.floor(calls * 0.99)] ?? Number.NaN;
  };

  await p99Of(CALLS);
  const answering = await p99Of(CALLS);
  const thaw = redis.freeze();
  onTestFinished(thaw);
  const silent = await p99Of(CALLS);
  expect(silent).toBeLessThan(2 * answering + NOISE_MS);
}, 60_000);
