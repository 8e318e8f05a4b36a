import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCircuitQueries } from "../../../server/adapters/sqlite/circuit-queries.js";
import { createFailureQueries } from "../../../server/adapters/sqlite/failure-queries.js";
import { migrateSqlite } from "../../../server/adapters/sqlite/migrate.js";
import { createRollupQueries, pendingQuery, rangeQuery } from "../../../server/adapters/sqlite/rollup-queries.js";
import { createTempFolder, type TempFolder } from "./temp-database.js";

describe("query plans", () => {
  let temp: TempFolder;
  let raw: Database.Database;
  const asked: { sql: string; params: unknown[] }[] = [];

  beforeAll(() => {
    temp = createTempFolder();
    migrateSqlite(temp.path);
    raw = new Database(temp.path, { readonly: true });
  });
  afterAll(() => {
    raw.close();
    temp.remove();
  });

  const logged = () => drizzle(raw, { logger: { logQuery: (sql, params) => asked.push({ sql, params }) } });
  const planOf = (sql: string, params: unknown[]): string[] =>
    raw
      .prepare(`explain query plan ${sql}`)
      .all(...params)
      .map((row) => (typeof row === "object" && row !== null && "detail" in row ? String(row.detail) : ""));

  it("read a range of one series by its key and nothing else", () => {
    const { sql, params } = rangeQuery(drizzle(raw)).toSQL();
    expect(
      planOf(
        sql,
        params.map(() => 0),
      ),
    ).toEqual([
      "SEARCH paramedic_rollups USING PRIMARY KEY (series_id=? AND resolution_ms=? AND bucket>? AND bucket<?)",
    ]);
  });

  it("read what coarser rows lack from the index that holds nothing else", () => {
    const { sql, params } = pendingQuery(drizzle(raw)).toSQL();
    expect(
      planOf(
        sql,
        params.map(() => 0),
      ),
    ).toEqual([
      "SEARCH paramedic_rollups USING INDEX paramedic_rollups_pending (resolution_ms=? AND series_id=? AND bucket>? AND bucket<?)",
    ]);
  });

  it("list the gaps of a range from an index, sorted as it stands", () => {
    createRollupQueries(logged()).listGaps({ from: 1, to: 2, limit: 10 });
    expectIndexed("paramedic_ingest_gaps_window_end");
  });

  const failures = {
    "": {},
    failure_category: { failureCategory: "database" },
    failure_type: { failureType: "api_timeout" },
    severity: { severity: "high" },
    affected_service: { affectedService: "llm:openai" },
    detection_method: { detectionMethod: "exception" },
    resolved: { resolved: true },
    timestamp: { from: 1, to: 2 },
  } as const;

  it.each(Object.entries(failures))("list failures by %s from an index, sorted as it stands", (column, filter) => {
    createFailureQueries(logged()).listFailures({ limit: 10, ...filter });
    expectIndexed(`failure_events_${column}`);
  });

  const recoveries = {
    failure_event_id: { failureEventId: "event" },
    action_strategy: { actionStrategy: "reconnect" },
    status: { status: "failed" },
    target: { target: "db:main" },
    timestamp: { from: 1 },
  } as const;

  it.each(Object.entries(recoveries))("list recoveries by %s from an index, sorted as it stands", (column, filter) => {
    createFailureQueries(logged()).listRecoveries({ limit: 10, ...filter });
    expectIndexed(`recovery_actions_${column}`);
  });

  const transitions = {
    circuit_name: { circuitName: "llm:openai" },
    to_state: { to: "open" },
    at: { from: 1 },
  } as const;

  it.each(Object.entries(transitions))(
    "list transitions by %s from an index, sorted as it stands",
    (column, filter) => {
      createCircuitQueries(logged()).listTransitions({ limit: 10, ...filter });
      expectIndexed(`circuit_transitions_${column}`);
    },
  );

  const expectIndexed = (index: string) => {
    const query = asked.at(-1) ?? expect.fail("nothing was asked");
    const plan = planOf(query.sql, query.params).join("; ");
    expect(plan).toContain(`USING INDEX ${index}`);
    expect(plan).not.toContain("TEMP B-TREE");
  };
});
