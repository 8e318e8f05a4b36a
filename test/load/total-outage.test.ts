/** All providers are dead at once, some with errors and some with silence: nobody waits, nobody is stormed, and every caller gets one answer. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TRPCError } from "@trpc/server";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import {
  CircuitBreakerError,
  createParamedic,
  GuardError,
  type LlmOptions,
  type Paramedic,
} from "../../server/index.js";
import { createFixtureProvider, type FixtureProvider, providerReplies } from "../../server/testing.js";
import { type Asked, askEvenly, failedOf, p99Of } from "./traffic.js";

const PER_SECOND = 50;
const NAMES = ["openai", "deepseek", "gemini"] as const;
const messages = [{ role: "user" as const, content: "hello" }];

let folder: string;
let providers: readonly FixtureProvider[];
let paramedic: Paramedic;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "paramedic-outage-"));
  providers = await Promise.all(NAMES.map(() => createFixtureProvider()));
  const environment = readEnvironment({ PARAMEDIC_DATABASE_URL: `file:${join(folder, "paramedic.db")}` });
  paramedic = createParamedic({ logger: false, redis: false, overrides: { environment } });
  await paramedic.ready;
});
afterEach(async () => {
  await Promise.all([paramedic.shutdown(), ...providers.map((provider) => provider.close())]);
  rmSync(folder, { recursive: true, force: true });
});

function llmOf(options: Partial<LlmOptions> = {}) {
  return paramedic.llm({
    providers: NAMES.map((name, index) => ({
      name,
      baseURL: providers[index]?.baseURL ?? "",
      apiKey: "none",
      model: "m",
      timeoutMs: 1_000,
    })),
    timeoutMs: 5_000,
    ...options,
  });
}

function killAll(): void {
  const [openai, deepseek, gemini] = providers;
  openai?.behaves(providerReplies.openai.serverError);
  deepseek?.behaves({ kind: "hang" });
  gemini?.behaves(providerReplies.gemini.overloaded);
}

const requestsMade = () => providers.reduce((sum, { requests }) => sum + requests.length, 0);
const states = () => NAMES.map((name) => paramedic.circuits.get(`llm:${name}`)?.getState().state);

describe("a total outage of all providers", () => {
  it("with a fallback is seen by nobody", async () => {
    const llm = llmOf({ fallback: () => "The assistant is resting." });
    await llm.chat({ messages });
    killAll();
    const asked = await askEvenly(() => llm.chat({ messages }), { perSecond: PER_SECOND, seconds: 5 });
    expect(failedOf(asked)).toEqual([]);
    expect(states()).toEqual(["open", "open", "open"]);
    const answered = await llm.chatDetailed({ messages });
    expect(answered.rescue.kind).toBe("fallback");
    expect(answered.value.choices[0]?.message.content).toBe("The assistant is resting.");
  });

  it("without one gives each caller one clear error, in milliseconds once circuits are open, and stops asking", async () => {
    const llm = llmOf();
    await llm.chat({ messages });
    killAll();
    const before = requestsMade();
    const opening = await askEvenly(() => llm.chat({ messages }), { perSecond: PER_SECOND, seconds: 5 });
    expect(states()).toEqual(["open", "open", "open"]);
    const asked = requestsMade();
    const open: Asked[] = [];
    let p99 = Number.POSITIVE_INFINITY;
    // Other tests on the machine may hold up one round, and not every one.
    for (let round = 0; round < 3 && p99 > 10; round += 1) {
      const more = await askEvenly(() => llm.chat({ messages }), { perSecond: PER_SECOND, seconds: 4 });
      p99 = p99Of(more);
      open.push(...more);
    }

    for (const { error } of [...opening, ...open]) {
      const isClear = error instanceof OpenAI.APIError || error instanceof TRPCError;
      expect(isClear, String(error)).toBe(true);
      if (error instanceof TRPCError) expect(["SERVICE_UNAVAILABLE", "GATEWAY_TIMEOUT"]).toContain(error.code);
      if (error instanceof GuardError) expect(["attempt_timeout", "deadline"]).toContain(error.reason);
    }
    for (const { error } of open) {
      expect(error).toBeInstanceOf(CircuitBreakerError);
      expect(error).toMatchObject({ code: "SERVICE_UNAVAILABLE", retryAfterMs: expect.any(Number) });
    }
    console.info(
      `total outage: ${asked - before} requests for ${opening.length} calls while circuits opened, then ` +
        `${requestsMade() - asked} for ${open.length}; p99 of the rejection ${p99.toFixed(1)} ms`,
    );
    expect(p99).toBeLessThanOrEqual(10);
    // Those that were on their way when circuits opened, and nothing after it: no storm.
    expect(asked - before).toBeLessThan(opening.length);
    expect(requestsMade() - asked).toBe(0);
  });
});
