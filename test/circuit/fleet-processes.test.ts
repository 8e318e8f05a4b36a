/** A fleet of real processes over one database: killed with `kill -9`, with clocks that are minutes apart, and all at once. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { describe, expect, inject, it } from "vitest";
import { storeTargetOf } from "../../server/options.js";
import { systemClock } from "../../server/ports/clock.js";
import { silentLogger } from "../../server/ports/logger.js";
import { createStore } from "../../server/store-target.js";
import type { CircuitTransition } from "../../shared/circuit.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { ownKey } from "../services/own-key.js";
import { createTestDatabase } from "../services/postgres-database.js";
import { type Child, startChild } from "../support/child-process.js";
import type { FleetChildTask } from "./fleet-child.js";

/** The latest first. */
type Cleanup = (work: () => Promise<void>) => void;

function eventually<T>(read: () => T) {
  return expect.poll(read, { timeout: 40_000, interval: 10 });
}

/** The service behind the circuit: answers after a while, and knows who asks and how many at once. */
async function startService(cleanUp: Cleanup) {
  const asking = new Map<Socket, string>();
  const state = { failing: false, answerAfterMs: 10, asked: 0, most: 0, asking };
  const server: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("close", () => asking.delete(socket));
    socket.once("data", (data) => {
      asking.set(socket, data.toString().trim());
      state.asked += 1;
      state.most = Math.max(state.most, asking.size);
      setTimeout(() => {
        asking.delete(socket);
        socket.end(state.failing ? "fail" : "ok");
      }, state.answerAfterMs);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUp(async () => {
    for (const socket of asking.keys()) socket.destroy();
    server.close();
  });
  const address = server.address();
  return { state, port: typeof address === "object" && address !== null ? address.port : 0 };
}

interface Process {
  readonly name: string;
  readonly child: Child;
  /** Where its circuit was, one after another. */
  readonly states: string[];
}

function createFleet(cleanUp: Cleanup, database: string, settings: Omit<FleetChildTask, "name" | "skewMs">) {
  const alive: Process[] = [];
  const start = async (name: string, skewMs = 0): Promise<Process> => {
    const script = new URL("./fleet-child.ts", import.meta.url);
    const child = startChild(script, JSON.stringify({ ...settings, name, skewMs }), database);
    const process: Process = { name, child, states: [] };
    cleanUp(() => child.kill());
    // Where it took over what is stored, it may say so before it is ready.
    for (let line = await child.nextLine(); line !== "ready"; line = await child.nextLine()) process.states.push(line);
    void (async () => {
      for (;;) process.states.push(await child.nextLine());
    })().catch(() => undefined);
    alive.push(process);
    return process;
  };
  const kill = async (process: Process) => {
    alive.splice(alive.indexOf(process), 1);
    await process.child.kill();
  };
  const all = (state: string) => alive.every(({ states }) => states.at(-1) === state);
  const anyIs = (state: string) => alive.some(({ states }) => states.at(-1) === state);
  return { alive, start, kill, all, anyIs };
}

async function rowsOf(database: string): Promise<readonly CircuitTransition[]> {
  const store = createStore({ clock: systemClock, logger: silentLogger, onFault() {} }, storeTargetOf(database));
  await store.open();
  const { items } = await store.listTransitions({ circuitName: "svc", limit: 1_000 });
  await store.close();
  return items.toSorted((a, b) => a.version - b.version);
}

const databases = [
  {
    dialect: "SQLite",
    async create(cleanUp: Cleanup) {
      const temp = createTempFolder();
      cleanUp(async () => temp.remove());
      return `file:${temp.path}`;
    },
  },
  {
    dialect: "PostgreSQL",
    async create(cleanUp: Cleanup) {
      const database = await createTestDatabase();
      cleanUp(() => database.remove());
      return database.url;
    },
  },
];

/** Processes take seconds to start where others use the machine too. */
const PATIENCE_MS = 120_000;

const FIVE_MINUTES_MS = 300_000;
const SYNC_MS = 1_000;
/** What a busy machine takes to start reading, and to print a line. */
const SLACK_MS = 1_500;

describe.each(databases)("a fleet of processes on $dialect", ({ create }) => {
  it(
    "B1, B2, B3, B5: opens together, probes by turns through kills, outlives them all, and closes together",
    async ({ onTestFinished }) => {
      const database = await create(onTestFinished);
      const service = await startService(onTestFinished);
      const { state } = service;
      const fleet = createFleet(onTestFinished, database, {
        servicePort: service.port,
        syncIntervalMs: SYNC_MS,
        resetTimeoutMs: 1_500,
      });
      await Promise.all([fleet.start("a"), fleet.start("b", FIVE_MINUTES_MS), fleet.start("c", -FIVE_MINUTES_MS)]);
      await eventually(() => state.asked).toBeGreaterThan(30);

      // B3: seen by all within the bound.
      state.failing = true;
      await eventually(() => fleet.anyIs("open")).toBe(true);
      const openedAt = performance.now();
      await eventually(() => fleet.alive.every(({ states }) => states.includes("open"))).toBe(true);
      expect(performance.now() - openedAt).toBeLessThan(SYNC_MS + SLACK_MS);

      // B2: never more probes than one circuit may have, also when who probes is killed while it does.
      state.answerAfterMs = 300;
      await eventually(() => state.asking.size).toBe(0);
      state.most = 0;
      await eventually(() => state.asking.size).toBeGreaterThan(0);
      const prober = [...state.asking.values()][0];
      const victim = fleet.alive.find(({ name }) => name === prober);
      if (victim === undefined) throw new Error("nobody probes");
      await fleet.kill(victim);
      expect(fleet.anyIs("closed")).toBe(false);
      await eventually(() => [...state.asking.values()].some((name) => name !== prober)).toBe(true);
      expect(state.most).toBeGreaterThan(0);
      expect(state.most).toBeLessThanOrEqual(2);

      // B3: still open after the restart of all: nobody calls before it knows.
      for (const process of [...fleet.alive]) await fleet.kill(process);
      await Promise.all([fleet.start("d"), fleet.start("e", FIVE_MINUTES_MS)]);
      expect(fleet.anyIs("closed")).toBe(false);
      await eventually(() => state.asking.size).toBeGreaterThan(0);
      expect(state.most).toBeLessThanOrEqual(2);

      state.failing = false;
      state.answerAfterMs = 20;
      await eventually(() => fleet.anyIs("closed")).toBe(true);
      const closedAt = performance.now();
      await eventually(() => fleet.all("closed")).toBe(true);
      expect(performance.now() - closedAt).toBeLessThan(SYNC_MS + SLACK_MS);

      // B1: one history, whoever wrote it.
      const rows = await rowsOf(database);
      expect(rows.map(({ version }) => version)).toEqual(rows.map((_, index) => index + 1));
      rows.forEach(({ from }, index) => {
        expect(from).toBe(index === 0 ? "closed" : rows[index - 1]?.to);
      });
      expect(rows[0]).toMatchObject({ from: "closed", to: "open", reason: "failure_threshold" });
      expect(rows.at(-1)).toMatchObject({ from: "half_open", to: "closed", reason: "probes_succeeded" });
      expect(rows.length).toBeGreaterThanOrEqual(3);
    },
    PATIENCE_MS,
  );
});

describe("a fleet of processes with Redis", () => {
  it(
    "B3: hears of what one did as soon as it is stored, long before it would have looked",
    async ({ onTestFinished }) => {
      const temp = createTempFolder();
      onTestFinished(async () => temp.remove());
      const service = await startService(onTestFinished);
      const fleet = createFleet(onTestFinished, `file:${temp.path}`, {
        servicePort: service.port,
        syncIntervalMs: 60_000,
        resetTimeoutMs: 1_500,
        redisUrl: inject("redisUrl"),
        controlChannel: ownKey("control"),
      });
      await Promise.all([fleet.start("a"), fleet.start("b")]);
      service.state.failing = true;
      await eventually(() => fleet.anyIs("open")).toBe(true);
      const openedAt = performance.now();
      await eventually(() => fleet.alive.every(({ states }) => states.includes("open"))).toBe(true);
      expect(performance.now() - openedAt).toBeLessThan(SLACK_MS);
      service.state.failing = false;
      await eventually(() => fleet.all("closed")).toBe(true);
    },
    PATIENCE_MS,
  );
});
