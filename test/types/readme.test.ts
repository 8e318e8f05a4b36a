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
const SURROUNDINGS: Readonly<Record<string, { readonly before: string; readonly after: string }>> = {
  "LLM providers": {
    before: `const [apiKey, deepseekKey] = ["key-1", "key-2"];
      const messages = [{ role: "user" as const, content: "hello" }];`,
    after: "console.log(completion.choices.length, value.choices.length, rescue.kind);",
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
};
const SAYS: Readonly<Record<string, string>> = {
  "LLM providers": "1 1 fresh",
  Database: "7",
  "Anything else": "short story true",
};

const folder = realpathSync(mkdtempSync(join(tmpdir(), "paramedic-readme-")));
let provider: FixtureProvider;

beforeAll(async () => {
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  provider = await createFixtureProvider();
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
      paths: { paramedic: [DOOR] },
    });
    const problems = files.flatMap((file) =>
      ts
        .getPreEmitDiagnostics(program, program.getSourceFile(file))
        .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")),
    );
    expect(problems).toEqual([]);
  }, 60_000);

  it.each(blocks)("run: $title", async (block) => {
    const file = written(block, pathToFileURL(DOOR).href, new URL(provider.baseURL).origin);
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", file], {
      env: { PATH: process.env.PATH, PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` },
    });
    expect(stdout.trim()).toBe(SAYS[block.title]);
  });
});

/** The block as a module of its own; `origin` takes the place of the providers that it names. */
function written({ title, code }: (typeof blocks)[number], door: string, origin: string | undefined): string {
  const { before, after } = SURROUNDINGS[title] ?? { before: "", after: "" };
  const file = join(folder, `${title.replaceAll(" ", "-")}${origin === undefined ? "" : "-run"}.ts`);
  const local = origin === undefined ? code : code.replace(/https:\/\/api\.[\w.]+/g, origin);
  writeFileSync(
    file,
    `import { createParamedic } from ${JSON.stringify(door)};
     ${before}
     const paramedic = createParamedic({ logger: false, redis: false });
     ${local}
     ${after}
     await paramedic.shutdown();
     export {};`,
  );
  return file;
}
