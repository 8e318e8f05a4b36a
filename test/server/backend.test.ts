/** The standalone backend as its user runs it: a process, an environment, HTTP. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { migrateSqlite } from "../../server/adapters/sqlite/migrate.js";
import { lockDatabase } from "../support/database-lock.js";
import { bundleScripts, type ScriptBundle } from "../support/script-bundle.js";

const READ = "read-token-".padEnd(40, "r");
const OPERATE = "operate-token-".padEnd(40, "o");

let bundle: ScriptBundle<"paramedic">;
beforeAll(async () => {
  bundle = await bundleScripts({ paramedic: "server/cli/paramedic.ts" });
});
afterAll(() => bundle?.remove());

let folder: string;
const children: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-backend-"));
});
afterEach(async () => {
  await Promise.all(children.splice(0).map((kill) => kill()));
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the command line with nothing in its environment but what is given. */
function paramedic(args: readonly string[], variables: Record<string, string> = {}) {
  const child = spawn(process.execPath, [bundle.fileOf("paramedic"), ...args], {
    env: {
      PATH: process.env.PATH,
      PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}`,
      PORT: "0",
      ...variables,
    },
  });
  let output = "";
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      for (const listener of listeners) listener();
    });
  }
  const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
  children.push(() => {
    child.kill("SIGKILL");
    return exit;
  });
  return {
    exit,
    output: () => output,
    url: () =>
      new Promise<string>((resolve, reject) => {
        const look = () => {
          const found = /listens on (http:\/\/\S+)/.exec(output)?.[1];
          if (found !== undefined) resolve(found);
        };
        listeners.add(look);
        look();
        void exit.then((code) => reject(new Error(`it ended with ${code}: ${output}`)));
      }),
    signal: (name: NodeJS.Signals) => child.kill(name),
  };
}

async function post(url: string, body: unknown, token?: string): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
}

/** It listens before its database is open where that takes long. */
async function untilReady(url: string): Promise<void> {
  await expect.poll(async () => (await fetch(`${url}/readyz`)).status).toBe(200);
}

describe("paramedic start", () => {
  it("serves probes and API, lets loopback read, and only a token operate; SIGTERM ends it with 0", async () => {
    const backend = paramedic(["start"], { PARAMEDIC_OPERATOR_TOKEN: OPERATE });
    const url = await backend.url();
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    await untilReady(url);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("process_cpu_seconds_total");
    expect((await fetch(`${url}/metrics`, { headers: { "x-forwarded-for": "1.2.3.4" } })).status).toBe(401);
    expect((await fetch(`${url}/trpc/paramedic.failures.list`)).status).toBe(200);
    expect(
      (await fetch(`${url}/trpc/paramedic.failures.list`, { headers: { "x-forwarded-for": "1.2.3.4" } })).status,
    ).toBe(403);
    const resolve = { eventId: "no-such-event", reason: "test" };
    expect((await post(`${url}/trpc/paramedic.failures.resolve`, resolve)).status).toBe(403);
    expect((await post(`${url}/trpc/paramedic.failures.resolve`, resolve, OPERATE)).status).toBe(404);
    expect((await fetch(`${url}/trpc/paramedic.failures.resolve`)).status).toBe(405);
    expect((await fetch(`${url}/nothing`)).status).toBe(404);
    const audit = await (await fetch(`${url}/trpc/paramedic.audit.list`)).text();
    for (const outcome of ["refused", "requested", "failed"]) expect(audit).toContain(`"outcome":"${outcome}"`);
    expect(audit + backend.output()).not.toContain(OPERATE);
    expect(statSync(join(folder, "paramedic.db")).mode & 0o777).toBe(0o600);
    backend.signal("SIGTERM");
    expect(await backend.exit).toBe(0);
  });

  it("asks for the read token once one is set", async () => {
    const url = await paramedic(["start"], { PARAMEDIC_READ_TOKEN: READ }).url();
    await untilReady(url);
    const list = (headers: Record<string, string>) => fetch(`${url}/trpc/paramedic.failures.list`, { headers });
    expect((await list({})).status).toBe(403);
    expect((await list({ authorization: `Bearer ${READ}` })).status).toBe(200);
  });

  it.each([
    ["?input=notjson", 400],
    ['?input={"limit":-1}', 400],
    ['?input={"limit":"5"}', 400],
    ['?input={"unknown":1}', 400],
    ['?input={"cursor":"rubbish"}', 400],
    ['?input={"from":"yesterday"}', 400],
  ])("answers the input %s with %d and one clear error", async (query, status) => {
    const url = await paramedic(["start"]).url();
    await untilReady(url);
    const response = await fetch(`${url}/trpc/paramedic.failures.list${query}`);
    expect(response.status).toBe(status);
    expect(JSON.parse(await response.text()).error.message.length).toBeGreaterThan(5);
  });

  it("refuses bodies beyond 64 KiB", async () => {
    const url = await paramedic(["start"], { PARAMEDIC_OPERATOR_TOKEN: OPERATE }).url();
    const huge = { eventId: "x", reason: "y".repeat(70_000) };
    expect((await post(`${url}/trpc/paramedic.failures.resolve`, huge, OPERATE)).status).toBe(413);
  });

  it("shows nobody where in the code a call failed", async () => {
    const url = await paramedic(["start"]).url();
    const refused = await fetch(`${url}/trpc/paramedic.failures.list`, { headers: { via: "1.1 proxy" } });
    expect(refused.status).toBe(403);
    expect(await refused.text()).not.toContain("    at ");
  });

  it("answers probes while its database is locked, and opens it when the lock is gone", async () => {
    const lock = await lockDatabase(join(folder, "paramedic.db"));
    try {
      const url = await paramedic(["start"]).url();
      expect((await fetch(`${url}/livez`)).status).toBe(200);
      const status = async () => (await fetch(`${url}/trpc/paramedic.status`)).text();
      expect(await status()).toContain('"storeOpen":false');
      await lock.release();
      await expect.poll(status, { timeout: 10_000 }).toContain('"storeOpen":true');
    } finally {
      await lock.kill();
    }
  });

  it("refuses a database that a newer version has migrated, in one line", async () => {
    migrateSqlite(join(folder, "paramedic.db"));
    const newer = new Database(join(folder, "paramedic.db"));
    newer.exec("update paramedic_migrations set created_at = 9e12");
    newer.close();
    const backend = paramedic(["start"]);
    expect(await backend.exit).toBe(1);
    expect(backend.output()).toMatch(/^paramedic: .* newer schema .*$/m);
  });

  it("refuses to listen beyond loopback without tokens, in one line that names them", async () => {
    const backend = paramedic(["start"], { HOST: "0.0.0.0" });
    expect(await backend.exit).toBe(78);
    expect(backend.output().trim().split("\n")).toEqual([
      expect.stringContaining("set PARAMEDIC_READ_TOKEN and PARAMEDIC_OPERATOR_TOKEN"),
    ]);
  });

  it("says all that is wrong with its environment at once, and ends with 78", async () => {
    const backend = paramedic(["start"], { PORT: "http", METRICS_BATCH_SIZE: "0", PARAMEDIC_READ_TOKEN: "hunter2" });
    expect(await backend.exit).toBe(78);
    for (const name of ["PORT", "METRICS_BATCH_SIZE", "PARAMEDIC_READ_TOKEN"])
      expect(backend.output()).toContain(`${name}: got`);
    expect(backend.output()).not.toContain("hunter2");
    expect(backend.output()).not.toContain("    at ");
  });
});

describe("paramedic migrate", () => {
  it("brings the schema up to date, once, and says so", async () => {
    const first = paramedic(["migrate"]);
    expect(await first.exit).toBe(0);
    expect(first.output()).toMatch(/paramedic\.db: \d+ migration\(s\) applied/);
    const second = paramedic(["migrate"]);
    expect(await second.exit).toBe(0);
    expect(second.output()).toContain("up to date");
  });

  it("goes back to a version after a copy of the file, says where that is, and comes up again", async () => {
    const file = join(folder, "paramedic.db");
    migrateSqlite(file);
    const back = paramedic(["migrate", "--to", "1"]);
    expect(await back.exit).toBe(0);
    const [, undone, copy = ""] = /: (\d+) migration\(s\) undone; the copy is (\S+)$/.exec(back.output().trim()) ?? [];
    expect(Number(undone)).toBeGreaterThan(0);
    expect(statSync(copy).size).toBeGreaterThan(0);
    expect(migrateSqlite(file).applied).toBe(Number(undone));
    const further = paramedic(["migrate", "--to", "999"]);
    const odd = paramedic(["migrate", "--to", "yesterday"]);
    expect([await further.exit, await odd.exit]).toEqual([1, 78]);
    expect(further.output().trim().split("\n")).toHaveLength(1);
    expect(odd.output()).toContain("--to and a number, got --to yesterday");
  });

  it("ends with one line when the folder is missing, and names no command it does not know", async () => {
    const missing = paramedic(["migrate"], { PARAMEDIC_DATABASE_URL: `file:${join(folder, "no", "paramedic.db")}` });
    expect(await missing.exit).toBe(1);
    expect(missing.output().trim().split("\n")).toHaveLength(1);
    const unknown = paramedic(["heal"]);
    expect(await unknown.exit).toBe(78);
    expect(unknown.output()).toContain('no command "heal"');
  });
});
