/** The store that both aggregators share, what can be done to it, and what it says in the end: read by plain SQL. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import pg from "pg";
import { createTestDatabase } from "../services/postgres-database.js";
import { startPostgres } from "../services/postgres-server.js";
import { lockDatabase } from "../support/database-lock.js";
import type { Stored } from "./checker.js";
import { pause } from "./fleet.js";
import type { StoreKind } from "./plan.js";
import type { StoreAddress } from "./reports.js";

export interface SharedStore {
  readonly address: StoreAddress;
  /** As the environment names it. */
  readonly url: string;
  /** Somebody else holds what a commit needs, until `hold` resolves. */
  lock(hold: () => Promise<void>): Promise<void>;
  /** `kill -9` of the server; nothing where there is none. */
  kill(awayMs: number): Promise<void>;
  /** `kill -9` of one session's process, which makes the server end all the others too. */
  killSession(choice: number): Promise<void>;
  /** SIGSTOP of one session's process. */
  pauseSession(choice: number, forMs: number): Promise<void>;
  read(): Promise<Stored>;
  dispose(): Promise<void>;
}

/** One for each part of what is stored. */
interface Questions {
  readonly ledger: string;
  readonly boots: string;
  readonly gaps: string;
  readonly series: string;
  readonly compacted: string;
  readonly dead: string;
}

/** @param boot the tag of that name, @param isCompacted said of a rollup; each in the words of a dialect */
const questions = (boot: string, isCompacted: string): Questions => ({
  ledger: "select boot, seq, points from paramedic_ingest_ledger",
  boots: "select boot, points, batches, settled_seq from paramedic_ingest_boots",
  gaps: "select boot, first_seq, last_seq, points from paramedic_ingest_gaps",
  // The finest rows tell all, and nothing deletes them within a run.
  series: `select ${boot} as boot, s.metric_name as name, sum(r.count) as points, sum(r.sum) as sum
    from paramedic_rollups r join paramedic_series s on s.id = r.series_id
    where r.resolution_ms = 10000 group by 1, 2`,
  compacted: `select
    (select coalesce(sum(count), 0) from paramedic_rollups where resolution_ms = 10000 and ${isCompacted}) as fine,
    (select coalesce(sum(count), 0) from paramedic_rollups where resolution_ms = 60000) as coarse`,
  dead: "select count(*) as found from paramedic_dead_batches",
});
const SQLITE = questions("json_extract(s.tags, '$.boot')", "compacted = 1");
const POSTGRES = questions("s.tags::json->>'boot'", "compacted");

export function startSharedStore(kind: StoreKind, folder: string): Promise<SharedStore> {
  switch (kind) {
    case "sqlite":
      return Promise.resolve(sqliteStore(join(folder, "paramedic.db")));
    case "postgres":
      return postgresStore();
  }
}

function sqliteStore(path: string): SharedStore {
  return {
    address: { kind: "sqlite", path },
    url: `file:${path}`,
    async lock(hold) {
      const lock = await lockDatabase(path);
      await hold();
      await lock.kill();
    },
    kill: async () => undefined,
    killSession: async () => undefined,
    pauseSession: async () => undefined,
    async read() {
      const db = new Database(path, { readonly: true });
      try {
        return await stored(SQLITE, async (question) => db.prepare(question).all());
      } finally {
        db.close();
      }
    },
    dispose: async () => undefined,
  };
}

async function postgresStore(): Promise<SharedStore> {
  const server = await startPostgres();
  const database = await createTestDatabase(server);
  const session = async (choice: number): Promise<number | undefined> => {
    const rows = await database.run(
      "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() order by pid",
    );
    const pid = rows[choice % Math.max(rows.length, 1)]?.pid;
    return typeof pid === "number" ? pid : undefined;
  };
  return {
    address: { kind: "postgres", url: database.url },
    url: database.url,
    async lock(hold) {
      const client = new pg.Client({ connectionString: database.url });
      client.on("error", () => undefined);
      await client.connect();
      await client.query("begin; lock table paramedic_rollups in access exclusive mode");
      await hold();
      await client.end();
    },
    async kill(awayMs) {
      const sessions = childrenOf(server.pid);
      await server.kill();
      // A session that outlived its server for a moment must not write beside the next one.
      for (const pid of sessions) signal(pid, "SIGKILL");
      await pause(awayMs);
      await server.restart();
    },
    async killSession(choice) {
      signal(await session(choice), "SIGKILL");
      await pause(500);
    },
    async pauseSession(choice, forMs) {
      const pid = await session(choice);
      signal(pid, "SIGSTOP");
      await pause(forMs);
      signal(pid, "SIGCONT");
    },
    read: () => stored(POSTGRES, (question) => database.run(question)),
    dispose: () => server.stop(),
  };
}

/** Drivers give whole numbers as text where they might not fit. */
async function stored(asked: Questions, run: (question: string) => Promise<readonly unknown[]>): Promise<Stored> {
  const rows = async (question: string) => (await run(question)) as readonly Readonly<Record<string, unknown>>[];
  const [compacted] = await rows(asked.compacted);
  const [dead] = await rows(asked.dead);
  return {
    ledger: (await rows(asked.ledger)).map(({ boot, seq, points }) => ({
      boot: String(boot),
      seq: Number(seq),
      points: Number(points),
    })),
    boots: (await rows(asked.boots)).map(({ boot, points, batches, settled_seq }) => ({
      boot: String(boot),
      points: Number(points),
      batches: Number(batches),
      settledSeq: Number(settled_seq),
    })),
    gaps: (await rows(asked.gaps)).map(({ boot, first_seq, last_seq, points }) => ({
      boot: String(boot),
      firstSeq: Number(first_seq),
      lastSeq: Number(last_seq),
      points: Number(points),
    })),
    series: (await rows(asked.series)).map(({ boot, name, points, sum }) => ({
      boot: String(boot),
      name: String(name),
      points: Number(points),
      sum: Number(sum),
    })),
    compacted: { fine: Number(compacted?.fine), coarse: Number(compacted?.coarse) },
    deadBatches: Number(dead?.found),
  };
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}
