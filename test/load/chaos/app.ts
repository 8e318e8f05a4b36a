/** An app as one would write it: three LLM providers, a PostgreSQL and a Redis, each behind a guard. */
import { initTRPC } from "@trpc/server";
import { drizzle } from "drizzle-orm/node-postgres";
import { Redis } from "ioredis";
import pg from "pg";
import type { Paramedic } from "../../../server/index.js";
import type { FixtureProvider } from "../../../server/testing.js";
import { pgUsers } from "../../support/server-databases.js";

export const PROVIDERS = ["openai", "deepseek", "gemini"] as const;
const DEADLINE_MS = 10_000;
const ATTEMPT_MS = 1_500;

/** How often the app asked each service: what a storm would be seen in. */
export type Asked = Record<"db:main" | "redis:cache", number>;

export function startApp(
  paramedic: Paramedic,
  {
    providers,
    databaseUrl,
    redisUrl,
  }: { providers: readonly FixtureProvider[]; databaseUrl: string; redisUrl: string },
) {
  const asked: Asked = { "db:main": 0, "redis:cache": 0 };
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 8, connectionTimeoutMillis: ATTEMPT_MS });
  pool.on("error", () => undefined);
  const plain = drizzle(pool);
  const db = paramedic.guardDatabase("db:main", drizzle(pool), { timeoutMs: ATTEMPT_MS });
  const cache = new Redis(redisUrl, {
    maxRetriesPerRequest: 0,
    commandTimeout: 300,
    enableOfflineQueue: false,
    retryStrategy: () => 200,
  });
  cache.on("error", () => undefined);
  paramedic.guard("redis:cache", { timeoutMs: 500, idempotent: true });
  paramedic.reconnectable("redis:cache", {
    async reconnect() {
      cache.disconnect(true);
      await cache.ping();
    },
    ping: () => cache.ping(),
  });

  const named = PROVIDERS.map((name, index) => ({
    name,
    baseURL: providers[index]?.baseURL ?? "",
    apiKey: "none",
    model: "m",
    timeoutMs: ATTEMPT_MS,
  }));
  // Five failures in a row are chance here.
  const policy = { window: "time", windowMs: 10_000, minimumCalls: 20, failureRatio: 0.6 } as const;
  const llm = paramedic.llm({ providers: named, timeoutMs: DEADLINE_MS, policy });
  const alone = named.map((provider) => paramedic.llm({ providers: [provider], timeoutMs: DEADLINE_MS, policy }));
  let greetings = 0;
  const lastUsers = paramedic.lastGood<[], number>("users");
  const users = paramedic.operation("users", {
    targets: {
      "db:main": lastUsers.keeping(async () => {
        asked["db:main"] += 1;
        return (await plain.select().from(pgUsers).limit(10)).length;
      }),
    },
    fallback: lastUsers.fallback,
    idempotent: true,
    timeoutMs: DEADLINE_MS,
  });
  const lastSession = paramedic.lastGood<[], string>("session");
  const session = paramedic.operation("session", {
    targets: {
      "redis:cache": lastSession.keeping(async () => {
        asked["redis:cache"] += 1;
        return (await cache.incr("visits")) > 0 ? "known" : "new";
      }),
    },
    fallback: lastSession.fallback,
    idempotent: true,
    timeoutMs: DEADLINE_MS,
  });

  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const router = t.router({
    ask: procedure
      .input(Number)
      .query(({ input }) => llm.chat({ messages: [{ role: "user", content: `question ${input}` }] })),
    users: procedure.query(() => users()),
    session: procedure.query(() => session()),
    save: procedure.input(String).mutation(({ input }) =>
      paramedic.transaction(db, async (tx) => {
        await tx.insert(pgUsers).values({ name: input });
      }),
    ),
    paramedic: paramedic.router,
  });
  return {
    api: t.createCallerFactory(router)({}),
    asked,
    /** Each provider by itself: while the first one answers, nobody asks the others, and their circuits learn nothing. */
    async greetProviders(): Promise<void> {
      const content = `greeting ${++greetings}`;
      await Promise.allSettled(alone.map((one) => one.chat({ messages: [{ role: "user", content }] })));
    },
    async close() {
      cache.disconnect();
      await pool.end();
    },
  };
}

export type App = ReturnType<typeof startApp>;
