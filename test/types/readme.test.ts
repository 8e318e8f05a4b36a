/** Every block of code in the README typechecks against the public door as its reader would paste it, and runs. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createFixtureProvider, type FixtureProvider } from "../../server/testing.js";

const DOOR = resolve("server/index.ts");
const readme = readFileSync("README.md", "utf8");
const quickStart = /<!-- quick-start -->\n```ts\n([\s\S]*?)\n```/.exec(readme)?.[1];
const blocks = readme.split(/^### /m).flatMap((section) => {
  const code = /^```ts\n([\s\S]*?)\n```/m.exec(section)?.[1];
  const title = section.split("\n", 1)[0];
  return code === undefined || title === undefined || code === quickStart ? [] : [{ title, code }];
});

/** What the reader has already, and what shows that the block did its work. */
const SURROUNDINGS: Readonly<
  Record<string, { readonly before: string; readonly made?: string; readonly after: string }>
> = {
  "LLM providers": {
    before: `const [apiKey, deepseekKey] = ["key-1", "key-2"];
      const messages = [{ role: "user" as const, content: "hello" }];`,
    after: "console.log(completion.choices.length, value.choices.length, rescue.kind);",
  },
  "Streams, answers by schema, embeddings": {
    before: `import { zodResponseFormat } from "openai/helpers/zod";
      import { z } from "zod";
      const messages = [{ role: "user" as const, content: "hello" }];
      const baseURL = "https://api.openai.com/v1";
      const llmOf = (p: Paramedic) =>
        p.llm({ providers: [{ name: "openai", baseURL, apiKey: "key-1", model: "m", embeddingModel: "e" }] });`,
    made: "const llm = llmOf(paramedic);",
    after: `console.log("", choices[0]?.message.parsed?.urgent, data.length);`,
  },
  "A client of your own": {
    before: `import { Anthropic as Sdk } from "@anthropic-ai/sdk";
      const Anthropic = class extends Sdk {
        constructor(options: ConstructorParameters<typeof Sdk>[0]) {
          super({ ...options, baseURL: "https://api.anthropic.com" });
        }
      };
      const apiKey = "key-1";
      const messages = [{ role: "user" as const, content: "hello" }];`,
    after: 'console.log(message.content.length, paramedic.circuits.get("llm:anthropic")?.getState().state);',
  },
  "The Vercel AI SDK": {
    before: `import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
      import { generateText } from "ai";
      const baseURL = "https://api.openai.com/v1";
      const openai = createOpenAICompatible({ name: "openai", baseURL, apiKey: "key-1" });
      const deepseek = createOpenAICompatible({ name: "deepseek", baseURL, apiKey: "key-2" });`,
    after: "console.log(text);",
  },
  "Your own tests": {
    before: "",
    after: `let said = "";
      for await (const chunk of llm.stream({ messages: [] })) said += chunk.choices[0]?.delta.content ?? "";
      console.log(said, provider.requests.length);
      await provider.close();`,
  },
  Database: {
    before: `import Database from "better-sqlite3";
      import { drizzle } from "drizzle-orm/better-sqlite3";
      import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
      const sqlite = new Database(":memory:");
      sqlite.exec("create table appointments (id integer primary key)");
      const appointments = sqliteTable("appointments", { id: integer().primaryKey() });
      const appointment = { id: 7 };`,
    after: "console.log(db.select().from(appointments).all()[0]?.id);",
  },
  "Anything else": {
    before: `const openaiSummary = async (_text: string, _signal: AbortSignal): Promise<string> => {
        throw Object.assign(new Error("overloaded"), { status: 503 });
      };
      const geminiSummary = async (text: string, _signal: AbortSignal) => "short " + text;
      const lastKnownSummary = (text: string) => "old " + text;
      const cache = { flush: async () => {}, isEmpty: () => true };
      const text = "story";`,
    after: `console.log(await summarise(text), paramedic.recovery.strategies().some(({ name }) => name === "flush_cache"));`,
  },
  "Hedges and budgets": {
    before: `const providers = [{ name: "openai", baseURL: "https://api.openai.com/v1", apiKey: "key-1", model: "m" }];`,
    after: `const { choices } = await assistant.chat({ messages: [{ role: "user", content: "hello" }] });
      const left = paramedic.guard("llm:openai").snapshot().rescueBudget?.left.cost;
      console.log(choices.length, left, await search.execute(() => "found"));`,
  },
  Repairs: {
    before: `import { initTRPC } from "@trpc/server";
      interface Context { isAdmin: boolean }
      const publicProcedure = initTRPC.context<Context>().meta<object>().create().procedure;
      const secret = "s".repeat(32);
      const server = { close: () => {} };
      const page = (_service: string, _tried: unknown) => {};
      const recommended: string[] = [];
      const recommend = async () => recommended.push("a book");
      const cache = { reconnect: async () => {}, ping: async () => {} };
      const orders = { state: "idle", reset: () => {}, start: () => {} };
      const summarise = async (_context: { signal: AbortSignal }, text: string) => "short " + text;`,
    after: `const strategies = paramedic.recovery.strategies().map(({ name }) => name);
      const own = ["scale_webhook", "graceful_restart"].every((name) => strategies.includes(name));
      console.log(recommended.length, own, await paramedic.operation("again", { targets: {
        "llm:openai": lastGood.keeping(summarise) } })("story"));`,
  },
  Circuits: {
    before: `const fetchInvoice = async (id: string, _options: { signal: AbortSignal }) => "invoice " + id;
      const id = "7";
      const request = new Request("http://127.0.0.1/");`,
    after: "console.log(billing.getState().state);",
  },
};
const SAYS: Readonly<Record<string, string>> = {
  "LLM providers": "1 1 fresh",
  "Streams, answers by schema, embeddings": "hello true 1",
  "A client of your own": "1 closed",
  "The Vercel AI SDK": "hello",
  "Your own tests": "well again 3",
  Database: "7",
  "Anything else": "short story true",
  "Hedges and budgets": "1 2 found",
  Repairs: "1 true short story",
  Circuits: "open",
};

const folder = realpathSync(mkdtempSync(join(tmpdir(), "paramedic-readme-")));
let provider: FixtureProvider;

beforeAll(async () => {
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  provider = await createFixtureProvider(({ body }) =>
    body.response_format === undefined ? { kind: "answer" } : { kind: "answer", text: ['{"urgent":true}'] },
  );
});
afterAll(async () => {
  await provider.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("the README's blocks", () => {
  it("are all known to this test, beside the quick start that the package's test runs", () => {
    expect(blocks.map(({ title }) => title)).toEqual(Object.keys(SURROUNDINGS));
    expect(readme.match(/^```ts$/gm)).toHaveLength(blocks.length + 1);
  });

  it("typecheck in a strict project", () => {
    writeFileSync(join(folder, "quick-start.ts"), quickStart ?? "");
    const files = [join(folder, "quick-start.ts"), ...blocks.map((block) => written(block, "paramedic", undefined))];
    const program = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2023,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noEmit: true,
      skipLibCheck: true,
      types: ["node"],
      typeRoots: [resolve("node_modules/@types")],
      paths: { paramedic: [DOOR], "paramedic/*": [resolve("server/*.ts")] },
    });
    const problems = files.flatMap((file) =>
      ts
        .getPreEmitDiagnostics(program, program.getSourceFile(file))
        .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")),
    );
    expect(problems).toEqual([]);
  }, 120_000);

  it.each(blocks)(
    "run: $title",
    async (block) => {
      const file = written(block, pathToFileURL(DOOR).href, new URL(provider.baseURL).origin);
      const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", file], {
        env: { PATH: process.env.PATH, PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` },
      });
      // Its own logger writes lines of JSON beside it.
      const said = stdout.split("\n").filter((line) => !line.startsWith("{"));
      expect(said.join("\n").trim()).toBe(SAYS[block.title]);
    },
    60_000,
  );
});

/** The block as a module of its own; `origin` takes the place of the providers that it names. */
function written({ title, code }: (typeof blocks)[number], door: string, origin: string | undefined): string {
  const { before, made = "", after } = SURROUNDINGS[title] ?? { before: "", after: "" };
  const file = join(folder, `${title.replaceAll(" ", "-")}${origin === undefined ? "" : "-run"}.ts`);
  const here = (text: string) =>
    origin === undefined
      ? text
      : text
          .replace(/https:\/\/api\.[\w.]+/g, origin)
          .replace(/"paramedic\/([\w-]+)"/g, (_found, entry) =>
            JSON.stringify(pathToFileURL(resolve(`server/${entry}.ts`))),
          );
  writeFileSync(
    file,
    `import { CircuitBreaker, createParamedic, type Paramedic } from ${JSON.stringify(door)};
     ${here(before)}
     ${/^const paramedic = /m.test(code) ? "" : "const paramedic: Paramedic = createParamedic({ logger: false, redis: false });"}
     ${made}
     ${here(code)}
     ${after}
     await paramedic.shutdown();
     export {};`,
  );
  return file;
}
