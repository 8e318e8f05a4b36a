import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, expect, inject, it } from "vitest";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { createRedisStream } from "../../server/adapters/redis-stream.js";
import { createAggregator } from "../../server/metrics/aggregator.js";
import { storeTargetOf } from "../../server/options.js";
import { systemClock as clock } from "../../server/ports/clock.js";
import { silentLogger } from "../../server/ports/logger.js";
import { createStore } from "../../server/store-target.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { ownKey } from "../services/own-key.js";
import { createTestDatabase } from "../services/postgres-database.js";
import { startPostgres } from "../services/postgres-server.js";
import { batchOf } from "../support/batches.js";
import { startChild } from "../support/child-process.js";
import { bundleScripts, type ScriptBundle } from "../support/script-bundle.js";
import { KILL_POINTS, type KillPoint, type KillTask } from "./kill-points.child.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const BATCHES = 5;

let bundle: ScriptBundle<"kill-points.child">;
beforeAll(async () => {
  bundle = await bundleScripts({ "kill-points.child": "test/metrics/kill-points.child.ts" });
});
afterAll(() => bundle?.remove());

/** What the ledger says once a second aggregator has taken over from one that died at this point. */
async function afterKillAt(point: KillPoint, database: string) {
  const streamKey = ownKey("kill-points");
  const redisUrl = inject("redisUrl");
  const redis = connectRedis(redisUrl, { clock, random: Math.random });
  const stream = createRedisStream({ redis, clock }, { key: streamKey, consumer: "heir", claimAfterMs: 200 });
  cleanups.push(async () => {
    await redis.command("remove the stream", "DEL", streamKey);
    await redis.close();
  });
  for (let seq = 1; seq <= BATCHES; seq += 1) await stream.append(batchOf(seq, { values: [1, 2, 3] }));
  const task: KillTask = { point, redisUrl, streamKey };
  const child = startChild(pathToFileURL(bundle.fileOf("kill-points.child")), JSON.stringify(task), database);
  expect(await child.ended, `the signal at ${point}`).toBe(null);
  expect(child.process.signalCode).toBe("SIGKILL");

  const store = createStore({ clock, logger: silentLogger, onFault: () => undefined }, storeTargetOf(database));
  await store.open();
  cleanups.push(() => store.close());
  const aggregator = createAggregator({ clock, stream, store });
  await expect
    .poll(
      async () => {
        await aggregator.drain({ deadlineMs: 5_000 });
        return stream.backlog();
      },
      { timeout: 60_000 },
    )
    .toBe(0);
  const [{ recorded, rolledUp, batches } = { recorded: 0, rolledUp: 0, batches: 0 }] = await store.ledger();
  const { duplicates } = aggregator.stats();
  return { point, recorded, rolledUp, batches, duplicates };
}

const whole = { recorded: BATCHES * 3, rolledUp: BATCHES * 3, batches: BATCHES };

it("I8: a kill at any point between reading and acknowledging loses nothing and counts nothing twice, on SQLite", async () => {
  const { folder, remove } = createTempFolder();
  cleanups.push(remove);
  const found = await Promise.all(
    KILL_POINTS.map((point) => afterKillAt(point, `file:${join(folder, `${point}.db`)}`)),
  );
  for (const one of found) expect(one).toMatchObject(whole);
  const duplicatesAt = Object.fromEntries(found.map(({ point, duplicates }) => [point, duplicates]));
  expect(duplicatesAt).toMatchObject({ read: 0, committed: 1, acknowledged: 0 });
}, 150_000);

it("I8: a kill at any point between reading and acknowledging loses nothing and counts nothing twice, on PostgreSQL", async () => {
  const server = await startPostgres();
  cleanups.push(() => server.stop());
  const found = await Promise.all(
    KILL_POINTS.map(async (point) => {
      const database = await createTestDatabase(server);
      return afterKillAt(point, database.url);
    }),
  );
  for (const one of found) expect(one).toMatchObject(whole);
  const duplicatesAt = Object.fromEntries(found.map(({ point, duplicates }) => [point, duplicates]));
  expect(duplicatesAt).toMatchObject({ read: 0, committed: 1, acknowledged: 0 });
}, 150_000);
