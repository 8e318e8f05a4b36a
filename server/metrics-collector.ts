/** The collector that works alone: given a Redis, it sends its batches to the metric stream that aggregators read. */
import type { Cluster, Redis } from "ioredis";
import { connectRedis, type RedisConnection } from "./adapters/redis-connection.js";
import { createRedisStream } from "./adapters/redis-stream.js";
import { Collector, type CollectorOptions } from "./metrics/collector.js";
import { systemClock } from "./ports/clock.js";
import { systemIds } from "./ports/ids.js";
import type { MetricStream } from "./ports/metric-stream.js";
import { systemRandom } from "./ports/random.js";

export interface MetricsCollectorOptions extends CollectorOptions {
  /** @default "metrics:stream" */
  readonly streamKey?: string | undefined;
  /** This process's name. @default "local" */
  readonly instance?: string | undefined;
}

/**
 * @param redis your ioredis client, which is duplicated and otherwise left alone, or a URL
 * @example
 * const collector = new MetricsCollector(redis);
 * collector.start();
 * collector.record({ metricType: "custom", metricName: "orders_total", value: 1 });
 * await collector.close();
 */
export class MetricsCollector extends Collector {
  readonly #redis: RedisConnection;
  readonly #stream: MetricStream;

  constructor(
    redis: Redis | Cluster | string,
    { streamKey, instance = "local", ...options }: MetricsCollectorOptions = {},
  ) {
    const boot = systemIds();
    const connection = connectRedis(redis, { clock: systemClock, random: systemRandom });
    const stream = createRedisStream(
      { redis: connection, clock: systemClock },
      { key: streamKey, consumer: `${instance}:${boot}` },
    );
    super({ clock: systemClock, stream, instance, boot }, options);
    this.#redis = connection;
    this.#stream = stream;
  }

  /** Accepts no more points, sends what it holds, and closes its own connection. */
  async close(): Promise<void> {
    await this.stop();
    await this.#stream.close();
    await this.#redis.close();
  }
}
