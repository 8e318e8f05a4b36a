/** What the watchdog costs on a store with many rows: below 2 % of a core, 50 MB and 2 s for a beat. */
import Database from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createPostgresStore } from "../../server/adapters/postgres/postgres-store.js";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { systemClock } from "../../server/ports/clock.js";
import type { Store } from "../../server/ports/store.js";
import { createLiveSettings } from "../../server/watchdog/live-settings.js";
import { createStuckTasks } from "../../server/watchdog/stuck-tasks.js";
import { createTasks } from "../../server/watchdog/tasks.js";
import { createWatchdog } from "../../server/watchdog/watchdog.js";
import { FEATURE_FLAG_DEFAULTS } from "../../shared/feature-flags.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { batchOf, durations, summaryOf } from "../conformance/store-fixtures.js";
import { createTestDatabase } from "../services/postgres-database.js";

const ROWS = 100_000;
const BEAT_EVERY_S = 300;
const READS_A_SECOND = 2;

interface Filled {
  readonly store: Store;
  /** Several statements. */
  run(sql: string): Promise<unknown>;
  readonly series: string;
  remove(): Promise<void>;
}

const DATABASES: readonly { readonly what: string; readonly create: () => Promise<Filled> }[] = [
  {
    what: "SQLite",
    async create() {
      const temp = createTempFolder();
      return {
        store: createSqliteStore({ clock: systemClock }, { path: temp.path }),
        async run(sql) {
          const raw = new Database(temp.path);
          raw.exec(sql);
          raw.close();
        },
        series: `with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < ${ROWS})`,
        remove: async () => temp.remove(),
      };
    },
  },
  {
    what: "PostgreSQL",
    async create() {
      const database = await createTestDatabase();
      return {
        store: createPostgresStore({ clock: systemClock }, { url: database.url }),
        run: (sql) => database.run(`${sql} analyze;`),
        series: `with numbers(n) as (select generate_series(1::bigint, ${ROWS}))`,
        remove: () => database.remove(),
      };
    },
  },
];

describe.each(DATABASES)("the watchdog's cost on $what", ({ create }) => {
  let filled: Filled;
  let store: Store;

  beforeAll(async () => {
    filled = await create();
    ({ store } = filled);
    await store.open();
    const now = Date.now();
    for (let seq = 1; seq <= 360; seq += 1) {
      await store.commitBatch({
        ...batchOf({ seq, windowEnd: now - seq * 10_000 }),
        series: Array.from({ length: 50 }, (_, index) => ({
          ...durations,
          metricName: `trpc.procedure${index}.duration`,
          source: `trpc.procedure${index}`,
          ...summaryOf([1, 2, 3]),
        })),
      });
    }
    await fill(filled, now);
  }, 120_000);
  afterAll(async () => {
    await store?.close();
    await filled?.remove();
  });

  it("stays below 2 % of a core, 50 MB and 2 s for a beat", { retry: 3, timeout: 60_000 }, async () => {
    const onFault = (error: unknown) => {
      throw error;
    };
    const deps = { clock: systemClock, ids: () => "id", store, onFault };
    const settings = createLiveSettings({
      ...deps,
      channel: createLocalControlChannel({ onFault }),
      ceiling: { mode: "full", chosenMode: "full", flags: FEATURE_FLAG_DEFAULTS },
    });
    const stuckTasks = createStuckTasks(deps);
    const watchdog = createWatchdog(
      {
        ...deps,
        settings,
        stuckTasks,
        tasks: createTasks({ ...deps, instance: "a", watch: stuckTasks.watch, whenStuck: stuckTasks.whenStuck }),
        health: () => ({ overall: "healthy", checks: [], timestamp: 0 }),
        repair: async () => undefined,
        alert: () => undefined,
      },
      { silentAfterMs: 0 },
    );
    await settings.refresh();
    await watchdog.beat();

    const memoryBefore = process.memoryUsage().rss;
    const beatMs = await cpuMsOf(() => watchdog.beat());
    const reads = 200;
    const readMs =
      (await cpuMsOf(async () => {
        for (let i = 0; i < reads; i += 1) await settings.refresh();
      })) / reads;
    const grownMb = (process.memoryUsage().rss - memoryBefore) / 2 ** 20;
    const share = beatMs / (BEAT_EVERY_S * 1_000) + (READS_A_SECOND * readMs) / 1_000;
    const { tookMs, own } = watchdog.state();
    process.stdout.write(
      `a beat on ${ROWS} actions: ${tookMs} ms, ${beatMs.toFixed(0)} ms of CPU; a reading of settings ${readMs.toFixed(2)} ms; ${(share * 100).toFixed(3)} % of a core; ${grownMb.toFixed(1)} MB\n`,
    );
    expect(own.ended).toBeGreaterThan(1_000);
    expect(tookMs).toBeLessThan(2_000);
    expect(share).toBeLessThan(0.02);
    expect(grownMb).toBeLessThan(50);
  });
});

/** Of all threads. */
async function cpuMsOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

/** Failures, each with a repair, over a month, a tenth of them in the last half hour; and tasks. */
async function fill({ run, series }: Filled, now: number): Promise<void> {
  const time = `(${now} - case when n % 10 = 0 then n % 1700000 else n * 25920 end)`;
  const rows = (table: string, columns: string, values: string) =>
    `insert into ${table} (${columns}) ${series} select ${values} from numbers;`;
  await run(
    [
      rows(
        "failure_events",
        `event_id, timestamp, failure_category, failure_type, severity, affected_service, detection_method, resolved,
          resolved_at, created_at, fingerprint, occurrences, last_seen_at, instance`,
        `'e' || n, ${time}, 'database', 'database_connection', 'high', 'db:' || (n % 20), 'exception', true,
          ${time} + 1000, ${time}, 'f' || n, 1, ${time}, 'a'`,
      ),
      rows(
        "recovery_actions",
        `action_id, failure_event_id, timestamp, action_type, action_strategy, status, automated, triggered_by, created_at,
          scope, target, occurrences, last_at, lease_until, instance, dry_run, completed_at`,
        `'a' || n, 'e' || n, ${time}, 'reconnect', 'reconnect',
          case when n % 3 = 0 then 'failed' else 'succeeded' end, true, 'engine', ${time},
          'service', 'db:' || (n % 20), 1, ${time}, ${time} + 60000, 'a', false, ${time} + 500`,
      ),
      rows(
        "paramedic_tasks",
        `task_id, name, status, owner, fence, attempts, started_at, heartbeat_at, lease_until, ended_at, created_at`,
        `'t' || n, 'import', 'succeeded', 'a', 1, 1, ${time}, ${time}, ${time}, ${time}, ${time}`,
      ),
    ].join("\n"),
  );
}
