/** Drizzle on each driver whose database is a server, over one table, so that one test can be told for all of them. */

import * as mysqlCore from "drizzle-orm/mysql-core";
import { drizzle as drizzleMysql } from "drizzle-orm/mysql2";
import { drizzle as drizzlePg } from "drizzle-orm/node-postgres";
import * as pgCore from "drizzle-orm/pg-core";
import { drizzle as drizzlePostgresJs } from "drizzle-orm/postgres-js";
import mysql from "mysql2";
import pg from "pg";
import postgres from "postgres";
import { runOnMariadb, startMariadb } from "../services/mariadb-server.js";
import { runOn } from "../services/postgres-database.js";
import { startPostgres } from "../services/postgres-server.js";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

export const pgUsers = pgCore.pgTable("users", {
  id: pgCore.serial("id").primaryKey(),
  name: pgCore.text("name").notNull().unique(),
});
export const mysqlUsers = mysqlCore.mysqlTable("users", {
  id: mysqlCore.int("id").autoincrement().primaryKey(),
  name: mysqlCore.varchar("name", { length: 100 }).notNull().unique(),
});

export interface PoolSettings {
  /** @default 4 */
  readonly max?: number;
}

export const openNodePostgres = (url: string, { max = 4 }: PoolSettings = {}) => {
  const pool = new pg.Pool({ connectionString: url, max });
  return { db: drizzlePg(pool, { schema: { users: pgUsers } }), pool, close: () => pool.end() };
};
export const openPostgresJs = (url: string, { max = 4 }: PoolSettings = {}) => {
  const sql = postgres(url, { max, onnotice: () => undefined, backoff: () => 0.05 });
  return {
    db: drizzlePostgresJs(sql, { schema: { users: pgUsers } }),
    pool: sql,
    close: () => sql.end({ timeout: 1 }),
  };
};
export const openMysql2 = (url: string, { max = 4 }: PoolSettings = {}) => {
  const pool = mysql.createPool({ uri: url, connectionLimit: max });
  return {
    db: drizzleMysql(pool, { schema: { users: mysqlUsers }, mode: "default" }),
    pool,
    close: () => new Promise<void>((resolve) => pool.end(() => resolve())),
  };
};

/** What the tests of all drivers do, in Drizzle's words; each driver has its own types for the same. */
export interface AnyDb {
  select(): { from(table: object): PromiseLike<{ id: number; name: string }[]> };
  insert(table: object): { values(row: { name: string }): PromiseLike<unknown> };
  update(table: object): { set(row: { name: string }): { where(condition: object): PromiseLike<unknown> } };
  delete(table: object): { where(condition: object): PromiseLike<unknown> };
  execute(query: object): Promise<unknown>;
  $count(table: object): PromiseLike<number>;
  transaction<T>(work: (tx: AnyTx) => Promise<T>, config?: object): Promise<T>;
  readonly query: { readonly users: { findMany(): PromiseLike<{ id: number; name: string }[]> } };
}
export interface AnyTx extends Omit<AnyDb, "transaction"> {
  transaction<T>(work: (tx: AnyTx) => Promise<T>): Promise<T>;
  rollback(): never;
}

/** One server of a driver's kind, with a network to it that a test can break. */
export interface DatabaseServer {
  readonly driver: "node-postgres" | "postgres.js" | "mysql2";
  readonly users: object;
  readonly proxy: TcpProxy;
  /** Its own, behind the proxy. */
  readonly port: number;
  pid(): number;
  /** Through the proxy. */
  open(settings?: PoolSettings): { readonly db: AnyDb; close(): Promise<unknown> };
  /** One statement with every right, past the proxy. */
  run(sql: string): Promise<readonly Record<string, unknown>[]>;
  /** Names in the order of their ids, past the proxy. */
  names(): Promise<unknown[]>;
  /** How many statements it works on that have these words in them. */
  busyWith(words: string): Promise<number>;
  setReadOnly(isReadOnly: boolean): Promise<void>;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export const DRIVERS = ["node-postgres", "postgres.js", "mysql2"] as const;

interface ServerSettings {
  readonly args?: readonly string[];
  readonly diskMegabytes?: number;
}

export async function startServerOf(
  driver: DatabaseServer["driver"],
  settings: ServerSettings = {},
): Promise<DatabaseServer> {
  return driver === "mysql2" ? startMysql(settings) : startPg(driver, settings);
}

async function startPg(driver: "node-postgres" | "postgres.js", settings: ServerSettings): Promise<DatabaseServer> {
  const server = await startPostgres(settings);
  await runOn(server.url, "create table users (id serial primary key, name text not null unique)");
  const proxy = await startTcpProxy({ port: server.port });
  const url = through(server.url, proxy);
  const run = (sql: string) => runOn(server.url, sql);
  const open = driver === "node-postgres" ? openNodePostgres : openPostgresJs;
  return {
    ...common(server, proxy, run),
    driver,
    users: pgUsers,
    open: (settings) => asAny(open(url, settings)),
    async busyWith(words) {
      const others = "state = 'active' and pid <> pg_backend_pid()";
      return (await run(`select pid from pg_stat_activity where ${others} and query like '%${words}%'`)).length;
    },
    async setReadOnly(isReadOnly) {
      await run(`alter system set default_transaction_read_only = ${isReadOnly ? "on" : "off"}`);
      await run("select pg_reload_conf()");
      await until(async () => {
        const [row] = await run("show default_transaction_read_only");
        return row?.default_transaction_read_only === (isReadOnly ? "on" : "off");
      });
    },
  };
}

async function startMysql(settings: ServerSettings): Promise<DatabaseServer> {
  const server = await startMariadb(settings);
  await runOnMariadb(
    server.url,
    "create table users (id int auto_increment primary key, name varchar(100) not null unique)",
  );
  const proxy = await startTcpProxy({ port: server.port });
  const url = through(server.url, proxy);
  return {
    ...common(server, proxy, server.administer),
    driver: "mysql2",
    users: mysqlUsers,
    open: (settings) => asAny(openMysql2(url, settings)),
    async busyWith(words) {
      const others = "command = 'Query' and id <> connection_id()";
      const from = "information_schema.processlist";
      return (await server.administer(`select id from ${from} where ${others} and info like '%${words}%'`)).length;
    },
    async setReadOnly(isReadOnly) {
      await server.administer(`set global read_only = ${isReadOnly ? 1 : 0}`);
    },
  };
}

function common(
  server: {
    readonly pid: number;
    readonly port: number;
    kill(): Promise<void>;
    restart(): Promise<void>;
    stop(): Promise<void>;
  },
  proxy: TcpProxy,
  run: DatabaseServer["run"],
) {
  return {
    proxy,
    port: server.port,
    run,
    pid: () => server.pid,
    names: async () => (await run("select name from users order by id")).map(({ name }) => name),
    kill: () => server.kill(),
    restart: () => server.restart(),
    async stop() {
      await proxy.close();
      await server.stop();
    },
  };
}

function through(url: string, proxy: TcpProxy): string {
  const address = new URL(url);
  address.port = String(proxy.port);
  return address.href;
}

export async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt += 1) {
    if (await isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it did not become so within 5 s");
}

/** The drivers' types differ in what the tests do not look at; what they do is checked by `test/types`. */
function asAny(opened: { readonly db: object; close(): Promise<unknown> }): { db: AnyDb; close(): Promise<unknown> } {
  return opened as unknown as { db: AnyDb; close(): Promise<unknown> };
}
