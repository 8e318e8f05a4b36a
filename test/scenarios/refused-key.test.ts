/** A provider's key is refused while another provider answers: no caller notices, so somebody has to be told. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type Paramedic } from "../../server/index.js";
import { systemClock } from "../../server/ports/clock.js";
import type { Notification } from "../../server/ports/notifier.js";
import { createFixtureProvider, type FixtureProvider, providerReplies } from "../../server/testing.js";

let providers: readonly FixtureProvider[];
let paramedic: Paramedic;
const told: Notification[] = [];

beforeAll(async () => {
  providers = await Promise.all([createFixtureProvider([providerReplies.openai.invalidKey]), createFixtureProvider()]);
  paramedic = createParamedic({
    logger: false,
    redis: false,
    overrides: {
      // What a busy machine does to this process is nothing to be told here.
      environment: readEnvironment({ HEALTH_MONITORING_ENABLED: "false" }),
      store: createMemoryStore({ clock: systemClock }),
      notifier: { notify: (notification) => void told.push(notification) },
    },
  });
  await paramedic.ready;
});
afterAll(async () => {
  await Promise.all([paramedic.shutdown(), ...providers.map((provider) => provider.close())]);
});

it("is asked once, and told of once: by whom, and what to do", async () => {
  const llm = paramedic.llm({
    providers: ["openai", "deepseek"].map((name, index) => ({
      name,
      baseURL: providers[index]?.baseURL ?? "",
      apiKey: `sk-secret-${name}`,
      model: "m",
    })),
  });
  const ask = () => llm.chatDetailed({ messages: [{ role: "user", content: "hello" }] });
  expect((await ask()).rescue.target).toBe("llm:deepseek");
  await expect.poll(() => told, { timeout: 10_000 }).not.toEqual([]);
  expect((await ask()).rescue.target).toBe("llm:deepseek");
  expect(providers[0]?.requests).toHaveLength(1);
  expect(told).toEqual([
    expect.objectContaining({
      status: "firing",
      severity: "high",
      subject: "llm:openai",
      summary: "llm:openai refuses its credential: give it another one",
    }),
  ]);
  const alerts = await paramedic.store.listAlerts({ limit: 10 });
  expect(alerts.items).toMatchObject([{ rule: "alert_operator", subject: "llm:openai", status: "firing" }]);
  expect(JSON.stringify([told, alerts])).not.toContain("sk-secret");
});
