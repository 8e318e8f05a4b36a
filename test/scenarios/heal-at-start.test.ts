/** What another life left broken is repaired at start: behind the calls, once for all instances, and within what the mode allows. */
import { initTRPC } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/index.js";
import type { Mode } from "../../shared/mode.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";

const CHECK = "db:orders";

function createFleet(mode: Mode, onTestFinished: (work: () => void | Promise<void>) => void) {
  const temp = createTempFolder();
  onTestFinished(() => temp.remove());
  const environment = readEnvironment({
    PARAMEDIC_DATABASE_URL: `file:${temp.path}`,
    SELF_HEALING_MODE: mode,
    // So that nothing but the look at start sees it.
    HEALTH_CHECK_INTERVAL_MS: "3600000",
  });
  const repairs: string[] = [];
  let isBroken = true;
  let look = () => {};
  const looked = new Promise<void>((resolve) => {
    look = resolve;
  });
  const start = (instance: string) => {
    const paramedic = createParamedic({ instance, logger: false, redis: false, overrides: { environment } });
    onTestFinished(() => paramedic.shutdown());
    paramedic.health.register(
      CHECK,
      async () => {
        await looked;
        return isBroken ? { status: "unhealthy", message: "no connection" } : { status: "healthy" };
      },
      // It waits for the test, which may take long to start two of them.
      { criticality: "critical", timeoutMs: 60_000 },
    );
    paramedic.recovery.registerStrategy({
      name: "reconnect_it",
      scope: "service",
      priority: 1,
      applicableFailureTypes: ["health_check_failed"],
      async execute() {
        repairs.push(instance);
        await new Promise((resolve) => setTimeout(resolve, 300));
        isBroken = false;
        return { success: true, actionType: "reconnect", actionStrategy: "reconnect_it", durationMs: 1, message: "" };
      },
    });
    return paramedic;
  };
  const rows = async ({ store }: ReturnType<typeof start>) =>
    (await store.listRecoveries({ target: CHECK, limit: 10 })).items.map(
      ({ actionStrategy, status, dryRun }) => `${actionStrategy} ${status}${dryRun ? " (dry run)" : ""}`,
    );
  return { start, rows, repairs, look: () => look() };
}

describe("at start", { timeout: 60_000 }, () => {
  it("two instances that start at once repair what is broken once, and calls do not wait for it", async ({
    onTestFinished,
  }) => {
    const { start, rows, repairs, look } = createFleet("full", onTestFinished);
    const instances = [start("a"), start("b")];
    await Promise.all(instances.map(({ ready }) => ready));
    for (const paramedic of instances) {
      const t = initTRPC.create();
      const app = t.router({ good: t.procedure.use(paramedic.middleware()).query(() => "good") });
      expect(await t.createCallerFactory(app)({}).good()).toBe("good");
    }
    expect(repairs).toEqual([]);
    look();
    const [a, b] = instances;
    if (!a || !b) throw new Error("there are two");
    await expect.poll(() => rows(a)).toEqual(["reconnect_it succeeded"]);
    for (const { health } of instances) {
      await expect.poll(() => health.latest().checks.find(({ name }) => name === CHECK)?.status).toBe("healthy");
    }
    expect(repairs).toHaveLength(1);
    expect(await rows(b)).toEqual(["reconnect_it succeeded"]);
  });

  it("in shadow, it is written down what would have been repaired", async ({ onTestFinished }) => {
    const { start, rows, repairs, look } = createFleet("shadow", onTestFinished);
    const paramedic = start("a");
    await paramedic.ready;
    look();
    await expect.poll(() => rows(paramedic)).toEqual(["reconnect_it skipped (dry run)"]);
    expect(repairs).toEqual([]);
  });
});
