/** What one recorded point costs on its way through a real Redis, producer and consumer, beside one XADD per point. */
import { Redis } from "ioredis";
import { createMemoryStore } from "../../server/adapters/memory-store.js";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { systemRandom } from "../../server/ports/random.js";
import { startRedis } from "../../test/services/redis-server.js";
import { atMost, quantile, type Scenario } from "../harness.js";

const POINTS_PER_SECOND = 1_000;
const WINDOWS = 50;
const ROUNDS = 7;
const SERIES = 10;

export const points: Scenario = {
  name: "points",
  async run() {
    const server = await startRedis();
    try {
      const ours: number[] = [];
      const naive: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        ours.push(await throughParamedic(server.url, round));
        naive.push(await onePerPoint(server.url, round));
      }
      const ratio = quantile(
        ours.map((cost, round) => cost / (naive[round] ?? Number.NaN)),
        0.5,
      );
      return {
        groups: [],
        budgets: [atMost("CPU per point through Redis, to one XADD per point", ratio, 0.01)],
        notes: [
          `CPU per point, producer and consumer, ${POINTS_PER_SECOND} points a second on ${SERIES} series, a window a second: ` +
            `${quantile(ours, 0.5).toFixed(3)} µs; one XADD per point: ${quantile(naive, 0.5).toFixed(3)} µs ` +
            `(${ROUNDS} rounds of ${WINDOWS} windows, this process alone, without Redis).`,
        ],
      };
    } finally {
      await server.stop();
    }
  },
};

/** CPU of this process per point in microseconds. */
async function cpuPerPoint(run: () => Promise<number>): Promise<number> {
  const before = process.cpuUsage();
  const done = await run();
  const { user, system } = process.cpuUsage(before);
  if (done !== WINDOWS * POINTS_PER_SECOND) throw new Error(`${done} points arrived of ${WINDOWS * POINTS_PER_SECOND}`);
  return (user + system) / done;
}

async function throughParamedic(url: string, round: number): Promise<number> {
  const deps = { clock: systemClock, random: systemRandom };
  const redis = connectRedis(url, deps);
  const stream = createRedisStream({ redis, clock: systemClock }, { key: `bench:${round}`, consumer: "bench" });
  const collector = new Collector({ clock: systemClock, stream, instance: "bench", boot: `boot-${round}` });
  const store = createMemoryStore({ clock: systemClock });
  await store.open();
  const aggregator = createAggregator({ clock: systemClock, stream, store });
  const handles = Array.from({ length: SERIES }, (_, at) =>
    collector.series({
      metricType: "operation",
      metricName: `trpc.procedure${at}.duration`,
      kind: "histogram",
      unit: "ms",
      source: `trpc.procedure${at}`,
      tags: { status: "success" },
    }),
  );
  await collector.flush();
  await redis.ping();
  try {
    return await cpuPerPoint(async () => {
      for (let window = 0; window < WINDOWS; window += 1) {
        for (let i = 0; i < POINTS_PER_SECOND; i += 1) handles[i % SERIES]?.record((i * 7.3) % 900);
        await collector.flush();
        await aggregator.runOnce();
      }
      await aggregator.drain({ deadlineMs: 5_000 });
      return aggregator.stats().committedPoints;
    });
  } finally {
    await aggregator.stop();
    await collector.stop();
    await stream.close();
    await redis.close();
    await store.close();
  }
}

/** A pipeline of XADD a window, read in portions of a hundred, parsed, added up and acknowledged. */
async function onePerPoint(url: string, round: number): Promise<number> {
  const redis = new Redis(url);
  const key = `naive:${round}`;
  await redis.xgroup("CREATE", key, "bench", "0", "MKSTREAM");
  const sums = new Map<string, { count: number; sum: number }>();
  try {
    return await cpuPerPoint(async () => {
      let consumed = 0;
      for (let window = 0; window < WINDOWS; window += 1) {
        const pipeline = redis.pipeline();
        for (let i = 0; i < POINTS_PER_SECOND; i += 1) {
          const point = { name: `trpc.procedure${i % SERIES}.duration`, value: (i * 7.3) % 900, timestamp: i };
          pipeline.xadd(key, "*", "data", JSON.stringify(point));
        }
        await pipeline.exec();
        for (;;) {
          const reply = await redis.xreadgroup("GROUP", "bench", "one", "COUNT", 100, "STREAMS", key, ">");
          // ioredis leaves this reply untyped: Redis documents it as pairs of stream and entries.
          const entries = (reply as [string, [string, string[]][]][] | null)?.[0]?.[1] ?? [];
          if (entries.length === 0) break;
          for (const [, fields] of entries) {
            const { name, value }: { name: string; value: number } = JSON.parse(fields[1] ?? "");
            const total = sums.get(name) ?? { count: 0, sum: 0 };
            total.count += 1;
            total.sum += value;
            sums.set(name, total);
          }
          await redis.xack(key, "bench", ...entries.map(([id]) => id));
          consumed += entries.length;
        }
      }
      return consumed;
    });
  } finally {
    await redis.quit();
  }
}
