/** CPU per request of a tRPC server on express: with everything on and Redis attached, beside one with nothing, twice, and peers. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startRedis } from "../../test/services/redis-server.js";
import { atMost, find, groupOf, quantile, ratioOf, type Scenario } from "../harness.js";
import { type HttpLoad, openHttpLoad } from "../http-load.js";
import type { ServerMessage, Variant } from "../http-server.js";

const SERVERS: readonly { readonly name: string; readonly variant: Variant }[] = [
  { name: "nothing", variant: "none" },
  { name: "nothing (again)", variant: "none" },
  { name: "paramedic, everything on", variant: "paramedic" },
  { name: "paramedic without a guard", variant: "unguarded" },
  { name: "AsyncLocalStorage a call", variant: "context" },
  { name: "OpenTelemetry span a call", variant: "spans" },
  { name: "one XADD per point", variant: "xadd" },
];
/** Two processes of one program differ a little for as long as they live: so each round of servers is a new one. */
const GENERATIONS = 3;
const ROUNDS = 8;
const CONNECTIONS = 8;
/** To each server in a round, in slices that take turns: a busy neighbour of a second or two hits all alike. */
const REQUESTS = 500;
const SLICES = 5;
/** Until the compiler has settled: a server that has served a third of these takes a third more for the next. */
const WARM_UP_REQUESTS = 6_000;
const PATH = `/trpc/greet?input=${encodeURIComponent(JSON.stringify({ name: "Ada" }))}`;
/** The A/A control's spread: between its first and its ninth tenth. */
const [LOW, HIGH] = [0.1, 0.9];

export const http: Scenario = {
  name: "http",
  async run() {
    const redis = await startRedis();
    const lanes = SERVERS.map(({ name }) => ({ name, rounds: [] as number[] }));
    try {
      for (let generation = 0; generation < GENERATIONS; generation += 1) {
        const measured = await measureGeneration(redis.url);
        for (const [at, lane] of lanes.entries()) lane.rounds.push(...(measured[at] ?? []));
      }
    } finally {
      await redis.stop();
    }
    const group = groupOf("a request over HTTP, CPU of the server", lanes);
    const [base, again] = [find(group, "nothing"), find(group, "nothing (again)")];
    const control = again.rounds.map((cost, round) => cost / (base.rounds[round] ?? cost));
    const [low, high] = [quantile(control, LOW), quantile(control, HIGH)];
    return {
      groups: [group],
      budgets: [
        atMost("CPU per HTTP request with everything on, to none", find(group, "paramedic, everything on").ratio, high),
        atMost("  without a guard", find(group, "paramedic without a guard").ratio, high),
        atMost(
          "  to an AsyncLocalStorage around each call",
          ratioOf(group, "paramedic, everything on", "AsyncLocalStorage a call"),
          high,
        ),
      ],
      notes: [
        `http: the limit is the spread of the A/A control, two servers with nothing: ${low.toFixed(3)} to ${high.toFixed(3)} × ` +
          `between its tenths, median ${again.ratio.toFixed(3)} ×. ${GENERATIONS * ROUNDS} rounds of ${REQUESTS} requests to each ` +
          `server in turns, over ${CONNECTIONS} connections, servers started anew every ${ROUNDS} rounds; what Paramedic does in the ` +
          "background (flush, aggregation, SQLite, health) counts, Redis itself does not. Guards know their call by an " +
          "AsyncLocalStorage, which on Node 20 makes every promise of a process dearer: what that alone takes stands beside it.",
      ],
    };
  },
};

/** Nanoseconds of CPU per request, by server and round. */
async function measureGeneration(redisUrl: string): Promise<readonly number[][]> {
  const servers: Server[] = [];
  try {
    for (const { variant } of SERVERS) servers.push(await startServer(variant, redisUrl));
    await Promise.all(servers.map((server) => server.load.send(WARM_UP_REQUESTS)));
    const costs: number[][] = servers.map(() => []);
    for (let round = 0; round < ROUNDS; round += 1) {
      const cpuMicros = servers.map(() => 0);
      for (let slice = 0; slice < SLICES; slice += 1) {
        const turns = [...servers.entries()];
        for (const [at, server] of slice % 2 === 0 ? turns : turns.reverse()) {
          const before = await server.cpuMicros();
          await server.load.send(REQUESTS / SLICES);
          cpuMicros[at] = (cpuMicros[at] ?? 0) + (await server.cpuMicros()) - before;
        }
      }
      for (const [at, cost] of costs.entries()) cost.push(((cpuMicros[at] ?? Number.NaN) * 1_000) / REQUESTS);
    }
    return costs;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

interface Server {
  readonly load: HttpLoad;
  cpuMicros(): Promise<number>;
  stop(): Promise<void>;
}

async function startServer(variant: Variant, redisUrl: string): Promise<Server> {
  const child = fork(fileURLToPath(new URL("../http-server.ts", import.meta.url)), [variant, redisUrl], {
    env: { ...process.env, NODE_ENV: "production" },
  });
  const ended = once(child, "exit");
  const nextMessage = (): Promise<ServerMessage> =>
    Promise.race([
      once(child, "message").then(([told]): ServerMessage => told),
      ended.then(([code]) => Promise.reject(new Error(`the server "${variant}" ended with code ${code}`))),
    ]);
  const started = await nextMessage();
  if (!("port" in started)) throw new Error(`the server "${variant}" told no port`);
  const load = await openHttpLoad(started.port, PATH, CONNECTIONS);
  return {
    load,
    async cpuMicros() {
      child.send("cpu");
      const told = await nextMessage();
      return "cpuMicros" in told ? told.cpuMicros : Number.NaN;
    },
    async stop() {
      load.close();
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}
