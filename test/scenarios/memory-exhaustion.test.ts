/** A heap that fills for real, under a supervisor that starts what ended for a restart anew, as systemd does. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import Database from "better-sqlite3";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { readProperty } from "../../shared/error-facts.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { freePort } from "../services/redis-server.js";
import { type Child, startChild } from "../support/child-process.js";
import { bundleScripts, type ScriptBundle } from "../support/script-bundle.js";
import type { LeakyTask } from "./memory-exhaustion.child.js";

const HEAP_MEGABYTES = 160;
/** EX_TEMPFAIL: what asks a supervisor for another life. */
const RESTART = 75;
const soon = { timeout: 30_000, interval: 100 };
/** It leaks the more slowly the worse it is, so that the heap outlasts the writes before a restart on a slow disk. */
const LEAK_EVERY_MS: ReadonlyMap<unknown, number> = new Map([
  ["healthy", 20],
  ["degraded", 150],
]);
const LEAK_AT_LAST_EVERY_MS = 500;

let bundle: ScriptBundle<"memory-exhaustion.child">;
beforeAll(async () => {
  bundle = await bundleScripts({ "memory-exhaustion.child": "test/scenarios/memory-exhaustion.child.ts" });
});
afterAll(() => bundle?.remove());

const { folder, remove } = createTempFolder();
afterAll(remove);

/** Starts one life after the other while each ends with the code for it. */
function supervise(task: LeakyTask, database: string) {
  const exits: (number | null)[] = [];
  let child: Child;
  let lives = 0;
  let stopped = false;
  const start = async (): Promise<void> => {
    child = startChild(pathToFileURL(bundle.fileOf("memory-exhaustion.child")), JSON.stringify(task), database, [
      `--max-old-space-size=${HEAP_MEGABYTES}`,
    ]);
    lives += 1;
    const code = await child.ended;
    exits.push(code);
    if (code === RESTART && !stopped) await start();
  };
  const ended = start();
  return {
    exits,
    get lives() {
      return lives;
    },
    ended,
    async stop() {
      stopped = true;
      await child.kill();
      await ended;
    },
  };
}

let supervised: ReturnType<typeof supervise> | undefined;
afterEach(() => supervised?.stop());

/** What the connection said where there was no answer. */
async function ask(port: number, procedure: string): Promise<{ readonly data?: unknown; readonly refused?: string }> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/${procedure}`, { headers: { connection: "close" } });
    return { data: readProperty(readProperty(await response.json(), "result"), "data") };
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    return { refused: cause instanceof Error && "code" in cause ? String(cause.code) : String(error) };
  }
}

function rowsOf(database: string, sql: string): unknown[] {
  const sqlite = new Database(database, { readonly: true });
  try {
    return sqlite.prepare(sql).all();
  } finally {
    sqlite.close();
  }
}

it("is seen against the real limit, drained and started anew, and every call and every row comes to its end", {
  timeout: 120_000,
}, async () => {
  const database = join(folder, "paramedic.db");
  const port = await freePort();
  const calls = join(folder, "calls");
  supervised = supervise({ port, calls }, database);
  await expect.poll(() => ask(port, "memory"), soon).toEqual({ data: "healthy" });

  const slow: ReturnType<typeof ask>[] = [];
  let leaks = 0;
  while ((await ask(port, "leak")).data !== undefined) {
    leaks += 1;
    const { data } = await ask(port, "memory");
    if (leaks % 4 === 0 || data === "unhealthy") slow.push(ask(port, "slow"));
    await new Promise((resolve) => setTimeout(resolve, LEAK_EVERY_MS.get(data) ?? LEAK_AT_LAST_EVERY_MS));
  }
  await expect.poll(() => ask(port, "memory"), soon).toEqual({ data: "healthy" });
  expect(leaks).toBeGreaterThan(HEAP_MEGABYTES / 4);
  expect(supervised.exits).toEqual([RESTART]);
  expect(supervised.lives).toBe(2);

  const answers = await Promise.all(slow);
  const refused = answers.filter((answer) => answer.data === undefined);
  expect(refused.length).toBeLessThan(3);
  const lines = existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : [];
  const answered = answers.length - refused.length;
  expect(lines.filter((line) => line === "began")).toHaveLength(answered);
  expect(lines.filter((line) => line === "ended")).toHaveLength(answered);

  const unfinished = "select 1 from recovery_actions where status in ('initiated', 'in_progress')";
  await expect.poll(() => rowsOf(database, unfinished), soon).toEqual([]);
  const pressure =
    "select resolved from failure_events where failure_type = 'memory_pressure' and affected_service = 'memory'";
  await expect.poll(() => rowsOf(database, pressure), soon).toEqual([{ resolved: 1 }]);
  expect(
    rowsOf(
      database,
      "select action_strategy, status, target, json_extract(result, '$.message') message from recovery_actions where action_type = 'restart'",
    ),
  ).toEqual([
    {
      action_strategy: "graceful_restart",
      status: "succeeded",
      target: "process:leaky",
      message: "started anew as leaky",
    },
  ]);
  await expect
    .poll(() => rowsOf(database, "select 1 from paramedic_incidents where status = 'open'"), soon)
    .toEqual([]);

  const lives = "select count(*) lives from paramedic_ingest_boots";
  await expect.poll(() => rowsOf(database, lives), soon).toEqual([{ lives: 2 }]);
  const { data } = await ask(port, "accounts");
  expect(data).toMatchObject({ dropped: {}, lost: 0, gaps: [] });
  const [recorded, rolledUp, inFlight] = ["recorded", "rolledUp", "inFlight"].map((name) =>
    Number(readProperty(data, name)),
  );
  expect(recorded).toBe(Number(rolledUp) + Number(inFlight));
  console.info(`memory exhaustion: ${leaks} leaks of 1 MB, ${answered} calls answered, ${JSON.stringify(data)}`);
});
