/**
 * Loads a day of 1,000 series (8.64 million rows of ten seconds, and their minutes, hours and days) into a SQLite file and
 * asks the API for the last 24 hours of one series, again and again: `npx tsx bench/range-read.ts`. Ends with 1 when the
 * 95th percentile is above 5 ms.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { initTRPC } from "@trpc/server";
import Database from "better-sqlite3";
import { migrateSqlite } from "../server/adapters/sqlite/migrate.js";
import { createSqliteStore } from "../server/adapters/sqlite/sqlite-store.js";
import { createRouter } from "../server/api/router.js";
import { systemClock } from "../server/ports/clock.js";
import { encodeBuckets } from "../shared/buckets-codec.js";
import { bucketStart, RESOLUTIONS_MS } from "../shared/resolutions.js";
import { DAY_MS } from "../shared/units.js";

const SERIES = 1_000;
const READS = 300;
const LIMIT_MS = 5;

/** A distribution as a busy procedure has it in ten seconds: thirty neighbouring buckets. */
const BUCKETS = Buffer.from(encodeBuckets(Array.from({ length: 30 }, (_, at) => [100 + at, 1 + (at % 7)]).flat()));

function load(path: string, since: number): number {
  migrateSqlite(path);
  const raw = new Database(path);
  raw.pragma("journal_mode = WAL");
  raw.pragma("synchronous = OFF");
  const addSeries = raw.prepare(
    "insert into paramedic_series values (?, 'operation', ?, 'histogram', 'ms', ?, '{}', 0)",
  );
  const addRows = raw.prepare(`
    with recursive steps(step) as (select 0 union all select step + 1 from steps where step + 1 < ?)
    insert into paramedic_rollups
    select ?, ?, ? + step * ?, 103, 4000, 8, 900, 40, ? + (step + 1) * ?, ?, 1 from steps`);
  raw.transaction(() => {
    for (let id = 1; id <= SERIES; id += 1) {
      addSeries.run(id, `trpc.procedure${id}.duration`, `trpc.procedure${id}`);
      for (const width of RESOLUTIONS_MS) {
        addRows.run(DAY_MS / width, id, width, since, width, since, width, BUCKETS);
      }
    }
  })();
  const rows = raw.prepare("select count(*) from paramedic_rollups").pluck().get();
  raw.pragma("wal_checkpoint(TRUNCATE)");
  raw.close();
  return Number(rows);
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
}

async function measure(path: string, from: number): Promise<number> {
  const store = createSqliteStore({ clock: systemClock }, { path });
  await store.open();
  const router = createRouter({
    clock: systemClock,
    store,
    onFault: () => {},
    access: async () => ({ role: "read", actor: "bench" }),
    circuits: () => [],
    accounting: async () => ({ recorded: 0, rolledUp: 0, dropped: {}, lost: 0, inFlight: 0, gaps: [] }),
    health: () => ({ overall: "unknown", checks: [], timestamp: 0 }),
    status: () => ({ instance: "bench", mode: "full", storeOpen: true }),
  });
  const caller = initTRPC.context<object>().create().createCallerFactory(router)({});
  const times: number[] = [];
  const cpuTimes: number[] = [];
  for (let read = 0; read < READS; read += 1) {
    const metricName = `trpc.procedure${1 + ((read * 367) % SERIES)}.duration`;
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const { points } = await caller.metrics.series({ metricName, from, to: from + DAY_MS });
    times.push(performance.now() - startedAt);
    const { user, system } = process.cpuUsage(cpuBefore);
    cpuTimes.push((user + system) / 1_000);
    if (points.reduce((sum, { count }) => sum + count, 0) === 0) throw new Error(`nothing was read of ${metricName}`);
  }
  await store.close();
  const told = (name: string, values: readonly number[]): number => {
    const sorted = values.toSorted((a, b) => a - b);
    const [p50, p95, p99] = [0.5, 0.95, 0.99].map((share) => percentile(sorted, share));
    process.stdout.write(
      `  ${name}: p50 ${p50?.toFixed(2)} ms, p95 ${p95?.toFixed(2)} ms, p99 ${p99?.toFixed(2)} ms\n`,
    );
    return p95 ?? Number.NaN;
  };
  process.stdout.write(
    `24 h of one series through the API, ${READS} reads of different series (limit: p95 ${LIMIT_MS} ms)\n`,
  );
  told("processor time", cpuTimes);
  return told("as the caller waits", times);
}

const folder = mkdtempSync(join(tmpdir(), "paramedic-bench-"));
try {
  const path = join(folder, "rollups.db");
  const since = bucketStart(systemClock.now(), DAY_MS) - DAY_MS;
  const startedAt = performance.now();
  const rows = load(path, since);
  process.stdout.write(`${rows} rollups loaded in ${((performance.now() - startedAt) / 1_000).toFixed(1)} s\n`);
  process.exitCode = (await measure(path, since)) <= LIMIT_MS ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
