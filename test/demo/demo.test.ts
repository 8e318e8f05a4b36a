import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const folders: string[] = [];
const children: ChildProcess[] = [];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-demo-test-"));
  folders.push(folder);
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true });
});

function start(script: string, args: readonly string[] = []) {
  const env = { ...process.env, REDIS_URL: undefined, PARAMEDIC_REDIS_URL: undefined, TMPDIR: folder };
  const child = spawn(process.execPath, ["--import", "tsx", script, ...args], { env });
  children.push(child);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
  });
  return { child, output: () => output, ended: once(child, "exit").then(([code]) => Number(code)) };
}

/** The rows of one section of the report, each as its cells. */
function section(report: string, title: string): string[][] {
  const lines = report.slice(report.indexOf(`\n${title} -`) + 1).split("\n");
  const body = lines.slice(1, lines.indexOf(""));
  return body.map((line) => line.trim().split(/ {2,}/));
}

function query(database: string, sql: string): (string | number)[][] {
  const sqlite = new Database(join(folder, database), { readonly: true });
  try {
    return sqlite.prepare<[], (string | number)[]>(sql).raw().all();
  } finally {
    sqlite.close();
  }
}

const shown = (rows: (string | number)[][]) => rows.map((row) => row.map(String)).toSorted();

describe("npm run demo", () => {
  it("ends with 0, with every check holding and every number equal to what its tables say", {
    timeout: 180_000,
  }, async () => {
    const story = ["--schedule", "test/demo/short-story.json", "--speed", "1.6", "--folder", folder];
    const { output, ended } = start("examples/demo/run.ts", ["--once", ...story]);
    const code = await ended;
    const report = output();
    expect(code, report).toBe(0);
    expect(
      section(report, "Checks")
        .slice(1)
        .map(([verdict]) => verdict),
    ).toEqual(Array(6).fill("holds"));

    const [[calls, failedWith, failedWithout]] = query(
      "user-calls.db",
      `select sum(run = 'with'), sum(run = 'with' and outcome = 'failed'), sum(run = 'without' and outcome = 'failed')
       from user_calls`,
    ) as [[number, number, number]];
    expect(section(report, "What users saw fail").at(-1)).toEqual(
      ["total", calls, failedWith, failedWithout].map(String),
    );
    expect(failedWith).toBeLessThanOrEqual(failedWithout / 10);

    expect(section(report, "What was rescued, and how").slice(1).toSorted()).toEqual(
      shown(
        query(
          "paramedic.db",
          `select f.failure_type, a.action_strategy, a.target, a.status, sum(a.occurrences)
           from recovery_actions a join failure_events f on f.event_id = a.failure_event_id
           where a.scope = 'call' group by 1, 2, 3, 4`,
        ),
      ),
    );
    expect(section(report, "Recovery actions by strategy and status").slice(1).toSorted()).toEqual(
      shown(
        query(
          "paramedic.db",
          "select action_strategy, scope, status, count(*), sum(occurrences) from recovery_actions group by 1, 2, 3",
        ),
      ),
    );
    expect(section(report, "What failed behind the calls").slice(1).toSorted()).toEqual(
      shown(
        query(
          "paramedic.db",
          `select affected_service, failure_type, severity, count(*), sum(occurrences)
           from failure_events group by 1, 2, 3`,
        ),
      ),
    );
    expect(
      section(report, "Circuits")
        .slice(1)
        .map(([, , circuit, transition, reason]) => [circuit, transition, reason]),
    ).toEqual(
      query(
        "paramedic.db",
        `select circuit_name, from_state || ' to ' || to_state, reason from circuit_transitions order by at, id`,
      ),
    );
    expect(
      section(report, "Milliseconds in the server, for users with, for users without")
        .slice(1)
        .map(([procedure, count]) => [procedure, Number(count)])
        .toSorted(),
    ).toEqual(
      query(
        "paramedic.db",
        `select replace(replace(metric_name, 'trpc.', ''), '.duration', ''), sum(count) from system_health_metrics
         where metric_name in ('trpc.ask.duration', 'trpc.appointments.list.duration', 'trpc.appointments.book.duration',
           'trpc.notes.add.duration') group by 1 order by 1`,
      ),
    );
    const lines = report.slice(report.indexOf("The same ")).split("\n");
    expect(lines.filter((line) => line.length > 100)).toEqual([]);
  });

  it("ends on Ctrl-C in the middle of the story and leaves nothing in the temporary folder", async () => {
    const { child, output, ended } = start("examples/demo/run.ts", ["--once", "--speed", "5"]);
    await expect.poll(output, { timeout: 60_000 }).toContain("provider 1 answers 529");
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(readdirSync(folder).filter((name) => name.startsWith("paramedic-demo"))).toEqual([]);
  }, 90_000);

  it("says what is wrong with its arguments and what is legal", async () => {
    const { output, ended } = start("examples/demo/run.ts", ["--speed", "fast"]);
    expect(await ended).toBe(2);
    expect(output()).toContain("--speed: got fast; legal: 1 to 20");
  });
});

describe("a process that the demo started", () => {
  it("ends when the demo is killed without a chance to clean up", async () => {
    const { child, output } = start("test/demo/parent-of-a-child.ts");
    await expect.poll(output).toMatch(/pid \d+\n/);
    const pid = Number(/pid (\d+)/.exec(output())?.[1]);
    expect(isAlive(pid)).toBe(true);
    child.kill("SIGKILL");
    await expect.poll(() => isAlive(pid)).toBe(false);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
