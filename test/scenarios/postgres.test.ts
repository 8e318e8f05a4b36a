/** The composed whole on PostgreSQL: what it writes down, over a restart, over instances, and while its database is away. */
import { initTRPC } from "@trpc/server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import { createTestDatabase, type TestDatabase } from "../services/postgres-database.js";
import { type PostgresServer, startPostgres } from "../services/postgres-server.js";

let server: PostgresServer;
let database: TestDatabase;
const running: Paramedic[] = [];

beforeEach(async () => {
  server = await startPostgres();
  database = await createTestDatabase(server);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((paramedic) => paramedic.shutdown()));
  await server.stop();
});

function start(variables: Record<string, string> = {}): Paramedic {
  const environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: database.url,
    METRICS_FLUSH_INTERVAL_MS: "50",
    RECOVERY_RETRY_BASE_DELAY_MS: "1",
    RECOVERY_RETRY_MAX_DELAY_MS: "5",
    ...variables,
  });
  const paramedic = createParamedic({ logger: false, authorize: () => "operate", overrides: { environment } });
  running.push(paramedic);
  return paramedic;
}

function appOf(paramedic: Paramedic) {
  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const weather = paramedic.guard("http:weather", { failureThreshold: 2 });
  let attempts = 0;
  const router = t.router({
    good: procedure.query(() => "good"),
    broken: procedure.query(() => {
      throw new Error("broken \0 in the middle \ud800");
    }),
    weather: procedure.query(() =>
      weather.execute(() => {
        attempts += 1;
        return Promise.reject(Object.assign(new Error("503"), { status: 503 }));
      }),
    ),
    paramedic: paramedic.router,
  });
  return { api: t.createCallerFactory(router)({}), attempts: () => attempts };
}

const services = async ({ api }: ReturnType<typeof appOf>) =>
  (await api.paramedic.failures.list()).items
    // What a busy machine does to this process is a failure too.
    .filter(({ detectionMethod }) => detectionMethod !== "health_check")
    .map(({ affectedService }) => affectedService)
    .toSorted();

describe("a Paramedic on PostgreSQL", () => {
  it("stores every call, every failure and what was done about it, closes the books and keeps circuits over a restart", async () => {
    const paramedic = start();
    const app = appOf(paramedic);
    const { api } = app;
    expect(await paramedic.ready).toEqual({ store: "open" });
    for (let i = 0; i < 20; i += 1) await api.good();
    await expect(api.broken()).rejects.toThrow("broken");
    await expect(api.weather()).rejects.toThrow();
    await expect.poll(() => services(app)).toEqual(["http:weather", "trpc.broken", "trpc.weather"]);
    await expect
      .poll(async () =>
        (await api.paramedic.recoveries.list()).items.map(({ actionStrategy, status }) => [actionStrategy, status]),
      )
      .toEqual(
        expect.arrayContaining([
          ["exponential_backoff_retry", "failed"],
          ["circuit_break", "succeeded"],
          ["none", "skipped"],
        ]),
      );
    await expect.poll(() => api.paramedic.metrics.accounting()).toMatchObject({ lost: 0, inFlight: 0, dropped: {} });
    await paramedic.shutdown();

    const [metric] = await database.run(
      "select sum(count)::int as calls from system_health_metrics where metric_name = 'trpc.good.duration'",
    );
    expect(metric).toEqual({ calls: 20 });

    const second = start();
    const { api: again, attempts } = appOf(second);
    expect(await second.ready).toEqual({ store: "open" });
    // Calls wait a second for the stored circuits; a busy machine may need longer to start than that.
    await expect.poll(() => second.circuits.get("http:weather")?.getState().state).toBe("open");
    await expect(again.weather()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE", circuitName: "http:weather" });
    expect(attempts()).toBe(0);
  });

  it("answers calls and loses no count while the server is killed and comes back", async () => {
    const paramedic = start();
    const app = appOf(paramedic);
    await paramedic.ready;
    await app.api.good();
    await expect.poll(() => app.api.paramedic.metrics.accounting()).toMatchObject({ inFlight: 0, lost: 0 });
    await server.kill();
    for (let i = 0; i < 50; i += 1) expect(await app.api.good()).toBe("good");
    await expect(app.api.broken()).rejects.toThrow("broken");
    await server.restart();
    await expect.poll(() => services(app), { timeout: 40_000 }).toEqual(["trpc.broken"]);
    await expect
      .poll(() => app.api.paramedic.metrics.accounting(), { timeout: 40_000 })
      .toMatchObject({ lost: 0, inFlight: 0, dropped: {} });
    await paramedic.shutdown();
    const [metric] = await database.run(
      "select sum(count)::int as calls from system_health_metrics where metric_name = 'trpc.good.duration'",
    );
    expect(metric).toEqual({ calls: 51 });
  }, 120_000);

  it("lets two instances fold into the same tables, each with its own books", async () => {
    const instances = [start({ PARAMEDIC_INSTANCE: "a" }), start({ PARAMEDIC_INSTANCE: "b" })];
    await Promise.all(instances.map(({ ready }) => ready));
    const apps = instances.map(appOf);
    await Promise.all(apps.flatMap(({ api }) => Array.from({ length: 40 }, () => api.good())));
    await Promise.all(instances.map((paramedic) => paramedic.shutdown()));
    const books = await database.run(
      "select instance, (recorded - points)::int as missing from paramedic_ingest_boots order by instance",
    );
    expect(books).toEqual([
      { instance: "a", missing: 0 },
      { instance: "b", missing: 0 },
    ]);
    const [metric] = await database.run(
      "select sum(count)::int as calls from system_health_metrics where metric_name = 'trpc.good.duration'",
    );
    expect(metric).toEqual({ calls: 80 });
  });
});
