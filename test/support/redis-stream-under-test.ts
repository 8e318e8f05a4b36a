/** A stream on a real Redis with a key of its own, and a second hand on the same key to arrange what a test needs. */
import { Redis } from "ioredis";
import { connectRedis, type RedisConnection } from "../../server/adapters/redis-connection.js";
import { createRedisStream, type RedisStreamOptions } from "../../server/adapters/redis-stream.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import { ownKey } from "../services/own-key.js";
import { createShiftedClock } from "./shifted-clock.js";

export interface RedisStreamUnderTest {
  readonly key: string;
  /** Plain commands, for arranging and for looking. */
  readonly admin: Redis;
  readonly redis: RedisConnection;
  consumer(name: string, options?: Partial<RedisStreamOptions>): Promise<MetricStream>;
  letClaimsExpire(): Promise<void>;
  dispose(): Promise<void>;
}

const CLAIM_AFTER_MS = 60_000;

/** @param throughUrl where the stream connects, when that is a proxy */
export async function createRedisStreamUnderTest(url: string, throughUrl = url): Promise<RedisStreamUnderTest> {
  const key = ownKey("stream");
  const admin = new Redis(url, { protocol: 2, maxRetriesPerRequest: null });
  admin.on("error", () => undefined);
  const clock = createShiftedClock();
  const redis = connectRedis(throughUrl, { clock, random: () => 0 }, { commandTimeoutMs: 5_000 });
  const streams = new Map<string, MetricStream>();

  return {
    key,
    admin,
    redis,
    async consumer(name, options = {}) {
      const known = streams.get(name);
      if (known) return known;
      const stream = createRedisStream(
        { redis, clock },
        { key, consumer: name, claimAfterMs: CLAIM_AFTER_MS, ...options },
      );
      streams.set(name, stream);
      return stream;
    },
    /** Makes Redis believe that pending entries were not touched for long, without counting a delivery. */
    async letClaimsExpire() {
      clock.shift(CLAIM_AFTER_MS);
      const pending = await admin.xpending(key, "paramedic", "-", "+", 1_000).catch(() => []);
      for (const [id, consumer] of pending as [string, string][]) {
        await admin.xclaim(key, "paramedic", consumer, 0, id, "IDLE", CLAIM_AFTER_MS + 1_000, "JUSTID");
      }
    },
    async dispose() {
      for (const stream of streams.values()) await stream.close();
      await redis.close();
      await admin.del(key).catch(() => undefined);
      admin.disconnect();
    },
  };
}
