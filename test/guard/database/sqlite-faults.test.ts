/** SQLite under real faults, each with the outcome that is promised for it. */
import type Database from "better-sqlite3";
import { sql } from "drizzle-orm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DatabaseError } from "../../../server/guard/database/database-error.js";
import { registerDatabaseHealthCheck } from "../../../server/health/built-in-checks.js";
import { HealthCheckRegistry } from "../../../server/health/health-check-registry.js";
import { classify } from "../../../shared/classify.js";
import { makeGuards, openDatabase, users } from "../../support/database-fixture.js";
import { type DatabaseLock, lockDatabase } from "../../support/database-lock.js";

let opened: ReturnType<typeof openDatabase>;
let lock: DatabaseLock | undefined;

beforeEach(() => {
  opened = openDatabase({ busyTimeoutMs: 5_000 });
});
afterEach(async () => {
  await lock?.kill();
  lock = undefined;
  opened.dispose();
});

const errorOf = (work: PromiseLike<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

/** How long the driver would have blocked for a lock at each statement that ran from now on; milliseconds. */
function noteBusyTimeouts(client: Database.Database): unknown[] {
  const noted: unknown[] = [];
  const prepare = client.prepare.bind(client);
  const noting = (sql: string) => {
    const statement = prepare(sql);
    for (const method of ["run", "get", "all"] as const) {
      const execute = statement[method].bind(statement);
      statement[method] = (...values: unknown[]): never => {
        if (!sql.startsWith("PRAGMA")) noted.push(prepare("PRAGMA busy_timeout").pluck().get());
        return execute(...values) as never;
      };
    }
    return statement;
  };
  Object.assign(client, { prepare: noting });
  return noted;
}

describe("a guarded SQLite file that another process has locked", () => {
  it("lets an awaited statement wait without blocking the event loop, and do its work when the lock is gone", async () => {
    const { guardDatabase, failures, rescues, registry } = makeGuards({}, { failureThreshold: 1 });
    const blocked = noteBusyTimeouts(opened.client);
    const db = guardDatabase("db:main", opened.db);
    lock = await lockDatabase(opened.file);
    const writing = (async () => {
      await db.insert(users).values({ name: "ada" });
    })();
    const reading = (async () => await db.select().from(users))();
    const counting = db.$count(users);
    const all = Promise.all([writing, reading, counting]);
    while (failures().length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await lock.release();
    lock = undefined;
    await all;
    expect(opened.names()).toEqual(["ada"]);
    // Inside of the driver it would have been the whole of it, up to 5 s.
    expect(blocked.length).toBeGreaterThan(3);
    expect(new Set(blocked)).toEqual(new Set([0]));
    expect(failures()).toHaveLength(3);
    expect(failures()[0]).toMatchObject({ failureType: "database_busy", severity: "low" });
    expect(rescues().map(({ actionStrategy, status }) => [actionStrategy, status])).toEqual(
      Array(3).fill(["statement_retry", "succeeded"]),
    );
    expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("makes an awaited statement give up at its deadline, with the database's own error", async () => {
    const { guardDatabase, rescues } = makeGuards({}, { timeoutMs: 200 });
    const db = guardDatabase("db:main", opened.db);
    lock = await lockDatabase(opened.file);
    const error = await errorOf(db.insert(users).values({ name: "ada" }));
    expect(error).toMatchObject({ code: "SQLITE_BUSY" });
    expect(rescues()).toMatchObject([{ status: "timed_out", target: "db:main" }]);
  });

  it("makes a synchronous statement fail fast and say why", async () => {
    const { guardDatabase } = makeGuards();
    const db = guardDatabase("db:main", opened.db, { busyTimeoutMs: 50 });
    lock = await lockDatabase(opened.file);
    for (const run of [
      () => db.insert(users).values({ name: "ada" }).run(),
      () => opened.client.exec("DELETE FROM users"),
      () => db.transaction((tx) => tx.insert(users).values({ name: "ada" }).run(), { behavior: "immediate" }),
    ]) {
      const startedAt = performance.now();
      let error: unknown;
      try {
        run();
      } catch (thrown) {
        error = thrown;
      }
      expect(performance.now() - startedAt).toBeLessThan(1_000);
      expect(error).toMatchObject({ name: "SqliteError", code: "SQLITE_BUSY" });
      expect(String(error)).toMatch(/database is locked: another connection holds the lock.* await the statement/);
      expect(String(error)).toContain("50 ms");
      expect(classify(error, "db:main").reason).toBe("database_busy");
    }
  });

  it("leaves the app its own waiting while the mode only watches", async () => {
    opened.dispose();
    opened = openDatabase({ busyTimeoutMs: 150 });
    const { guardDatabase } = makeGuards({ settings: { mode: () => "monitor", stopped: () => false } });
    const db = guardDatabase("db:main", opened.db, { busyTimeoutMs: 0 });
    lock = await lockDatabase(opened.file);
    const startedAt = performance.now();
    expect(() => db.insert(users).values({ name: "ada" }).run()).toThrow(/^database is locked$/);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(140);
  });

  it("is free again when that process is killed, and what it had begun is gone", async () => {
    const { guardDatabase } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    lock = await lockDatabase(opened.file);
    const writing = errorOf(db.insert(users).values({ name: "ada" }));
    await lock.kill();
    lock = undefined;
    expect(await writing).toBeUndefined();
    expect(opened.names()).toEqual(["ada"]);
  });

  it.each([
    ["busyTimeoutMs", -1],
    ["busyTimeoutMs", 60_001],
    ["busyTimeoutMs", Number.NaN],
  ])("refuses %s: %d", (option, value) => {
    expect(() => makeGuards().guardDatabase("db:main", opened.db, { [option]: value })).toThrow(
      'guard "db:main": busyTimeoutMs: got',
    );
  });
});

describe("a guarded SQLite database that takes no writes", () => {
  it("for want of room goes on reading, refuses writes, says so in health, and takes them again", async () => {
    const { guardDatabase, databases, failures, rescues, registry } = makeGuards({}, { failureThreshold: 1 });
    const db = guardDatabase("db:main", opened.db);
    await db.insert(users).values({ name: "ada" });
    const pages = Number(opened.client.pragma("page_count", { simple: true }));
    opened.client.pragma(`max_page_count = ${pages}`);
    opened.client.pragma("user_version = 42");
    const health = new HealthCheckRegistry();
    for (const database of databases()) registerDatabaseHealthCheck(health, database);

    const long = "x".repeat(100_000);
    expect(await errorOf(db.insert(users).values({ name: long }))).toMatchObject({ code: "SQLITE_FULL" });
    expect(failures()).toMatchObject([{ failureType: "disk_full", severity: "critical" }]);
    await expect.poll(() => databases()[0]?.degradedBecause()).toContain("its disk is full");

    const refused = await errorOf(db.insert(users).values({ name: "refused" }));
    expect(refused).toBeInstanceOf(DatabaseError);
    expect(refused).toMatchObject({ reason: "read_only", service: "db:main", code: "SERVICE_UNAVAILABLE" });
    expect(() => db.delete(users).run()).toThrow("takes no writes now, because its disk is full");
    expect(await db.select().from(users)).toMatchObject([{ name: "ada" }]);
    expect((await health.executeAll()).checks[0]).toMatchObject({
      name: "database",
      status: "degraded",
      message: "takes no writes, because its disk is full; reads go on",
    });
    expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });

    opened.client.pragma("max_page_count = 100000");
    await expect.poll(() => databases()[0]?.degradedBecause(), { timeout: 10_000 }).toBeUndefined();
    await db.insert(users).values({ name: long });
    expect(opened.names()).toEqual(["ada", long]);
    // The probes left nothing behind.
    expect(opened.client.pragma("user_version", { simple: true })).toBe(42);
    const tables = db.all(sql`select name from sqlite_schema where name like 'paramedic%'`);
    expect(tables).toEqual([]);
    expect(rescues().map(({ actionStrategy, status }) => [actionStrategy, status])).toEqual([
      ["read_only_mode", "succeeded"],
      ["writes_resumed", "succeeded"],
    ]);
  });

  it("because it is read-only does the same, for transactions too", async () => {
    const { guardDatabase, databases, transaction } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    await db.insert(users).values({ name: "ada" });
    opened.client.pragma("query_only = on");
    expect(await errorOf(db.insert(users).values({ name: "lost" }))).toMatchObject({ code: "SQLITE_READONLY" });
    await expect.poll(() => databases()[0]?.degradedBecause()).toContain("read-only");
    expect(await errorOf(transaction(db, async (tx) => tx.insert(users).values({ name: "lost" })))).toMatchObject({
      reason: "read_only",
    });
    expect(await transaction(db, async (tx) => tx.$count(users))).toBe(1);
    opened.client.pragma("query_only = off");
    await expect.poll(() => databases()[0]?.degradedBecause(), { timeout: 10_000 }).toBeUndefined();
    await transaction(db, async (tx) => tx.insert(users).values({ name: "grace" }));
    expect(opened.names()).toEqual(["ada", "grace"]);
  });

  it("is not taken for it when only one statement was refused", async () => {
    const { guardDatabase, databases, rescues } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    opened.client.pragma("query_only = on");
    expect(await errorOf(db.insert(users).values({ name: "lost" }))).toMatchObject({ code: "SQLITE_READONLY" });
    opened.client.pragma("query_only = off");
    await expect.poll(() => rescues()).toMatchObject([{ actionType: "reconnect", status: "succeeded" }]);
    expect(databases()[0]?.degradedBecause()).toBeUndefined();
    await db.insert(users).values({ name: "ada" });
  });

  it("is neither probed nor refused anything while circuit breakers are switched off", async () => {
    const flags = { enabled: true, circuitBreakers: false, autoRecovery: true, retry: true };
    const { guardDatabase, databases, rescues } = makeGuards({ flags });
    const db = guardDatabase("db:main", opened.db);
    opened.client.pragma("query_only = on");
    for (let i = 0; i < 3; i += 1) {
      expect(await errorOf(db.insert(users).values({ name: "lost" }))).toMatchObject({ code: "SQLITE_READONLY" });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(databases()[0]?.degradedBecause()).toBeUndefined();
    expect(rescues()).toEqual([]);
  });

  it("is probed no more once its guards are stopped", async () => {
    const guards = makeGuards();
    const db = guards.guardDatabase("db:main", opened.db);
    opened.client.pragma("query_only = on");
    guards.stop();
    await errorOf(db.insert(users).values({ name: "lost" }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(guards.databases()[0]?.degradedBecause()).toBeUndefined();
    expect(guards.rescues()).toEqual([]);
  });
});
