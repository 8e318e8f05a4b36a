/** An empty database on a real PostgreSQL: the server that TEST_POSTGRES_URL names, else one of its own. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { startPostgres } from "./postgres-server.js";

export interface TestDatabase {
  readonly url: string;
  /** One statement or several, on a connection of its own. */
  run(sql: string): Promise<readonly Record<string, unknown>[]>;
  /** Drops it, and ends the server where it has its own. */
  remove(): Promise<void>;
}

/** @param server one that runs already */
export async function createTestDatabase(server?: { readonly url: string }): Promise<TestDatabase> {
  const given = server?.url ?? process.env.TEST_POSTGRES_URL;
  const own = given === undefined || given === "" ? await startPostgres() : undefined;
  const serverUrl = own?.url ?? given ?? "";
  const name = `paramedic_test_${randomUUID().replaceAll("-", "")}`;
  await runOn(serverUrl, `create database ${name}`);
  const address = new URL(serverUrl);
  address.pathname = `/${name}`;
  return {
    url: address.href,
    run: (sql) => runOn(address.href, sql),
    async remove() {
      if (own) await own.stop();
      else await runOn(serverUrl, `drop database ${name} with (force)`);
    },
  };
}

export async function runOn(url: string, sql: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query(sql);
    return rows;
  } finally {
    await client.end();
  }
}
