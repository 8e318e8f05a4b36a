/** The composed whole around an app's database: what happens to it, and what is written down about it. */
import { initTRPC } from "@trpc/server";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import { runOn } from "../services/postgres-database.js";
import { type PostgresServer, startPostgres } from "../services/postgres-server.js";
import { pgUsers } from "../support/server-databases.js";

let server: PostgresServer;
let paramedic: Paramedic;
let pool: pg.Pool;

beforeAll(async () => {
  server = await startPostgres();
  await runOn(server.url, "create table users (id serial primary key, name text not null unique)");
});
afterAll(() => server.stop());
beforeEach(() => {
  const environment = readEnvironment({ METRICS_FLUSH_INTERVAL_MS: "50", CIRCUIT_BREAKER_FAILURE_THRESHOLD: "100" });
  const store = createMemoryStore({ clock: systemClock });
  paramedic = createParamedic({
    logger: false,
    redis: false,
    authorize: () => "operate",
    overrides: { environment, store },
  });
  pool = new pg.Pool({ connectionString: server.url, max: 3 });
  return async () => {
    await paramedic.shutdown();
    await pool.end();
  };
});

function appOf() {
  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const db = paramedic.guardDatabase("db:main", drizzle(pool, { schema: { users: pgUsers } }));
  const router = t.router({
    list: procedure.query(() => db.select().from(pgUsers)),
    add: procedure.input(String).mutation(({ input }) => db.insert(pgUsers).values({ name: input })),
    addTwo: procedure.input(String).mutation(({ input }) =>
      paramedic.transaction(db, async (tx) => {
        await tx.insert(pgUsers).values({ name: `${input} one` });
        await tx.insert(pgUsers).values({ name: `${input} two` });
      }),
    ),
    paramedic: paramedic.router,
  });
  const api = t.createCallerFactory(router)({});
  const rows = async () => (await api.paramedic.recoveries.list({ limit: 50 })).items;
  const databaseHealth = () => paramedic.health.latest().checks.find(({ name }) => name === "database");
  return { api, rows, databaseHealth };
}

it("reconnects after a restart, under a lease, and says that it worked only when a new connection has answered", async () => {
  const { api, rows } = appOf();
  await paramedic.ready;
  await api.add("ada");
  await server.kill();
  await api.list().catch(() => undefined);
  await server.restart();
  await expect
    .poll(async () => (await rows()).filter(({ actionStrategy }) => actionStrategy === "database_reconnect"), {
      timeout: 30_000,
    })
    .toMatchObject([
      { actionType: "reconnect", status: "succeeded", scope: "service", target: "db:main", triggeredBy: "engine" },
    ]);
  expect(await api.list()).toMatchObject([{ name: "ada" }]);
}, 60_000);

it("resets a circuit whose database answers past it, long before the circuit would have tried by itself", async () => {
  const { api, rows } = appOf();
  await paramedic.ready;
  await api.list();
  paramedic.circuits.get("db:main")?.forceOpen("repair");
  await expect(api.list()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
  await expect
    .poll(async () => (await rows()).filter(({ actionStrategy }) => actionStrategy === "circuit_reset"), {
      timeout: 15_000,
    })
    .toMatchObject([{ actionType: "reset", status: "succeeded", target: "db:main", result: { verified: true } }]);
  expect(paramedic.circuits.get("db:main")?.getState().state).toBe("closed");
  expect(await api.list()).not.toEqual([]);
});

it("keeps reading from a database that turned read-only, without opening its circuit, and tells everybody why", async () => {
  const { api, rows, databaseHealth } = appOf();
  await paramedic.ready;
  await api.add("grace");
  await expect.poll(() => databaseHealth()?.status).toBe("healthy");
  await runOn(server.url, "alter system set default_transaction_read_only = on");
  await runOn(server.url, "select pg_reload_conf()");
  await expect.poll(() => api.add("lost").catch((error: unknown) => error)).toBeInstanceOf(Error);
  // An answer that comes late is degraded too, for another reason.
  await expect
    .poll(databaseHealth)
    .toMatchObject({ status: "degraded", message: "takes no writes, because it is read-only; reads go on" });
  await expect(api.addTwo("refused")).rejects.toMatchObject({
    code: "SERVICE_UNAVAILABLE",
    message: expect.stringContaining("db:main takes no writes now"),
  });
  expect((await api.list()).map(({ name }) => name)).toContain("grace");
  expect(paramedic.circuits.get("db:main")?.getState().state).toBe("closed");
  const done = async () => (await rows()).filter(({ target }) => target === "db:main");
  await expect
    .poll(async () => new Set((await done()).map(({ actionStrategy }) => actionStrategy)))
    .toEqual(new Set(["statement_retry", "read_only_mode"]));

  await runOn(server.url, "alter system reset default_transaction_read_only");
  await runOn(server.url, "select pg_reload_conf()");
  await expect.poll(() => databaseHealth()?.status).toBe("healthy");
  await api.addTwo("back");
  expect((await api.list()).map(({ name }) => name)).toEqual(expect.arrayContaining(["back one", "back two"]));
}, 60_000);

it("leaves no value of a query in anything that it stores", async () => {
  const { api, rows } = appOf();
  await paramedic.ready;
  await api.add("s3cret-value");
  await expect(api.add("s3cret-value")).rejects.toThrow();
  const failed = api.addTwo("s3cret-value").catch(() => undefined);
  await runOn(
    server.url,
    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'",
  );
  await failed;
  await expect.poll(async () => (await api.paramedic.failures.list({ limit: 50 })).items.length).toBeGreaterThan(0);
  const stored = JSON.stringify([(await api.paramedic.failures.list({ limit: 50 })).items, await rows()]);
  expect(stored).not.toContain("s3cret-value");
});
