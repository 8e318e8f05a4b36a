/** What one recorded point costs on its way through a real Redis, producer and consumer, beside one XADD per point. */
import { Redis } from "ioredis";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemClock } from "../../server/ports/clock.js";
import { systemRandom } from "../../server/ports/random.js";
import { encodeBatch } from "../../shared/batch-codec.js";
import { startRedis } from "../../test/services/redis-server.js";
import { atMost, find, groupOf, type Scenario } from "../harness.js";
import { garbageCollector } from "../held.js";

interface Load {
  readonly what: string;
  readonly pointsPerWindow: number;
  /** Procedures whose durations these are; a window has points of each. */
  readonly series: number;
}

/** One way from `record` to sums in the consumer's memory. */
interface Way {
  /** Moves one window; gives how many points have arrived so far. */
  window(): Promise<number>;
  close(): Promise<void>;
}

const LOADS: readonly Load[] = [
  { what: "1000 points/s", pointsPerWindow: 1_000, series: 10 },
  { what: "1000 points/s flushed every 10 s", pointsPerWindow: 10_000, series: 10 },
  { what: "10000 points/s", pointsPerWindow: 10_000, series: 50 },
  { what: "50000 points/s", pointsPerWindow: 50_000, series: 50 },
];
const ROUNDS = 7;
/** In one round. */
const WINDOWS = 20;
/** In one round of a way that sends each of them. */
const POINTS = 20_000;
/** Milliseconds, spread evenly: nearly every one of a few hundred has a bucket of its own, which is hard on whoever keeps buckets. */
const LATENCIES = Float64Array.from({ length: 9_000 }, (_, at) => (at * 7.3) % 900);
/** A process that has been up for half an hour has compiled what it does every second. */
const WARM_UP_WINDOWS = 2_000;
const WARM_UP_POINTS = 20_000;

export const points: Scenario = {
  name: "points",
  processes: 3,
  async run() {
    const server = await startRedis();
    try {
      const groups = [];
      for (const load of LOADS) groups.push(await measure(server.url, load));
      return {
        groups,
        budgets: groups.map((group, at) =>
          atMost(
            `CPU per point through Redis, to one XADD per point, ${LOADS[at]?.what}`,
            find(group, "paramedic").ratio,
            0.01,
          ),
        ),
        notes: [
          "points: processor time of one process that is producer and consumer, from record to sums in memory, over the same points; " +
            "without Redis itself. Paramedic flushes once a second, as by default, where nothing else is said, and its " +
            "aggregator reads in its own loop; the other sends a pipeline of XADDs a window, which is the best that it can do, or " +
            "awaits each, and reads a hundred entries at a time. The windows follow at once and the code is warm: at one a second, " +
            "or in its first minutes, Paramedic takes up to twice as much. An empty entry a second, appended, read and " +
            "acknowledged, is the least that any hand-over through a stream costs, whatever the number of points, and the same " +
            "entry, made to JSON and read from it, what one with these distributions costs: below some thousand points a second " +
            `that alone is more than a hundredth. ${ROUNDS} rounds in turns, and what one way leaves behind is collected before the next.`,
        ],
      };
    } finally {
      await server.stop();
    }
  },
};

async function measure(url: string, load: Load) {
  const { pointsPerWindow } = load;
  const each = {
    windows: Math.ceil(POINTS / pointsPerWindow),
    warmUpWindows: Math.ceil(WARM_UP_POINTS / pointsPerWindow),
  };
  const once = { windows: WINDOWS, warmUpWindows: WARM_UP_WINDOWS };
  const ways = [
    { name: "one XADD per point", way: await throughOneXaddPerPoint(url, load, addedInPipelines), ...each },
    // What a round trip takes does not depend on how many follow.
    ...(load === LOADS[0]
      ? [{ name: "the same, each awaited", way: await throughOneXaddPerPoint(url, load, addedOneByOne), ...each }]
      : []),
    { name: "paramedic", way: await throughParamedic(url, load), ...once },
    { name: "an empty entry a second", way: await throughOneEntry(url, load, ""), ...once },
    { name: "the same entry by hand", way: await throughOneEntry(url, load, windowOf(load)), ...once },
  ].map((one) => ({ ...one, rounds: [] as number[] }));
  const collect = garbageCollector();
  try {
    for (const { way, warmUpWindows } of ways) await cpuPerPoint(way, load, warmUpWindows);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const { way, windows, rounds } of ways) {
        // What one leaves behind is no garbage of the next.
        collect({ type: "minor" });
        rounds.push(await cpuPerPoint(way, load, windows));
      }
    }
  } finally {
    for (const { way } of ways) await way.close();
  }
  return groupOf(`a point, CPU; ${load.what} on ${load.series} series`, ways);
}

/** CPU of this process per point in nanoseconds. */
async function cpuPerPoint(way: Way, { pointsPerWindow }: Load, windows: number): Promise<number> {
  const arrivedBefore = await way.window();
  const before = process.cpuUsage();
  let arrived = 0;
  for (let window = 0; window < windows; window += 1) arrived = await way.window();
  const { user, system } = process.cpuUsage(before);
  const sent = windows * pointsPerWindow;
  if (arrived - arrivedBefore !== sent) throw new Error(`${arrived - arrivedBefore} points arrived of ${sent}`);
  return ((user + system) * 1_000) / sent;
}

function handlesOf(collector: Collector, series: number) {
  return Array.from({ length: series }, (_, at) =>
    collector.series({
      metricType: "operation",
      metricName: `trpc.procedure${at}.duration`,
      kind: "histogram",
      unit: "ms",
      source: `trpc.procedure${at}`,
      tags: { status: "success" },
    }),
  );
}

/** As in a server: the aggregator's own loop reads, on a connection that waits in Redis. Only the clock's second is ours. */
async function throughParamedic(url: string, { pointsPerWindow, series }: Load): Promise<Way> {
  const deps = { clock: systemClock, random: systemRandom };
  const redis = connectRedis(url, deps);
  const key = `paramedic:${pointsPerWindow}:${series}`;
  const stream = createRedisStream({ redis, clock: systemClock }, { key, consumer: "bench" });
  const collector = new Collector({ clock: systemClock, stream, instance: "bench", boot: "boot" });
  const store = createMemoryStore({ clock: systemClock });
  await store.open();
  let recorded = 0;
  let arrived = 0;
  let onArrival = () => {};
  const commitEntry: typeof store.commitEntry = async (fields) => {
    const outcome = await store.commitEntry(fields);
    if (outcome.kind === "folded") arrived += outcome.batch.points;
    onArrival();
    return outcome;
  };
  const aggregator = createAggregator({ clock: systemClock, stream, store: { ...store, commitEntry } });
  const handles = handlesOf(collector, series);
  await redis.ping();
  aggregator.start();
  return {
    async window() {
      for (let point = 0; point < pointsPerWindow; point += 1)
        handles[point % series]?.record(LATENCIES[point % LATENCIES.length] ?? 0);
      recorded += pointsPerWindow;
      const all = new Promise<void>((resolve) => {
        onArrival = () => {
          if (arrived === recorded) resolve();
        };
      });
      await collector.flush();
      await all;
      return arrived;
    },
    async close() {
      await aggregator.stop();
      await collector.stop();
      await stream.close();
      await redis.close();
      await store.close();
    },
  };
}

type AddPoints = (redis: Redis, key: string, points: Iterable<string>) => Promise<void>;

/** What a client can do at best: a write for many commands. Points wait until there is one. */
const addedInPipelines: AddPoints = async (redis, key, points) => {
  const pipeline = redis.pipeline();
  for (const point of points) pipeline.xadd(key, "*", "data", point);
  await pipeline.exec();
};

/** What is written first, and where calls are measured one after another. */
const addedOneByOne: AddPoints = async (redis, key, points) => {
  for (const point of points) await redis.xadd(key, "*", "data", point);
};

function* pointsOfWindow({ pointsPerWindow, series }: Load): Iterable<string> {
  for (let at = 0; at < pointsPerWindow; at += 1) {
    const value = LATENCIES[at % LATENCIES.length] ?? 0;
    yield JSON.stringify({ name: `trpc.procedure${at % series}.duration`, value, timestamp: at });
  }
}

/** Points are read in portions of a hundred, parsed, added up and acknowledged. */
async function throughOneXaddPerPoint(url: string, load: Load, add: AddPoints): Promise<Way> {
  const redis = new Redis(url);
  const key = `${add.name}:${load.pointsPerWindow}:${load.series}`;
  await redis.xgroup("CREATE", key, "bench", "0", "MKSTREAM");
  const sums = new Map<string, { count: number; sum: number }>();
  let arrived = 0;
  return {
    async window() {
      await add(redis, key, pointsOfWindow(load));
      for (;;) {
        const reply = await redis.xreadgroup("GROUP", "bench", "one", "COUNT", 100, "STREAMS", key, ">");
        // ioredis leaves this reply untyped: Redis documents it as pairs of stream and entries.
        const entries = (reply as [string, [string, string[]][]][] | null)?.[0]?.[1] ?? [];
        if (entries.length === 0) return arrived;
        for (const [, fields] of entries) {
          const { name, value }: { name: string; value: number } = JSON.parse(fields[1] ?? "");
          const total = sums.get(name) ?? { count: 0, sum: 0 };
          total.count += 1;
          total.sum += value;
          sums.set(name, total);
        }
        await redis.xack(key, "bench", ...entries.map(([id]) => id));
        arrived += entries.length;
      }
    },
    async close() {
      await redis.del(key);
      await redis.quit();
    },
  };
}

/** What our entries of one window say. */
function windowOf({ pointsPerWindow, series }: Load): unknown {
  const collector = new Collector({ clock: systemClock, stream: undefined, instance: "bench", boot: "boot" });
  const handles = handlesOf(collector, series);
  for (let point = 0; point < pointsPerWindow; point += 1) {
    handles[point % series]?.record(LATENCIES[point % LATENCIES.length] ?? 0);
  }
  return collector.drain().map((batch) => JSON.parse(encodeBatch(batch).data));
}

/** The three commands without which nothing is handed over, JSON, and nothing around them. */
async function throughOneEntry(url: string, { pointsPerWindow }: Load, content: unknown): Promise<Way> {
  const redis = new Redis(url);
  const key = `one:${JSON.stringify(content).length}:${pointsPerWindow}`;
  await redis.xgroup("CREATE", key, "bench", "0", "MKSTREAM");
  let arrived = 0;
  return {
    async window() {
      const id = await redis.xadd(key, "*", "data", JSON.stringify(content));
      const reply = await redis.xreadgroup("GROUP", "bench", "one", "COUNT", 1, "STREAMS", key, ">");
      // ioredis leaves this reply untyped: Redis documents it as pairs of stream and entries.
      const [, fields] = (reply as [string, [string, string[]][]][] | null)?.[0]?.[1][0] ?? [];
      JSON.parse(fields?.[1] ?? "");
      if (id !== null) arrived += pointsPerWindow * (await redis.xack(key, "bench", id));
      return arrived;
    },
    async close() {
      await redis.del(key);
      await redis.quit();
    },
  };
}
