/** Every provider fails three times in ten, at random, for a minute: nobody notices, and no provider is asked more than its budget allows. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { createParamedic, type GuardPolicy, type Paramedic } from "../../server/index.js";
import { createFixtureProvider, type FixtureProvider } from "../../server/testing.js";
import { seededFaults } from "../support/seeded-faults.js";
import { askEvenly, failedOf } from "./traffic.js";

const SECONDS = Number(process.env.RANDOM_FAULTS_SECONDS ?? 60);
const SECONDS_WITHOUT = Math.min(SECONDS, 10);
const PER_SECOND = 200;
const DEADLINE_MS = 10_000;
const SHARE = 0.3;
const SEED = 2026;
const NAMES = ["openai", "deepseek", "gemini", "openrouter", "mistral"] as const;

/** With two hundred calls a second, five failures in a row are chance; half of fifty are not. */
const policy: GuardPolicy = { window: "time", windowMs: 10_000, minimumCalls: 50, failureRatio: 0.5 };
/** The default retry budget. */
const [RATIO, MIN_RETRIES, WINDOW_S] = [0.1, 10, 10];

let providers: readonly FixtureProvider[];
let paramedic: Paramedic;
const folder = mkdtempSync(join(tmpdir(), "paramedic-faults-"));

beforeAll(async () => {
  providers = await Promise.all(NAMES.map(() => createFixtureProvider()));
  const environment = readEnvironment({ PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` });
  paramedic = createParamedic({ logger: false, redis: false, overrides: { environment } });
  await paramedic.ready;
});
afterAll(async () => {
  await Promise.all([paramedic.shutdown(), ...providers.map((provider) => provider.close())]);
  rmSync(folder, { recursive: true, force: true });
});

const messagesOf = (number: number) => [{ role: "user" as const, content: `question ${number}` }];
/** Requests, and the calls that they were made for. */
const countOf = ({ requests }: FixtureProvider, from = 0) => {
  const bodies = requests.slice(from).map(({ body }) => JSON.stringify(body.messages));
  return { requests: bodies.length, calls: new Set(bodies).size };
};
const inject = () => {
  for (const [index, provider] of providers.entries()) provider.decides(seededFaults(SEED + index, SHARE));
};

it(`answers 99.9 % of ${PER_SECOND} calls a second within their deadline, which a bare SDK does not`, {
  timeout: (SECONDS + SECONDS_WITHOUT + 90) * 1_000,
}, async () => {
  const [first] = providers;
  if (first === undefined) throw new Error("no provider");
  const client = new OpenAI({ apiKey: "none", baseURL: first.baseURL, timeout: DEADLINE_MS });
  inject();
  const without = await askEvenly(
    (number) =>
      client.chat.completions.create(
        { model: "m", messages: messagesOf(number) },
        { signal: AbortSignal.timeout(DEADLINE_MS) },
      ),
    { perSecond: PER_SECOND, seconds: SECONDS_WITHOUT },
  );
  const askedWithout = countOf(first);
  const before = providers.map(({ requests }) => requests.length);

  const llm = paramedic.llm({
    policy,
    timeoutMs: DEADLINE_MS,
    providers: NAMES.map((name, index) => ({
      name,
      baseURL: providers[index]?.baseURL ?? "",
      apiKey: "none",
      model: "m",
    })),
  });
  inject();
  const startedAt = performance.now();
  const withAll = await askEvenly((number) => llm.chat({ messages: messagesOf(number) }), {
    perSecond: PER_SECOND,
    seconds: SECONDS,
  });
  const seconds = (performance.now() - startedAt) / 1_000;
  const counts = providers.map((provider, index) => countOf(provider, before[index]));

  const share = (failed: number, all: number) => `${((1 - failed / all) * 100).toFixed(2)} %`;
  console.info(
    [
      `without Paramedic  ${share(failedOf(without).length, without.length)} of ${without.length} calls answered, ` +
        `${askedWithout.requests - askedWithout.calls} extra requests`,
      `with Paramedic     ${share(failedOf(withAll).length, withAll.length)} of ${withAll.length} calls answered`,
      ...counts.map(
        ({ requests, calls }, index) => `  ${NAMES[index]}: ${calls} calls, ${requests - calls} extra requests`,
      ),
    ].join("\n"),
  );
  expect(withAll).toHaveLength(PER_SECOND * SECONDS);
  expect(failedOf(withAll).length).toBeLessThanOrEqual(withAll.length / 1_000);
  // A timer may be late, an answer that came in time is not.
  expect(withAll.filter(({ error, durationMs }) => error === undefined && durationMs > DEADLINE_MS + 500)).toEqual([]);
  for (const { requests, calls } of counts) {
    // Half of what comes back with time is the most that a half-filled bucket may add; what it began with is spent once.
    const budget = MIN_RETRIES + RATIO * requests + (MIN_RETRIES / WINDOW_S) * seconds;
    expect(requests - calls).toBeLessThanOrEqual(budget);
  }
  expect(failedOf(without).length).toBeGreaterThan(without.length / 50);
});
