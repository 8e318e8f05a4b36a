/** The types of databases on every driver stay as they were, and a transaction's handle is the driver's own. */
import Database from "better-sqlite3";
import { drizzle as drizzleSqlite } from "drizzle-orm/better-sqlite3";
import { drizzle as drizzleMysql } from "drizzle-orm/mysql2";
import { drizzle as drizzlePg } from "drizzle-orm/node-postgres";
import { drizzle as drizzlePostgresJs } from "drizzle-orm/postgres-js";
import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
import mysql from "mysql2";
import mysqlPromise from "mysql2/promise";
import pg from "pg";
import postgres from "postgres";
import { afterAll, describe, expect, expectTypeOf, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { createParamedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import { mysqlUsers, pgUsers } from "../support/server-databases.js";

const paramedic = createParamedic({
  logger: false,
  redis: false,
  overrides: { store: createMemoryStore({ clock: systemClock }) },
});
afterAll(() => paramedic.shutdown());

/** The handle that the database's own `transaction` gives. */
type OwnHandle<Db extends { transaction: (work: never) => unknown }> = Parameters<Db["transaction"]>[0] extends (
  tx: infer Tx,
) => unknown
  ? Tx
  : never;

const NOWHERE = "127.0.0.1:9/app";

describe("a guarded database has the type that was put in, and its transactions the driver's own handle", () => {
  it("on node-postgres, a pool or one client", () => {
    const db = drizzlePg(new pg.Pool({ connectionString: `postgres://${NOWHERE}` }), { schema: { users: pgUsers } });
    const guarded = paramedic.guardDatabase("db:pg", db);
    expectTypeOf(guarded).toEqualTypeOf(db);
    expect(guarded).toBe(db);
    expectTypeOf(guarded.$client).toEqualTypeOf<pg.Pool>();
    const one = drizzlePg(new pg.Client(`postgres://${NOWHERE}`));
    expectTypeOf(paramedic.guardDatabase("db:pg-client", one)).toEqualTypeOf(one);
    const run = () =>
      paramedic.transaction(
        guarded,
        async (tx) => {
          expectTypeOf(tx).toEqualTypeOf<OwnHandle<typeof db>>();
          const [row] = await tx.insert(pgUsers).values({ name: "ada" }).returning();
          expectTypeOf(await tx.query.users.findMany()).toEqualTypeOf<{ id: number; name: string }[]>();
          return row?.id;
        },
        { config: { isolationLevel: "serializable", accessMode: "read write", deferrable: true }, timeoutMs: 1_000 },
      );
    expectTypeOf(run).returns.resolves.toEqualTypeOf<number | undefined>();
    // @ts-expect-error there is no such level
    const wrong = () => paramedic.transaction(guarded, () => 1, { config: { isolationLevel: "eventually" } });
    expectTypeOf(wrong).returns.resolves.toEqualTypeOf<number>();
  });

  it("on postgres.js", () => {
    const db = drizzlePostgresJs(postgres(`postgres://${NOWHERE}`), { schema: { users: pgUsers } });
    const guarded = paramedic.guardDatabase("db:postgres-js", db);
    expectTypeOf(guarded).toEqualTypeOf(db);
    expect(guarded).toBe(db);
    const run = () =>
      paramedic.transaction(guarded, (tx) => {
        expectTypeOf(tx).toEqualTypeOf<OwnHandle<typeof db>>();
        return tx.$count(pgUsers);
      });
    expectTypeOf(run).returns.resolves.toEqualTypeOf<number>();
  });

  it("on mysql2, with callbacks or promises", () => {
    const pool = mysql.createPool(`mysql://${NOWHERE}`);
    const db = drizzleMysql(pool, { schema: { users: mysqlUsers }, mode: "default" });
    const guarded = paramedic.guardDatabase("db:mysql", db);
    expectTypeOf(guarded).toEqualTypeOf(db);
    expect(guarded).toBe(db);
    const promised = drizzleMysql(mysqlPromise.createPool(`mysql://${NOWHERE}`));
    expectTypeOf(paramedic.guardDatabase("db:mysql-promise", promised)).toEqualTypeOf(promised);
    const run = () =>
      paramedic.transaction(
        guarded,
        async (tx) => {
          expectTypeOf(tx).toEqualTypeOf<OwnHandle<typeof db>>();
          const [{ insertId }] = await tx.insert(mysqlUsers).values({ name: "ada" });
          return insertId;
        },
        { config: { isolationLevel: "read committed", withConsistentSnapshot: true } },
      );
    expectTypeOf(run).returns.resolves.toEqualTypeOf<number>();
    // @ts-expect-error MySQL knows no deferrable transactions
    const wrong = () => paramedic.transaction(guarded, () => 1, { config: { deferrable: true } });
    expectTypeOf(wrong).returns.resolves.toEqualTypeOf<number>();
  });

  it("on better-sqlite3, where a transaction's body may await", async () => {
    const users = sqliteTable("users", { id: integer().primaryKey() });
    const client = new Database(":memory:");
    client.exec("create table users (id integer primary key)");
    const db = drizzleSqlite(client, { schema: { users } });
    const guarded = paramedic.guardDatabase("db:sqlite", db, { busyTimeoutMs: 50 });
    expectTypeOf(guarded).toEqualTypeOf(db);
    const id = await paramedic.transaction(
      guarded,
      async (tx) => {
        expectTypeOf(tx).toEqualTypeOf<OwnHandle<typeof db>>();
        const [row] = await tx.insert(users).values({ id: 7 }).returning();
        return row?.id;
      },
      { config: { behavior: "exclusive" } },
    );
    expectTypeOf(id).toEqualTypeOf<number | undefined>();
    expect(id).toBe(7);
    client.close();
  });

  it("and nothing else is taken for a database", () => {
    // @ts-expect-error it has no transactions
    const wrong = () => paramedic.transaction({ query: () => 1 }, () => 1);
    return expect(wrong()).rejects.toMatchObject({ code: "OPERATION_INVALID" });
  });
});
