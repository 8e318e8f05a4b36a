/** B6: what circuits do while a real store is away, and that nobody sees them flap when it is back. */
import { afterEach, describe, expect, it } from "vitest";
import { storeTargetOf } from "../../server/options.js";
import { delay, systemClock } from "../../server/ports/clock.js";
import { silentLogger } from "../../server/ports/logger.js";
import { createStore } from "../../server/store-target.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { createTestDatabase } from "../services/postgres-database.js";
import { lockDatabase } from "../support/database-lock.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import { startInstance, stopFleet } from "./fleet.js";

afterEach(stopFleet);

type Cleanup = (work: () => Promise<void>) => void;

const outages = [
  {
    what: "a SQLite file that another process has locked",
    async create(cleanUp: Cleanup) {
      const temp = createTempFolder();
      cleanUp(async () => temp.remove());
      return { url: `file:${temp.path}`, begin: () => lockDatabase(temp.path) };
    },
  },
  {
    what: "a PostgreSQL that the network has cut off",
    async create(cleanUp: Cleanup) {
      const database = await createTestDatabase();
      cleanUp(() => database.remove());
      const proxy = await startTcpProxy({ port: Number(new URL(database.url).port) });
      cleanUp(() => proxy.close());
      const url = new URL(database.url);
      url.hostname = "127.0.0.1";
      url.port = String(proxy.port);
      return {
        url: url.href,
        async begin() {
          proxy.refuse();
          return { release: async () => proxy.resume() };
        },
      };
    },
  },
];

const circuit = { failureThreshold: 2, resetTimeoutMs: 300, successThreshold: 1 };
const soon = { timeout: 30_000, interval: 20 };

describe.each(outages)("$what", ({ create }) => {
  it("B6: leaves circuits to work on their own, and is told afterwards in one step", { timeout: 120_000 }, async ({
    onTestFinished,
  }) => {
    const database = await create(onTestFinished);
    const start = async (name: string) => {
      const store = createStore(
        { clock: systemClock, logger: silentLogger, onFault() {} },
        storeTargetOf(database.url),
      );
      await store.open();
      const instance = await startInstance(
        systemClock,
        { circuits: store },
        { name, circuit, flushIntervalMs: 100, syncIntervalMs: 200, restoreWaitMs: 10_000 },
      );
      onTestFinished(async () => {
        await stopFleet();
        await store.close();
      });
      instance.svc().tryAcquire()?.success();
      await expect.poll(() => instance.persistence.stats().inTouch, soon).toBe(true);
      return { ...instance, store };
    };
    const [a, b] = [await start("a"), await start("b")];
    const seen: string[] = [];
    b.registry.subscribe({ moved: ({ state }) => void seen.push(state) });

    const outage = await database.begin();
    a.fail(2);
    const refused = a.svc().tryAcquire();
    expect([a.svc().state, refused]).toEqual(["open", undefined]);
    // Its wait is over soon; then it probes without the store, and closes.
    while (!a.svc().isClosed) {
      await delay(systemClock, 20);
      a.svc().tryAcquire()?.success();
    }
    expect(a.persistence.stats()).toMatchObject({ pending: 3, localProbes: 1 });
    expect(seen).toEqual([]);
    expect(await a.svc().execute(() => "answer")).toBe("answer");
    await outage.release();

    await expect.poll(() => a.persistence.stats(), soon).toMatchObject({ pending: 0, inTouch: true, superseded: 0 });
    const { items } = await a.store.listTransitions({ circuitName: "svc", limit: 10 });
    expect(items.map(({ version, from, to }) => `${version} ${from} ${to}`)).toEqual([
      "3 half_open closed",
      "2 open half_open",
      "1 closed open",
    ]);
    await expect.poll(() => seen.length, soon).toBeGreaterThan(0);
    await expect.poll(() => b.persistence.stats().inTouch, soon).toBe(true);
    expect(new Set(seen)).toEqual(new Set(["closed"]));
    expect(await b.svc().execute(() => "answer")).toBe("answer");
  });
});
