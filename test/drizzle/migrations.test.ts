import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { getTableColumns, getTableName, getViewName, is } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { migrate } from "drizzle-orm/better-sqlite3/migrator";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { SQLiteTable } from "drizzle-orm/sqlite-core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as relations from "../../drizzle/relations.js";
import * as schema from "../../drizzle/self-healing-schema.js";
import { findMigrationsFolder } from "../../server/adapters/migrations-folder.js";
import { migrateSqlite } from "../../server/adapters/sqlite/migrate.js";
import { migrateSqliteBack } from "../../server/adapters/sqlite/migrate-back.js";
import { createSqliteWriter, type WriteCommands } from "../../server/adapters/sqlite/sqlite-writer.js";
import { createTempFolder, type TempFolder } from "../adapters/sqlite/temp-database.js";
import {
  batchOf,
  circuitOf,
  durations,
  rescueOf,
  START,
  sightingOf,
  summaryOf,
  transitionOf,
} from "../conformance/store-fixtures.js";

/** As many as ship with the package. */
const SHIPPED = readMigrationFiles({ migrationsFolder: findMigrationsFolder("sqlite") }).length;
/** The SQLite schema in which each batch of the ledger has a row and no boot a mark. */
const BEFORE_MARKS = 2;

describe("migrations", () => {
  let temp: TempFolder;

  beforeEach(() => {
    temp = createTempFolder();
  });
  afterEach(() => temp.remove());

  const inspect = <T>(look: (raw: Database.Database) => T): T => {
    const raw = new Database(temp.path, { readonly: true });
    try {
      return look(raw);
    } finally {
      raw.close();
    }
  };

  /** A folder as the next version of the package will have it: one migration more. */
  const nextVersion = (sql: string): string => {
    const folder = join(temp.folder, "next");
    cpSync(findMigrationsFolder("sqlite"), folder, { recursive: true });
    const journalPath = join(folder, "meta", "_journal.json");
    const journal = JSON.parse(readFileSync(journalPath, "utf8"));
    const last = journal.entries.at(-1);
    journal.entries.push({ ...last, idx: last.idx + 1, when: last.when + 1, tag: "9999_next" });
    writeFileSync(journalPath, JSON.stringify(journal));
    writeFileSync(join(folder, "9999_next.sql"), sql);
    return folder;
  };

  /** A folder as the first version of the package had it. */
  const onlyFirst = (): string => {
    const folder = join(temp.folder, "only-first");
    cpSync(findMigrationsFolder("sqlite"), folder, { recursive: true });
    const journalPath = join(folder, "meta", "_journal.json");
    const journal = JSON.parse(readFileSync(journalPath, "utf8"));
    writeFileSync(journalPath, JSON.stringify({ ...journal, entries: journal.entries.slice(0, 1) }));
    return folder;
  };
  /** Columns that were added later stand on the same line in what SQLite remembers. */
  const withoutSpace = (schemaRows: unknown) => JSON.stringify(schemaRows).replace(/\\[nt]|\s/g, "");

  it("make every table of the schema with every column", () => {
    migrateSqlite(temp.path);
    const tables = Object.values(schema).filter((value) => is(value, SQLiteTable));
    expect(tables.length).toBeGreaterThan(20);
    for (const table of tables) {
      const columns = inspect((raw) => raw.pragma(`table_info(${getTableName(table)})`));
      const expected = Object.values(getTableColumns(table)).map(({ name }) => ({ name }));
      expect(columns, getTableName(table)).toEqual(expected.map((column) => expect.objectContaining(column)));
    }
    const view = inspect((raw) => raw.pragma(`table_info(${getViewName(schema.systemHealthMetrics)})`));
    expect(view).toEqual(
      ["id", "timestamp", "metric_type", "metric_name", "value", "unit", "tags", "source", "created_at"]
        .concat("resolution_ms", "count", "sum", "min", "max", "buckets")
        .map((name) => expect.objectContaining({ name })),
    );
  });

  it("keep rollups in their key, without a rowid", () => {
    migrateSqlite(temp.path);
    const made = inspect((raw) =>
      raw.prepare("select sql from sqlite_master where name = 'paramedic_rollups'").pluck().get(),
    );
    expect(made).toMatch(/WITHOUT ROWID$/);
  });

  it("are applied once", () => {
    expect(migrateSqlite(temp.path)).toEqual({ applied: SHIPPED });
    expect(migrateSqlite(temp.path)).toEqual({ applied: 0 });
  });

  it("stand beside a host app's own migrations, whoever comes first", () => {
    const hostFolder = join(temp.folder, "host");
    mkdirSync(join(hostFolder, "meta"), { recursive: true });
    const hostMigration = (idx: number, sql: string) => {
      const path = join(hostFolder, "meta", "_journal.json");
      const entries = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).entries : [];
      entries.push({ idx, version: "6", when: 1_000 + idx, tag: `000${idx}_host`, breakpoints: true });
      writeFileSync(path, JSON.stringify({ version: "7", dialect: "sqlite", entries }));
      writeFileSync(join(hostFolder, `000${idx}_host.sql`), sql);
      const raw = new Database(temp.path);
      migrate(drizzle(raw), { migrationsFolder: hostFolder });
      raw.close();
    };
    hostMigration(0, "create table users (id integer primary key, name text)");
    expect(migrateSqlite(temp.path)).toEqual({ applied: SHIPPED });
    hostMigration(1, "alter table users add column mail text");
    expect(migrateSqlite(temp.path)).toEqual({ applied: 0 });
    expect(inspect((raw) => raw.prepare("select count(*) from __drizzle_migrations").pluck().get())).toBe(2);
    expect(inspect((raw) => raw.prepare("select count(*) from paramedic_migrations").pluck().get())).toBe(SHIPPED);
    expect(inspect((raw) => raw.pragma("table_info(users)"))).toHaveLength(3);
  });

  it("copy a file of ours before they change it, for its owner alone", () => {
    migrateSqlite(temp.path);
    const writer = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
    writer.commands.commitBatch(batchOf(), START);
    writer.close();
    expect(
      migrateSqlite(temp.path, { migrationsFolder: nextVersion("create table paramedic_next (id integer)") }),
    ).toEqual({
      applied: 1,
    });
    const copy = `${temp.path}.before-${SHIPPED}.backup`;
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    const raw = new Database(copy, { readonly: true });
    expect(raw.prepare("select points from paramedic_ingest_ledger").pluck().all()).toEqual([3]);
    expect(raw.prepare("select count(*) from sqlite_master where name = 'paramedic_next'").pluck().get()).toBe(0);
    raw.close();
    expect(readdirSync(temp.folder).filter((name) => name.includes("backup"))).toEqual([
      `paramedic.db.before-${SHIPPED}.backup`,
    ]);
  });

  it("do not copy a host app's file", () => {
    migrateSqlite(temp.path);
    const host = new Database(temp.path);
    host.exec("create table users (id integer primary key)");
    host.close();
    migrateSqlite(temp.path, { migrationsFolder: nextVersion("create table paramedic_next (id integer)") });
    expect(existsSync(`${temp.path}.before-${SHIPPED}.backup`)).toBe(false);
  });

  it("are all applied or none, and can be tried again", () => {
    const folder = nextVersion("create table paramedic_next (id integer);\n--> statement-breakpoint\nnot sql at all");
    expect(() => migrateSqlite(temp.path, { migrationsFolder: folder })).toThrow(
      expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
    );
    expect(inspect((raw) => raw.prepare("select count(*) from sqlite_master").pluck().get())).toBe(0);
    expect(migrateSqlite(temp.path)).toEqual({ applied: SHIPPED });
  });

  it("refuse a newer schema in one line", () => {
    migrateSqlite(temp.path, { migrationsFolder: nextVersion("create table paramedic_next (id integer)") });
    try {
      migrateSqlite(temp.path);
      expect.fail("a newer schema was accepted");
    } catch (error) {
      expect(error).toMatchObject({ code: "STORE_SCHEMA_NEWER" });
      expect(String(error)).not.toContain("\n");
    }
  });

  it("go down and up again with their rows, after a copy: nothing that the older schema holds is lost", () => {
    migrateSqlite(temp.path);
    const writer = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
    const sighting = sightingOf();
    writer.commands.commitBatch(batchOf(), START);
    writer.commands.recordFailures([sighting], START);
    writer.commands.compactRollups({ resolutionMs: 10_000, before: START + 60_000, limit: 100 });
    writer.commands.pruneRollups({ resolutionMs: 10_000, before: START, limit: 100 });
    writer.close();
    const schemaText = () =>
      inspect((raw) => raw.prepare("select type, name, sql from sqlite_master order by type, name").all());
    const rows = () =>
      inspect((raw) => ({
        rollups: raw
          .prepare("select series_id, bucket, count, sum from paramedic_rollups where resolution_ms = 10000")
          .all(),
        failures: raw.prepare("select * from failure_events").all(),
        view: raw.prepare("select id, timestamp, value from system_health_metrics").all(),
      }));
    const upSchema = schemaText();
    const before = rows();
    expect(before.rollups).toHaveLength(1);

    const first = join(temp.folder, "first.db");
    migrateSqlite(first, { migrationsFolder: onlyFirst() });
    const older = new Database(first, { readonly: true });
    const downSchema = older.prepare("select type, name, sql from sqlite_master order by type, name").all();
    older.close();

    expect(migrateSqliteBack(temp.path, SHIPPED)).toEqual({ undone: 0, backup: undefined });
    const { undone, backup } = migrateSqliteBack(temp.path, 1);
    expect(undone).toBe(SHIPPED - 1);
    expect(backup).toBe(`${temp.path}.before-${SHIPPED}-to-1.backup`);
    expect(statSync(backup ?? "").mode & 0o777).toBe(0o600);
    expect(withoutSpace(schemaText())).toEqual(withoutSpace(downSchema));
    expect(rows()).toEqual(before);

    expect(migrateSqlite(temp.path)).toEqual({ applied: SHIPPED - 1 });
    expect(withoutSpace(schemaText())).toEqual(withoutSpace(upSchema));
    expect(rows()).toEqual(before);
    const again = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
    expect(again.commands.compactRollups({ resolutionMs: 10_000, before: START + 60_000, limit: 100 })).toBe(1);
    again.close();

    expect(migrateSqliteBack(temp.path, 1).backup).toBe(`${temp.path}.before-${SHIPPED}-to-1.2.backup`);
    expect(existsSync(backup ?? "")).toBe(true);
  });

  it("go down and up again with their ledger: batches stay counted, losses stay known", () => {
    const batches = [10, 20, 30, 40, 50].map((points, index, all) => ({
      ...batchOf({ seq: index + 1, windowEnd: START + (index + 1) * 1_000 }, Array(points).fill(1)),
      recordedTotal: all.slice(0, index + 1).reduce((sum, one) => sum + one, 0),
    }));
    const [one, two, , four, five] = batches;
    if (!one || !two || !four || !five) throw new Error("there are five");
    const written = <T>(work: (commands: WriteCommands) => T): T => {
      const writer = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
      try {
        return work(writer.commands);
      } finally {
        writer.close();
      }
    };
    const settle = () => written(({ settleBatches }) => settleBatches({ before: START + 1, limit: 100 }));
    const books = () =>
      inspect((raw) => ({
        boots: raw.prepare("select recorded, points, lost, settled_seq from paramedic_ingest_boots").all(),
        gaps: raw.prepare("select first_seq, last_seq, points from paramedic_ingest_gaps").all(),
      }));
    migrateSqlite(temp.path);
    written(({ commitBatch }) => [one, two, four].map((batch) => commitBatch(batch, START)));
    settle();
    written(({ commitBatch }) => commitBatch(five, START));
    const seqs = () =>
      inspect((raw) => raw.prepare("select seq from paramedic_ingest_ledger order by seq").pluck().all());
    expect(seqs()).toEqual([5]);

    migrateSqliteBack(temp.path, BEFORE_MARKS);
    expect(seqs()).toEqual([1, 2, 4, 5]);
    migrateSqlite(temp.path);
    expect(written(({ commitBatch }) => [one, two, four, five].map((batch) => commitBatch(batch, START)))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    settle();
    expect(books()).toEqual({
      boots: [{ recorded: 150, points: 120, lost: 30, settled_seq: 5 }],
      gaps: [{ first_seq: 3, last_seq: 3, points: 30 }],
    });
  });

  it("refuse to go back further than there is, forwards, or past a migration that they do not know", () => {
    migrateSqlite(temp.path, { migrationsFolder: nextVersion("create table paramedic_next (id integer)") });
    for (const version of [0, SHIPPED + 2, 1.5]) {
      expect(() => migrateSqliteBack(temp.path, version)).toThrow(
        expect.objectContaining({ code: "STORE_REQUEST_INVALID" }),
      );
    }
    expect(() => migrateSqliteBack(temp.path, 1)).toThrow(expect.objectContaining({ code: "STORE_SCHEMA_NEWER" }));
    expect(readdirSync(temp.folder).filter((name) => name.includes("backup"))).toEqual([]);
    expect(() => migrateSqliteBack(join(temp.folder, "none.db"), 1)).toThrow(
      expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
    );
  });

  it("ship a way down for each but the first", () => {
    const folder = findMigrationsFolder("sqlite");
    const journal = JSON.parse(readFileSync(join(folder, "meta", "_journal.json"), "utf8"));
    for (const { tag } of journal.entries.slice(1))
      expect(existsSync(join(folder, "down", `${tag}.sql`)), tag).toBe(true);
  });

  it("are found from the sources and from a flat bundle, and not taken from a host app", () => {
    const shipped = findMigrationsFolder("sqlite");
    expect(existsSync(join(shipped, "0000_paramedic.sql"))).toBe(true);
    const root = join(temp.folder, "app");
    const installed = join(root, "node_modules", "paramedic");
    for (const folder of [root, installed]) {
      const migrations = join(folder, "drizzle", "sqlite", "migrations", "meta");
      mkdirSync(migrations, { recursive: true });
      const tag = folder === root ? "0000_host" : "0000_paramedic";
      writeFileSync(join(migrations, "_journal.json"), JSON.stringify({ entries: [{ idx: 0, tag }] }));
    }
    expect(findMigrationsFolder("sqlite", join(installed, "dist", "index.js"))).toBe(
      join(installed, "drizzle", "sqlite", "migrations"),
    );
    expect(() => findMigrationsFolder("sqlite", join(root, "bundle", "server.js"))).toThrow(
      expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
    );
  });

  it("carry the view of metrics: mean of a histogram, sum of a counter, last of a gauge", () => {
    migrateSqlite(temp.path);
    const writer = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
    const kinds = ["histogram", "counter", "gauge"] as const;
    writer.commands.commitBatch(
      {
        ...batchOf(),
        series: kinds.map((kind) => ({ ...durations, metricName: kind, kind, ...summaryOf([1, 2, 6]) })),
      },
      START,
    );
    writer.close();
    const raw = new Database(temp.path, { readonly: true });
    const rows = drizzle(raw).select().from(schema.systemHealthMetrics).all();
    raw.close();
    expect(rows.map(({ metricName, value }) => [metricName, value])).toEqual([
      ["histogram", 3],
      ["counter", 9],
      ["gauge", 6],
    ]);
    expect(rows[0]).toMatchObject({ timestamp: START, tags: durations.tags, source: durations.source, count: 3 });
  });

  it("carry each point once in the view, in the finest row that is kept, whatever is compacted and deleted", () => {
    const DAY = 86_400_000;
    const told = () =>
      inspect((raw) => ({
        points: raw.prepare("select sum(count) from system_health_metrics").pluck().get(),
        widths: raw.prepare("select distinct resolution_ms from system_health_metrics order by 1").pluck().all(),
      }));
    migrateSqlite(temp.path);
    const { commands, close } = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
    for (const [index, offset] of [0, 15_000, 70_000, DAY].entries()) {
      commands.commitBatch(batchOf({ seq: index + 1, windowEnd: START + offset + 1 }), START);
    }
    expect(told()).toEqual({ points: 12, widths: [10_000] });
    for (const resolutionMs of [10_000, 60_000, 3_600_000]) {
      commands.compactRollups({ resolutionMs, before: START + 2 * DAY, limit: 100 });
      expect(told()).toEqual({ points: 12, widths: [10_000] });
    }
    commands.pruneRollups({ resolutionMs: 10_000, before: START + DAY, limit: 100 });
    expect(told()).toEqual({ points: 12, widths: [10_000, 60_000] });
    commands.pruneRollups({ resolutionMs: 60_000, before: START + DAY, limit: 100 });
    commands.pruneRollups({ resolutionMs: 3_600_000, before: START + DAY, limit: 100 });
    expect(told()).toEqual({ points: 12, widths: [10_000, DAY] });
    commands.commitBatch(batchOf({ seq: 9, windowEnd: START + 20_001 }), START);
    expect(told()).toEqual({ points: 15, widths: [10_000, DAY] });
    close();
  });

  it("fit the relations: a failure is read with its recovery actions and transitions in one query", () => {
    migrateSqlite(temp.path);
    const writer = createSqliteWriter(temp.path, { busyTimeoutMs: 100 });
    const sighting = sightingOf();
    const { eventId } = sighting.failure;
    writer.commands.recordFailures([sighting], START);
    writer.commands.recordRescues([rescueOf(eventId)], START);
    writer.commands.commitTransition(circuitOf({ version: 1 }), transitionOf({ failureEventId: eventId }));
    writer.close();
    const raw = new Database(temp.path, { readonly: true });
    const found = drizzle(raw, { schema: { ...schema, ...relations } })
      .query.failureEvents.findMany({ with: { recoveryActions: true, transitions: { with: { circuit: true } } } })
      .sync();
    raw.close();
    expect(found).toMatchObject([
      { eventId, recoveryActions: [{ status: "succeeded" }], transitions: [{ circuit: { version: 1 } }] },
    ]);
  });
});
