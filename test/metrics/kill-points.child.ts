/** An aggregator that kills itself, as kill -9 does, at a named point of its third entry. */
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { storeTargetOf } from "../../server/options.js";
import { systemClock as clock } from "../../server/ports/clock.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { MetricStream } from "../../server/ports/metric-stream.js";
import { createStore } from "../../server/store-target.js";

export const KILL_POINTS = ["read", "commit_begun", "commit_under_way", "committed", "acknowledged"] as const;
export type KillPoint = (typeof KILL_POINTS)[number];

export interface KillTask {
  readonly point: KillPoint;
  readonly redisUrl: string;
  readonly streamKey: string;
}

const THIRD = 3;

async function run({ point, redisUrl, streamKey }: KillTask, database: string): Promise<void> {
  const die = (reached: KillPoint, seq: number) => {
    if (reached === point && seq === THIRD) process.kill(process.pid, "SIGKILL");
  };
  const redis = connectRedis(redisUrl, { clock, random: Math.random });
  const inner = createRedisStream({ redis, clock }, { key: streamKey, consumer: "doomed", claimAfterMs: 200 });
  let taken = 0;
  const stream: MetricStream = {
    ...inner,
    async read(options) {
      const entries = await inner.read({ ...options, count: 1 });
      taken += entries.length;
      die("read", taken);
      return entries;
    },
    async acknowledge(ids) {
      await inner.acknowledge(ids);
      die("acknowledged", taken);
    },
  };
  const store = createStore({ clock, logger: silentLogger, onFault: () => undefined }, storeTargetOf(database));
  await store.open();
  const aggregator = createAggregator({
    clock,
    stream,
    store: {
      ...store,
      async commitEntry(fields) {
        const seq = Number(fields.batch?.split(":").at(-1));
        const committing = store.commitEntry(fields);
        die("commit_begun", seq);
        // About when the transaction is open; whichever moment it is, the promise is the same.
        clock.setTimer(() => die("commit_under_way", seq), 1, true);
        const outcome = await committing;
        die("committed", seq);
        return outcome;
      },
    },
  });
  await aggregator.drain({ deadlineMs: 10_000 });
}

const [, script = "", task = "", database = ""] = process.argv;
if (/kill-points\.child\.[jt]s$/.test(script)) await run(JSON.parse(task), database);
