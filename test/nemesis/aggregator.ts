/** An aggregator as a process: the real one, between a real Redis stream and a real store that it shares with another. */
import { createPostgresStore } from "../../server/adapters/postgres/postgres-store.js";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { createCompaction } from "../../server/metrics/compaction.js";
import { systemClock as clock } from "../../server/ports/clock.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import { openStore } from "../../server/store-opening.js";
import { isParamedicError } from "../../shared/errors.js";
import { type AggregatorTask, createReporter } from "./reports.js";

const task: AggregatorTask = JSON.parse(process.argv[2] ?? "");
const reporter = createReporter(clock);
const onFault = (error: unknown) => reporter.fault(isParamedicError(error) ? error.code : "unknown");

const redis = connectRedis(task.redisUrl, { clock, random: Math.random }, { commandTimeoutMs: task.commandTimeoutMs });
const inner = createRedisStream(
  { redis, clock },
  { key: task.streamKey, consumer: task.consumer, claimAfterMs: task.claimAfterMs },
);
const stream: MetricStream = {
  ...inner,
  async read(options) {
    const entries = await inner.read(options);
    for (const { fields, deliveries } of entries)
      if (fields !== undefined && deliveries > 1) reporter.count("reclaimed");
    return entries;
  },
};
const store =
  task.store.kind === "sqlite"
    ? createSqliteStore({ clock, onFault }, { path: task.store.path, busyTimeoutMs: 500 })
    : createPostgresStore({ clock, onFault }, { url: task.store.url, lockTimeoutMs: 500, statementTimeoutMs: 2_000 });
const aggregator = createAggregator(
  { clock, stream, store, onFault },
  { readCount: 20, waitMs: 200, maxNewerDeliveries: 2, trimIntervalMs: 1_000 },
);
// Sooner than an entry of the dead is claimed: batches that come after they were called lost are among the faults.
const compaction = createCompaction({ clock, store, onFault }, { intervalMs: 500, settleAfterMs: 2_000 });
reporter.alsoTell(() => {
  const { duplicates, dead, lostEntries, newerSeen, committed } = aggregator.stats();
  const { settled, compacted } = compaction.stats();
  return { duplicates, dead, lostEntries, newerSeen, committed, settled, compacted };
});
const opening = openStore({
  clock,
  store,
  logger: silentLogger,
  onOpen() {
    aggregator.start();
    compaction.start();
  },
});

process.stdin.once("end", () => process.exit(1));
process.stdin.once("data", async () => {
  await opening.stop();
  await aggregator.stop();
  await compaction.stop();
  await stream.close();
  await redis.close();
  await store.close();
  reporter.tell();
  process.exit(0);
});
