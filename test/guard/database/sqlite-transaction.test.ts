import Database from "better-sqlite3";
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../../server/adapters/async-call-context.js";
import { TransactionError } from "../../../server/guard/database/transaction-error.js";
import { systemClock } from "../../../server/ports/clock.js";
import { classify } from "../../../shared/classify.js";
import { makeGuards, openDatabase, schema, users } from "../../support/database-fixture.js";
import { type DatabaseLock, lockDatabase } from "../../support/database-lock.js";
import { createFakeClock, settle } from "../../support/fake-clock.js";
import { callOf } from "../guard-harness.js";

let opened: ReturnType<typeof openDatabase>;
let lock: DatabaseLock | undefined;

beforeEach(() => {
  opened = openDatabase();
});
afterEach(async () => {
  await lock?.kill();
  lock = undefined;
  opened.dispose();
});

/** A promise and its key. */
function gate() {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

const codeOf = (error: unknown) => (error as { code?: string }).code;
const reasonOf = (error: unknown) => (error as { reason?: string }).reason;

describe("a transaction", () => {
  it("commits what it did, across awaits, and gives the value back", async () => {
    const { transaction } = makeGuards();
    const id = await transaction(opened.db, async (tx) => {
      const [made] = await tx.insert(users).values({ name: "ada" }).returning();
      await settle();
      await tx.insert(users).values({ name: "grace" });
      return made?.id;
    });
    expect(id).toBe(1);
    expect(opened.names()).toEqual(["ada", "grace"]);
  });

  it("is done once, whatever another database that its body asked has failed with", async () => {
    const { transaction, guardDatabase, journal } = makeGuards();
    guardDatabase("db:main", opened.db);
    const busy = Object.assign(new Error("database is locked"), { code: "SQLITE_BUSY" });
    let bodies = 0;
    const run = transaction(opened.db, async (tx) => {
      bodies += 1;
      await tx.insert(users).values({ name: "ada" });
      throw new Error("the other one did not answer", { cause: busy });
    });
    await expect(run).rejects.toThrow("the other one did not answer");
    expect(bodies).toBe(1);
    expect(opened.names()).toEqual([]);
    expect(journal).toEqual([]);
  });

  it("takes a synchronous body", async () => {
    const { transaction } = makeGuards();
    const count = await transaction(opened.db, (tx) => tx.insert(users).values({ name: "ada" }).run().changes);
    expect(count).toBe(1);
    expect(opened.names()).toEqual(["ada"]);
  });

  it("rolls back on an error of its body, which arrives by the same reference", async () => {
    const { transaction, journal } = makeGuards();
    const mistake = new Error("no");
    const run = transaction(opened.db, async (tx) => {
      await tx.insert(users).values({ name: "ada" });
      throw mistake;
    });
    await expect(run).rejects.toBe(mistake);
    expect(opened.names()).toEqual([]);
    expect(opened.client.inTransaction).toBe(false);
    expect(journal).toEqual([]);
  });

  it("reads its own writes, relational queries and counts too, while others do not see them", async () => {
    const { transaction } = makeGuards();
    await transaction(opened.db, async (tx) => {
      await tx.insert(users).values({ name: "ada" });
      expect(await tx.query.users.findFirst({ where: eq(users.name, "ada") })).toEqual({ id: 1, name: "ada" });
      expect(await tx.$count(users)).toBe(1);
      expect(opened.names()).toEqual([]);
    });
  });

  it("nests Drizzle's own transactions as savepoints", async () => {
    const { transaction } = makeGuards();
    await transaction(opened.db, async (tx) => {
      tx.insert(users).values({ name: "ada" }).run();
      expect(() =>
        tx.transaction((inner) => {
          inner.insert(users).values({ name: "grace" }).run();
          throw new Error("undo the inner one");
        }),
      ).toThrow("undo the inner one");
    });
    expect(opened.names()).toEqual(["ada"]);
  });

  it("lets go of a body that broke a constraint and went on", async () => {
    const { transaction } = makeGuards();
    await transaction(opened.db, async (tx) => {
      await tx.insert(users).values({ name: "ada" });
      await expect(tx.insert(users).values({ name: "ada" })).rejects.toThrow();
      await tx.insert(users).values({ name: "grace" });
    });
    expect(opened.names()).toEqual(["ada", "grace"]);
  });

  it("works on a guarded database as on an unguarded one, and under its circuit", async () => {
    const guards = makeGuards();
    const db = guards.guardDatabase("db:main", opened.db);
    await guards.transaction(db, async (tx) => tx.insert(users).values({ name: "ada" }));
    expect(opened.names()).toEqual(["ada"]);
    guards.registry.get("db:main")?.forceOpen("operator");
    await expect(guards.transaction(db, async () => 1)).rejects.toMatchObject({ circuitName: "db:main" });
    expect(opened.client.inTransaction).toBe(false);
  });

  it("runs one after the other on one connection", async () => {
    const { transaction } = makeGuards();
    const order: string[] = [];
    const run = (name: string) =>
      transaction(opened.db, async (tx) => {
        order.push(`${name} begins`);
        await settle();
        await tx.insert(users).values({ name });
        order.push(`${name} ends`);
      });
    await Promise.all([run("a"), run("b"), run("c")]);
    expect(order).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  });

  it("refuses another driver, and times that are none", async () => {
    const { transaction } = makeGuards();
    await expect(transaction({} as never, async () => 1)).rejects.toMatchObject({ code: "OPERATION_INVALID" });
    await expect(transaction(opened.db, async () => 1, { timeoutMs: 0 })).rejects.toMatchObject({
      code: "OPERATION_INVALID",
    });
  });
});

describe("while a transaction is open", () => {
  it("a query waits for its turn no longer than its call does, and is not made afterwards", async () => {
    const callContext = createAsyncCallContext();
    callContext.enable();
    const { guardDatabase, transaction } = makeGuards({ callContext });
    guardDatabase("db:main", opened.db);
    const held = gate();
    const holding = transaction(opened.db, () => held.passed);
    await settle();
    const insert = async (name: string) => await opened.db.insert(users).values({ name });
    const caller = new AbortController();
    const left = callContext.run(callOf({ signal: caller.signal }), () => insert("left"));
    const late = callContext.run(callOf({ deadlineAt: systemClock.monotonic() + 20 }), () => insert("late"));
    const patient = callContext.run(callOf(), () => insert("patient"));
    const gone = new Error("gone");
    caller.abort(gone);
    await expect(left).rejects.toBe(gone);
    await expect(late).rejects.toMatchObject({ reason: "transaction_open" });
    held.open();
    await holding;
    await patient;
    expect(opened.names()).toEqual(["patient"]);
  });

  it("awaited queries of other calls wait for their turn and then see what it did", async () => {
    const { transaction } = makeGuards();
    const { passed, open } = gate();
    const began = gate();
    const order: string[] = [];
    const tx = transaction(opened.db, async (handle) => {
      await handle.insert(users).values({ name: "ada" });
      began.open();
      await passed;
      await handle.insert(users).values({ name: "grace" });
    }).then(() => order.push("committed"));
    await began.passed;
    const outside = Promise.all([
      opened.db
        .select()
        .from(users)
        .then((rows) => order.push(`select ${rows.length}`)),
      opened.db
        .insert(users)
        .values({ name: "outside" })
        .then(() => order.push("insert")),
      opened.db
        .update(users)
        .set({ name: "renamed" })
        .where(eq(users.name, "outside"))
        .then(() => order.push("update")),
      opened.db.query.users.findMany().then((rows) => order.push(`query ${rows.length}`)),
      opened.db.$count(users).then((count) => order.push(`count ${count}`)),
      opened.db
        .delete(users)
        .where(eq(users.name, "grace"))
        .then(() => order.push("delete")),
    ]);
    await settle();
    expect(order).toEqual([]);
    open();
    await tx;
    await outside;
    expect([...order].sort()).toEqual(["committed", "count 3", "delete", "insert", "query 3", "select 2", "update"]);
    expect(order.indexOf("select 2")).toBeLessThan(order.indexOf("insert"));
    expect(opened.names()).toEqual(["ada", "renamed"]);
  });

  it("does not take others down with it when it rolls back", async () => {
    const { transaction } = makeGuards();
    const { passed, open } = gate();
    const began = gate();
    const tx = transaction(opened.db, async (handle) => {
      await handle.insert(users).values({ name: "ada" });
      began.open();
      await passed;
      throw new Error("undo");
    });
    await began.passed;
    const outside = opened.db.insert(users).values({ name: "outside" });
    const waiting = outside.then(() => {});
    open();
    await expect(tx).rejects.toThrow("undo");
    await waiting;
    expect(opened.names()).toEqual(["outside"]);
  });

  it("synchronous statements fail at once and say why", async () => {
    const { transaction } = makeGuards();
    await transaction(opened.db, async () => {
      const errors = [
        () => opened.db.insert(users).values({ name: "outside" }).run(),
        () => opened.db.select().from(users).all(),
        () => opened.client.exec("DELETE FROM users"),
        () => opened.client.prepare("SELECT 1").get(),
        () => opened.db.transaction((inner) => inner.insert(users).values({ name: "outside" }).run()),
      ].map(errorOf);
      for (const error of errors) expect(error).toMatchObject({ reason: "use_tx" });
    });
    const { passed, open } = gate();
    const tx = transaction(opened.db, () => passed);
    await settle();
    const error = errorOf(() => opened.db.insert(users).values({ name: "outside" }).run());
    expect(error).toBeInstanceOf(TransactionError);
    expect(error).toMatchObject({ reason: "transaction_open", code: "SERVICE_UNAVAILABLE" });
    expect(classify(error, "db:main")).toMatchObject({
      failureType: "database_busy",
      verdict: "ignored",
      retryable: true,
    });
    open();
    await tx;
    expect(opened.names()).toEqual([]);
  });

  it("statements that were prepared before anybody knew of transactions cannot write into it", async () => {
    const stale = opened.client.prepare("INSERT INTO users (name) VALUES ('stale')");
    const { transaction } = makeGuards();
    const mistake = new Error("undo");
    const run = transaction(opened.db, async (tx) => {
      await tx.insert(users).values({ name: "ada" });
      expect(() => stale.run()).toThrow("busy executing a query");
      await settle();
      expect(() => stale.run()).toThrow("busy executing a query");
      throw mistake;
    });
    await expect(run).rejects.toBe(mistake);
    stale.run();
    expect(opened.names()).toEqual(["stale"]);
  });

  it("another transaction inside of it is told to use tx", async () => {
    const { transaction } = makeGuards();
    await transaction(opened.db, async (tx) => {
      await expect(transaction(opened.db, async () => 1)).rejects.toMatchObject({ reason: "use_tx" });
      await expect(opened.db.select().from(users)).rejects.toMatchObject({ reason: "use_tx" });
      await expect(opened.db.$count(users)).rejects.toMatchObject({ reason: "use_tx" });
      await tx.insert(users).values({ name: "ada" });
    });
    expect(opened.names()).toEqual(["ada"]);
  });

  it("a connection that is closed ends it, and nothing stays behind", async () => {
    const { transaction } = makeGuards();
    const run = transaction(opened.db, async (tx) => {
      await tx.insert(users).values({ name: "ada" });
      opened.client.close();
      await tx.insert(users).values({ name: "grace" });
    });
    await expect(run).rejects.toThrow();
    expect(opened.names()).toEqual([]);
  });
});

describe("a handle", () => {
  it("is of no use once its transaction is over", async () => {
    const { transaction } = makeGuards();
    let leaked: { run(query: unknown): unknown } | undefined;
    await transaction(opened.db, async (tx) => {
      leaked = tx as never;
    });
    const error = errorOf(() => leaked?.run(sql`DELETE FROM users`)) as Error;
    expect(reasonOf(error.cause)).toBe("over");
  });

  it("does not go on by itself when the database rolled back", async () => {
    const { transaction } = makeGuards();
    const run = transaction(opened.db, async (tx) => {
      tx.insert(users).values({ name: "ada" }).run();
      tx.run(sql`ROLLBACK`);
      tx.insert(users).values({ name: "grace" }).run();
    });
    await expect(run).rejects.toMatchObject({ reason: "rolled_back" });
    expect(opened.names()).toEqual([]);
  });
});

describe("a locked database", () => {
  it("is waited for without blocking the event loop, and the rescue is written down", async () => {
    lock = await lockDatabase(opened.file);
    const { transaction, failures, rescues } = makeGuards();
    let bodies = 0;
    let done = false;
    const run = transaction(opened.db, async (tx) => {
      bodies += 1;
      await tx.insert(users).values({ name: "ada" });
    }).finally(() => {
      done = true;
    });
    while (failures().length === 0) await settle();
    // The event loop turns while the lock is held.
    for (let turn = 0; turn < 50; turn += 1) await settle();
    expect(done).toBe(false);
    await Promise.all([run, lock.release()]);
    lock = undefined;
    expect(bodies).toBe(1);
    expect(opened.names()).toEqual(["ada"]);
    expect(failures()[0]).toMatchObject({ failureType: "database_busy", failureCategory: "database", severity: "low" });
    expect(rescues()).toHaveLength(1);
    expect(rescues()[0]).toMatchObject({
      failureEventId: "failure-1",
      actionType: "retry",
      actionStrategy: "transaction_retry",
      status: "succeeded",
      dryRun: false,
    });
  });

  it("gives the database's own error when the time is up", async () => {
    lock = await lockDatabase(opened.file);
    const { transaction, rescues, failures, guardDatabase } = makeGuards();
    const db = guardDatabase("db:main", opened.db);
    const error = await transaction(db, async () => 1, { timeoutMs: 100 }).catch((cause: unknown) => cause);
    expect(codeOf(error)).toBe("SQLITE_BUSY");
    expect(failures()).toHaveLength(1);
    expect(rescues()).toMatchObject([{ status: "timed_out", target: "db:main" }]);
    // Had it waited inside of the driver, it would have had the chance to ask once.
    expect(rescues()[0]?.metadata?.attempts).toBeGreaterThan(2);
    expect(opened.client.pragma("busy_timeout", { simple: true })).toBe(5_000);
  });

  it("is not waited for after the caller left", async () => {
    lock = await lockDatabase(opened.file);
    const { transaction, rescues, failures } = makeGuards();
    const controller = new AbortController();
    const reason = new Error("gone");
    const run = transaction(opened.db, async () => 1, { signal: controller.signal });
    while (failures().length === 0) await settle();
    controller.abort(reason);
    await expect(run).rejects.toBe(reason);
    expect(rescues()[0]).toMatchObject({ status: "cancelled" });
  });

  it.each(["shadow", "monitor"] as const)("is asked once in mode %s, and the retry is only recorded", async (mode) => {
    opened.client.pragma("busy_timeout = 0");
    lock = await lockDatabase(opened.file);
    const { transaction, rescues } = makeGuards({ settings: { mode: () => mode, stopped: () => false } });
    await expect(transaction(opened.db, async () => 1)).rejects.toMatchObject({ code: "SQLITE_BUSY" });
    expect(rescues()).toMatchObject([{ status: "skipped", dryRun: true }]);
  });

  it("leaves no transaction to anybody when the flag is off", async () => {
    opened.client.pragma("busy_timeout = 0");
    lock = await lockDatabase(opened.file);
    const flags = { enabled: true, circuitBreakers: true, autoRecovery: true, retry: false };
    const { transaction, rescues } = makeGuards({ flags });
    await expect(transaction(opened.db, async () => 1)).rejects.toMatchObject({ code: "SQLITE_BUSY" });
    expect(rescues()).toEqual([]);
  });
});

describe("a conflict inside of the body", () => {
  it("does the whole of it again", async () => {
    opened.client.pragma("journal_mode = WAL");
    const other = new Database(opened.file);
    const { transaction, rescues } = makeGuards();
    let bodies = 0;
    const work = async (tx: Pick<typeof opened.db, "select" | "insert">) => {
      bodies += 1;
      await tx.select().from(users);
      // What was read is no longer how it is: then only a new transaction may write.
      if (bodies < 3) other.exec(`INSERT INTO users (name) VALUES ('other ${bodies}')`);
      await tx.insert(users).values({ name: "ada" });
      return "done";
    };
    const value = await transaction(opened.db, work, { config: { behavior: "deferred" } });
    other.close();
    expect(value).toBe("done");
    expect(bodies).toBe(3);
    expect(opened.names()).toEqual(["other 1", "other 2", "ada"]);
    expect(rescues()).toMatchObject([{ status: "succeeded", metadata: { attempts: 3 } }]);
  });

  it("is not repeated for an error that is nobody else's fault", async () => {
    const { transaction } = makeGuards();
    let bodies = 0;
    const run = transaction(opened.db, async (tx) => {
      bodies += 1;
      await tx.insert(users).values([{ name: "ada" }, { name: "ada" }]);
    });
    await expect(run).rejects.toThrow();
    expect(bodies).toBe(1);
  });
});

describe("time", () => {
  it("bounds the body: it is rolled back and its handle is over", async () => {
    const clock = createFakeClock();
    const { transaction } = makeGuards({ clock });
    const { passed, open } = gate();
    let late: unknown;
    const finished = gate();
    const run = transaction(
      opened.db,
      async (tx) => {
        await tx.insert(users).values({ name: "ada" });
        await passed;
        late = await tx
          .insert(users)
          .values({ name: "grace" })
          .then(
            () => undefined,
            (error: unknown) => error,
          );
        finished.open();
      },
      { timeoutMs: 1_000 },
    );
    const ended = expect(run).rejects.toMatchObject({ reason: "deadline", code: "GATEWAY_TIMEOUT" });
    await clock.advance(1_000);
    await ended;
    expect(opened.client.inTransaction).toBe(false);
    await opened.db.insert(users).values({ name: "next" });
    open();
    await finished.passed;
    expect(late).toMatchObject({ reason: "over" });
    expect(opened.names()).toEqual(["next"]);
    expect(clock.pendingTimers).toBe(0);
  });

  it("bounds the wait for a turn, and the turn passes on", async () => {
    const clock = createFakeClock();
    const { transaction } = makeGuards({ clock });
    const { passed, open } = gate();
    const first = transaction(opened.db, () => passed);
    const second = transaction(opened.db, async () => "second", { timeoutMs: 100 });
    const third = transaction(opened.db, async () => "third");
    const ended = expect(second).rejects.toMatchObject({ reason: "deadline" });
    await clock.advance(100);
    await ended;
    open();
    await first;
    expect(await third).toBe("third");
  });

  it("is the call's own where that is shorter", async () => {
    const clock = createFakeClock();
    const call = {
      path: "p",
      type: "mutation",
      requestId: undefined,
      userId: undefined,
      signal: undefined,
      deadlineAt: 50,
      idempotent: undefined,
      causes: [],
    } as const;
    const callContext = {
      current: () => ({ ...call, causes: [] }),
      run: <T>(_call: unknown, fn: () => T) => fn(),
      enable() {},
      enabled: true,
    };
    const { transaction } = makeGuards({ clock, callContext });
    const run = transaction(opened.db, () => new Promise(() => {}));
    const ended = expect(run).rejects.toMatchObject({ reason: "deadline" });
    await clock.advance(50);
    await ended;
  });
});

it("works in memory, where there is no second connection", async () => {
  const client = new Database(":memory:");
  client.exec("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE)");
  const { transaction } = makeGuards();
  const db = drizzle(client, { schema });
  await transaction(db, async (tx) => {
    await tx.insert(users).values({ name: "ada" });
    await settle();
  });
  expect(await db.$count(users)).toBe(1);
  client.close();
});

function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("expected it to throw");
}
