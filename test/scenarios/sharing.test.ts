/** Two composed Paramedics on one database and one Redis: what an operator does to one holds for both, and what panics is a row. */
import { initTRPC } from "@trpc/server";
import { afterEach, describe, expect, inject, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic, type ParamedicOptions } from "../../server/index.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { ownKey } from "../services/own-key.js";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function createFleet(options: ParamedicOptions = {}, redisUrl = inject("redisUrl")) {
  const temp = createTempFolder();
  cleanups.push(async () => temp.remove());
  const environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: `file:${temp.path}`,
    ...(redisUrl !== "" && { REDIS_URL: redisUrl }),
    METRICS_REDIS_STREAM_KEY: ownKey("stream"),
    HEALTH_MONITORING_ENABLED: "false",
  });
  return async (instance: string) => {
    const authorize = () => "operate" as const;
    const overrides = { environment };
    const paramedic = createParamedic({ logger: false, instance, authorize, overrides, ...options });
    cleanups.push(() => paramedic.shutdown());
    await paramedic.ready;
    const t = initTRPC.create();
    const api = t.createCallerFactory(t.router({ paramedic: paramedic.router }))({}).paramedic;
    const guard = paramedic.guard("http:billing", { failureThreshold: 2, resetTimeoutMs: 60_000, idempotent: false });
    return { paramedic, api, guard };
  };
}

const down = () => Promise.reject(Object.assign(new Error("down"), { status: 500 }));
const stateOf = (paramedic: Paramedic) => paramedic.circuits.get("http:billing")?.getState().state;

describe("two Paramedics", () => {
  it("B8: hear of holds, releases and resets at once through Redis, though they read the store once a minute", async () => {
    const start = createFleet({ circuitSyncIntervalMs: 60_000 });
    const [a, b] = [await start("a"), await start("b")];
    for (const { guard } of [a, b]) await guard.execute(() => 1);
    const name = "http:billing";
    await a.api.circuits.hold({ name, state: "forced_open", reason: "migration", forMs: 60_000 });
    await expect(a.guard.execute(() => 1)).rejects.toMatchObject({ circuitName: name });
    await expect.poll(() => b.paramedic.circuits.get(name)?.snapshot().held?.reason).toBe("migration");
    await expect(b.guard.execute(() => 1)).rejects.toMatchObject({ circuitName: name });
    await b.api.circuits.release({ name, reason: "done" });
    await expect.poll(() => a.paramedic.circuits.get(name)?.snapshot().held).toBeUndefined();

    for (let call = 0; call < 2; call += 1) await expect(a.guard.execute(down)).rejects.toThrow();
    await expect.poll(() => stateOf(b.paramedic)).toBe("open");
    expect(await b.api.circuits.get({ name })).toMatchObject({
      state: "open",
      sharing: "shared",
      poisoned: false,
      beyondPanic: false,
    });
    expect(await b.api.circuits.reset({ name, reason: "provider is back" })).toEqual({ name, stored: true });
    await expect.poll(() => stateOf(a.paramedic)).toBe("closed");
    expect(
      (await a.api.circuits.transitions({ circuitName: name })).items.map(({ to, reason, instance }) => [
        to,
        reason,
        instance,
      ]),
    ).toEqual([
      // Both are told to reset: whoever commits first writes the row.
      ["closed", "operator", expect.stringMatching(/^[ab]$/)],
      ["open", "failure_threshold", "a"],
    ]);
    const audit = (await a.api.audit.list()).items.filter(({ outcome }) => outcome === "succeeded");
    expect(audit.map(({ action }) => action)).toEqual(["circuit.reset", "circuit.release", "circuit.hold"]);
  });

  it("reset a circuit that only the other one uses, without Redis too, and know what nobody knows", async () => {
    const start = createFleet({ circuitSyncIntervalMs: 200 }, "");
    const a = await start("a");
    for (let call = 0; call < 2; call += 1) await expect(a.guard.execute(down)).rejects.toThrow();
    await expect.poll(async () => (await a.paramedic.store.loadCircuits())[0]?.state).toBe("open");
    const other = await start("b");
    // What is stored may come a moment after it may be called.
    await expect.poll(() => stateOf(other.paramedic)).toBe("open");
    other.paramedic.circuits.get("http:billing")?.reset("operator");
    await expect.poll(() => stateOf(a.paramedic)).toBe("closed");
    a.paramedic.circuits.getOrCreate("http:alone").forceOpen("operator");
    await expect.poll(async () => (await a.paramedic.store.loadCircuits(["http:alone"]))[0]?.state).toBe("open");
    expect(await other.api.circuits.reset({ name: "http:alone", reason: "x" })).toMatchObject({ stored: true });
    expect(await other.api.circuits.reset({ name: "http:alone", reason: "x" })).toMatchObject({ stored: true });
    await expect.poll(() => a.paramedic.circuits.get("http:alone")?.getState().state).toBe("closed");
    await expect(other.api.circuits.reset({ name: "http:nobody", reason: "x" })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("B7: write down that too many circuits opened at once, as a critical failure and a count", async () => {
    const start = createFleet({}, "");
    const { paramedic, api } = await start("a");
    const names = Array.from({ length: 20 }, (_, index) => `http:${index}`);
    const breakers = names.map((name) => paramedic.circuits.getOrCreate(name, { failureThreshold: 1 }));
    for (const breaker of breakers.slice(0, 15)) breaker.tryAcquire()?.failure();
    await expect
      .poll(async () => (await api.failures.list({ affectedService: "paramedic:circuits" })).items)
      .toMatchObject([{ severity: "critical", failureType: "anomaly", context: { total: 21, allowed: 10, open: 11 } }]);
    const beyond = (await api.circuits.list()).filter(({ beyondPanic }) => beyondPanic);
    expect(beyond).toHaveLength(5);
  });

  it("share each circuit as its name says; a function that says nothing usable is our fault, not the caller's", async () => {
    const start = createFleet(
      {
        circuitSharing: (name) => {
          if (name === "http:strange") throw new Error("which?");
          return name === "http:billing" ? "local" : "quorum";
        },
      },
      "",
    );
    const { paramedic, api } = await start("a");
    for (const name of ["http:strange", "http:other"]) await paramedic.circuits.getOrCreate(name).execute(() => 1);
    const sharing = Object.fromEntries((await api.circuits.list()).map((circuit) => [circuit.name, circuit.sharing]));
    expect(sharing).toEqual({ "http:billing": "local", "http:strange": "shared", "http:other": "quorum" });
    expect(paramedic.faults().circuitSharing).toBeGreaterThan(0);
  });
});
