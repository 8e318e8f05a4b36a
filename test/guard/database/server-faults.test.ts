/** Databases on servers under real faults, each with the outcome that is promised for it, on every driver. */
import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { CircuitBreakerError } from "../../../server/circuit/circuit-breaker-error.js";
import { DatabaseError } from "../../../server/guard/database/database-error.js";
import { registerDatabaseHealthCheck } from "../../../server/health/built-in-checks.js";
import { HealthCheckRegistry } from "../../../server/health/health-check-registry.js";
import { classify } from "../../../shared/classify.js";
import { makeGuards } from "../../support/database-fixture.js";
import { settle } from "../../support/fake-clock.js";
import { createLeapingClock } from "../../support/leaping-clock.js";
import { type AnyDb, type AnyTx, type DatabaseServer, DRIVERS, startServerOf } from "../../support/server-databases.js";

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
    server.proxy.resume();
    await close();
    await server.run("delete from users");
  });

  const insert = (on: Pick<AnyDb, "insert">, name: string) => on.insert(server.users).values({ name });
  const names = async () => (await db.select().from(server.users)).map(({ name }) => name);
  const errorOf = (work: PromiseLike<unknown>) =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );

  describe("whose server is killed", () => {
    it("answers again as soon as the server is back, on new connections", async () => {
      const { guardDatabase } = makeGuards({}, { failureThreshold: 100 });
      guardDatabase("db:main", db);
      await insert(db, "ada");
      await Promise.all([names(), names()]);
      await server.kill();
      await server.restart();
      expect(await Promise.all([names(), names(), names()])).toEqual([["ada"], ["ada"], ["ada"]]);
    });

    it("answers a read that comes while nothing can be reached, and the caller never knows", async () => {
      const { guardDatabase, failures, rescues } = makeGuards({}, { failureThreshold: 100 });
      guardDatabase("db:main", db);
      await insert(db, "ada");
      server.proxy.refuse();
      const reading = names();
      while (failures().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      server.proxy.resume();
      expect(await reading).toEqual(["ada"]);
      expect(failures().every(({ failureType }) => failureType === "database_connection")).toBe(true);
      expect(rescues().at(-1)).toMatchObject({
        actionType: "retry",
        actionStrategy: "statement_retry",
        status: "succeeded",
      });
    });

    it("tells the caller of a write that met it, and takes the next one", async () => {
      const { guardDatabase } = makeGuards({}, { failureThreshold: 100 });
      guardDatabase("db:main", db);
      await server.kill();
      const error = await errorOf(insert(db, "ada"));
      await server.restart();
      expect(classify(error, "db:main")).toMatchObject({ failureType: "database_connection" });
      await insert(db, "ada");
      expect(await server.names()).toEqual(["ada"]);
    });

    it("does a transaction again as a whole, as long as no COMMIT was sent", async () => {
      const { guardDatabase, transaction, rescues } = makeGuards({}, { failureThreshold: 100 });
      guardDatabase("db:main", db);
      let bodies = 0;
      const run = transaction(db, async (tx: AnyTx) => {
        bodies += 1;
        await insert(tx, "ada");
        if (bodies === 1) {
          await server.kill();
          await server.restart();
        }
        await insert(tx, "grace");
      });
      await run;
      expect(bodies).toBe(2);
      expect(await server.names()).toEqual(["ada", "grace"]);
      expect(rescues().at(-1)).toMatchObject({ actionStrategy: "transaction_retry", status: "succeeded" });
    });

    it("opens its circuit, fails fast while it is open, and closes it by itself", async () => {
      const clock = createLeapingClock();
      const { guardDatabase, registry } = makeGuards(
        { clock, flags: { enabled: true, circuitBreakers: true, autoRecovery: true, retry: false } },
        { failureThreshold: 2, successThreshold: 1, resetTimeoutMs: 60_000 },
      );
      guardDatabase("db:main", db);
      await names();
      await server.kill();
      while (registry.get("db:main")?.snapshot().state === "closed") await errorOf(names());
      // Before the event loop has gone round: nothing was asked of anybody.
      const refused = await Promise.race([errorOf(names()), settle()]);
      expect(refused).toBeInstanceOf(CircuitBreakerError);
      await server.restart();
      const answers = async () => {
        await clock.leap(60_000);
        return (await errorOf(names())) === undefined;
      };
      await expect.poll(answers).toBe(true);
      expect(registry.get("db:main")?.snapshot().state).toBe("closed");
    });

    it("reconnects: what was connected before is given up, and a new connection answers", async () => {
      const { guardDatabase, databases } = makeGuards();
      guardDatabase("db:main", db);
      const [before] = await Promise.all([connectionId(db), connectionId(db)]);
      const [database] = databases();
      if (database?.reconnect === undefined) throw new Error("a pool can reconnect");
      await database.reconnect();
      const after = await Promise.all([connectionId(db), connectionId(db)]);
      expect(after).not.toContain(before);
      await server.kill();
      await expect(database.reconnect()).rejects.toThrow();
      await server.restart();
      await database.reconnect();
      await insert(db, "ada");
    });

    it("does not take the process with it, though nobody listens for idle connections that break", async () => {
      const { guardDatabase, failures } = makeGuards();
      guardDatabase("db:main", db);
      await Promise.all([names(), names(), names()]);
      const uncaught: unknown[] = [];
      const note = (error: unknown) => uncaught.push(error);
      process.on("uncaughtException", note);
      try {
        await server.kill();
        await new Promise((resolve) => setTimeout(resolve, 200));
        if (driver === "node-postgres") {
          await expect
            .poll(() => failures()[0])
            .toMatchObject({ failureType: "database_connection", affectedService: "db:main" });
        }
        expect(uncaught).toEqual([]);
      } finally {
        process.off("uncaughtException", note);
        await server.restart();
      }
    });
  });

  describe("whose connection is cut", () => {
    it("between two statements of a transaction: it is done again as a whole", async () => {
      const { guardDatabase, transaction } = makeGuards({}, { failureThreshold: 100 });
      guardDatabase("db:main", db);
      let bodies = 0;
      await transaction(db, async (tx: AnyTx) => {
        bodies += 1;
        await insert(tx, "ada");
        if (bodies === 1) server.proxy.cut();
        await insert(tx, "grace");
      });
      expect(bodies).toBe(2);
      expect(await server.names()).toEqual(["ada", "grace"]);
    });

    it("after the last statement and before COMMIT was sent: it is done again, since nothing was kept", async () => {
      const { guardDatabase, transaction } = makeGuards({}, { failureThreshold: 100 });
      guardDatabase("db:main", db);
      let bodies = 0;
      await transaction(db, async (tx: AnyTx) => {
        bodies += 1;
        await insert(tx, "ada");
        if (bodies > 1) return;
        server.proxy.cut();
        await new Promise((resolve) => setTimeout(resolve, 100));
        // Where this process was kept from its turn, timers are due before sockets have been read.
        await settle();
        await settle();
      });
      expect(bodies).toBe(2);
      expect(await server.names()).toEqual(["ada"]);
    });

    it("between two statements of Drizzle's own transaction: its error arrives, and nothing is kept", async () => {
      const { guardDatabase, registry } = makeGuards();
      guardDatabase("db:main", db);
      const error = await errorOf(
        db.transaction(async (tx) => {
          await insert(tx, "ada");
          server.proxy.cut();
          await new Promise((resolve) => setTimeout(resolve, 50));
          await insert(tx, "grace");
        }),
      );
      expect(classify(error, "db:main")).toMatchObject({ failureType: "database_connection" });
      expect(registry.get("db:main")?.snapshot().failureCount).toBe(1);
      expect(await server.names()).toEqual([]);
      await insert(db, "next");
    });

    it("while COMMIT is on its way: that is not known, and it is never done again", async () => {
      const { guardDatabase, transaction, failures, rescues } = makeGuards();
      guardDatabase("db:main", db);
      let bodies = 0;
      const body = (name: string) => async (tx: AnyTx) => {
        bodies += 1;
        await insert(tx, name);
        server.proxy.blackhole("to_client");
      };
      const ways = { ours: () => transaction(db, body("ours")), drizzles: () => db.transaction(body("drizzles")) };
      for (const [name, run] of Object.entries(ways)) {
        bodies = 0;
        const seen = errorOf(run());
        await expect.poll(() => server.names()).toContain(name);
        server.proxy.cut();
        server.proxy.resume();
        const error = await seen;
        expect(error).toMatchObject({ name: "TRPCError", reason: "outcome_unknown" });
        expect(Reflect.get(Object(error), "cause")).toBeInstanceOf(Error);
        expect(classify(error, "db:main")).toMatchObject({
          reason: "database_outcome_unknown",
          retryable: false,
          failover: false,
        });
        expect(bodies).toBe(1);
      }
      const unknown = failures().filter(({ context }) => context?.reason === "database_outcome_unknown");
      expect(unknown).toHaveLength(2);
      expect(rescues()).toEqual([]);
      expect((await server.names()).length).toBe(2);
    });

    it("in a write: the caller is told, since it may have been made", async () => {
      const { guardDatabase } = makeGuards();
      guardDatabase("db:main", db);
      await names();
      server.proxy.blackhole("to_client");
      const writing = errorOf(db.execute(sql.raw("insert into users (name) values ('ada')")));
      await expect.poll(() => server.names()).toEqual(["ada"]);
      server.proxy.cut();
      server.proxy.resume();
      expect(classify(await writing, "db:main")).toMatchObject({ failureType: "database_connection" });
      expect(await server.names()).toEqual(["ada"]);
    });

    it("in the midst of rows: they are asked for again, and each comes once", async () => {
      await close();
      ({ db, close } = server.open({ max: 1 }));
      const { guardDatabase } = makeGuards();
      guardDatabase("db:main", db);
      const slowly =
        driver === "mysql2"
          ? sql`select seq as n, repeat('x', 20000) as filler, sleep(0.02) as slept from seq_1_to_30`
          : sql`select n, repeat('x', 20000) as filler, pg_sleep(0.02) from generate_series(1, 30) as n`;
      server.proxy.cutAfter(300_000);
      const numbers = (await rowsOf(db, slowly)).map((row) => Number(Object(row).n));
      expect(numbers).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
      await insert(db, "ada");
      expect(await names()).toEqual(["ada"]);
    });

    it("in a read: it is asked again", async () => {
      const { guardDatabase } = makeGuards();
      guardDatabase("db:main", db);
      await insert(db, "ada");
      server.proxy.blackhole("to_client");
      const reading = names();
      await new Promise((resolve) => setTimeout(resolve, 50));
      server.proxy.resume();
      server.proxy.cut();
      expect(await reading).toEqual(["ada"]);
    });
  });

  describe("that hangs", () => {
    it("ends a statement at its deadline and gives its connection up, so that the pool is not used up", async () => {
      await close();
      ({ db, close } = server.open({ max: 2 }));
      const clock = createLeapingClock();
      const { guardDatabase, failures } = makeGuards({ clock }, { timeoutMs: 60_000, failureThreshold: 100 });
      guardDatabase("db:main", db);
      await Promise.all([names(), names()]);
      const sleep = driver === "mysql2" ? sql`select sleep(20)` : sql`select pg_sleep(20)`;
      const asking = [1, 2, 3].map(() => errorOf(db.execute(sleep)));
      await expect.poll(() => server.busyWith("sleep(20)")).toBe(2);
      await clock.leap(60_000);
      const errors = await Promise.all(asking);
      const reasons = errors.map((error) => (error instanceof DatabaseError ? error.reason : error));
      expect(reasons.slice(0, 2)).toEqual(["statement_timeout", "statement_timeout"]);
      expect(failures()).toContainEqual(
        expect.objectContaining({ failureType: "api_timeout", affectedService: "db:main" }),
      );
      expect(await names()).toEqual([]);
    });

    it("because nothing comes through any more: what was connected before is not used again", async () => {
      const clock = createLeapingClock();
      const { guardDatabase } = makeGuards({ clock }, { timeoutMs: 60_000, failureThreshold: 100 });
      guardDatabase("db:main", db);
      await insert(db, "ada");
      server.proxy.blackhole();
      const reading = errorOf(names());
      await clock.leap(60_000);
      expect(await reading).toMatchObject({ reason: "statement_timeout" });
      server.proxy.resume();
      // postgres.js keeps the dead connection until the network does; nobody else is given it.
      await expect.poll(async () => await errorOf(names()), { timeout: 10_000 }).toBeUndefined();
    });

    it("ends a transaction at its deadline, and says that COMMIT may have come through", async () => {
      const clock = createLeapingClock();
      const { transaction } = makeGuards({ clock });
      await names();
      const ended = errorOf(
        transaction(
          db,
          async (tx: AnyTx) => {
            await insert(tx, "ada");
            server.proxy.blackhole("to_client");
          },
          { timeoutMs: 60_000 },
        ),
      );
      await expect.poll(() => server.names()).toEqual(["ada"]);
      await clock.leap(60_000);
      expect(await ended).toMatchObject({ reason: "outcome_unknown" });
      server.proxy.cut();
    });
  });

  it("whose pool is used up says so within the caller's time, and counts it", async () => {
    await close();
    ({ db, close } = server.open({ max: 1 }));
    const clock = createLeapingClock();
    const { guardDatabase, transaction, registry, failures } = makeGuards({ clock }, { timeoutMs: 60_000 });
    guardDatabase("db:main", db);
    await names();
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let isHeld = false;
    const holding = db.transaction(() => {
      isHeld = true;
      return released;
    });
    await expect.poll(() => isHeld).toBe(true);
    const errorAfter = async (ms: number, waiting: Promise<unknown>) => {
      const ended = errorOf(waiting);
      await clock.leap(ms);
      return await ended;
    };
    const inTransaction = () => transaction(db, async () => 1, { timeoutMs: 30_000 });
    if (driver === "postgres.js") {
      // It queues inside of the driver, where nobody can tell waiting for a connection from waiting for an answer.
      expect(await errorAfter(60_000, names())).toMatchObject({ reason: "statement_timeout", service: "db:main" });
      expect(await errorAfter(30_000, inTransaction())).toMatchObject({ reason: "deadline" });
    } else {
      for (const error of [await errorAfter(60_000, names()), await errorAfter(30_000, inTransaction())]) {
        expect(error).toMatchObject({ reason: "no_connection", service: "db:main", code: "SERVICE_UNAVAILABLE" });
        expect(classify(error, "db:main").reason).toBe("database_saturated");
      }
      expect(failures()[0]).toMatchObject({ context: { reason: "database_saturated" } });
    }
    expect(registry.get("db:main")?.snapshot().failureCount).toBeGreaterThan(0);
    release();
    await holding;
    await insert(db, "next");
    expect(await names()).toEqual(["next"]);
  });

  describe("that becomes read-only", () => {
    afterEach(() => server.setReadOnly(false));

    it("goes on reading, refuses writes with one clear error, says so in health, and takes writes again", async () => {
      const { guardDatabase, databases, transaction, failures, rescues, registry } = makeGuards(
        {},
        { failureThreshold: 1 },
      );
      guardDatabase("db:main", db);
      await insert(db, "ada");
      const health = new HealthCheckRegistry();
      for (const database of databases()) registerDatabaseHealthCheck(health, database);
      const healthNow = async () => (await health.executeAll()).checks[0];
      expect(await healthNow()).toMatchObject({ name: "database", status: "healthy" });

      await server.setReadOnly(true);
      expect(await errorOf(insert(db, "lost"))).toBeInstanceOf(Error);
      expect(failures()[0]).toMatchObject({ failureType: "database_readonly", context: { target: "db:main" } });
      await expect.poll(() => databases()[0]?.degradedBecause(), { timeout: 10_000 }).toContain("read-only");

      const refused = await errorOf(insert(db, "refused"));
      expect(refused).toBeInstanceOf(DatabaseError);
      expect(refused).toMatchObject({ reason: "read_only", service: "db:main", code: "SERVICE_UNAVAILABLE" });
      expect(await errorOf(transaction(db, async (tx: AnyTx) => insert(tx, "refused")))).toMatchObject({
        reason: "read_only",
      });
      expect(await names()).toEqual(["ada"]);
      expect(await transaction(db, async (tx: AnyTx) => tx.$count(server.users))).toBe(1);
      expect(await healthNow()).toMatchObject({
        status: "degraded",
        message: "takes no writes, because it is read-only; reads go on",
      });
      expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
      expect(failures().every(({ failureType }) => failureType === "database_readonly")).toBe(true);

      await server.setReadOnly(false);
      await expect.poll(() => databases()[0]?.degradedBecause(), { timeout: 20_000 }).toBeUndefined();
      await insert(db, "grace");
      expect(await names()).toEqual(["ada", "grace"]);
      expect(await healthNow()).toMatchObject({ status: "healthy" });
      const told = rescues().filter(({ scope }) => scope === "service");
      expect(told.map(({ actionType, actionStrategy, status }) => [actionType, actionStrategy, status])).toEqual([
        ["degrade", "read_only_mode", "succeeded"],
        ["reset", "writes_resumed", "succeeded"],
      ]);
    }, 60_000);

    it("while another one takes its place: writes go there at once, and no caller hears of it", async () => {
      const successor = await startServerOf(driver);
      try {
        const { guardDatabase, databases, transaction, registry, failures } = makeGuards({}, { failureThreshold: 1 });
        guardDatabase("db:main", db);
        await Promise.all([names(), names(), names(), names()]);
        await server.setReadOnly(true);
        server.proxy.redirect(successor.port);
        await insert(db, "ada");
        await transaction(db, async (tx: AnyTx) => insert(tx, "grace"));
        await Promise.all(["eve", "joan", "mary"].map((name) => insert(db, name)));
        expect((await successor.names()).toSorted()).toEqual(["ada", "eve", "grace", "joan", "mary"]);
        expect(await server.names()).toEqual([]);
        // Whoever was connected to the old one is so no more: reads are not of yesterday.
        const reads = await Promise.all([names(), names(), names(), names()]);
        expect(reads.map((read) => read.length)).toEqual([5, 5, 5, 5]);
        expect(failures()).toContainEqual(expect.objectContaining({ failureType: "database_readonly" }));
        expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
        expect(databases()[0]?.degradedBecause()).toBeUndefined();
      } finally {
        server.proxy.redirect(server.port);
        server.proxy.cut();
        await successor.stop();
      }
    }, 60_000);

    it("lets everything through while the mode only watches", async () => {
      const { guardDatabase, databases } = makeGuards({ settings: { mode: () => "shadow", stopped: () => false } });
      guardDatabase("db:main", db);
      await server.setReadOnly(true);
      await errorOf(insert(db, "lost"));
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(databases()[0]?.degradedBecause()).toBeUndefined();
      await server.setReadOnly(false);
      await insert(db, "ada");
    });

    it("takes a transaction that was begun to read only for the caller's own mistake", async () => {
      const { guardDatabase, journal, databases } = makeGuards();
      guardDatabase("db:main", db);
      const error = await errorOf(
        db.transaction((tx) => Promise.resolve(insert(tx, "ada")), { accessMode: "read only" }),
      );
      expect(error).toBeInstanceOf(Error);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(journal).toEqual([]);
      expect(databases()[0]?.degradedBecause()).toBeUndefined();
    });
  });

  async function connectionId(on: AnyDb): Promise<unknown> {
    const query = driver === "mysql2" ? sql`select connection_id() as id` : sql`select pg_backend_pid() as id`;
    return Object((await rowsOf(on, query))[0]).id;
  }

  async function rowsOf(on: AnyDb, query: object): Promise<unknown[]> {
    const result: unknown = await on.execute(query);
    const rows: unknown = Reflect.get(Object(result), "rows") ?? result;
    return [...Object(driver === "mysql2" ? Object(rows)[0] : rows)];
  }
});

describe.each(["node-postgres", "postgres.js", "mysql2"] as const)(
  "a guarded database on %s whose disk is full",
  (driver) => {
    let server: DatabaseServer;

    beforeAll(async () => {
      server = await startServerOf(driver, { diskMegabytes: 64 });
      await server.run(driver === "mysql2" ? "create table app.filler (t mediumtext)" : "create table filler (t text)");
      if (driver !== "mysql2") await server.run("alter table filler alter t set storage plain");
    }, 120_000);
    afterAll(() => server.stop());

    it("goes on reading, refuses writes, and takes them again when there is room", async () => {
      const { db, close } = server.open();
      const { guardDatabase, databases, registry, failures } = makeGuards({}, { failureThreshold: 1 });
      guardDatabase("db:main", db);
      await db.insert(server.users).values({ name: "ada" });
      const fill = () =>
        db.execute(
          driver === "mysql2"
            ? sql`insert into filler select repeat('x', 7000) from seq_1_to_50`
            : sql`insert into filler select repeat('x', 5000) from generate_series(1, 100)`,
        );
      let error: unknown;
      while (!(error instanceof DatabaseError)) {
        error = await fill().then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
      }
      expect(error).toMatchObject({ reason: "read_only", message: expect.stringContaining("its disk is full") });
      expect(failures().map(({ failureType, severity }) => [failureType, severity])).toContainEqual([
        "disk_full",
        "critical",
      ]);
      expect(registry.get("db:main")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
      expect(await db.select().from(server.users)).toMatchObject([{ name: "ada" }]);
      expect(databases()[0]?.degradedBecause()).toContain("its disk is full");

      await server.run(driver === "mysql2" ? "drop table app.filler" : "drop table filler");
      const written = () =>
        db
          .insert(server.users)
          .values({ name: "grace" })
          .then(
            () => true,
            () => false,
          );
      await expect.poll(written, { timeout: 30_000, interval: 200 }).toBe(true);
      expect(databases()[0]?.degradedBecause()).toBeUndefined();
      await close();
    }, 90_000);
  },
);
