/**
 * Two minutes in which everything that an app stands on fails three times in ten, at random and all at once: each request to
 * its LLM providers, and the ways to its PostgreSQL and its Redis for three of ten seconds. What became of it is computed from
 * the rows that Paramedic wrote, and then held against what callers saw.
 *
 * Recoverable is a failed call that law 17 leaves another way: the same target once more, another one, or an answer known
 * from before. That is every failed `ask`, `users` and `session`. `save` has one database and no other way; while that is
 * away nobody can recover it, so of a save it is asked that it happened once, or not at all and was refused.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import { createFixtureProvider, type FixtureProvider } from "../../server/testing.js";
import { runOn } from "../services/postgres-database.js";
import { type PostgresServer, startPostgres } from "../services/postgres-server.js";
import { type RedisServer, startRedis } from "../services/redis-server.js";
import { seededFaults } from "../support/seeded-faults.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";
import { type App, PROVIDERS, startApp } from "./chaos/app.js";
import { planOutages, playOutages, shareOf } from "./chaos/outages.js";
import { meanRecoveryMs, openRows, readRows, refusedCallers, repairsOf, rescuedCallers } from "./chaos/rows.js";
import { askEvenly, failedOf } from "./traffic.js";

const SECONDS = Number(process.env.CHAOS_SECONDS ?? 120);
const SEED = Number(process.env.CHAOS_SEED ?? 2026);
const FAULTY_SHARE = 0.3;
const CALM_SECONDS = 10;
const PER_SECOND = { ask: 16, users: 10, session: 8, save: 6 } as const;
const RECOVERABLE = ["ask", "users", "session"] as const;

const [GOAL, REQUIRED] = [0.95, 0.8];
const DETECTED_WITHIN_MS = 5_000;
/** The default retry budget of each service: so many a window at least, and one in ten of its calls. */
const budgetOf = (calls: number) => 10 + (10 * SECONDS) / 10 + 0.1 * calls;
/** Repairs of one service in ten minutes, of which the run is a part. */
const MOST_REPAIRS = 5;
/** A storm is a row with a count: their number follows from the kinds of trouble, not from how often it was met. */
const MOST_ROWS = 600;

const folder = mkdtempSync(join(tmpdir(), "paramedic-chaos-"));
let providers: readonly FixtureProvider[] = [];
let database: { readonly server: PostgresServer; readonly proxy: TcpProxy };
let redis: { readonly server: RedisServer; readonly proxy: TcpProxy };
let paramedic: Paramedic;
let app: App;

beforeAll(async () => {
  const [postgresServer, redisServer] = await Promise.all([startPostgres(), startRedis()]);
  await runOn(postgresServer.url, "create table users (id serial primary key, name text not null)");
  database = { server: postgresServer, proxy: await startTcpProxy(postgresServer) };
  redis = { server: redisServer, proxy: await startTcpProxy(redisServer) };
  providers = await Promise.all(PROVIDERS.map(() => createFixtureProvider()));
  const databaseUrl = new URL(postgresServer.url);
  databaseUrl.port = String(database.proxy.port);
  const redisUrl = `redis://127.0.0.1:${redis.proxy.port}`;
  paramedic = createParamedic({
    logger: false,
    authorize: () => "read",
    mode: "full",
    // Outages are seconds long here, and what follows them is to be seen within the run.
    resolveAfterMs: 3_000,
    resetTimeoutMs: 2_000,
    overrides: {
      environment: readEnvironment({
        PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}`,
        PARAMEDIC_REDIS_URL: redisUrl,
      }),
    },
  });
  await paramedic.ready;
  app = startApp(paramedic, { providers, databaseUrl: databaseUrl.href, redisUrl });
});
afterAll(async () => {
  await app?.close();
  await paramedic?.shutdown();
  await Promise.all([database?.proxy.close(), redis?.proxy.close(), ...providers.map((provider) => provider.close())]);
  await Promise.all([database?.server.stop(), redis?.server.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** When health was anything but healthy, in samples. */
function watchHealth() {
  const illAt: number[] = [];
  const timer = setInterval(() => {
    if (paramedic.health.latest().overall !== "healthy") illAt.push(Date.now());
  }, 100);
  return { illAt, stop: () => clearInterval(timer) };
}

/** One after the other: what is compiled at its first use takes longer than one attempt may. */
async function warmUp(): Promise<void> {
  const { api } = app;
  for (let call = 1; call <= 5; call += 1) {
    await api.ask(-call).catch(() => undefined);
    await api.users().catch(() => undefined);
    await api.session().catch(() => undefined);
    await api.save(`early user ${call}`).catch(() => undefined);
  }
}

const illChecks = () =>
  paramedic.health
    .latest()
    .checks.filter(({ status }) => status !== "healthy")
    .map(({ name, message }) => `${name}: ${message}`);

async function trafficOf(seconds: number, from: number) {
  const { api } = app;
  const askers = {
    ask: (number: number) => api.ask(from + number),
    users: () => api.users(),
    session: () => api.session(),
    save: (number: number) => api.save(`user ${from + number}`),
  };
  const [ask, users, session, save] = await Promise.all(
    (["ask", "users", "session", "save"] as const).map((name) =>
      askEvenly(askers[name], { perSecond: PER_SECOND[name], seconds }),
    ),
  );
  return { ask: ask ?? [], users: users ?? [], session: session ?? [], save: save ?? [] };
}

it("recovers at least 80 % of what can be recovered, without a storm, and leaves nothing open behind", {
  timeout: (SECONDS + 120) * 1_000,
}, async () => {
  const totalMs = SECONDS * 1_000;
  await warmUp();
  await expect.poll(illChecks, { timeout: 30_000 }).toEqual([]);
  const before = { ...app.asked, requests: providers.map(({ requests }) => requests.length) };
  const plans = { database: planOutages(SEED, totalMs), redis: planOutages(SEED + 1, totalMs) };
  for (const [index, provider] of providers.entries()) provider.decides(seededFaults(SEED + index, FAULTY_SHARE));
  const health = watchHealth();
  const [calls] = await Promise.all([
    trafficOf(SECONDS, 0),
    playOutages(database.proxy, plans.database),
    playOutages(redis.proxy, plans.redis),
  ]);
  const after = { ...app.asked };
  for (const provider of providers) provider.behaves({ kind: "answer" });
  await trafficOf(CALM_SECONDS, 1_000_000);
  await expect.poll(illChecks, { timeout: 30_000 }).toEqual([]);
  health.stop();
  await expect.poll(async () => openRows(await readRows(paramedic.store)), { timeout: 30_000 }).toEqual([]);

  const rows = await readRows(paramedic.store);
  const rescued = rescuedCallers(rows);
  const refused = RECOVERABLE.reduce((sum, name) => sum + refusedCallers(rows, name), 0);
  const recovered = rescued / (rescued + refused);
  const repairs = repairsOf(rows);
  const noticed = rows.failures.filter(({ affectedService }) => affectedService.startsWith("trpc."));
  const detectedAfterMs = noticed.map(
    ({ timestamp }) => (health.illAt.find((at) => at >= timestamp) ?? Number.POSITIVE_INFINITY) - timestamp,
  );
  const extra = providers.map(({ requests }, index) => {
    const asked = requests.slice(before.requests[index]).map(({ body }) => JSON.stringify(body.messages));
    return { all: asked.length, extra: asked.length - new Set(asked).size };
  });
  const accounts = await paramedic.metrics.accounting();
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  console.info(
    [
      `chaos of ${SECONDS} s: database away ${percent(shareOf(plans.database, totalMs))} of it in ` +
        `${plans.database.length} outages, Redis ${percent(shareOf(plans.redis, totalMs))} in ${plans.redis.length}`,
      `recovered ${percent(recovered)} (goal ${percent(GOAL)}): ${rescued} callers rescued, ${refused} refused`,
      ...Object.entries(calls).map(
        ([name, asked]) => `  ${name}: ${failedOf(asked).length} of ${asked.length} callers got an error`,
      ),
      `degradation seen at most ${Math.max(0, ...detectedAfterMs)} ms after a failure that users noticed`,
      ...[...meanRecoveryMs(rows)].map(([service, ms]) => `  MTTR of ${service}: ${(ms / 1_000).toFixed(1)} s`),
      ...[...repairs].map(
        ([service, of]) =>
          `  repairs of ${service}: ${of.map((row) => `${row.actionStrategy} ${row.status}`).join(", ")}`,
      ),
      ...extra.map((one, index) => `  ${PROVIDERS[index]}: ${one.extra} extra requests of ${one.all}`),
      `${rows.failures.length} failure rows, ${rows.actions.length} action rows, ${rows.incidents.length} incidents; ` +
        `${accounts.recorded} points recorded, ${accounts.lost} lost`,
    ].join("\n"),
  );

  expect(recovered).toBeGreaterThanOrEqual(REQUIRED);
  for (const name of Object.keys(PER_SECOND) as (keyof typeof PER_SECOND)[]) {
    expect(refusedCallers(rows, name), `rows of refused callers of ${name}`).toBe(failedOf(calls[name]).length);
  }
  expect(rescued).toBeGreaterThan(calls.ask.length / 10);
  expect(Math.max(0, ...detectedAfterMs)).toBeLessThanOrEqual(DETECTED_WITHIN_MS);

  for (const one of extra) expect(one.extra).toBeLessThanOrEqual(budgetOf(one.all));
  expect(after["db:main"] - before["db:main"]).toBeLessThanOrEqual(calls.users.length + budgetOf(calls.users.length));
  expect(after["redis:cache"] - before["redis:cache"]).toBeLessThanOrEqual(
    calls.session.length + budgetOf(calls.session.length),
  );
  for (const [service, of] of repairs) expect(of.length, `repairs of ${service}`).toBeLessThanOrEqual(MOST_REPAIRS);
  expect(rows.failures.length + rows.actions.length).toBeLessThanOrEqual(MOST_ROWS);
  expect([...repairs.values()].flat().some(({ status }) => status === "succeeded")).toBe(true);

  const saved = (await runOn(database.server.url, "select name from users")).map(({ name }) => String(name));
  expect(new Set(saved).size, "nothing is saved twice").toBe(saved.length);
  const acknowledged = calls.save.filter(({ error }) => error === undefined).map(({ number }) => `user ${number}`);
  expect(saved).toEqual(expect.arrayContaining(acknowledged));

  expect(accounts).toMatchObject({ lost: 0, inFlight: expect.any(Number) });
  await expect
    .poll(async () => {
      const { recorded, rolledUp, dropped, lost } = await paramedic.metrics.accounting();
      return recorded - rolledUp - lost - Object.values(dropped).reduce((sum, count) => sum + count, 0);
    })
    .toBeLessThan(accounts.recorded / 100);
});
