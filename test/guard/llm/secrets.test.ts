/** Prompts, completions and keys are planted wherever a provider may repeat them, and looked for in everything that is kept. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { initTRPC } from "@trpc/server";
import { generateText, streamText } from "ai";
import Database from "better-sqlite3";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { guardedModel } from "../../../server/ai-sdk.js";
import { createParamedic } from "../../../server/index.js";
import { createFixtureProvider, event, type FixtureBehaviour, type FixtureProvider } from "../../../server/testing.js";
import { read } from "./llm-harness.js";

const PROMPT = "Jane Roe asks about her pregnancy";
const COMPLETION = "Congratulations, she is in week twelve";
const KEY = "k3y-that-no-pattern-knows";

/** A gateway that puts the whole request, and what it had of an answer, into its error. */
const ECHO = `upstream failed for ${KEY}: messages=[{"role":"user","content":"${PROMPT}"}] got "${COMPLETION}"`;
const echo = (status: number, more: object = {}): FixtureBehaviour => ({
  kind: "reply",
  status,
  body: { error: { message: ECHO, type: "server_error", code: null, param: PROMPT, ...more } },
});

let provider: FixtureProvider;
let folder: string;

beforeEach(async () => {
  provider = await createFixtureProvider();
  folder = mkdtempSync(join(tmpdir(), "paramedic-secrets-"));
});
afterEach(async () => {
  await provider.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("what is kept of LLM calls", () => {
  it("holds neither prompts nor completions nor keys, however a provider fails", async () => {
    const logged: unknown[] = [];
    const log = (...said: unknown[]) => void logged.push(said);
    const paramedic = createParamedic({
      database: `file:${join(folder, "paramedic.db")}`,
      redis: false,
      logger: { debug: log, info: log, warn: log, error: log },
      metricsFlushIntervalMs: 50,
    });
    await paramedic.ready;
    const t = initTRPC.create();
    const openai = { name: "openai", baseURL: provider.baseURL, apiKey: KEY, model: "m", embeddingModel: "e" };
    const llm = paramedic.llm({ providers: [openai], stallTimeoutMs: 200 });
    const messages = [{ role: "user" as const, content: PROMPT }];
    const anthropic = new Anthropic({
      apiKey: KEY,
      baseURL: provider.origin,
      fetch: paramedic.guardFetch("llm:claude"),
    });
    const model = guardedModel(paramedic, {
      "llm:vercel": createOpenAICompatible({ name: "vercel", baseURL: provider.baseURL, apiKey: KEY }).chatModel("m"),
    });
    const Week = zodResponseFormat(z.object({ week: z.number() }), "week");
    const router = t.router({
      run: t.procedure
        .use(paramedic.middleware())
        .input(z.function())
        .mutation(({ input }) => (input as () => Promise<unknown>)()),
    });
    const call = router.createCaller({});
    const attempt = (work: () => Promise<unknown>, ...script: FixtureBehaviour[]) => {
      provider.behaves(...script);
      return call.run(work).catch(() => {});
    };
    const event1 = (content: string) => event({ choices: [{ index: 0, delta: { content }, finish_reason: null }] });

    const chat = () => llm.chat({ messages });
    const streamed = () => read(llm.stream({ messages })).then(({ error }) => Promise.reject(error));
    await attempt(chat, { kind: "answer", text: [COMPLETION] });
    for (const status of [500, 503, 429, 402, 404, 409, 504]) await attempt(chat, echo(status));
    await attempt(chat, { kind: "reply", status: 200, body: `{"choices": "${COMPLETION}` });
    await attempt(chat, { kind: "reply", status: 500, body: ECHO, headers: { "content-type": "text/plain" } });
    await attempt(streamed, { kind: "answer", text: [COMPLETION] });
    await attempt(streamed, { kind: "events", events: [event1(COMPLETION)] });
    await attempt(streamed, { kind: "events", events: [event1(COMPLETION), event(`{"${PROMPT}`)] });
    await attempt(streamed, {
      kind: "events",
      events: [event({ error: { message: ECHO, code: PROMPT, type: ECHO } })],
    });
    await attempt(() => llm.parse({ messages, response_format: Week }), { kind: "answer", text: [COMPLETION] });
    await attempt(() => llm.parse({ messages, response_format: Week }), {
      kind: "answer",
      text: [`{"week":"${COMPLETION}"}`],
    });
    await attempt(() => llm.embed({ input: PROMPT }), echo(500));
    await attempt(() => anthropic.messages.create({ model: "m", max_tokens: 9, messages }), echo(529));
    await attempt(() => anthropic.messages.create({ model: "m", max_tokens: 9, messages, stream: true }), {
      kind: "events",
      events: [event({ type: "error", error: { type: ECHO, message: ECHO } }, "error")],
    });
    await attempt(() => generateText({ model, prompt: PROMPT }), echo(500), { kind: "answer", text: [COMPLETION] });
    await attempt(() => generateText({ model, prompt: PROMPT }), {
      kind: "reply",
      status: 200,
      body: { x: COMPLETION },
    });
    await attempt(
      async () => {
        const { items } = await read(streamText({ model, prompt: PROMPT, onError() {} }).fullStream);
        throw items.find(({ type }) => type === "error");
      },
      { kind: "events", events: [event1(COMPLETION)] },
    );
    await attempt(chat, echo(401));
    await attempt(() => JSON.parse(`{"${PROMPT}`));

    const shown = JSON.stringify([llm.providers, paramedic.circuits.getAll().map((circuit) => circuit.snapshot())]);
    const faults = paramedic.faults();
    await paramedic.shutdown();

    const database = new Database(join(folder, "paramedic.db"), { readonly: true });
    const tables = database.prepare("select name from sqlite_master where type in ('table', 'view')").all() as {
      name: string;
    }[];
    const rows = Object.fromEntries(
      tables.map(({ name }) => [name, database.prepare(`select * from "${name}"`).all()]),
    );
    database.close();
    expect(rows.failure_events?.length).toBeGreaterThan(10);
    expect(rows.recovery_actions?.length).toBeGreaterThan(5);
    const files = readdirSync(folder).map((file) => readFileSync(join(folder, file), "latin1"));

    const kept = { rows: JSON.stringify(rows), logged: JSON.stringify(logged), shown, files: files.join("\n") };
    for (const [where, text] of Object.entries(kept)) {
      for (const secret of [PROMPT, "Jane Roe", "pregnancy", COMPLETION, "Congratulations", "week twelve", KEY]) {
        expect(text.includes(secret), `${secret} in ${where}`).toBe(false);
      }
    }
    expect(kept.rows).toContain("HTTP 500 server_error");
    expect(faults).toEqual({});
  }, 60_000);
});
