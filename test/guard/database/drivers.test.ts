/** How connections are lent, given back and given up, on clients that do no more than drivers' clients can do. */
import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import type { DatabaseDriver } from "../../../server/guard/database/database-driver.js";
import { mysql2Driver } from "../../../server/guard/database/mysql2-driver.js";
import { nodePostgresDriver } from "../../../server/guard/database/node-postgres-driver.js";
import { postgresJsDriver } from "../../../server/guard/database/postgres-js-driver.js";
import { createFakeClock } from "../../support/fake-clock.js";

const clock = createFakeClock();

/** A pool with connections that were there before anybody watched it. */
function fakePg(old: number) {
  const ended: string[] = [];
  let made = 0;
  const make = () => {
    made += 1;
    const name = `connection ${made}`;
    const client: FakeClient = Object.assign(new EventEmitter(), {
      query: async () => ({ rows: [{ name }] }),
      release(destroy?: boolean) {
        if (destroy === true) ended.push(name);
        else idle.push(client);
      },
    });
    return client;
  };
  const idle = Array.from({ length: old }, make);
  const pool = Object.assign(new EventEmitter(), {
    options: { max: 5 },
    idleCount: old,
    query() {},
    async connect() {
      const reused = idle.shift();
      if (reused !== undefined) return reused;
      const client = make();
      pool.emit("connect", client);
      return client;
    },
  });
  return { pool, ended, idle };
}

interface FakeClient extends EventEmitter {
  query(): Promise<{ rows: object[] }>;
  release(destroy?: boolean): void;
}

function fakeMysql() {
  const ended: string[] = [];
  const core = Object.assign(new EventEmitter(), { config: { connectionLimit: 3 } });
  const pool = {
    pool: core,
    query() {},
    async getConnection() {
      const connection = new EventEmitter();
      connection.once("error", () => ended.push("removed by the pool"));
      core.emit("connection", connection);
      return {
        connection,
        query: async () => [[{ one: 1 }], []],
        release: () => ended.push("released"),
        destroy: () => ended.push("destroyed"),
      };
    },
  };
  return { pool, ended };
}

function required(driver: DatabaseDriver | undefined): DatabaseDriver {
  if (driver === undefined) throw new Error("it should have been recognised");
  return driver;
}

describe("a driver", () => {
  it.each([
    ["nothing", undefined],
    ["an object", {}],
    ["a mock of Drizzle's", { options: { parsers: {}, serializers: {} } }],
    ["a promise", Promise.resolve()],
    [
      "a proxy that throws",
      new Proxy(
        {},
        {
          get() {
            throw new Error("no");
          },
        },
      ),
    ],
  ])("is not seen in %s", (_name, client) => {
    expect([nodePostgresDriver(client), mysql2Driver(client), postgresJsDriver(client)]).toEqual(
      Array(3).fill(undefined),
    );
  });

  it("gives up every connection that was made before, and lends one that was made since", async () => {
    const { pool, ended } = fakePg(3);
    const driver = required(nodePostgresDriver(pool));
    const first = await driver.renew(clock);
    expect(ended).toEqual(["connection 1", "connection 2", "connection 3"]);
    expect(await driver.ask(first.client, "select 1")).toEqual([{ name: "connection 4" }]);
    first.giveBack();
    const second = await driver.renew(clock);
    expect(ended).toContain("connection 4");
    second.giveBack();
  });

  it("ends a loan once, whoever ends it how often", async () => {
    const { pool, ended, idle } = fakePg(1);
    const loan = await required(nodePostgresDriver(pool)).lend(clock);
    loan.destroy();
    loan.giveBack();
    loan.destroy();
    expect(ended).toEqual(["connection 1"]);
    expect(idle).toEqual([]);
  });

  it("lets no error of a connection that is lent end the process, however often it comes", async () => {
    const pg = await required(nodePostgresDriver(fakePg(1).pool)).lend(clock);
    const mysql = await required(mysql2Driver(fakeMysql().pool)).lend(clock);
    for (const emitter of [pg.client, Reflect.get(mysql.client, "connection")]) {
      for (let i = 0; i < 3; i += 1)
        expect(() => Reflect.get(emitter, "emit").call(emitter, "error", new Error("lost"))).not.toThrow();
    }
    mysql.destroy();
  });

  it("takes its listener back with the connection", async () => {
    const { pool } = fakePg(1);
    const loan = await required(nodePostgresDriver(pool)).lend(clock);
    const client = loan.client as EventEmitter;
    expect(client.listenerCount("error")).toBe(1);
    loan.giveBack();
    expect(client.listenerCount("error")).toBe(0);
  });

  it("of one connection alone lends that, and cannot replace it", async () => {
    const client = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }), connect() {} });
    const driver = required(nodePostgresDriver(client));
    expect(driver.isPool).toBe(false);
    const loan = await driver.renew(clock);
    expect(loan.client).toBe(client);
    const heard: unknown[] = [];
    driver.onIdleError((error) => heard.push(error));
    client.emit("error", "lost");
    expect(heard).toEqual(["lost"]);
  });
});
