import Database from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCircuitQueries } from "../../../server/adapters/sqlite/circuit-queries.js";
import { createFailureQueries } from "../../../server/adapters/sqlite/failure-queries.js";
import { migrateSqlite } from "../../../server/adapters/sqlite/migrate.js";
import {
  createRangeQueries,
  stepOfOneQuery,
  stepQuery,
  totalQuery,
} from "../../../server/adapters/sqlite/range-queries.js";
import { createRollupQueries } from "../../../server/adapters/sqlite/rollup-queries.js";
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

  const ranges = { steps: stepQuery, totals: totalQuery };
  type Query = (...asked: Parameters<typeof stepQuery>) => { toSQL(): { sql: string; params: unknown[] } };
  const rollupsIn = (query: Query, onlyPending: boolean) => {
    const { sql, params } = query(drizzle(raw), onlyPending).toSQL();
    const plan = planOf(
      sql,
      params.map(() => 0),
    );
    return plan.filter((line) => /^(SEARCH|SCAN) (?!asked VIRTUAL TABLE)/.test(line));
  };

  it.each(Object.entries({ ...ranges, "one step": stepOfOneQuery }))(
    "read a range in %s by the keys of its series and nothing else",
    (_, query) => {
      expect(rollupsIn(query, false)).toEqual([
        "SEARCH r USING PRIMARY KEY (series_id=? AND resolution_ms=? AND bucket>? AND bucket<?)",
      ]);
    },
  );

  it.each(Object.entries(ranges))("read what coarser rows lack in %s from the index of nothing else", (_, query) => {
    expect(rollupsIn(query, true)).toEqual([
      "SEARCH r USING INDEX paramedic_rollups_pending (resolution_ms=? AND series_id=? AND bucket>? AND bucket<?)",
    ]);
  });

  it("find the series of a metric, and those of all procedures, by their names", () => {
    const queries = createRangeQueries(logged());
    queries.readSeries({ metricName: "trpc.ask.duration", from: 0, to: 10_000, stepMs: 10_000, limit: 1 });
    queries.readTopProcedures({ from: 0, to: 10_000, by: "calls", limit: 1 });
    const plans = asked
      .filter(({ sql }) => sql.includes('from "paramedic_series"'))
      .map(({ sql, params }) => planOf(sql, params));
    expect(plans).toEqual([
      ["SEARCH paramedic_series USING COVERING INDEX paramedic_series_identity (metric_name=?)"],
      ["SEARCH paramedic_series USING COVERING INDEX paramedic_series_identity (metric_name>? AND metric_name<?)"],
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
