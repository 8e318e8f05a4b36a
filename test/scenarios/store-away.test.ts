/**
 * Ten minutes of load on a fake clock while the database is really away: a PostgreSQL whose processes are stopped, one that is
 * killed, an SQLite file that another process has locked. Calls, circuits and settings go on by what is known, the API and the
 * command line answer with its age, no repair begins, and everything lands afterwards, in order and with its own times.
 */
import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import { initTRPC } from "@trpc/server";
import { createHTTPHandler } from "@trpc/server/adapters/standalone";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPostgresStore } from "../../server/adapters/postgres/postgres-store.js";
import { createSqliteStore } from "../../server/adapters/sqlite/sqlite-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import type { Store } from "../../server/ports/store.js";
import { MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { createTestDatabase } from "../services/postgres-database.js";
import { startPostgres } from "../services/postgres-server.js";
import { lockDatabase } from "../support/database-lock.js";
import { createFakeClock, type FakeClock } from "../support/fake-clock.js";
import { bundleScripts, type ScriptBundle } from "../support/script-bundle.js";

let bundle: ScriptBundle<"paramedic">;
beforeAll(async () => {
  bundle = await bundleScripts({ paramedic: "server/cli/paramedic.ts" });
});
afterAll(() => bundle?.remove());

interface AwayDatabase {
  readonly url: string;
  readonly createStore: () => Store;
  /** Takes it away; gives how to bring it back. */
  takeAway(): Promise<() => Promise<void>>;
}
type CleanUp = (work: () => void | Promise<void>) => void;

const deps = { clock: systemClock, onFault() {} };
/** The database's own time is real: its timeouts must not take up all of the ten minutes. */
const PATIENCE = { connectTimeoutMs: 1_000, lockTimeoutMs: 400, statementTimeoutMs: 800 };

async function startDatabase(cleanUp: CleanUp) {
  const server = await startPostgres();
  cleanUp(() => server.stop());
  const { url } = await createTestDatabase(server);
  return { server, url, createStore: () => createPostgresStore(deps, { url, ...PATIENCE }) };
}

const OUTAGES: readonly {
  readonly what: string;
  /** Reads go on: a lock on the file keeps nobody from reading it. */
  readonly readable: boolean;
  readonly create: (cleanUp: CleanUp) => Promise<AwayDatabase>;
}[] = [
  {
    what: "a PostgreSQL whose processes are all stopped",
    readable: false,
    async create(cleanUp) {
      const { server, ...database } = await startDatabase(cleanUp);
      return {
        ...database,
        async takeAway() {
          const thaw = server.freeze();
          cleanUp(thaw);
          return thaw;
        },
      };
    },
  },
  {
    what: "a PostgreSQL that is killed and started again",
    readable: false,
    async create(cleanUp) {
      const { server, ...database } = await startDatabase(cleanUp);
      return {
        ...database,
        async takeAway() {
          await server.kill();
          return () => server.restart();
        },
      };
    },
  },
  {
    what: "an SQLite file that another process has locked",
    readable: true,
    async create(cleanUp) {
      const temp = createTempFolder();
      cleanUp(() => temp.remove());
      return {
        url: `file:${temp.path}`,
        createStore: () => createSqliteStore(deps, { path: temp.path, busyTimeoutMs: 200 }),
        async takeAway() {
          const lock = await lockDatabase(temp.path);
          cleanUp(() => lock.kill());
          return () => lock.release();
        },
      };
    },
  },
];

/** A little real time goes by with the fake one, so that a real database has a say. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  await clock.advance(ms);
  await new Promise((resolve) => setTimeout(resolve, 40));
}

async function start({ url, createStore }: AwayDatabase, cleanUp: CleanUp) {
  const clock = createFakeClock(Date.now());
  const store = createStore();
  const environment = readEnvironment({ PARAMEDIC_DATABASE_URL: url });
  const paramedic = createParamedic({
    instance: "web-1",
    logger: false,
    redis: false,
    authorize: () => "operate",
    overrides: { clock, store, environment },
  });
  const shutdown = async () => {
    let ended = false;
    const end = paramedic.shutdown().then(() => {
      ended = true;
    });
    while (!ended) await pass(clock, 100);
    await end;
  };
  cleanUp(shutdown);
  let repairs = 0;
  paramedic.recovery.registerStrategy({
    name: "reconnect_it",
    scope: "service",
    priority: 1,
    applicableFailureTypes: ["procedure_error", "service_unavailable"],
    async execute() {
      repairs += 1;
      return { success: true, actionType: "reconnect", actionStrategy: "reconnect_it", durationMs: 1, message: "" };
    },
  });
  const t = initTRPC.create();
  const procedure = t.procedure.use(paramedic.middleware());
  const weather = paramedic.guard("http:weather", { failureThreshold: 5, idempotent: false });
  const router = t.router({
    good: procedure.query(() => "good"),
    weather: procedure.query(() =>
      weather.execute(() => Promise.reject(Object.assign(new Error("503"), { status: 503 }))),
    ),
    broken: t.router(
      Object.fromEntries(
        MINUTES.map((minute) => [
          `in${minute}`,
          procedure.query(() => {
            throw new Error(`broken in ${minute}`);
          }),
        ]),
      ),
    ),
    health: paramedic.healthProcedure,
    paramedic: paramedic.router,
  });
  const server = createServer(createHTTPHandler({ router, createContext: () => ({}) }));
  const origin = await listen(server);
  cleanUp(() => void server.close());
  return { clock, store, paramedic, shutdown, api: t.createCallerFactory(router)({}), repairs: () => repairs, origin };
}

const MINUTES = Array.from({ length: 10 }, (_, minute) => minute);
const STEP_MS = 4 * SECOND_MS;
const reason = "a look first";

describe.each(OUTAGES)("ten minutes of load while the store is $what", ({ create, readable }) => {
  it("change no call, are told with their age, let no repair begin, and land in order with their own times", async ({
    onTestFinished,
  }) => {
    const database = await create(onTestFinished);
    const { clock, store, paramedic, shutdown, api, repairs, origin } = await start(database, onTestFinished);
    const known = async () => {
      await pass(clock, SECOND_MS);
      return (
        (await api.paramedic.status()).circuitsAgeMs !== undefined && !(await api.paramedic.settings.list()).repairsWait
      );
    };
    await expect.poll(known, { timeout: 60_000, interval: 10 }).toBe(true);
    const variables = { PARAMEDIC_DATABASE_URL: database.url };
    await api.paramedic.settings.set({ name: "FAILOVER_STRATEGY_ENABLED", value: false, reason });
    await pass(clock, STEP_MS);

    const bringBack = await database.takeAway();
    const awayAt = clock.now();
    const asked = { good: 0, weather: 0 };
    const brokenAt: number[] = [];
    const messages: string[] = [];
    for (const minute of MINUTES) {
      brokenAt.push(clock.now());
      const broken = api.broken[`in${minute}`];
      await expect(broken?.()).rejects.toThrow(`broken in ${minute}`);
      for (let ms = 0; ms < MINUTE_MS; ms += STEP_MS) {
        for (let call = 0; call < 10; call += 1) expect(await api.good()).toBe("good");
        asked.good += 10;
        asked.weather += 1;
        messages.push(await api.weather().catch(({ message }: { message: string }) => message.replace(/\d+ ms/, "")));
        await pass(clock, STEP_MS);
      }
    }
    // The circuit opened by what this instance saw, and opened again after each of its probes.
    expect([...new Set(messages)]).toEqual(["503", expect.stringContaining('circuit "http:weather" is open')]);
    expect(repairs()).toBe(0);

    const [settings, status] = await Promise.all([api.paramedic.settings.list(), api.paramedic.status()]);
    expect(settings.settings.find(({ name }) => name === "FAILOVER_STRATEGY_ENABLED")).toMatchObject({
      value: false,
      source: "stored",
    });
    expect((await api.health()).degradation?.parts).toEqual(expect.arrayContaining(["http:weather", "store"]));
    const refused = expect(api.paramedic.settings.set({ name: "mode", value: "shadow", reason })).rejects.toMatchObject(
      {
        code: "SERVICE_UNAVAILABLE",
      },
    );
    const [told, fallenBack, nobody] = await Promise.all([
      commandLine(["status", "--url", `${origin}/paramedic`], variables),
      commandLine(["settings", "--url", `${origin}/paramedic`], variables),
      commandLine(["status", "--url", "http://127.0.0.1:1/paramedic"], variables),
    ]);
    expect(told).toMatchObject({ code: 0, errors: "" });
    expect(told.output).toMatch(/^web-1 is .*without .*store/m);
    expect(told.output).toMatch(/^circuit http:weather: (open|half_open), opened \d+ s ago/m);
    expect(told.output).toContain("FAILOVER_STRATEGY_ENABLED = false  (stored)");
    if (!readable) {
      expect(settings).toMatchObject({ repairsWait: true });
      for (const ageMs of [settings.ageMs, status.settingsAgeMs, status.circuitsAgeMs]) {
        expect(ageMs).toBeGreaterThan(9 * MINUTE_MS);
      }
      await expect(api.paramedic.failures.list()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
      expect(told.output).toMatch(/^settings, read (5[4-9]\d|6\d\d) s ago: repairs wait$/m);
      expect(fallenBack.output.split("\n").slice(0, 2)).toEqual([
        expect.stringContaining("postgres://"),
        expect.stringMatching(/^web-1 is /),
      ]);
      expect(nobody).toMatchObject({ code: 1, output: "" });
      expect(nobody.errors).toMatch(/^paramedic: nothing can answer: no instance answers at http:.*postgres:.*\n$/);
    }
    await refused;

    await bringBack();
    const backAt = clock.now();
    const rows = async (service: string) =>
      (await store.listFailures({ limit: 100, affectedService: service })).items.filter(
        ({ timestamp }) => timestamp <= backAt,
      );
    const transitionsOf = async (circuitName: string) =>
      (await store.listTransitions({ circuitName, limit: 1_000 })).items.toReversed();
    const landed = async () => {
      await pass(clock, STEP_MS);
      return {
        broken: await Promise.all(MINUTES.map(async (minute) => (await rows(`trpc.broken.in${minute}`)).length)),
        weather: (await rows("trpc.weather")).reduce((sum, { occurrences }) => sum + occurrences, 0),
        transitions: (await transitionsOf("http:weather")).length,
      };
    };
    await expect.poll(landed, { timeout: 60_000, interval: 10 }).toEqual({
      broken: MINUTES.map(() => 1),
      weather: messages.filter((message) => message === "503").length,
      transitions: expect.toSatisfy((count) => count > 5),
    });

    const failures = (await store.listFailures({ limit: 100 })).items.filter(({ affectedService }) =>
      affectedService.startsWith("trpc.broken."),
    );
    expect(failures.toReversed().map(({ timestamp }) => timestamp)).toEqual(brokenAt);
    const transitions = await transitionsOf("http:weather");
    expect(transitions.map(({ version }) => version)).toEqual(transitions.map((_, index) => index + 1));
    const times = transitions.map(({ at }) => at);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(awayAt);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(8 * MINUTE_MS);
    const counted = async () => {
      await pass(clock, SECOND_MS);
      const range = { from: awayAt - 60 * MINUTE_MS, to: clock.now() + MINUTE_MS };
      const { procedures } = await api.paramedic.metrics.topProcedures(range);
      return ["good", "weather"].map((name) => procedures.find(({ procedure }) => procedure === name)?.calls);
    };
    await expect.poll(counted, { timeout: 60_000, interval: 10 }).toEqual([asked.good, asked.weather]);
    const asEver = async () => {
      await pass(clock, SECOND_MS);
      const { repairsWait, ageMs } = await api.paramedic.settings.list();
      return { repairsWait, ageMs, ...paramedic.recovery.state() };
    };
    const ageMs = expect.toSatisfy((ms) => ms < 10 * SECOND_MS);
    await expect
      .poll(asEver, { timeout: 30_000, interval: 10 })
      .toMatchObject({ repairsWait: false, ageMs, storing: true, spooled: 0 });

    await shutdown();
    const after = database.createStore();
    await after.open();
    const [life, ...others] = await after.ledger();
    await after.close();
    expect(others).toEqual([]);
    expect(life).toMatchObject({ instance: "web-1", dropped: {}, lost: 0, rolledUp: life?.recorded });
  }, 240_000);
});

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
}

async function commandLine(args: readonly string[], variables: Record<string, string>) {
  const child = spawn(process.execPath, [bundle.fileOf("paramedic"), ...args], {
    env: { PATH: process.env.PATH, ...variables },
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output, errors };
}
