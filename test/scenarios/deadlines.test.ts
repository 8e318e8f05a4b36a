/** How long a caller waits is said by the procedure or the request, and bounds everything below it, whatever hangs there. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { initTRPC } from "@trpc/server";
import { generateText } from "ai";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { guardedModel } from "../../server/ai-sdk.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import { createFixtureProvider, type FixtureProvider } from "../../server/testing.js";
import { openDatabase, users } from "../support/database-fixture.js";
import { type DatabaseLock, lockDatabase } from "../support/database-lock.js";

const TIMEOUT_MS = 400;
/** What a busy machine may be late by; far less than anything below would take by itself. */
const SLACK_MS = 2_500;

interface Context {
  readonly patienceMs?: number;
}

let providers: readonly FixtureProvider[];
let paramedic: Paramedic<Context>;
let opened: ReturnType<typeof openDatabase>;
let lock: DatabaseLock;

beforeAll(async () => {
  const hang = { kind: "hang" } as const;
  providers = await Promise.all([createFixtureProvider([hang]), createFixtureProvider([hang])]);
  paramedic = createParamedic<Context>({
    logger: false,
    redis: false,
    identify: ({ ctx }) => (ctx.patienceMs === undefined ? {} : { timeoutMs: ctx.patienceMs }),
    overrides: { environment: readEnvironment({}), store: createMemoryStore({ clock: systemClock }) },
  });
  await paramedic.ready;
  opened = openDatabase();
  lock = await lockDatabase(opened.file);
});
afterAll(async () => {
  await lock.release();
  opened.dispose();
  await Promise.all([paramedic.shutdown(), ...providers.map((provider) => provider.close())]);
});

function appOf() {
  const [first, second] = providers;
  if (first === undefined || second === undefined) throw new Error("there are two providers");
  const t = initTRPC.context<Context>().meta<{ paramedic?: { timeoutMs?: number } }>().create();
  const llm = paramedic.llm({
    providers: [first, second].map(({ baseURL }, index) => ({
      name: `provider-${index}`,
      baseURL,
      apiKey: "none",
      model: "m",
    })),
  });
  const messages = [{ role: "user" as const, content: "hello" }];
  const db = paramedic.guardDatabase("db:main", drizzle(opened.client));
  const model = guardedModel(paramedic, {
    "llm:model": createOpenAICompatible({ name: "model", baseURL: first.baseURL, apiKey: "none" }).chatModel("m"),
  });
  const read = async (stream: AsyncIterable<unknown>) => {
    for await (const _chunk of stream);
  };
  const hanging = {
    "a completion, with a second provider to go to": () => llm.chat({ messages }),
    "a stream": () => read(llm.stream({ messages })),
    "a guarded fetch": () => paramedic.guardFetch("http:prices")(`${first.origin}/prices`),
    "the AI SDK's model": () => generateText({ model, prompt: "hello" }),
    "a guard whose work ignores its signal": () => paramedic.guard("http:deaf").execute(() => new Promise(() => {})),
    "an operation with a fallback": () =>
      paramedic.run("report", {
        targets: [{ service: "http:deaf", run: () => new Promise(() => {}) }],
        fallback: () => new Promise(() => {}),
        idempotent: true,
      }),
    "an awaited statement that meets a lock": () => db.insert(users).values({ name: "ada" }),
    "a transaction that meets a lock": () =>
      paramedic.transaction(db, (tx) => tx.insert(users).values({ name: "ada" })),
  } as const satisfies Record<string, () => PromiseLike<unknown>>;
  const procedure = t.procedure.use(paramedic.middleware());
  const ask = async ({ input }: { readonly input: unknown }) => {
    await Object.entries(hanging).find(([name]) => name === input)?.[1]();
  };
  const caller = t.createCallerFactory(
    t.router({
      byMeta: procedure
        .meta({ paramedic: { timeoutMs: TIMEOUT_MS } })
        .input(String)
        .mutation(ask),
      byRequest: procedure.input(String).mutation(ask),
    }),
  );
  return { names: Object.keys(hanging), caller };
}

describe("the time of a call", () => {
  it.each(["byMeta", "byRequest"] as const)("ends all that hangs below it: %s", async (way) => {
    const { names, caller } = appOf();
    const api = caller(way === "byRequest" ? { patienceMs: TIMEOUT_MS } : {});
    const ended = await Promise.all(
      names.map(async (name) => {
        const startedAt = performance.now();
        const error: unknown = await api[way](name).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        return { name, isError: error instanceof Error, tookMs: performance.now() - startedAt };
      }),
    );
    expect(ended.map(({ name, isError }) => [name, isError])).toEqual(names.map((name) => [name, true]));
    expect(ended.filter(({ tookMs }) => tookMs < TIMEOUT_MS / 2 || tookMs > TIMEOUT_MS + SLACK_MS)).toEqual([]);
  });
});
