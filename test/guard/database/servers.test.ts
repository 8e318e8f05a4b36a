/** What a guard promises on every driver whose database is a server, told once and tried on each, on real servers. */
import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../../server/adapters/async-call-context.js";
import { CircuitBreakerError } from "../../../server/circuit/circuit-breaker-error.js";
import { TransactionError } from "../../../server/guard/database/transaction-error.js";
import { systemClock } from "../../../server/ports/clock.js";
import { classify } from "../../../shared/classify.js";
import { makeGuards } from "../../support/database-fixture.js";
import { createLeapingClock } from "../../support/leaping-clock.js";
import { type AnyDb, type AnyTx, type DatabaseServer, DRIVERS, startServerOf } from "../../support/server-databases.js";
import { callOf, settled } from "../guard-harness.js";

describe.each(DRIVERS)("a guarded database on %s", (driver) => {
  let server: DatabaseServer;
  let db: AnyDb;
  let close: () => Promise<unknown>;

  beforeAll(async () => {
    server = await startServerOf(driver);
  }, 120_000);
  afterAll(() => server.stop());
  beforeEach(() => {
    ({ db, close } = server.open());
  });
  afterEach(async () => {
    await close();
    await server.run("delete from users");
  });

  const insert = (on: Pick<AnyDb, "insert">, name: string) => on.insert(server.users).values({ name });
  const rename = (on: Pick<AnyDb, "execute">, from: string, to: string) =>
    on.execute(sql`update users set name = ${to} where name = ${from}`);

  it("is the same database, with everything that it can do", async () => {
    const { guardDatabase, journal } = makeGuards();
    expect(guardDatabase("db:main", db)).toBe(db);
    await insert(db, "ada");
    await insert(db, "grace");
    expect((await db.select().from(server.users)).map(({ name }) => name)).toEqual(["ada", "grace"]);
    expect((await db.query.users.findMany()).map(({ name }) => name)).toEqual(["ada", "grace"]);
    expect(await db.$count(server.users)).toBe(2);
    await rename(db, "ada", "barbara");
    await db.update(server.users).set({ name: "grace" }).where(sql`name = 'grace'`);
    await db.delete(server.users).where(sql`name = ${"grace"}`);
    expect(await server.names()).toEqual(["barbara"]);
    expect(journal).toEqual([]);
  });

  it("keeps Drizzle's transactions as they are: values, rollbacks, savepoints, isolation", async () => {
    const { guardDatabase, journal } = makeGuards();
    guardDatabase("db:main", db);
    const value = await db.transaction(
      async (tx) => {
        await insert(tx, "ada");
        const undone = tx.transaction(async (inner) => {
          await insert(inner, "undone");
          throw new Error("undo the inner one");
        });
        await expect(undone).rejects.toThrow("undo the inner one");
        await tx.transaction((inner) => Promise.resolve(insert(inner, "grace")));
        expect(await tx.$count(server.users)).toBe(2);
        expect((await tx.query.users.findMany()).length).toBe(2);
        expect(await server.names()).toEqual([]);
        return "done";
      },
      { isolationLevel: "serializable" },
    );
    expect(value).toBe("done");
    expect(await server.names()).toEqual(["ada", "grace"]);

    const mistake = new Error("undo");
    const failed = db.transaction(async (tx) => {
      await insert(tx, "edsger");
      throw mistake;
    });
    await expect(failed).rejects.toBe(mistake);
    await expect(db.transaction(async (tx) => tx.rollback())).rejects.toThrow("Rollback");
    expect(await server.names()).toEqual(["ada", "grace"]);
    expect(journal).toEqual([]);
  });

  it("measures every statement under OpenTelemetry's names, without its values", async () => {
    const { guardDatabase, measured } = makeGuards();
    guardDatabase("db:main", db);
    await insert(db, "s3cret");
    await db.execute(sql.raw("select * from users where name = 's3cret'"));
    await db.transaction((tx) => Promise.resolve(insert(tx, "s3cret too")));
    const durations = measured.filter(({ descriptor }) => descriptor.metricName === "db.client.operation.duration");
    const named = durations.map(({ descriptor }) => descriptor.tags["db.query.summary"]);
    expect(named.filter((name) => name !== "BEGIN" && name !== "COMMIT")).toEqual([
      "INSERT users",
      "SELECT users",
      "INSERT users",
      "TRANSACTION",
    ]);
    expect(durations[0]?.descriptor).toMatchObject({
      unit: "s",
      source: "db:main",
      tags: {
        "db.system.name": driver === "mysql2" ? "mysql" : "postgresql",
        "db.operation.name": "INSERT",
        "db.query.fingerprint": expect.stringMatching(/^[0-9a-f]{8}$/),
      },
    });
    expect(JSON.stringify(measured)).not.toContain("s3cret");
    const waits = measured.filter(({ descriptor }) => descriptor.metricName === "db.client.connection.wait_time");
    expect(waits).toHaveLength(driver === "postgres.js" ? 0 : 3);
  });

  it("throws what Drizzle throws, and does not count the caller's own mistakes", async () => {
    const { guardDatabase, registry, journal, measured } = makeGuards({}, { failureThreshold: 1 });
    guardDatabase("db:main", db);
    await insert(db, "ada");
    const error = await insert(db, "ada").then(undefined, (thrown: unknown) => thrown);
    expect(error).toMatchObject({ params: expect.arrayContaining(["ada"]), cause: { code: expect.any(String) } });
    await expect(db.execute(sql`select nonsense`)).rejects.toThrow("Failed query");
    expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
    expect(journal).toEqual([]);
    expect(measured.at(-1)?.descriptor.tags).toMatchObject({
      "error.type": "caller_error",
      "db.response.status_code": driver === "mysql2" ? "1054" : "42703",
    });
  });

  it("is guarded once, however often that is asked, and refuses a second name", async () => {
    const { guardDatabase, measured, databases } = makeGuards();
    guardDatabase("db:main", guardDatabase("db:main", db));
    await db.select().from(server.users);
    const durations = measured.filter(({ descriptor }) => descriptor.metricName === "db.client.operation.duration");
    expect(durations).toHaveLength(1);
    expect(databases().map(({ name }) => name)).toEqual(["db:main"]);
    expect(() => guardDatabase("db:other", db)).toThrow("already guarded");
  });

  it("is refused by an open circuit before anything is asked, transactions too", async () => {
    const { guardDatabase, transaction, registry } = makeGuards();
    guardDatabase("db:main", db);
    registry.get("db:main")?.forceOpen("operator");
    await expect(insert(db, "ada")).rejects.toBeInstanceOf(CircuitBreakerError);
    await expect(db.transaction(async () => 1)).rejects.toBeInstanceOf(CircuitBreakerError);
    await expect(transaction(db, async () => 1)).rejects.toMatchObject({ circuitName: "db:main" });
    expect(await server.names()).toEqual([]);
  });

  it("lets a transaction be one probe of a half-open circuit", async () => {
    const { guardDatabase, transaction, registry } = makeGuards(
      {},
      { halfOpenPermits: 1, successThreshold: 1, resetTimeoutMs: 1 },
    );
    guardDatabase("db:main", db);
    registry.get("db:main")?.forceOpen("operator");
    await new Promise((resolve) => setTimeout(resolve, 20));
    await transaction(db, async (tx: AnyTx) => {
      await insert(tx, "ada");
      await insert(tx, "grace");
    });
    expect(registry.get("db:main")?.snapshot().state).toBe("closed");
    expect(await server.names()).toEqual(["ada", "grace"]);
  });

  // The one driver for which Drizzle reads rows one by one.
  if (driver === "mysql2") {
    describe("whose rows are read one by one", () => {
      const rowsOf = (on: AnyDb, column?: object): AsyncGenerator<{ name: string }> => {
        const select: unknown = Reflect.apply(on.select, on, column === undefined ? [] : [{ name: column }]);
        const query: unknown = Reflect.apply(Reflect.get(Object(select), "from"), select, [server.users]);
        return Reflect.apply(Reflect.get(Object(query), "iterator"), query, []);
      };
      const read = async (rows: AsyncIterable<{ name: string }>, most = Number.POSITIVE_INFINITY) => {
        const names: string[] = [];
        for await (const { name } of rows) if (names.push(name) >= most) break;
        return names;
      };

      it("gives each, counts it as one statement, and needs no more connections than one", async () => {
        await close();
        ({ db, close } = server.open({ max: 1 }));
        const { guardDatabase, measured } = makeGuards();
        guardDatabase("db:main", db);
        for (const name of ["ada", "grace", "joan"]) await insert(db, name);
        const before = measured.filter(
          ({ descriptor }) => descriptor.metricName === "db.client.operation.duration",
        ).length;
        expect(await read(rowsOf(db))).toEqual(["ada", "grace", "joan"]);
        expect(await read(rowsOf(db), 1)).toEqual(["ada"]);
        expect(await read(rowsOf(db))).toEqual(["ada", "grace", "joan"]);
        const after = measured.filter(
          ({ descriptor }) => descriptor.metricName === "db.client.operation.duration",
        ).length;
        expect(after - before).toBe(2);
      });

      it("is refused by an open circuit, and tells no more of a caller who leaves than that", async () => {
        const clock = createLeapingClock();
        const { guardDatabase, registry, journal } = makeGuards(
          { clock },
          { successThreshold: 1, resetTimeoutMs: 60_000 },
        );
        guardDatabase("db:main", db);
        await insert(db, "ada");
        registry.get("db:main")?.forceOpen("operator");
        await expect(read(rowsOf(db))).rejects.toBeInstanceOf(CircuitBreakerError);
        await clock.leap(60_000);
        expect(await read(rowsOf(db), 1)).toEqual(["ada"]);
        expect(registry.get("db:main")?.snapshot().state).toBe("half_open");
        expect(await read(rowsOf(db))).toEqual(["ada"]);
        expect(registry.get("db:main")?.snapshot().state).toBe("closed");
        expect(journal.filter(({ type }) => type === "failure.observed")).toEqual([]);
      });

      it("has a statement's time for each row, and gives up the connection that hangs", async () => {
        await close();
        ({ db, close } = server.open({ max: 1 }));
        const clock = createLeapingClock();
        const { guardDatabase, failures } = makeGuards({ clock }, { timeoutMs: 60_000, failureThreshold: 100 });
        guardDatabase("db:main", db);
        await insert(db, "ada");
        const ended = expect(read(rowsOf(db, sql`sleep(20)`))).rejects.toMatchObject({ reason: "statement_timeout" });
        await expect.poll(() => server.busyWith("sleep(20)")).toBe(1);
        await clock.leap(60_000);
        await ended;
        expect(failures()).toMatchObject([{ failureType: "api_timeout", affectedService: "db:main" }]);
        expect(await read(rowsOf(db))).toEqual(["ada"]);
      });
    });
  }

  it("does not do a program again whose first part is committed, and tells of the conflict that it met", async () => {
    const { guardDatabase, failures, rescues } = makeGuards();
    guardDatabase("db:main", db);
    await server.run(
      driver === "mysql2"
        ? `create procedure pay() begin insert into users (name) values (uuid());
             signal sqlstate '40001' set mysql_errno = 1213, message_text = 'Deadlock found'; end`
        : `create procedure pay() language plpgsql as $$ begin insert into users (name) values (gen_random_uuid()); commit;
             raise exception 'conflict' using errcode = '40001'; end $$`,
    );
    const error = await Promise.resolve(db.execute(sql`call pay()`)).then(undefined, (thrown: unknown) => thrown);
    await server.run("drop procedure pay");
    expect(classify(error, "db:main")).toMatchObject({ failureType: "database_conflict" });
    expect(await server.names()).toHaveLength(1);
    expect(failures()).toMatchObject([{ failureType: "database_conflict" }]);
    expect(rescues()).toEqual([]);
  });

  describe("of a call in a hurry", () => {
    const sleep = driver === "mysql2" ? sql`select sleep(0.5)` : sql`select pg_sleep(0.5)`;
    const callContext = createAsyncCallContext();
    callContext.enable();
    const errorWithin = (leftMs: number, work: () => PromiseLike<unknown>) =>
      callContext.run(callOf({ deadlineAt: systemClock.monotonic() + leftMs }), () => settled(Promise.resolve(work())));

    it("sends nothing once there is no time, and gives no connection up for it", async () => {
      const { guardDatabase, transaction, registry, failures } = makeGuards({ callContext });
      guardDatabase("db:main", db);
      for (let call = 0; call < 6; call += 1) {
        expect(await errorWithin(-1, () => insert(db, `late ${call}`))).toMatchObject({
          error: { reason: "deadline" },
        });
        expect(await errorWithin(-1, () => db.transaction((tx) => Promise.resolve(insert(tx, "late"))))).toMatchObject({
          error: { reason: "deadline" },
        });
        expect(
          await errorWithin(-1, () => transaction(db, (tx: AnyTx) => Promise.resolve(insert(tx, "late")))),
        ).toMatchObject({ error: { reason: "deadline" } });
      }
      expect(await server.names()).toEqual([]);
      expect(failures()).toEqual([]);
      expect(registry.get("db:main")?.getState()).toMatchObject({ state: "closed", failureCount: 0 });
    });

    it("does not open the circuit for everybody when its time is up, and one that had the guard's own time does", async () => {
      const { guardDatabase, registry, failures } = makeGuards({ callContext }, { failureThreshold: 2 });
      guardDatabase("db:main", db, { timeoutMs: 100 });
      for (let call = 0; call < 4; call += 1) {
        expect(await errorWithin(50, () => db.execute(sleep))).toHaveProperty("error");
      }
      expect(registry.get("db:main")?.getState()).toMatchObject({ state: "closed", failureCount: 0 });
      expect(failures()).not.toEqual([]);
      for (let call = 0; call < 2; call += 1) {
        expect(await errorWithin(60_000, () => db.execute(sleep))).toMatchObject({
          error: { reason: expect.stringMatching(/^(statement_timeout|no_connection)$/) },
        });
      }
      expect(registry.get("db:main")?.getState()).toMatchObject({ state: "open" });
    });
  });

  it("changes nothing while it is switched off", async () => {
    const flags = { enabled: false, circuitBreakers: true, autoRecovery: true, retry: true };
    const { guardDatabase, measured } = makeGuards({ flags });
    const session: object = Reflect.get(db, "session");
    guardDatabase("db:main", db);
    expect(Object.hasOwn(session, "prepareQuery")).toBe(false);
    await insert(db, "ada");
    expect(measured).toEqual([]);
  });

  describe("a transaction of paramedic", () => {
    it("works without a guard as with one, and gives the value back", async () => {
      const { transaction, guardDatabase } = makeGuards();
      expect(await transaction(db, async (tx: AnyTx) => insert(tx, "ada").then(() => 1))).toBe(1);
      guardDatabase("db:main", db);
      await transaction(db, async (tx: AnyTx) => insert(tx, "grace"), { config: { isolationLevel: "serializable" } });
      expect(await server.names()).toEqual(["ada", "grace"]);
    });

    it("does all of it again when two of them lock each other out", async () => {
      const { transaction, guardDatabase, rescues, failures, registry } = makeGuards({}, { failureThreshold: 1 });
      guardDatabase("db:main", db);
      await insert(db, "a");
      await insert(db, "b");
      let bodies = 0;
      let waiting = 0;
      let go = () => {};
      const both = new Promise<void>((resolve) => {
        go = resolve;
      });
      const swap = (first: string, second: string) =>
        transaction(db, async (tx: AnyTx) => {
          bodies += 1;
          await rename(tx, first, first);
          waiting += 1;
          if (waiting === 2) go();
          await both;
          await rename(tx, second, second);
          return `${first}${second}`;
        });
      expect(await Promise.all([swap("a", "b"), swap("b", "a")])).toEqual(["ab", "ba"]);
      expect(bodies).toBe(3);
      expect(rescues()).toMatchObject([
        { actionType: "retry", actionStrategy: "transaction_retry", status: "succeeded", metadata: { attempts: 2 } },
      ]);
      expect(failures()).toMatchObject([{ failureType: "database_conflict", severity: "low" }]);
      expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
    });

    it("waits for a row that another session holds, again and again, until it lets go", async () => {
      const { transaction, guardDatabase, rescues, failures } = makeGuards();
      guardDatabase("db:main", db);
      await insert(db, "ada");
      const hasty =
        driver === "mysql2" ? sql`set session innodb_lock_wait_timeout = 1` : sql`set local lock_timeout = 50`;
      let release = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      const held = db.transaction(async (tx) => {
        await rename(tx, "ada", "ada");
        await released;
      });
      while ((await rowsLocked(db)) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      const waiting = transaction(db, async (tx: AnyTx) => {
        await tx.execute(hasty);
        await rename(tx, "ada", "grace");
      });
      while (failures().length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      release();
      await held;
      await waiting;
      expect(await server.names()).toEqual(["grace"]);
      expect(failures()).toMatchObject([{ failureType: "database_busy" }]);
      expect(rescues()).toMatchObject([{ status: "succeeded" }]);
    });

    it("has its like in one awaited statement, which waits for a row in the same way", async () => {
      const { guardDatabase, rescues, failures, registry } = makeGuards({}, { failureThreshold: 1 });
      await insert(db, "ada");
      const wait = (ms: number) =>
        driver === "mysql2"
          ? server.run(`set global innodb_lock_wait_timeout = ${Math.max(1, ms / 1_000)}`)
          : server.run(`alter database postgres set lock_timeout = ${ms}`);
      await wait(50);
      const hasty = server.open();
      let release = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      try {
        guardDatabase("db:main", hasty.db);
        const held = db.transaction(async (tx) => {
          await rename(tx, "ada", "ada");
          await released;
        });
        while ((await rowsLocked(db)) === 0) await new Promise((resolve) => setTimeout(resolve, 10));
        // Drizzle's queries begin when they are awaited.
        const waiting = (async () => await rename(hasty.db, "ada", "grace"))();
        while (failures().length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
        release();
        await held;
        await waiting;
        expect(await server.names()).toEqual(["grace"]);
        expect(failures()).toMatchObject([{ failureType: "database_busy", severity: "low" }]);
        expect(rescues()).toMatchObject([{ actionStrategy: "statement_retry", status: "succeeded" }]);
        expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
      } finally {
        release();
        await hasty.close();
        await wait(driver === "mysql2" ? 50_000 : 0);
      }
    });

    it("rolls back when its time is up, and its handle is over", async () => {
      await db.select().from(server.users);
      const clock = createLeapingClock();
      const { transaction } = makeGuards({ clock });
      let late: unknown;
      const run = transaction(
        db,
        async (tx: AnyTx) => {
          await insert(tx, "ada");
          await clock.leap(60_000);
          late = await insert(tx, "grace").then(undefined, (error: unknown) => error);
        },
        { timeoutMs: 60_000 },
      );
      await expect(run).rejects.toMatchObject({ reason: "deadline" });
      await expect.poll(() => late).toMatchObject({ reason: "over" });
      expect(await server.names()).toEqual([]);
      // The connection is free again.
      await insert(db, "next");
    });

    it("ends a statement that the server is still busy with, and gives its connection up", async () => {
      await close();
      ({ db, close } = server.open({ max: 1 }));
      await db.select().from(server.users);
      const clock = createLeapingClock();
      const { transaction } = makeGuards({ clock });
      const sleep = driver === "mysql2" ? sql`select sleep(30)` : sql`select pg_sleep(30)`;
      const run = transaction(db, async (tx: AnyTx) => tx.execute(sleep), { timeoutMs: 60_000 });
      const ended = expect(run).rejects.toMatchObject({ reason: "deadline" });
      await expect.poll(() => server.busyWith("sleep(30)")).toBe(1);
      await clock.leap(60_000);
      await ended;
      // No rollback gets through to it.
      await clock.leap(1_000);
      await insert(db, "next");
      expect(await server.names()).toEqual(["next"]);
    });

    it("leaves nothing to a handle that outlives it", async () => {
      const { transaction } = makeGuards();
      let leaked: AnyTx | undefined;
      await transaction(db, async (tx: AnyTx) => {
        leaked = tx;
      });
      await expect(leaked?.execute(sql`delete from users`)).rejects.toMatchObject({ reason: "over" });
      await expect(leaked?.execute(sql`rollback`)).rejects.toMatchObject({ reason: "over" });
    });

    it("does not take for committed what the server rolled back", async () => {
      const { transaction } = makeGuards();
      await insert(db, "ada");
      const run = transaction(db, async (tx: AnyTx) => {
        await insert(tx, "grace");
        await insert(tx, "ada").then(undefined, () => "never mind");
      });
      const error = await run.then(
        () => "committed",
        (thrown: unknown) => thrown,
      );
      // MySQL rolls the failed statement back alone; PostgreSQL the whole transaction, and says so in different ways.
      expect(await server.names()).toEqual(driver === "mysql2" ? ["ada", "grace"] : ["ada"]);
      if (driver === "mysql2") expect(error).toBe("committed");
      if (driver === "node-postgres") expect(error).toMatchObject({ reason: "rolled_back" });
      if (driver === "postgres.js") expect(classify(error, "db:main").reason).toBe("caller_error");
    });

    it("lets nothing be written by what goes on after a deadlock", async () => {
      const { transaction } = makeGuards();
      await insert(db, "a");
      await insert(db, "b");
      let waiting = 0;
      let go = () => {};
      const both = new Promise<void>((resolve) => {
        go = resolve;
      });
      let attempts = 0;
      const lock = (first: string, second: string, after: string) =>
        transaction(db, async (tx: AnyTx) => {
          attempts += 1;
          await rename(tx, first, first);
          waiting += 1;
          if (waiting === 2) go();
          await both;
          await rename(tx, second, second).catch(() => "never mind");
          await insert(tx, `${after} ${attempts}`).then(undefined, () => "never mind");
        });
      await Promise.all([lock("a", "b", "x"), lock("b", "a", "y")]);
      // Each of them once: what the loser wrote after its deadlock is gone, and what it wrote in its next attempt is there.
      const written = (await server.names()).slice(2).map((name) => String(name)[0]);
      expect(written.sort()).toEqual(["x", "y"]);
      expect(attempts).toBe(3);
    });

    it("is done once, whatever somebody else whom its body asked has failed with", async () => {
      const { guardDatabase, transaction, journal } = makeGuards();
      guardDatabase("db:main", db);
      for (const error of [
        Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" }),
        new TypeError("fetch failed", { cause: Object.assign(new Error(), { code: "ECONNREFUSED" }) }),
        Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY" }),
      ]) {
        let bodies = 0;
        const run = transaction(db, async (tx: AnyTx) => {
          bodies += 1;
          await insert(tx, "ada");
          throw error;
        });
        await expect(run).rejects.toBe(error);
        expect(bodies).toBe(1);
      }
      expect(await server.names()).toEqual([]);
      expect(journal).toEqual([]);
    });

    it("is done again for a conflict that its body throws on as the cause of an error of its own", async () => {
      const { transaction } = makeGuards();
      const conflict =
        driver === "mysql2"
          ? sql`signal sqlstate '40001' set mysql_errno = 1213, message_text = 'Deadlock found'`
          : sql`do $$ begin raise exception 'conflict' using errcode = '40001'; end $$`;
      let bodies = 0;
      await transaction(db, async (tx: AnyTx) => {
        bodies += 1;
        await insert(tx, "ada");
        if (bodies > 1) return;
        await tx.execute(conflict).catch((cause: unknown) => {
          throw new Error("could not be saved", { cause });
        });
      });
      expect(bodies).toBe(2);
      expect(await server.names()).toEqual(["ada"]);
    });

    it("is told to end by the caller who leaves", async () => {
      const { transaction } = makeGuards();
      const controller = new AbortController();
      const reason = new Error("gone");
      const run = transaction(
        db,
        async (tx: AnyTx) => {
          await insert(tx, "ada");
          controller.abort(reason);
          await new Promise(() => {});
        },
        { signal: controller.signal },
      );
      await expect(run).rejects.toBe(reason);
      expect(run).not.toBeInstanceOf(TransactionError);
      await expect.poll(() => server.names()).toEqual([]);
    });
  });

  async function rowsLocked(on: AnyDb): Promise<number> {
    const result = await on.execute(sql`select 1 from users for update skip locked`);
    const rows: unknown =
      driver === "mysql2" ? Reflect.get(Object(result), 0) : (Reflect.get(Object(result), "rows") ?? result);
    return 1 - (Array.isArray(rows) ? rows.length : 0);
  }
});
