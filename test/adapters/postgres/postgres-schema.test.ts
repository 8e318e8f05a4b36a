import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getTableColumns, getTableName, is } from "drizzle-orm";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { drizzle } from "drizzle-orm/node-postgres";
import { PgTable } from "drizzle-orm/pg-core";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as relations from "../../../drizzle/postgres/relations.js";
import * as schema from "../../../drizzle/postgres/self-healing-schema.js";
import { findMigrationsFolder } from "../../../server/adapters/migrations-folder.js";
import { migratePostgres } from "../../../server/adapters/postgres/migrate.js";
import { migratePostgresBack } from "../../../server/adapters/postgres/migrate-back.js";
import { createPostgresStore } from "../../../server/adapters/postgres/postgres-store.js";
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

/** As many as ship with the package. */
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

  it("goes back and up again, after a copy beside its tables: batches stay counted, losses stay known", async () => {
    const batches = [10, 20, 30, 40, 50].map((points, index, all) => ({
      ...batchOf({ seq: index + 1, windowEnd: START + (index + 1) * 1_000 }, Array(points).fill(1)),
      recordedTotal: all.slice(0, index + 1).reduce((sum, one) => sum + one, 0),
    }));
    const [one, two, , four, five] = batches;
    if (!one || !two || !four || !five) throw new Error("there are five");
    const sighting = sightingOf();
    const settleAll = { before: 9e12, limit: 100 };
    await withStore(async (store) => {
      for (const batch of [one, two, four]) await store.commitBatch(batch);
      await store.settleBatches(settleAll);
      await store.commitBatch(five);
      await store.recordFailures([sighting]);
      await store.compactRollups({ resolutionMs: 10_000, before: START + 60_000, limit: 100 });
    });
    const rollups = "select series_id, bucket, count, sum from paramedic_rollups where resolution_ms = 10000";
    const before = await database.run(rollups);
    const columns =
      "select table_name, column_name, data_type, is_nullable from information_schema.columns where table_schema = 'public' order by 1, 2";
    const newSchema = await database.run(columns);

    expect(await migratePostgresBack(database.url, SHIPPED)).toEqual({ undone: 0, backup: undefined });
    expect(await migratePostgresBack(database.url, 1)).toEqual({
      undone: SHIPPED - 1,
      backup: `paramedic_before_${SHIPPED}_to_1`,
    });
    expect(await database.run(rollups)).toEqual(before);
    expect(await database.run("select event_id from failure_events")).toEqual([{ event_id: sighting.failure.eventId }]);
    expect(await database.run("select seq from paramedic_ingest_ledger order by seq")).toEqual(
      [1, 2, 4, 5].map((seq) => ({ seq: String(seq) })),
    );
    const copied = await database.run(
      `select lost from paramedic_before_${SHIPPED}_to_1.paramedic_ingest_boots union all select points from paramedic_before_${SHIPPED}_to_1.paramedic_ingest_gaps`,
    );
    expect(copied).toEqual([{ lost: "30" }, { lost: "30" }]);

    expect(await migratePostgres(database.url)).toEqual({ applied: SHIPPED - 1 });
    expect(await database.run(columns)).toEqual(newSchema);
    await withStore(async (store) => {
      for (const batch of [one, two, four, five]) expect(await store.commitBatch(batch)).toBe(false);
      await store.settleBatches(settleAll);
      expect(await store.listGaps({ limit: 10 })).toMatchObject([{ firstSeq: 3, lastSeq: 3, points: 30 }]);
      expect(await store.ledger()).toMatchObject([{ recorded: 150, rolledUp: 120, lost: 30 }]);
      expect(await store.compactRollups({ resolutionMs: 10_000, before: START + 60_000, limit: 100 })).toBe(1);
    });
    expect((await migratePostgresBack(database.url, 1)).backup).toBe(`paramedic_before_${SHIPPED}_to_1_2`);
  });

  it("goes back wholly or not at all, and neither forwards nor past a migration that is not known", async () => {
    const next = nextVersion("create table paramedic_next (id integer)");
    mkdirSync(join(next, "down"), { recursive: true });
    writeFileSync(
      join(next, "down", "9999_next.sql"),
      "drop table paramedic_next;\n--> statement-breakpoint\nnot sql at all",
    );
    await migratePostgres(database.url, { migrationsFolder: next });
    for (const version of [0, SHIPPED + 2, 1.5]) {
      await expect(migratePostgresBack(database.url, version)).rejects.toMatchObject({ code: "STORE_REQUEST_INVALID" });
    }
    await expect(migratePostgresBack(database.url, 1)).rejects.toMatchObject({ code: "STORE_SCHEMA_NEWER" });
    await expect(migratePostgresBack(database.url, SHIPPED, { migrationsFolder: next })).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
    });
    expect(await database.run("select 1 as there from pg_tables where tablename = 'paramedic_next'")).toHaveLength(1);
    expect(await database.run("select 1 from pg_namespace where nspname like 'paramedic_before%'")).toEqual([]);
  });

  it("has a way back for each migration but the first", () => {
    const migrations = findMigrationsFolder("postgres");
    const { entries } = JSON.parse(readFileSync(join(migrations, "meta", "_journal.json"), "utf8"));
    for (const { tag } of entries.slice(1)) expect(existsSync(join(migrations, "down", `${tag}.sql`)), tag).toBe(true);
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

  it("carries each point once in the view, in the finest row that is kept, whatever is compacted and deleted", async () => {
    const DAY = 86_400_000;
    const told = async () => {
      const [row] = await database.run(
        "select coalesce(sum(count), 0)::int as points, array_agg(distinct resolution_ms::int) as widths from system_health_metrics",
      );
      return row;
    };
    await withStore(async (store) => {
      for (const [index, offset] of [0, 15_000, 70_000, DAY].entries()) {
        await store.commitBatch(batchOf({ seq: index + 1, windowEnd: START + offset + 1 }));
      }
      expect(await told()).toEqual({ points: 12, widths: [10_000] });
      for (const resolutionMs of [10_000, 60_000, 3_600_000]) {
        await store.compactRollups({ resolutionMs, before: START + 2 * DAY, limit: 100 });
        expect(await told()).toEqual({ points: 12, widths: [10_000] });
      }
      await store.pruneRollups({ resolutionMs: 10_000, before: START + DAY, limit: 100 });
      expect(await told()).toEqual({ points: 12, widths: [10_000, 60_000] });
      await store.pruneRollups({ resolutionMs: 60_000, before: START + DAY, limit: 100 });
      await store.pruneRollups({ resolutionMs: 3_600_000, before: START + DAY, limit: 100 });
      expect(await told()).toEqual({ points: 12, widths: [10_000, DAY] });
      await store.commitBatch(batchOf({ seq: 9, windowEnd: START + 20_001 }));
      expect(await told()).toEqual({ points: 15, widths: [10_000, DAY] });
    });
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
});
