/**
 * The last 24 hours of one series among 8.64 million rollups of ten seconds (and their minutes, hours and days) through the
 * API, and how long a read of 20,000 series holds the event loop of the app.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { initTRPC } from "@trpc/server";
import Database from "better-sqlite3";
import { migrateSqlite } from "../../server/adapters/sqlite/migrate.js";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { createRouter } from "../../server/api/router.js";
import { systemClock } from "../../server/ports/clock.js";
import type { Store } from "../../server/ports/store.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { encodeBuckets } from "../../shared/buckets-codec.js";
import { NO_COVERAGE } from "../../shared/coverage.js";
import { bucketStart, RESOLUTIONS_MS } from "../../shared/resolutions.js";
import { DAY_MS, MINUTE_MS } from "../../shared/units.js";
import { fixedSettings, noMaintenance, sleepingWatchdog } from "../../test/support/fixed-settings.js";
import { atMost, quantile, type Scenario } from "../harness.js";
import { longestTurn } from "../longest-turn.js";
import { heldMs, openThreadClock } from "../thread-times.js";

const SERIES = 1_000;
const READS = 300;
const MANY_SERIES = 20_000;
const MANY_READS = 40;
/** A process that has been up for an hour has shown a chart or two. */
const WARM_UP_READS = 200;

/** A distribution as a busy procedure has it in ten seconds: thirty neighbouring buckets. */
const BUCKETS = Buffer.from(encodeBuckets(Array.from({ length: 30 }, (_, at) => [100 + at, 1 + (at % 7)]).flat()));

export const rangeRead: Scenario = {
  name: "range-read",
  async run() {
    const folder = await mkdtemp(join(tmpdir(), "paramedic-bench-"));
    const path = join(folder, "rollups.db");
    const since = bucketStart(systemClock.now(), DAY_MS) - DAY_MS;
    load(path, since);
    // A busy machine is no fault of the reader.
    const store = createSqliteStore({ clock: systemClock }, { path, rangeTimeoutMs: 120_000 });
    try {
      await store.open();
      const one = await readOne(callerOf(store), since);
      const many = await readMany(store, since);
      const show = (values: readonly number[]) =>
        [0.5, 0.95, 0.99].map((q) => `p${q * 100} ${quantile(values, q).toFixed(2)} ms`).join(", ");
      return {
        groups: [],
        budgets: [
          atMost("24 h of one series of 8.6 M rollups, p95", quantile(one.waits, 0.95) * 1_000, 5_000, "µs"),
          atMost("event-loop block of reading 20,000 series, p95", quantile(many.blocks, 0.95) * 1_000, 10_000, "µs"),
        ],
        notes: [
          `24 h of one series through the API, as JSON, less what it waited for a processor: ${show(one.waits)}; processor time of ` +
            `all threads of the process: ${show(one.cpu)}; ${READS} reads of different series.`,
          `${MANY_SERIES} series at once: ${show(many.waits)}; longest turn of the event loop meanwhile: ` +
            `${show(many.blocks)}, and of a timer alone, which is what the machine does: ${show(many.idle)}.`,
        ],
      };
    } finally {
      await store.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

function load(path: string, since: number): void {
  migrateSqlite(path);
  const raw = new Database(path);
  raw.pragma("journal_mode = WAL");
  raw.pragma("synchronous = OFF");
  const addSeries = raw.prepare("insert into paramedic_series values (?, 'operation', ?, 'histogram', 'ms', ?, ?, ?)");
  const addRows = raw.prepare(`
    with recursive steps(step) as (select 0 union all select step + 1 from steps where step + 1 < ?)
    insert into paramedic_rollups
    select ?, ?, ? + step * ?, 103, 4000, 8, 900, 40, ? + (step + 1) * ?, ?, 1 from steps`);
  raw.transaction(() => {
    for (let id = 1; id <= SERIES; id += 1) {
      addSeries.run(id, `trpc.procedure${id}.duration`, `trpc.procedure${id}`, "{}", 0);
      for (const width of RESOLUTIONS_MS) {
        addRows.run(DAY_MS / width, id, width, since, width, since, width, BUCKETS);
      }
    }
    for (let id = SERIES + 1; id <= SERIES + MANY_SERIES; id += 1) {
      addSeries.run(id, "many", "bench", JSON.stringify({ id: String(id) }), 0);
      addRows.run(6, id, RESOLUTIONS_MS[0], since, RESOLUTIONS_MS[0], since, RESOLUTIONS_MS[0], BUCKETS);
    }
  })();
  raw.pragma("wal_checkpoint(TRUNCATE)");
  raw.close();
}

function callerOf(store: Store) {
  const router = createRouter({
    clock: systemClock,
    store,
    onFault: () => {},
    access: async () => ({ role: "read", actor: "bench" }),
    circuits: () => [],
    control: { hold: async () => undefined, reset: async () => undefined },
    recovery: new RecoveryEngine({ clock: systemClock, store }).control,
    maintenance: noMaintenance,
    settings: fixedSettings,
    watchdog: sleepingWatchdog,
    accounting: async () => ({ recorded: 0, rolledUp: 0, dropped: {}, lost: 0, inFlight: 0, gaps: [] }),
    health: () => ({ overall: "unknown", checks: [], timestamp: 0 }),
    coverage: () => NO_COVERAGE,
    status: () => ({ instance: "bench", mode: "full", storeOpen: true, settingsAgeMs: 500, circuitsAgeMs: 500 }),
  });
  return initTRPC.context<object>().create().createCallerFactory(router)({});
}

async function readOne(caller: ReturnType<typeof callerOf>, from: number) {
  const waits: number[] = [];
  const cpu: number[] = [];
  const clock = openThreadClock();
  for (let read = -WARM_UP_READS; read < READS; read += 1) {
    const metricName = `trpc.procedure${1 + (((read + WARM_UP_READS) * 367) % SERIES)}.duration`;
    const cpuBefore = process.cpuUsage();
    const before = clock.read();
    const startedAt = performance.now();
    const answer = JSON.stringify(await caller.metrics.series({ metricName, from, to: from + DAY_MS }));
    const waited = heldMs(performance.now() - startedAt, before, clock.read());
    const { user, system } = process.cpuUsage(cpuBefore);
    if (!answer.includes('"count":1030')) throw new Error(`nothing was read of ${metricName}`);
    if (read < 0) continue;
    waits.push(waited);
    cpu.push((user + system) / 1_000);
  }
  clock.close();
  return { waits, cpu };
}

async function readMany(store: Store, from: number) {
  const waits: number[] = [];
  const blocks: number[] = [];
  const idle: number[] = [];
  const clock = openThreadClock();
  const query = { metricName: "many", from, to: from + MINUTE_MS, stepMs: RESOLUTIONS_MS[0], limit: 1_000 };
  for (let read = -1; read < MANY_READS; read += 1) {
    let waited = 0;
    const { ofAll: block } = await longestTurn(clock, async () => {
      const startedAt = performance.now();
      const points = await store.readSeries(query);
      waited = performance.now() - startedAt;
      if (points[0]?.count !== MANY_SERIES * 103) throw new Error("not all series were read");
    });
    const { ofAll: alone } = await longestTurn(clock, () => new Promise((resolve) => setTimeout(resolve, waited)));
    // The first read starts the thread.
    if (read < 0) continue;
    waits.push(waited);
    blocks.push(block);
    idle.push(alone);
  }
  clock.close();
  return { waits, blocks, idle };
}
