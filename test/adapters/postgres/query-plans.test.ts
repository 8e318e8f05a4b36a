import { type SQL, sql } from "drizzle-orm";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migratePostgres } from "../../../server/adapters/postgres/migrate.js";
import { type Db, drizzleOf } from "../../../server/adapters/postgres/postgres-connection.js";
import { stepQuery, totalQuery } from "../../../server/adapters/postgres/range-statements.js";
import { createTestDatabase, type TestDatabase } from "../../services/postgres-database.js";

/** A hundred series of a thousand rows each, one in fifty of them pending. */
describe("query plans on PostgreSQL", () => {
  let database: TestDatabase;
  let client: pg.Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    await migratePostgres(database.url);
    await database.run(`
      insert into paramedic_series (metric_type, metric_name, kind, unit, source, tags, created_at)
        select 'operation', 'm' || n, 'histogram', 'ms', 's', '{}', 0 from generate_series(1, 100) n;
      insert into paramedic_rollups
        (series_id, resolution_ms, bucket, count, sum, min, max, last, last_at, buckets, compacted)
        select s.id, 10000, n * 10000, 1, 1, 1, 1, 1, 0, '', n % 50 > 0
        from paramedic_series s, generate_series(1, 1000) n;
      analyze`);
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
    await database?.remove();
  });

  const read = { seriesIds: [7, 8], resolutionMs: 10_000, from: 5_000_000, to: 6_000_000 } as const;
  const queries = {
    steps: (db: Db, onlyPending: boolean) =>
      stepQuery(db, { ...read, onlyPending }, { stepMs: 60_000, limit: 1_000 }).getSQL(),
    totals: (db: Db, onlyPending: boolean) => totalQuery(db, { ...read, onlyPending }).getSQL(),
  };
  const planOf = async (query: (db: Db) => SQL): Promise<string> => {
    const db = drizzleOf(client);
    const { rows } = await db.execute(sql`explain (analyze, buffers, format json) ${query(db)}`);
    return JSON.stringify(rows);
  };

  it.each(Object.entries(queries))(
    "read a range in %s by the keys of its series and nothing else",
    async (_, query) => {
      const plan = await planOf((db) => query(db, false));
      expect(plan).toContain('"Index Name":"paramedic_rollups_series_id_resolution_ms_bucket_pk"');
      expect(plan).not.toMatch(/"Node Type":"Seq Scan"[^{}]*"Relation Name":"paramedic_rollups"/);
      expect(plan).toMatch(/"Actual Rows":100(\.0+)?,"Actual Loops":2\b/);
      expect(plan).not.toMatch(/"Rows Removed by (Filter|Index Recheck)":[1-9]/);
    },
  );

  it.each(Object.entries(queries))(
    "read what coarser rows lack in %s from the index of nothing else",
    async (_, query) => {
      const plan = await planOf((db) => query(db, true));
      expect(plan).toContain('"Index Name":"paramedic_rollups_pending"');
      expect(plan).toMatch(/"Actual Rows":2(\.0+)?,"Actual Loops":2\b/);
      expect(plan).not.toMatch(/"Rows Removed by (Filter|Index Recheck)":[1-9]/);
    },
  );
});
