import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getTableColumns, getTableName, is, sql } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { drizzle } from "drizzle-orm/node-postgres";
import { PgTable } from "drizzle-orm/pg-core";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as relations from "../../../drizzle/postgres/relations.js";
import * as schema from "../../../drizzle/postgres/self-healing-schema.js";
import { findMigrationsFolder } from "../../../server/adapters/migrations-folder.js";
import { migratePostgres } from "../../../server/adapters/postgres/migrate.js";
import { drizzleOf } from "../../../server/adapters/postgres/postgres-connection.js";
import { createPostgresStore } from "../../../server/adapters/postgres/postgres-store.js";
import { rangeQuery } from "../../../server/adapters/postgres/rollup-queries.js";
import { systemClock } from "../../../server/ports/clock.js";
import {
  batchOf,
  circuitOf,
  durations,
  rescueOf,
  START,
  sightingOf,
  summaryOf,
  transitionOf,
} from "../../conformance/store-fixtures.js";
import { createTestDatabase, type TestDatabase } from "../../services/postgres-database.js";
import { type PostgresServer, startPostgres } from "../../services/postgres-server.js";

const SHIPPED = readMigrationFiles({ migrationsFolder: findMigrationsFolder("postgres") }).length;

describe("the PostgreSQL schema", () => {
  let server: PostgresServer;
  let database: TestDatabase;
  let folder: string;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "paramedic-migrations-"));
    database = await createTestDatabase(server);
  });
  afterEach(async () => {
    rmSync(folder, { recursive: true, force: true });
    await database.remove();
  });

  /** A folder as the next version of the package will have it: one migration more. */
  const nextVersion = (statements: string): string => {
    const next = join(folder, "next");
    cpSync(findMigrationsFolder("postgres"), next, { recursive: true });
    const journalPath = join(next, "meta", "_journal.json");
    const journal = JSON.parse(readFileSync(journalPath, "utf8"));
    const last = journal.entries.at(-1);
    journal.entries.push({ ...last, idx: last.idx + 1, when: last.when + 1, tag: "9999_next" });
    writeFileSync(journalPath, JSON.stringify(journal));
    writeFileSync(join(next, "9999_next.sql"), statements);
    return next;
  };

  const withDrizzle = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  };

  const withStore = async (work: (store: ReturnType<typeof createPostgresStore>) => Promise<unknown>) => {
    const store = createPostgresStore({ clock: systemClock }, { url: database.url });
    await store.open();
    await work(store);
    await store.close();
  };

  it("has every table with every column, once, however often it is migrated", async () => {
    expect(await migratePostgres(database.url)).toEqual({ applied: SHIPPED });
    expect(await migratePostgres(database.url)).toEqual({ applied: 0 });
    const columns = await database.run(
      "select table_name, array_agg(column_name::text order by ordinal_position) as names from information_schema.columns where table_schema = 'public' group by table_name",
    );
    const named = new Map(columns.map(({ table_name, names }) => [table_name, names]));
    for (const table of Object.values(schema)) {
      if (!is(table, PgTable)) continue;
      const expected = Object.values(getTableColumns(table)).map(({ name }) => name);
      expect(named.get(getTableName(table)), getTableName(table)).toEqual(expected);
    }
  });

  it("is made once by ten that begin together", async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => migratePostgres(database.url)));
    expect(all.map(({ applied }) => applied).toSorted()).toEqual([...Array.from({ length: 9 }, () => 0), SHIPPED]);
  });

  it("stands beside a host app's tables and Drizzle migrations, in the schema of its search_path", async () => {
    await database.run(
      "create schema drizzle; create table drizzle.__drizzle_migrations (id int); create table users (id int); create schema ours",
    );
    const url = new URL(database.url);
    url.searchParams.set("options", "-c search_path=ours");
    expect(await migratePostgres(url.href)).toEqual({ applied: SHIPPED });
    const places = await database.run(
      "select distinct table_schema as place from information_schema.tables where table_name like 'paramedic%' or table_name = 'system_health_metrics'",
    );
    expect(places).toEqual([{ place: "ours" }]);
    expect(await migratePostgres(database.url)).toEqual({ applied: SHIPPED });
    expect(await database.run("select * from drizzle.__drizzle_migrations")).toEqual([]);
  });

  it("is changed wholly or not at all, and can be tried again", async () => {
    const broken = nextVersion("create table paramedic_next (id integer);\n--> statement-breakpoint\nnot sql at all");
    await expect(migratePostgres(database.url, { migrationsFolder: broken })).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
    });
    expect(await database.run("select 1 from information_schema.tables where table_schema = 'public'")).toEqual([]);
    expect(await migratePostgres(database.url)).toEqual({ applied: SHIPPED });
  });

  it("that is newer is refused in one line", async () => {
    await migratePostgres(database.url, { migrationsFolder: nextVersion("create table paramedic_next (id integer)") });
    const error: unknown = await migratePostgres(database.url).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "STORE_SCHEMA_NEWER" });
    expect(String(error)).not.toContain("\n");
    const store = createPostgresStore({ clock: systemClock }, { url: database.url });
    await expect(store.open()).rejects.toMatchObject({ code: "STORE_SCHEMA_NEWER" });
    await store.close();
  });

  it("is found by what ships, and not taken from a host app", () => {
    const host = join(folder, "drizzle", "postgres", "migrations", "meta");
    mkdirSync(host, { recursive: true });
    writeFileSync(join(host, "_journal.json"), JSON.stringify({ entries: [{ idx: 0, tag: "0000_host" }] }));
    expect(() => findMigrationsFolder("postgres", join(folder, "bundle", "server.js"))).toThrow(
      expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
    );
  });

  it("carries the view of metrics: mean of a histogram, sum of a counter, last of a gauge", async () => {
    const kinds = ["histogram", "counter", "gauge"] as const;
    await withStore((store) =>
      store.commitBatch({
        ...batchOf(),
        series: kinds.map((kind) => ({ ...durations, metricName: kind, kind, ...summaryOf([1, 2, 6]) })),
      }),
    );
    const rows = await withDrizzle((client) =>
      drizzle(client).select().from(schema.systemHealthMetrics).orderBy(schema.systemHealthMetrics.id),
    );
    expect(Object.fromEntries(rows.map(({ metricName, value }) => [metricName, value]))).toEqual({
      histogram: 3,
      counter: 9,
      gauge: 6,
    });
    expect(rows[0]).toMatchObject({ timestamp: START, tags: durations.tags, source: durations.source, count: 3 });
  });

  it("fits the relations: a failure is read with its recovery actions and transitions in one query", async () => {
    const sighting = sightingOf();
    const { eventId } = sighting.failure;
    await withStore(async (store) => {
      await store.recordFailures([sighting]);
      await store.recordRescues([rescueOf(eventId)]);
      await store.commitTransition(circuitOf({ version: 1 }), transitionOf({ failureEventId: eventId }));
    });
    const found = await withDrizzle((client) =>
      drizzle(client, { schema: { ...schema, ...relations } }).query.failureEvents.findMany({
        with: { recoveryActions: true, transitions: { with: { circuit: true } } },
      }),
    );
    expect(found).toMatchObject([
      { eventId, recoveryActions: [{ status: "succeeded" }], transitions: [{ circuit: { version: 1 } }] },
    ]);
  });

  it("lets a range read touch only the keys of its series", async () => {
    await migratePostgres(database.url);
    await database.run(`
      insert into paramedic_series (metric_type, metric_name, kind, unit, source, tags, created_at)
        select 'operation', 'm' || n, 'histogram', 'ms', 's', '{}', 0 from generate_series(1, 100) n;
      insert into paramedic_rollups (series_id, resolution_ms, bucket, count, sum, min, max, last, last_at, buckets)
        select s.id, 10000, n * 10000, 1, 1, 1, 1, 1, 0, '' from paramedic_series s, generate_series(1, 1000) n;
      analyze`);
    const plan = await withDrizzle(async (client) => {
      const db = drizzleOf(client);
      const query = rangeQuery(db, { seriesIds: [7], from: 5_000_000, to: 6_000_000, mostBuckets: 1_000 });
      const { rows } = await db.execute(sql`explain (analyze, buffers, format json) ${query}`);
      return JSON.stringify(rows);
    });
    expect(plan).toContain('"Index Name":"paramedic_rollups_series_id_resolution_ms_bucket_pk"');
    expect(plan).not.toMatch(/"Node Type":"Seq Scan"[^{}]*"Relation Name":"paramedic_rollups"/);
    expect(plan).toMatch(/"Actual Rows":100\b/);
    expect(plan).not.toMatch(/"Rows Removed by (Filter|Index Recheck)":[1-9]\d{2,}/);
  });
});
