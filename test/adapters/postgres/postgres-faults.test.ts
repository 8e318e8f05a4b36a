import { readMigrationFiles } from "drizzle-orm/migrator";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findMigrationsFolder } from "../../../server/adapters/migrations-folder.js";
import { createPool } from "../../../server/adapters/postgres/postgres-connection.js";
import { createPostgresStore, type PostgresStoreOptions } from "../../../server/adapters/postgres/postgres-store.js";
import { createCompaction } from "../../../server/metrics/compaction.js";
import { systemClock } from "../../../server/ports/clock.js";
import type { Store } from "../../../server/ports/store.js";
import { DAY_MS, HOUR_MS, SECOND_MS } from "../../../shared/units.js";
import { batchOf, durations, rescueOf, sightingOf, summaryOf } from "../../conformance/store-fixtures.js";
import { createTestDatabase, runOn, type TestDatabase } from "../../services/postgres-database.js";
import { type PostgresServer, startPostgres } from "../../services/postgres-server.js";
import { type Child, startChild } from "../../support/child-process.js";
import { createShiftedClock } from "../../support/shifted-clock.js";

const ALL = { metricName: durations.metricName, from: 0, to: Number.MAX_SAFE_INTEGER, stepMs: 10_000, limit: 10 };

describe("a PostgreSQL database", () => {
  let server: PostgresServer;
  let database: TestDatabase;
  let stores: Store[];
  let sessions: pg.Client[];
  let children: Child[];
  let faults: unknown[];

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.stop());
  beforeEach(async () => {
    stores = [];
    sessions = [];
    children = [];
    faults = [];
    database = await createTestDatabase(server);
  });
  afterEach(async () => {
    await Promise.all(children.map((child) => child.kill()));
    await Promise.all(sessions.map((session) => session.end()));
    await Promise.all(stores.map((store) => store.close()));
    await database.remove();
  });

  const storeOf = (options: Partial<PostgresStoreOptions> = {}): Store => {
    const store = createPostgresStore(
      { clock: systemClock, onFault: (error) => faults.push(error) },
      { url: database.url, ...options },
    );
    stores.push(store);
    return store;
  };
  const session = async (sql: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: database.url });
    client.on("error", () => undefined);
    sessions.push(client);
    await client.connect();
    await client.query(sql);
    return client;
  };
  const start = (task: string): Child => {
    const child = startChild(new URL("./child.ts", import.meta.url), task, database.url);
    children.push(child);
    return child;
  };
  const terminate = (which = "true") =>
    database.run(
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'paramedic' and datname = current_database() and ${which}`,
    );

  it("is migrated once by five processes that start at the same moment", async () => {
    const shipped = readMigrationFiles({ migrationsFolder: findMigrationsFolder("postgres") }).length;
    const answers = await Promise.all(Array.from({ length: 5 }, () => start("migrate").nextLine()));
    expect(answers.map((answer): number => JSON.parse(answer).applied).sort()).toEqual([0, 0, 0, 0, shipped]);
    expect(await Promise.all(children.map(({ ended }) => ended))).toEqual([0, 0, 0, 0, 0]);
    expect(await database.run("select count(*)::int as n from paramedic_migrations")).toEqual([{ n: shipped }]);
    // Five processes that load at once on a busy machine.
  }, 60_000);

  it("is told in every session how long it may take", async () => {
    const limits = { maxConnections: 1, connectTimeoutMs: 5_000, lockTimeoutMs: 1_234, statementTimeoutMs: 5_678 };
    const pool = createPool(database.url, limits, (error) => faults.push(error));
    const told = async (setting: string) => (await pool.query(`show ${setting}`)).rows[0]?.[setting];
    const settings = ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"];
    expect(await Promise.all(settings.map(told))).toEqual(["1234ms", "5678ms", "5678ms"]);
    await pool.end();
  });

  it("keeps no process alive that has nothing to write", async () => {
    const child = start("write-and-leave");
    expect(await child.nextLine()).toBe("written");
    expect(await child.ended).toBe(0);
  });

  it("I2: loses nothing that was acknowledged and counts nothing twice when a writer is killed", async () => {
    const child = start("write-until-killed");
    let acknowledged = 0;
    while (acknowledged < 20) acknowledged = Number(await child.nextLine());
    await child.kill();
    const store = storeOf();
    await store.open();
    const batches = (await store.ledger())[0]?.batches ?? 0;
    expect(batches).toBeGreaterThanOrEqual(acknowledged);
    for (let seq = 1; seq <= batches + 1; seq += 1) {
      expect(await store.commitBatch(batchOf({ seq, recordedTotal: seq * 3 }))).toBe(seq === batches + 1);
    }
    expect(await store.readSeries(ALL)).toMatchObject([{ count: (batches + 1) * 3 }]);
  });

  it("that is killed refuses writes and reads, has what was acknowledged, and goes on once it is back", async () => {
    const store = storeOf();
    await store.open();
    await store.commitBatch(batchOf());
    await server.kill();
    await expect(store.commitBatch(batchOf({ seq: 2 }))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(store.ledger()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await server.restart();
    expect(await store.commitBatch(batchOf())).toBe(false);
    expect(await store.commitBatch(batchOf({ seq: 2 }))).toBe(true);
    expect(await store.readSeries(ALL)).toMatchObject([{ count: 6 }]);
  });

  it("whose sessions are ended is asked again over new ones, and the process lives", async () => {
    const store = storeOf();
    await store.open();
    for (let round = 1; round <= 5; round += 1) {
      await Promise.all([store.commitBatch(batchOf({ seq: round })), store.ledger(), store.ping()]);
      await terminate();
      expect(await store.commitBatch(batchOf({ seq: round }))).toBe(false);
      expect(await store.ledger()).toMatchObject([{ batches: round }]);
    }
    await expect.poll(() => faults.length).toBeGreaterThan(0);
  });

  it("that ends the session within a write has nothing of it", async () => {
    const store = storeOf();
    await store.open();
    const holder = await session("begin; lock table paramedic_rollups in access exclusive mode");
    const write = store.commitBatch(batchOf());
    const refused = expect(write).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect.poll(() => terminate("wait_event_type = 'Lock'").then(({ length }) => length)).toBe(1);
    await refused;
    await holder.query("rollback");
    expect(await store.ledger()).toEqual([]);
    expect(await store.commitBatch(batchOf())).toBe(true);
  });

  it("whose lock another session holds refuses writes in time, does none of them, and reads on", async () => {
    const store = storeOf({ lockTimeoutMs: 50 });
    await store.open();
    await store.commitBatch(batchOf());
    const holder = await session("begin; lock table paramedic_ingest_ledger in exclusive mode");
    await expect(store.commitBatch(batchOf({ seq: 2 }))).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("another session holds its lock"),
    });
    expect(await store.ledger()).toMatchObject([{ batches: 1 }]);
    await store.recordFailures([sightingOf()]);
    await holder.query("rollback");
    expect(await store.commitBatch(batchOf({ seq: 2 }))).toBe(true);
    expect(await store.readSeries(ALL)).toMatchObject([{ count: 6 }]);
  });

  it("that finds a deadlock is asked again, and the write is there once", async () => {
    const store = storeOf();
    await store.open();
    await store.commitBatch(batchOf());
    await database.run(`
      create sequence tried;
      create function deadlocked_once() returns trigger language plpgsql as $$ begin
        if nextval('tried') = 1 then raise exception 'as if' using errcode = '40P01'; end if;
        return new;
      end $$;
      create trigger deadlocked before insert on paramedic_rollups for each row execute function deadlocked_once()`);
    expect(await store.commitBatch(batchOf({ seq: 2 }))).toBe(true);
    expect(await database.run("select last_value::int as tries from tried")).toEqual([{ tries: 2 }]);
    expect(await store.readSeries(ALL)).toMatchObject([{ count: 6 }]);
  });

  it("takes the writes of many instances at once and counts each of them", async () => {
    const several = Array.from({ length: 4 }, () => storeOf());
    await Promise.all(several.map((store) => store.open()));
    const sighting = sightingOf();
    await Promise.all(
      several.flatMap((store, place) =>
        Array.from({ length: 25 }, async (_, index) => {
          await store.commitBatch(batchOf({ instance: `i${place}`, seq: index + 1 }));
          const { eventId } = sightingOf().failure;
          await store.recordFailures([{ ...sighting, failure: { ...sighting.failure, eventId } }]);
        }),
      ),
    );
    const [store] = several;
    expect(await store?.readSeries(ALL)).toMatchObject([{ count: 300 }]);
    const failures = await store?.listFailures({ limit: 10 });
    expect(failures?.items).toMatchObject([{ occurrences: 100 * sighting.occurrences }]);
  });

  it("keeps messages with NUL bytes and lone surrogates, and finds services by such names", async () => {
    const store = storeOf();
    await store.open();
    const sighting = sightingOf({
      affectedService: "http:a\0b",
      errorMessage: "broken \0 here \ud800",
      errorStack: "\0",
      context: { "k\0": "v\0\ud800" },
    });
    await store.recordFailures([sighting]);
    await store.recordRescues([rescueOf(sighting.failure.eventId)]);
    const { items } = await store.listFailures({ affectedService: "http:a\0b", limit: 10 });
    expect(items).toMatchObject([
      {
        affectedService: "http:ab",
        errorMessage: "broken  here \ufffd",
        errorStack: "",
        context: { "k\0": "v\0\ud800" },
      },
    ]);
  });

  it("that cannot be reached is named without its password, and what to do", async () => {
    const wrong = new URL(database.url);
    wrong.password = "sesame-open";
    const refused = async (url: string, message: string) => {
      const error: unknown = await storeOf({ url, connectTimeoutMs: 2_000 })
        .open()
        .catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining(message) });
      expect(String(error)).not.toContain("sesame");
    };
    await refused(wrong.href, "check user and password");
    wrong.href = database.url;
    wrong.pathname = "/nowhere";
    await refused(wrong.href, "create it first");
    wrong.port = "1";
    wrong.password = "sesame";
    await refused(wrong.href, "nobody listens there");
    expect(() => storeOf({ url: "postgres://u:sesame@[half" })).toThrow(/cannot be read/);
  });

  it("answers nothing before it is open and after it is closed, and closing waits for what was begun", async () => {
    const store = storeOf();
    await expect(store.ledger()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await store.open();
    const write = store.commitBatch(batchOf());
    await store.close();
    expect(await write).toBe(true);
    await expect(store.ledger()).rejects.toMatchObject({ code: "CLOSED" });
    await expect(store.open()).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("can be opened once it is there", async () => {
    const store = storeOf();
    await server.kill();
    await expect(store.open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await server.restart();
    await store.open();
    expect(await store.commitBatch(batchOf())).toBe(true);
  });

  it("that stops answering is given up on in time, and asked again over a new connection", async () => {
    const store = storeOf({ lockTimeoutMs: 500, statementTimeoutMs: 1_000 });
    await store.open();
    await store.ping();
    const pids = await database.run(
      "select pid from pg_stat_activity where application_name = 'paramedic' and datname = current_database()",
    );
    const stopped = pids.map(({ pid }) => Number(pid));
    expect(stopped).toHaveLength(1);
    for (const pid of stopped) process.kill(pid, "SIGSTOP");
    try {
      await expect(store.commitBatch(batchOf())).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
      expect(await store.commitBatch(batchOf())).toBe(true);
    } finally {
      for (const pid of stopped) process.kill(pid, "SIGCONT");
    }
  });
});

describe("a PostgreSQL database whose disk is full", () => {
  const SERIES = 50;
  let server: PostgresServer;
  let store: Store;
  let client: pg.Client;

  beforeAll(async () => {
    server = await startPostgres({ diskMegabytes: 64, args: ["-c", "autovacuum=off"] });
    store = createPostgresStore({ clock: systemClock }, { url: server.url });
    client = new pg.Client({ connectionString: server.url });
    await client.connect();
  });
  afterAll(async () => {
    await client?.end();
    await store?.close();
    await server?.stop();
  });

  it("refuses what it has no room for, still deletes what is past its time, and then takes it, each point once", async () => {
    const clock = createShiftedClock();
    const compaction = createCompaction({ clock, store });
    const began = clock.now() - 3 * HOUR_MS;
    const commit = (seq: number) => {
      const tags = { seq: String(seq), padding: "x".repeat(200) };
      const series = Array.from({ length: SERIES }, (_, index) => ({
        ...durations,
        tags: { ...tags, index: String(index) },
        ...summaryOf([10]),
      }));
      return store.commitBatch(
        batchOf({ seq, windowEnd: began + seq * SECOND_MS, recordedTotal: seq * SERIES, series }),
      );
    };
    const points = async () => {
      const read = await store.readSeries({ ...ALL, stepMs: DAY_MS });
      return read.reduce((sum, { count }) => sum + count, 0);
    };
    const fill = (rows: number) =>
      client.query("insert into filler select repeat('x', 5000) from generate_series(1, $1::int)", [rows]).then(
        () => true,
        ({ code }) => code !== "53100",
      );

    await store.open();
    for (let row = 0; row < 500; row += 1) {
      const entry = { actor: "ada", action: "settings.set", subject: "mode", outcome: "succeeded" } as const;
      await store.recordAudit({ ...entry, reason: "a look first ".repeat(100), at: clock.now(), detail: undefined });
    }
    let seq = 1;
    await commit(seq);
    await compaction.runOnce();
    await client.query("vacuum");

    await client.query("create table filler (t text)");
    await client.query("alter table filler alter t set storage plain");
    // After a change of its catalog a server writes a file for new sessions with the first of them; without room it has none.
    await runOn(server.url, "select 1");
    for (const rows of [100, 1]) while (await fill(rows));
    let refused: unknown;
    while (refused === undefined) {
      seq += 1;
      refused = await commit(seq).then(
        () => undefined,
        (error: unknown) => error,
      );
    }
    expect(refused).toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("its disk is full") });
    expect(await points()).toBe((seq - 1) * SERIES);

    clock.shift(31 * DAY_MS);
    await compaction.runOnce();
    expect(compaction.stats().deleted).toBeGreaterThanOrEqual(500 + SERIES);
    expect(await store.listAudit({ limit: 1 })).toMatchObject({ items: [] });
    expect(await points()).toBe((seq - 1) * SERIES);

    expect(await fill(1)).toBe(false);
    // Gives back what was deleted, as the server does by itself once a minute where it has room to begin.
    await client.query("vacuum paramedic_operator_audit");
    expect(await commit(seq)).toBe(true);
    expect(await commit(seq)).toBe(false);
    await client.query("drop table filler");
    await compaction.runOnce();
    expect(await commit(seq + 1)).toBe(true);
    expect(await points()).toBe((seq + 1) * SERIES);
    expect(await store.ledger()).toMatchObject([{ batches: seq + 1, recorded: (seq + 1) * SERIES }]);
  }, 90_000);
});
