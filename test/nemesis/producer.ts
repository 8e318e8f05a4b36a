/** A producer as a process: the real collector on a real Redis stream, and beside it the oracle of what it recorded. */

import { seededRandom } from "../../examples/seeded-random.js";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock as clock, delay } from "../../server/ports/clock.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import { isParamedicError } from "../../shared/errors.js";
import { openOracle } from "./oracle.js";
import { createReporter, type ProducerTask } from "./reports.js";

const task: ProducerTask = JSON.parse(process.argv[2] ?? "");
const { boot, instance, flushIntervalMs } = task;
const random = seededRandom(task.seed);
const oracle = openOracle(task.oracleFile);
const reporter = createReporter(clock);

const redis = connectRedis(task.redisUrl, { clock, random }, { commandTimeoutMs: task.commandTimeoutMs });
const inner = createRedisStream({ redis, clock }, { key: task.streamKey, consumer: boot });
const stream: MetricStream = {
  ...inner,
  async append(batch) {
    const series = batch.series.map(({ metricName, count, sum }) => [metricName, count, sum] as const);
    const spanMs = batch.windowEnd - batch.windowStart;
    oracle.write({ is: "sending", seq: batch.seq, recorded: batch.recordedTotal, spanMs, series });
    await inner.append(batch);
    oracle.write({ is: "sent", seq: batch.seq });
  },
};
const collector = new Collector(
  {
    clock,
    stream,
    instance,
    boot,
    onFault: (error) => reporter.fault(isParamedicError(error) ? error.code : "unknown"),
  },
  { flushIntervalMs, batchSize: 3, appendTimeoutMs: task.commandTimeoutMs * 2 },
);
collector.start();

const names = ["orders_total", "latency", "depth"];
const tags = { boot };
let recorded = 0;
const dropped = { not_finite: 0, negative: 0 };
let ending = false;
process.stdin.once("data", () => {
  ending = true;
});
process.stdin.once("end", () => process.exit(1));

while (!ending) {
  const values = Array.from({ length: 1 + Math.floor(random() * 8) }, () => Math.floor(random() * 1_000));
  const bad = random() < 0.1 ? [Number.NaN, -1] : [];
  recorded += values.length + bad.length;
  dropped.not_finite += bad.length / 2;
  dropped.negative += bad.length / 2;
  oracle.write({ is: "recording", recorded, dropped });
  for (const value of [...values, ...bad]) {
    const metricName =
      value < 0 || Number.isNaN(value) ? "latency" : (names[Math.floor(random() * names.length)] ?? "");
    const unit = metricName === "latency" ? "ms" : "1";
    collector.record({ metricType: "custom", metricName: `nemesis.${metricName}`, unit, value, tags });
  }
  await delay(clock, 10);
}

while (collector.accounting().inFlight > 0) {
  await collector.flush();
  await delay(clock, 50);
}
await collector.stop();
oracle.write({ is: "ended" });
oracle.close();
reporter.tell();
process.exit(0);
