/** 100,000 failures that are all the same: on a real file, beside real calls. */
import { initTRPC } from "@trpc/server";
import { afterEach, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic } from "../../server/paramedic.js";
import { createTempFolder } from "../adapters/sqlite/temp-database.js";
import { aFailure } from "./a-failure.js";

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

it("are one row with the count, in bounded memory, and calls go on meanwhile", async () => {
  const { path, remove } = createTempFolder();
  endings.push(remove);
  const paramedic = createParamedic({
    logger: false,
    redis: false,
    database: `file:${path}`,
    overrides: { environment: readEnvironment({}) },
  });
  endings.push(() => paramedic.shutdown());
  await paramedic.ready;
  const t = initTRPC.create();
  const router = t.router({ ping: t.procedure.use(paramedic.middleware()).query(() => "pong") });
  const caller = t.createCallerFactory(router)({});
  const { journal } = paramedic.recovery;
  const now = Date.now();

  globalThis.gc?.();
  const heapBefore = process.memoryUsage().heapUsed;
  let spentMs = 0;
  const answers: string[] = [];
  for (let batch = 0; batch < 100; batch += 1) {
    const before = process.cpuUsage();
    for (let i = 0; i < 1_000; i += 1) {
      const failure = aFailure({
        affectedService: "http:storm",
        timestamp: now,
        errorMessage: `connection ${batch * 1_000 + i} to 10.0.0.${i % 250} refused`,
        errorStack: "x".repeat(2_000),
      });
      journal.append({ type: "failure.observed", failure, rescued: false });
    }
    spentMs += process.cpuUsage(before).user / 1_000;
    answers.push(await caller.ping());
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(journal.size).toBeLessThanOrEqual(10);
  globalThis.gc?.();
  const grownMb = (process.memoryUsage().heapUsed - heapBefore) / 2 ** 20;
  expect(answers).toEqual(Array(100).fill("pong"));

  await paramedic.recovery.drainOnce();
  const { items } = await paramedic.store.listFailures({ affectedService: "http:storm", limit: 10 });
  expect(items).toMatchObject([{ occurrences: 100_000, resolved: false }]);
  const skipped = await paramedic.store.listRecoveries({ target: "http:storm", limit: 10 });
  expect(skipped.items.length).toBeLessThanOrEqual(2);
  expect(paramedic.recovery.state()).toMatchObject({ dropped: { "failure.observed": 0 }, refused: 0 });
  console.info(
    `100,000 failures took ${Math.round(spentMs)} ms of the processor to append; the heap grew by ${grownMb.toFixed(1)} MB`,
  );
  expect(spentMs).toBeLessThan(5_000);
  expect(grownMb).toBeLessThan(100);
}, 60_000);
