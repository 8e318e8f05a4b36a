/**
 * A process that serves 5,000 calls a second for ten minutes of a clock of its own, while Redis is dead: through the real
 * middleware, collector and Redis stream. It asks its parent to kill Redis and to bring it back, one word a line, and last
 * says what it counted and how large its heap was, as JSON.
 *
 * Run it with --expose-gc.
 */
import { once } from "node:events";
import { createAsyncCallContext } from "../../server/adapters/async-call-context.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createInstrumentation } from "../../server/instrumentation/instrumentation.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { Collector } from "../../server/metrics/collector.js";
import { systemIds } from "../../server/ports/ids.js";
import { createFakeClock } from "../support/fake-clock.js";

export interface OutageReport {
  readonly calls: number;
  readonly beforeRedisIsBack: ReturnType<Collector["accounting"]>;
  readonly accounting: ReturnType<Collector["accounting"]>;
  readonly ledger: readonly { readonly recorded: number; readonly rolledUp: number }[];
  /** Durations in the store: one a call. */
  readonly durations: number;
  /** Bytes in use after a full collection, at the end of each minute. */
  readonly heap: readonly number[];
  readonly faults: number;
}

const CALLS_A_SECOND = 5_000;
const MINUTES = 10;
const PROCEDURES = 20;

const [, , redisUrl = "", streamKey = ""] = process.argv;
const clock = createFakeClock();
const redis = connectRedis(redisUrl, { clock, random: () => 1 }, { commandTimeoutMs: 1_000 });
const stream = createRedisStream({ redis, clock }, { key: streamKey, consumer: "a" });
let faults = 0;
const onFault = () => {
  faults += 1;
};
const collector = new Collector({ clock, stream, instance: "web-1", boot: "b1", onFault });
const instrumentation = createInstrumentation({
  sink: collector,
  journal: { append: () => undefined },
  callContext: createAsyncCallContext(),
  clock,
  ids: systemIds,
  onFault: (error) => {
    throw error;
  },
});
collector.start();
instrumentation.start();

const paths = Array.from({ length: PROCEDURES }, (_, at) => `procedure${at}`);
const answer = Promise.resolve({ ok: true, data: 1 });
const next = () => answer;
let calls = 0;
const serve = async (howMany: number) => {
  for (let at = 0; at < howMany; at += 1) {
    const path = paths[calls % PROCEDURES] ?? "";
    calls += 1;
    await instrumentation.middleware({ path, type: "query", ctx: {}, signal: undefined, next });
  }
};

async function ask(word: string): Promise<void> {
  console.log(word);
  await once(process.stdin, "data");
}

async function until(isDone: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 600 && !isDone(); attempt += 1) {
    await clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

await redis.ping();
await serve(CALLS_A_SECOND);
await until(() => collector.accounting().inFlight === 0);
await ask("kill");
// Once this process knows it too: a batch on a connection that only seems to be there would be waited for.
await redis.ping().catch(() => undefined);

const heap: number[] = [];
for (let minute = 0; minute < MINUTES; minute += 1) {
  for (let second = 0; second < 60; second += 1) {
    await serve(CALLS_A_SECOND);
    await clock.advance(1_000);
  }
  globalThis.gc?.();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  heap.push(heapUsed + external + arrayBuffers);
}
const beforeRedisIsBack = collector.accounting();

await ask("restart");
await instrumentation.stop();
await until(() => collector.accounting().inFlight === 0);
const store = createMemoryStore({ clock });
const aggregator = createAggregator({ clock, stream, store });
await aggregator.drain({ deadlineMs: 60_000 });
let durations = 0;
for (const path of paths) {
  const metricName = `trpc.${path}.duration`;
  const points = await store.readSeries({ metricName, from: 0, to: clock.now() * 2, stepMs: 86_400_000, limit: 100 });
  durations += points.reduce((sum, { count }) => sum + count, 0);
}
const report: OutageReport = {
  calls,
  beforeRedisIsBack,
  accounting: collector.accounting(),
  ledger: await store.ledger(),
  durations,
  heap,
  faults,
};
console.log(JSON.stringify(report));
process.exit(0);
