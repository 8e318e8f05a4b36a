import Database from "better-sqlite3";
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CircuitBreakerError } from "../../../server/circuit/circuit-breaker-error.js";
import { nameQuery } from "../../../server/guard/database/query-name.js";
import { makeGuards, openDatabase, schema, users } from "../../support/database-fixture.js";
import { type DatabaseLock, lockDatabase } from "../../support/database-lock.js";
import { createFakeClock } from "../../support/fake-clock.js";

let opened: ReturnType<typeof openDatabase>;
let lock: DatabaseLock | undefined;

beforeEach(() => {
  opened = openDatabase({ busyTimeoutMs: 0 });
});
afterEach(async () => {
  await lock?.kill();
  lock = undefined;
  opened.dispose();
});

function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("expected it to throw");
}

/** Makes each statement fail as a broken disk does. */
function breakDisk(client: Database.Database): { mend(): void } {
  const broken = { now: true };
  client.function("broken", () => {
    if (broken.now) throw Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_READ" });
    return 1;
  });
  return {
    mend() {
      broken.now = false;
    },
  };
}

describe("guardDatabase", () => {
  it("gives back the same database, with everything that it can do", async () => {
    const { guardDatabase } = makeGuards();
    const db: typeof opened.db = guardDatabase("db:main", opened.db);
    expect(db).toBe(opened.db);
    db.insert(users).values({ name: "ada" }).run();
    await db.insert(users).values({ name: "grace" });
    expect(db.select().from(users).all()).toHaveLength(2);
    expect(db.select().from(users).where(eq(users.name, "ada")).get()).toEqual({ id: 1, name: "ada" });
    expect(await db.query.users.findFirst()).toEqual({ id: 1, name: "ada" });
    expect(db.query.users.findMany().sync()).toHaveLength(2);
    expect(db.values(sql`select count(*) from users`)).toEqual([[2]]);
    expect(await db.$count(users)).toBe(2);
    expect(opened.client.prepare("SELECT name FROM users").pluck().all()).toEqual(["ada", "grace"]);
    expect([...opened.client.prepare("SELECT name FROM users").pluck().iterate()]).toEqual(["ada", "grace"]);
    expect(opened.client.prepare("SELECT id, name FROM users").raw().get()).toEqual([1, "ada"]);
    expect(opened.client.exec("DELETE FROM users")).toBe(opened.client);
    const statement = opened.client.prepare("SELECT 1");
    expect(statement.reader).toBe(true);
    expect(statement.database).toBe(opened.client);
  });

  it("keeps synchronous transactions as they are: values, rollbacks, savepoints, variants", () => {
    const { guardDatabase, journal } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    expect(
      db.transaction((tx) => tx.insert(users).values({ name: "ada" }).run().changes, { behavior: "immediate" }),
    ).toBe(1);
    const mistake = new Error("undo");
    const error = errorOf(() =>
      db.transaction((tx) => {
        tx.insert(users).values({ name: "grace" }).run();
        throw mistake;
      }),
    );
    expect(error).toBe(mistake);
    const insert = opened.client.transaction((name: string) => {
      opened.client.prepare("INSERT INTO users (name) VALUES (?)").run(name);
      return name;
    });
    expect(insert("edsger")).toBe("edsger");
    expect(insert.exclusive("barbara")).toBe("barbara");
    expect(Reflect.get(insert, "database")).toBe(opened.client);
    expect(opened.names()).toEqual(["ada", "edsger", "barbara"]);
    expect(journal).toEqual([]);
  });

  it("guards once, however often it is asked, and refuses a second name", () => {
    const { guardDatabase, measured, databases } = makeGuards();
    guardDatabase("db:main", guardDatabase("db:main", opened.db));
    opened.db.select().from(users).all();
    expect(measured).toHaveLength(1);
    expect(databases().map(({ name }) => name)).toEqual(["db:main"]);
    expect(errorOf(() => guardDatabase("db:other", opened.db))).toMatchObject({ code: "OPERATION_INVALID" });
  });

  it("lets two guards on one database know nothing of each other", () => {
    const first = makeGuards();
    const second = makeGuards();
    first.guardDatabase("db:a", opened.db);
    second.guardDatabase("db:b", opened.db);
    opened.db.select().from(users).all();
    expect([first.measured.length, second.measured.length]).toEqual([1, 1]);
    first.registry.get("db:a")?.forceOpen("operator");
    expect(errorOf(() => opened.db.select().from(users).all())).toMatchObject({ circuitName: "db:a" });
    expect(second.registry.get("db:b")?.snapshot().failureCount).toBe(0);
  });

  it.each([
    ["nothing", {}],
    ["a bare connection", new Database(":memory:")],
    ["Drizzle's mock", drizzle.mock()],
  ])("refuses %s, and says what is supported", (_name, db) => {
    const error = errorOf(() => makeGuards().guardDatabase("db:main", db));
    expect(error).toMatchObject({ code: "OPERATION_INVALID" });
    expect(String(error)).toContain("better-sqlite3");
  });

  it("changes nothing while switched off", () => {
    const flags = { enabled: false, circuitBreakers: true, autoRecovery: true, retry: true };
    const { guardDatabase, measured } = makeGuards({ flags });
    const { prepare } = opened.client;
    guardDatabase("db:main", opened.db);
    expect(opened.client.prepare).toBe(prepare);
    opened.db.select().from(users).all();
    expect(measured).toEqual([]);
  });
});

describe("a guarded statement", () => {
  it("is measured under a name without its parameters", () => {
    const { guardDatabase, measured } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    db.insert(users).values({ name: "s3cret" }).run();
    db.select().from(users).where(eq(users.name, "s3cret")).all();
    expect(measured.map(({ descriptor }) => descriptor)).toMatchObject([
      {
        metricName: "db.client.operation.duration",
        unit: "s",
        source: "db:main",
        tags: { "db.system.name": "sqlite", "db.operation.name": "INSERT" },
      },
      { tags: { "db.operation.name": "SELECT" } },
    ]);
    expect(JSON.stringify(measured)).not.toContain("s3cret");
    for (const { value } of measured) expect(value).toBeGreaterThanOrEqual(0);
  });

  it("throws the database's own error by the same reference, and does not count the caller's mistakes", async () => {
    const { guardDatabase, registry, journal, measured } = makeGuards({}, { failureThreshold: 1 });
    const db = guardDatabase("db:main", opened.db);
    db.insert(users).values({ name: "ada" }).run();
    expect(errorOf(() => db.insert(users).values({ name: "ada" }).run())).toMatchObject({
      name: "SqliteError",
      code: "SQLITE_CONSTRAINT_UNIQUE",
    });
    expect(errorOf(() => opened.client.prepare("SELECT nonsense"))).toMatchObject({ code: "SQLITE_ERROR" });
    await expect(db.insert(users).values({ name: "ada" })).rejects.toMatchObject({ code: "SQLITE_CONSTRAINT_UNIQUE" });
    expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
    expect(journal).toEqual([]);
    expect(measured.at(-1)?.descriptor.tags["error.type"]).toBe("caller_error");
  });

  it("that meets a lock makes a failure event and never opens the circuit", async () => {
    const { guardDatabase, registry, failures } = makeGuards({}, { failureThreshold: 1 });
    const db = guardDatabase("db:main", opened.db);
    lock = await lockDatabase(opened.file);
    const error = errorOf(() => db.insert(users).values({ name: "s3cret" }).run());
    expect(error).toMatchObject({ code: "SQLITE_BUSY" });
    expect(failures()).toHaveLength(1);
    expect(failures()[0]).toMatchObject({
      failureCategory: "database",
      failureType: "database_busy",
      affectedService: "db:main",
      severity: "low",
      context: { code: "SQLITE_BUSY", operation: "INSERT", reason: "database_busy" },
    });
    expect(JSON.stringify(failures())).not.toContain("s3cret");
    expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("that meets a lock within a synchronous transaction makes one event, not two", async () => {
    const { guardDatabase, failures } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    lock = await lockDatabase(opened.file, "IMMEDIATE");
    const write = () => db.transaction((tx) => tx.insert(users).values({ name: "ada" }).run());
    expect(errorOf(write)).toMatchObject({ code: "SQLITE_BUSY" });
    expect(failures()).toHaveLength(1);
    const begin = () => db.transaction(() => 1, { behavior: "immediate" });
    expect(errorOf(begin)).toMatchObject({ code: "SQLITE_BUSY" });
    expect(failures()).toHaveLength(2);
  });

  it("opens the circuit when the database is broken, then fails at once and says why", () => {
    const disk = breakDisk(opened.client);
    const { guardDatabase, registry, failures } = makeGuards({}, { failureThreshold: 3 });
    const db = guardDatabase("db:main", opened.db);
    for (let i = 0; i < 3; i += 1) {
      expect(errorOf(() => opened.client.prepare("SELECT broken()").get())).toMatchObject({
        code: "SQLITE_IOERR_READ",
      });
    }
    expect(failures().map(({ failureType }) => failureType)).toEqual(Array(3).fill("database_connection"));
    disk.mend();
    for (const run of [
      () => db.select().from(users).all(),
      () => opened.client.exec("SELECT 1"),
      () => db.transaction(() => 1),
    ]) {
      const error = errorOf(run);
      expect(error).toBeInstanceOf(CircuitBreakerError);
      expect(error).toMatchObject({ circuitName: "db:main", code: "SERVICE_UNAVAILABLE" });
    }
    expect(failures()).toHaveLength(3);
    registry.get("db:main")?.reset("operator");
    expect(db.select().from(users).all()).toEqual([]);
  });

  it("in a transaction is a part of the transaction's probe while the circuit is half open", async () => {
    const clock = createFakeClock();
    const guards = makeGuards({ clock }, { halfOpenPermits: 1, successThreshold: 2, resetTimeoutMs: 1_000 });
    const db = guards.guardDatabase("db:main", opened.db);
    guards.registry.get("db:main")?.forceOpen("operator");
    await clock.advance(1_000);
    db.transaction((tx) => {
      tx.insert(users).values({ name: "ada" }).run();
      tx.insert(users).values({ name: "grace" }).run();
    });
    expect(guards.registry.get("db:main")?.snapshot()).toMatchObject({ state: "half_open", successCount: 1 });
    await guards.transaction(db, async (tx) => {
      await tx.insert(users).values({ name: "edsger" });
    });
    expect(guards.registry.get("db:main")?.snapshot().state).toBe("closed");
    expect(opened.names()).toEqual(["ada", "grace", "edsger"]);
  });

  it("that fails inside a transaction is counted once, whatever the transaction rethrows", () => {
    breakDisk(opened.client);
    const { guardDatabase, registry } = makeGuards({}, { failureThreshold: 10 });
    const db = guardDatabase("db:main", opened.db);
    errorOf(() => db.transaction((tx) => tx.get(sql`select broken()`)));
    expect(registry.get("db:main")?.snapshot().failureCount).toBe(1);
  });

  it("of a closed connection says so, and is a failure", () => {
    const { guardDatabase, failures } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    opened.client.close();
    expect(() => db.select().from(users).all()).toThrow("not open");
    expect(failures()[0]).toMatchObject({ failureType: "database_connection", context: { reason: "database_closed" } });
  });

  it("is pinged outside of the circuit", () => {
    const { guardDatabase, databases, registry } = makeGuards();
    guardDatabase("db:main", opened.db);
    registry.get("db:main")?.forceOpen("operator");
    expect(() => databases()[0]?.ping()).not.toThrow();
    opened.client.close();
    expect(() => databases()[0]?.ping()).toThrow();
  });
});

describe("a query's name", () => {
  it("is the same for other literals, other lists and other space", () => {
    const names = [
      "select * from users where id in (?, ?)",
      "SELECT *  from users\nwhere id in (?)",
      "select * from users where id in (1, 2, 3)",
      "select * from users where id in ('a')",
    ].map((text) => nameQuery(text));
    expect(new Set(names.map(({ fingerprint }) => fingerprint)).size).toBe(1);
    expect(new Set(names.map(({ operation }) => operation))).toEqual(new Set(["SELECT"]));
    expect(nameQuery("select * from orders").fingerprint).not.toBe(names[0]?.fingerprint);
    expect(nameQuery("insert into t values (?, ?), (?, ?)")).toEqual(nameQuery("insert into t values (?, ?)"));
    expect(nameQuery("").operation).toBe("OTHER");
  });
});

it("leaves a database that was never guarded alone", () => {
  const db = drizzle(opened.client, { schema });
  makeGuards();
  expect(Object.hasOwn(opened.client, "prepare")).toBe(false);
  expect(db.select().from(users).all()).toEqual([]);
});
