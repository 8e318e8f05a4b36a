/** An app that leaks: each `leak` keeps a megabyte on the heap for ever. Its life ends with whatever Paramedic ends it with. */
import { appendFileSync } from "node:fs";
import { initTRPC } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";

export interface LeakyTask {
  readonly port: number;
  /** One line for each `slow` that began, and one for each that ended. */
  readonly calls: string;
}

const NUMBERS_OF_1_MB = 128 * 1_024;
export const SLOW_MS = 1_500;

function live({ port, calls }: LeakyTask, database: string): void {
  const kept: number[][] = [];
  const paramedic = createParamedic({
    logger: false,
    redis: false,
    instance: "leaky",
    healthCheckIntervalMs: 1_000,
    resolveAfterMs: 2_000,
    restart: { drain: () => new Promise<void>((resolve) => void server.close(() => resolve())) },
    overrides: { environment: readEnvironment({ PARAMEDIC_DATABASE_URL: `file:${database}` }) },
  });
  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const router = t.router({
    leak: procedure.query(() => kept.push(new Array<number>(NUMBERS_OF_1_MB).fill(0.5))),
    slow: procedure.query(async () => {
      appendFileSync(calls, "began\n");
      await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
      appendFileSync(calls, "ended\n");
      return "answered";
    }),
    memory: procedure.query(() => paramedic.health.latest().checks.find(({ name }) => name === "memory")?.status),
    accounts: procedure.query(() => paramedic.metrics.accounting()),
  });
  const server = createHTTPServer({ router });
  void paramedic.ready.then(() => server.listen(port, "127.0.0.1", () => console.log("ready")));
}

const [, , task = "{}", database = ""] = process.argv;
if (database !== "") live(JSON.parse(task), database);
