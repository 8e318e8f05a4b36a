import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** Building, packing and installing, once for all tests of this file. */
const PREPARE_WITHIN_MS = 240_000;

const project = mkdtempSync(join(tmpdir(), "paramedic-package-"));
const packed: string[] = [];

beforeAll(() => {
  run("npx", ["tsdown", "--logLevel", "error"], process.cwd());
  const [{ filename, files }] = JSON.parse(
    run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project], process.cwd()),
  );
  packed.push(...files.map((file: { path: string }) => file.path));
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  const peers = ["@trpc/server", "express", "openai"].map((peer) => `${peer}@${devDependencies[peer]}`);
  run(
    "npm",
    ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", `./${filename}`, ...peers],
    project,
  );
  // The native part was compiled when this project was installed: the same version, for the same Node.
  const require = createRequire(import.meta.url);
  const built = join(dirname(require.resolve("better-sqlite3/package.json")), "build/Release/better_sqlite3.node");
  const target = join(project, "node_modules/better-sqlite3/build/Release");
  mkdirSync(target, { recursive: true });
  copyFileSync(built, join(target, "better_sqlite3.node"));
}, PREPARE_WITHIN_MS);

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe("the packed package", () => {
  it("carries the door, the workers, the migrations and nothing of the workshop", () => {
    expect(packed).toEqual(
      expect.arrayContaining(["README.md", "LICENSE", ".env.example", "dist/index.js", "dist/index.cjs"]),
    );
    expect(packed).toEqual(expect.arrayContaining(["dist/ai-sdk.js", "dist/testing.cjs", "dist/testing.d.ts"]));
    for (const worker of ["sqlite-writer", "sqlite-reader"]) {
      expect(packed).toEqual(expect.arrayContaining([`dist/${worker}.worker.js`, `dist/${worker}.worker.cjs`]));
    }
    expect(packed.some((path) => path.startsWith("drizzle/sqlite/migrations/") && path.endsWith(".sql"))).toBe(true);
    expect(packed.filter((path) => /^(test|bench|examples|server|shared|\.ci)\//.test(path))).toEqual([]);
  });

  it("runs the README's quick start over HTTP", async () => {
    writeFileSync(join(project, "quick-start.mjs"), quickStart());
    const { get, stop, output } = await serve("quick-start.mjs");
    try {
      const forecast = await get("/trpc/forecast");
      expect([forecast.status, await forecast.json()]).toEqual([
        200,
        { result: { data: { text: "look out of the window" } } },
      ]);
      expect(await (await get("/trpc/health")).json()).toMatchObject({
        result: { data: { checks: expect.arrayContaining([expect.objectContaining({ name: "store" })]) } },
      });
      expect((await get("/livez")).status).toBe(200);
      expect((await get("/trpc/paramedic.failures.list")).status).toBe(403);
      const failures = async () =>
        (await get("/trpc/paramedic.failures.list", { authorization: `Bearer ${ADMIN_TOKEN}` })).text();
      await expect.poll(failures, { timeout: 10_000 }).toContain('"affectedService":"http:forecasts"');
    } finally {
      expect(await stop(), output()).toBe(0);
    }
  }, 60_000);

  it("is usable from CommonJS, the store's threads included", () => {
    writeFileSync(
      join(project, "common.cjs"),
      `const { createParamedic, CircuitBreaker } = require("paramedic");
       const { failureEvents } = require("paramedic/schema");
       const paramedic = createParamedic({ database: "file:./common.db", logger: false });
       paramedic.ready.then(async (readiness) => {
         await new CircuitBreaker("x").execute(async () => 1);
         const top = await paramedic.store.readTopProcedures({ from: 0, to: Date.now(), by: "calls", limit: 1 });
         console.log(JSON.stringify({ readiness, top, table: typeof failureEvents }));
         await paramedic.shutdown();
       });`,
    );
    expect(JSON.parse(run(process.execPath, ["common.cjs"], project))).toEqual({
      readiness: { store: "open" },
      top: [],
      table: "object",
    });
  });

  it.each([
    ["an ES module", "entries.mjs", (name: string, from: string) => `import { ${name} } from "${from}";`],
    ["CommonJS", "entries.cjs", (name: string, from: string) => `const { ${name} } = require("${from}");`],
  ] as const)("lets an app test its bad days from %s", (_name, file, load) => {
    writeFileSync(
      join(project, file),
      `${load("createParamedic", "paramedic")}
       ${load("createFixtureProvider, providerReplies", "paramedic/testing")}
       ${load("guardedModel", "paramedic/ai-sdk")}
       (async () => {
         const provider = await createFixtureProvider([providerReplies.openai.overloaded, { kind: "answer" }]);
         const paramedic = createParamedic({ database: "file:./entries.db", logger: false });
         const llm = paramedic.llm({
           providers: [{ name: "openai", baseURL: provider.baseURL, apiKey: "none", model: "m" }],
         });
         let text = "";
         for await (const chunk of llm.stream({ messages: [] })) text += chunk.choices[0].delta.content ?? "";
         const doGenerate = async () => ({ content: [], finishReason: "stop" });
         const model = { specificationVersion: "v3", provider: "own", modelId: "m", supportedUrls: {}, doGenerate };
         const guarded = guardedModel(paramedic, { "llm:own": model });
         const { finishReason } = await guarded.doGenerate({ prompt: [] });
         const answered = await paramedic.guardFetch("llm:fetched")(provider.origin + "/v1/embeddings", { method: "POST" });
         console.log(JSON.stringify({ text, asked: provider.requests.length, finishReason, status: answered.status }));
         await paramedic.shutdown();
         await provider.close();
       })();`,
    );
    const said = run(process.execPath, [file], project);
    expect(JSON.parse(said)).toEqual({ text: "hello", asked: 3, finishReason: "stop", status: 200 });
  });

  it("has types for a strict consumer of either module system", () => {
    for (const [file, code] of [
      [
        "consumer.mts",
        'import { createParamedic } from "paramedic"; export const p = createParamedic({ mode: "shadow" });',
      ],
      [
        "consumer.cts",
        'import { createParamedic } from "paramedic"; export const p = createParamedic({ mode: "shadow" });',
      ],
    ] as const) {
      writeFileSync(
        join(project, file),
        `${code}
         import { guardedModel } from "paramedic/ai-sdk";
         import { createFixtureProvider } from "paramedic/testing";
         export const chunks = p.llm({ providers: [] }).stream({ messages: [] });
         export const model = guardedModel<never>;
         export const provider = createFixtureProvider();`,
      );
    }
    const program = ts.createProgram([join(project, "consumer.mts"), join(project, "consumer.cts")], {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2023,
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: [],
    });
    const problems = ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
    expect(problems).toEqual([]);
  }, 60_000);
});

const ADMIN_TOKEN = "package-test";

/** The block of the README that its reader copies, as JavaScript. */
function quickStart(): string {
  const block = /<!-- quick-start -->\n```ts\n([\s\S]*?)\n```/.exec(readFileSync("README.md", "utf8"))?.[1];
  if (block === undefined) throw new Error("the README has no quick start");
  const { outputText } = ts.transpileModule(block, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  });
  return `${outputText}\nserver.on("listening", () => console.log("port " + server.address().port));\n`;
}

async function serve(script: string) {
  const child = spawn(process.execPath, [script], {
    cwd: project,
    env: { PATH: process.env.PATH, PORT: "0", ADMIN_TOKEN, METRICS_FLUSH_INTERVAL_MS: "100" },
  });
  let output = "";
  const port = await new Promise<number>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      const found = /^port (\d+)$/m.exec(output)?.[1];
      if (found !== undefined) resolve(Number(found));
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("exit", (code) => reject(new Error(`it ended with ${code}:\n${output}`)));
  });
  return {
    get: (path: string, headers: Record<string, string> = {}) => fetch(`http://127.0.0.1:${port}${path}`, { headers }),
    stop: () =>
      new Promise<number | null>((resolve) => {
        child.once("exit", resolve);
        child.kill("SIGTERM");
      }),
    output: () => output,
  };
}

function run(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
