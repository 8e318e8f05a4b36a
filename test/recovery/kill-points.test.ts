/**
 * kill -9 between any two writes of the engine: one instance dies at each of its steps in turn while another lives through the
 * same failures on the same database, and later takes over.
 */
import { appendFileSync, copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { storeTargetOf } from "../../server/options.js";
import { silentLogger } from "../../server/ports/logger.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { createStore } from "../../server/store-target.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { createTestDatabase, runOn } from "../services/postgres-database.js";
import { startPostgres } from "../services/postgres-server.js";
import { startChild } from "../support/child-process.js";
import { bundleScripts, type ScriptBundle } from "../support/script-bundle.js";
import { createShiftedClock } from "../support/shifted-clock.js";
import { type KillTask, killFailure, killStrategies, liveThrough } from "./kill-points.child.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let bundle: ScriptBundle<"kill-points.child">;
beforeAll(async () => {
  bundle = await bundleScripts({ "kill-points.child": "test/recovery/kill-points.child.ts" });
});
afterAll(() => bundle?.remove());

const { folder, remove } = createTempFolder();
afterAll(remove);

type Kill = Pick<KillTask, "at" | "moment">;

const childOf = (kill: Kill, effects: string, database: string) =>
  startChild(
    pathToFileURL(bundle.fileOf("kill-points.child")),
    JSON.stringify({ instance: "doomed", effects, ...kill } satisfies KillTask),
    database,
  );

/** How many steps a life has that nobody ends. */
async function stepsOf(database: string): Promise<number> {
  const child = childOf({ at: 0, moment: "before" }, join(folder, "unharmed.effects"), database);
  const steps = Number(await child.nextLine());
  await child.ended;
  return steps;
}

const runs: string[] = [];

/** One instance dies, the other one lives; then all leases lapse, and the failures come back. */
async function afterKillAt(kill: Kill, database: string, alone: boolean) {
  const effects = join(folder, `${runs.push(kill.moment)}.effects`);
  const clock = createShiftedClock();
  const store = createStore({ clock, logger: silentLogger, onFault: () => undefined }, storeTargetOf(database));
  await store.open();
  const peer = new RecoveryEngine(
    { clock, store, instance: "peer" },
    { drainIntervalMs: 50, approvalTimeoutMs: 60_000 },
  );
  for (const strategy of killStrategies((name, eventId) => appendFileSync(effects, `${name} ${eventId}\n`))) {
    peer.registerStrategy(strategy);
  }
  const child = childOf(kill, effects, database);
  if (!alone) await liveThrough(peer, store, "peer");
  await child.ended;

  clock.shift(20 * 60_000);
  for (const [service, type] of [
    ["llm:a", "service_unavailable"],
    ["llm:b", "dns_error"],
  ] as const) {
    const failure = { ...killFailure(service, type, "later"), timestamp: clock.now() };
    peer.journal.append({ type: "failure.observed", failure, rescued: false });
  }
  await peer.drainOnce();
  await peer.stop();
  const { items: rows } = await store.listRecoveries({ limit: 200 });
  const events = await Promise.all(rows.map(({ failureEventId }) => store.getFailure(failureEventId)));
  await store.close();
  const lines = existsSync(effects) ? readFileSync(effects, "utf8").trim().split("\n") : [];
  return {
    rows,
    events,
    effects: lines.filter((line) => !line.startsWith("undo ") && line !== ""),
    killed: child.process.signalCode,
  };
}

function holds(kill: Kill, { rows, events, effects }: Awaited<ReturnType<typeof afterKillAt>>): void {
  const where = JSON.stringify(kill);
  // Law 20, R1: nothing is left open, and each action belongs to a failure that exists.
  const open = rows.filter(({ status }) => ["in_progress", "initiated", "pending_approval"].includes(status));
  expect(open, where).toEqual([]);
  expect(
    events.filter((event) => event === undefined),
    where,
  ).toEqual([]);
  // Law 18, R2: an effect has a lease of its own.
  const count = (items: readonly string[]) =>
    items.reduce((counts, item) => counts.set(item, (counts.get(item) ?? 0) + 1), new Map<string, number>());
  const leases = count(
    rows
      .filter(({ leaseUntil, status }) => leaseUntil !== undefined && status !== "cancelled" && status !== "expired")
      .map(({ actionStrategy, failureEventId }) => `${actionStrategy} ${failureEventId}`),
  );
  for (const [effect, times] of count(effects))
    expect(times, `${where}: ${effect}`).toBeLessThanOrEqual(leases.get(effect) ?? 0);
  // Law 16: success is written after the proof alone.
  for (const row of rows) {
    if (row.actionStrategy === "mends" && row.status === "succeeded")
      expect(row.result, where).toMatchObject({ verified: true });
    if (row.actionStrategy === "doubtful") expect(["rolled_back", "abandoned"], where).toContain(row.status);
  }
  // The survivor mended what came back.
  expect(
    rows.filter(({ actionStrategy, status }) => actionStrategy === "mends" && status === "succeeded").length,
    where,
  ).toBeGreaterThan(0);
}

async function atEveryStep(databaseOf: (name: string) => Promise<string>): Promise<void> {
  const steps = await stepsOf(await databaseOf("unharmed"));
  expect(steps).toBeGreaterThan(20);
  // After one step is before the next.
  const kills: Kill[] = [{ at: steps, moment: "after" }];
  for (let at = 1; at <= steps; at += 1) {
    for (const moment of ["before", "under_way"] as const) kills.push({ at, moment });
  }
  let killed = 0;
  const next = async (): Promise<void> => {
    for (let kill = kills.shift(); kill !== undefined; kill = kills.shift()) {
      const found = await afterKillAt(kill, await databaseOf(`${kill.at}-${kill.moment}`), kill.at % 2 === 0);
      if (found.killed === "SIGKILL") killed += 1;
      holds(kill, found);
    }
  };
  await Promise.all([next(), next(), next()]);
  // Where the other instance was faster there is less to do, and the last steps are not reached.
  expect(killed).toBeGreaterThan(steps / 2);
}

/** Migrating takes longer than all that a life does. */
async function migrate(database: string): Promise<void> {
  const store = createStore(
    { clock: createShiftedClock(), logger: silentLogger, onFault: () => undefined },
    storeTargetOf(database),
  );
  await store.open();
  await store.close();
}

it("R1 R2: laws 16 to 20 hold after a kill at any step of one of two instances, on SQLite", async () => {
  const template = join(folder, "template.db");
  await migrate(`file:${template}`);
  await atEveryStep(async (name) => {
    const path = join(folder, `${name}.db`);
    copyFileSync(template, path);
    return `file:${path}`;
  });
}, 600_000);

it("R1 R2: laws 16 to 20 hold after a kill at any step of one of two instances, on PostgreSQL", async () => {
  const server = await startPostgres();
  cleanups.push(() => server.stop());
  const template = await createTestDatabase(server);
  await migrate(template.url);
  const templateName = new URL(template.url).pathname.slice(1);
  let made = 0;
  await atEveryStep(async () => {
    made += 1;
    // Several are made at a time.
    const name = `kill_${made}`;
    await runOn(server.url, `create database ${name} template ${templateName}`);
    const address = new URL(server.url);
    address.pathname = `/${name}`;
    return address.href;
  });
}, 600_000);
