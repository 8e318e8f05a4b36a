import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from "vitest";
import type { LlmDeps, LlmOptions } from "../../../server/guard/llm/llm.js";
import type { ChatRequest } from "../../../server/guard/llm/llm-requests.js";
import type { LlmProvider } from "../../../server/guard/llm/provider.js";
import {
  ANTHROPIC,
  completion,
  DEEPSEEK,
  GEMINI,
  OPENAI,
  OPENROUTER,
} from "../../../server/testing/provider-bodies.js";
import { createFixtureProvider, type FixtureBehaviour, type FixtureProvider } from "../../../server/testing.js";
import { classify } from "../../../shared/classify.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createLlmUnderTest, KEY, PROMPT, providerOf, request } from "./llm-harness.js";

let first: FixtureProvider;
let second: FixtureProvider;

beforeEach(async () => {
  [first, second] = await Promise.all([createFixtureProvider(), createFixtureProvider()]);
});
afterEach(async () => {
  await Promise.all([first.close(), second.close()]);
});

const makeLlm = (
  options: Partial<LlmOptions> = {},
  deps: Partial<LlmDeps> = {},
  policy: Parameters<typeof createLlmUnderTest>[2] = {},
) =>
  createLlmUnderTest(
    { providers: [providerOf("openai", first), providerOf("deepseek", second)], ...options },
    deps,
    policy,
  );

type Answer = { status?: number; body: unknown; headers?: Record<string, string> };
const reply = ({ status = 200, body, headers }: Answer): FixtureBehaviour => ({ kind: "reply", status, body, headers });

const alone = () => ({ providers: [providerOf("openai", first)] });

describe("llm.chat", () => {
  it("gives the provider's completion and how it was obtained", async () => {
    const { llm } = makeLlm();
    const { value, rescue } = await llm.chatDetailed(request);
    expect(value.choices[0]?.message.content).toBe("hello");
    expect(rescue).toMatchObject({ kind: "fresh", target: "llm:openai", attempts: 1 });
    expect(first.requests).toHaveLength(1);
    expect(second.requests).toHaveLength(0);
    expect(first.requests[0]?.body).toEqual({ ...request, model: "openai-model", stream: false });
    expect(first.requests[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
  });

  it("asks the next provider, each exactly once, when the first is overloaded for good", async () => {
    first.behaves({ kind: "reply", status: 529, body: ANTHROPIC.overloaded, headers: { "x-should-retry": "false" } });
    const { llm, journal } = makeLlm();
    const { value, rescue } = await llm.chatDetailed(request);
    expect(value.choices[0]?.message.content).toBe("hello");
    expect(rescue).toMatchObject({ kind: "failed_over", target: "llm:deepseek" });
    expect([first.requests.length, second.requests.length]).toEqual([1, 1]);
    expect(second.requests[0]?.body.model).toBe("deepseek-model");
    expect(journal.map(({ type }) => type)).toContain("rescue.ended");
  });

  it.each<[string, Answer, string]>([
    ["a rate limit", { status: 429, body: OPENAI.rateLimit, headers: { "retry-after": "60" } }, "rate_limited"],
    ["a spent quota", { status: 429, body: OPENAI.quota }, "quota_exhausted"],
    ["a wrong key", { status: 401, body: OPENAI.invalidKey }, "auth"],
    ["a missing model", { status: 404, body: OPENAI.modelNotFound }, "model_missing"],
    ["a spent balance", { status: 402, body: DEEPSEEK.insufficientBalance }, "quota_exhausted"],
    ["Google's quota in an array", { status: 429, body: [GEMINI.perDay] }, "quota_exhausted"],
    ["Google's wrong key in an array", { status: 400, body: [GEMINI.invalidKey] }, "auth"],
  ])("asks the next provider at once after %s", async (_name, answer, reason) => {
    first.behaves(reply(answer));
    const { llm, journal } = makeLlm();
    expect((await llm.chatDetailed(request)).rescue.kind).toBe("failed_over");
    expect(first.requests).toHaveLength(1);
    const [entry] = journal;
    expect(entry).toMatchObject({ type: "failure.observed", failure: { context: { reason } } });
  });

  it.each<[string, Answer, string, number]>([
    ["an error inside a 200", { body: OPENROUTER.badGateway }, "server_error", 502],
    [
      "a worded error inside a 200",
      { body: { error: { message: "no", code: "server_is_overloaded" } } },
      "overloaded",
      503,
    ],
    ["a quota inside a 200", { body: OPENAI.quota }, "quota_exhausted", 429],
    ["a text as error inside a 200", { body: { error: "something broke" } }, "server_error", 502],
    [
      "an error whose code is no status of an error",
      { body: { error: { code: 204, message: "no" } } },
      "server_error",
      502,
    ],
    ["an array with an error inside a 200", { body: [GEMINI.overloaded] }, "overloaded", 503],
    ["a choice that is an error", { body: { choices: [{ error: { code: 504, message: "slow" } }] } }, "timeout", 504],
    [
      "resources that ran out",
      { body: completion("half", { finishReason: "insufficient_system_resource" }) },
      "overloaded",
      503,
    ],
  ])("takes %s for what it is", async (_name, answer, reason, status) => {
    first.behaves(reply(answer));
    const { llm } = makeLlm(alone(), {}, { rescues: false });
    const error = await llm.chat(request).catch((cause: unknown) => cause);
    expect(first.requests).toHaveLength(1);
    expect(classify(error, "llm:openai").reason).toBe(reason);
    expect(error).toMatchObject({ status });
  });

  it.each<[string, Answer]>([
    ["a page of HTML", { body: "<html>busy</html>", headers: { "content-type": "text/html" } }],
    ["no JSON", { body: "{not json" }],
    ["an object that is no completion", { body: { object: "list" } }],
    ["no choice", { body: { ...completion("x"), choices: [] } }],
    ["null", { body: "null" }],
    ["no body at all", { status: 204, body: "" }],
  ])("takes %s for a malformed response, and asks the next provider", async (_name, answer) => {
    first.behaves(reply(answer));
    const { llm, journal } = makeLlm();
    expect((await llm.chatDetailed(request)).rescue.target).toBe("llm:deepseek");
    expect(journal[0]).toMatchObject({ failure: { failureType: "malformed_response" } });
  });

  it("reads a completion behind the blank lines by which a provider under load keeps the line open", async () => {
    first.behaves(
      reply({ body: `\n\n\n${JSON.stringify(completion("late"))}`, headers: { "content-type": "application/json" } }),
    );
    expect((await makeLlm().llm.chat(request)).choices[0]?.message.content).toBe("late");
    expect(first.requests).toHaveLength(1);
  });

  it.each(["content_filter", "length", "tool_calls"])("leaves finish_reason %s to the caller", async (finishReason) => {
    first.behaves({ kind: "reply", status: 200, body: completion("", { finishReason }) });
    const { llm, journal } = makeLlm();
    expect((await llm.chat(request)).choices[0]?.finish_reason).toBe(finishReason);
    expect(journal).toEqual([]);
  });

  it.each([
    ["a bad request", OPENAI.badRequest],
    ["a too long conversation", OPENAI.contextLength],
    ["filtered content", OPENAI.contentPolicy],
  ])("gives %s back at once: no other provider, no failure, no opening circuit", async (_name, body) => {
    first.behaves({ kind: "reply", status: 400, body });
    const { llm, journal, registry } = makeLlm({}, {}, { failureThreshold: 1 });
    await expect(llm.chat(request)).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    expect([first.requests.length, second.requests.length]).toEqual([1, 0]);
    expect(journal).toEqual([]);
    expect(registry.get("llm:openai")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
  });

  it("asks the next provider when nobody listens, when the line is cut and when it hangs", async () => {
    const dead = await createFixtureProvider();
    await dead.close();
    const toDead = makeLlm({ providers: [providerOf("openai", dead), providerOf("deepseek", second)] });
    expect((await toDead.llm.chatDetailed(request)).rescue.kind).toBe("failed_over");
    expect(toDead.journal[0]).toMatchObject({ failure: { failureType: "connection_refused" } });

    first.behaves({ kind: "cut" });
    expect((await makeLlm().llm.chatDetailed(request)).rescue.target).toBe("llm:deepseek");

    first.behaves({ kind: "hang" });
    const hanging = makeLlm({
      providers: [providerOf("openai", first, { timeoutMs: 50 }), providerOf("deepseek", second)],
    });
    expect((await hanging.llm.chatDetailed(request)).rescue.target).toBe("llm:deepseek");
    expect(hanging.journal[0]).toMatchObject({ failure: { failureType: "api_timeout" } });
  });

  it("hangs up on a provider whose time is over", async () => {
    first.behaves({ kind: "hang" });
    const clock = createFakeClock();
    const providers = [providerOf("openai", first, { timeoutMs: 50 }), providerOf("deepseek", second)];
    const { llm } = makeLlm({ providers }, {}, { clock });
    const asking = llm.chat(request);
    await expect.poll(() => first.requests.length).toBe(1);
    await clock.advance(70);
    await asking;
    await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
  });

  it("stops when its caller leaves, and asks nobody else", async () => {
    const controller = new AbortController();
    const reason = new Error("gone");
    first.decides(() => {
      controller.abort(reason);
      return { kind: "hang" };
    });
    const { llm, journal } = makeLlm();
    await expect(llm.chat(request, { signal: controller.signal })).rejects.toBe(reason);
    expect(second.requests).toHaveLength(0);
    expect(journal).toEqual([]);
  });

  it("gives the fallback's text as a completion when every provider is dead", async () => {
    first.behaves({ kind: "reply", status: 500, body: OPENAI.serverError });
    second.behaves({ kind: "reply", status: 500, body: OPENAI.serverError });
    const { llm } = makeLlm({ fallback: (_failure, { messages }) => `resting, after ${messages.length} message` });
    const { value, rescue } = await llm.chatDetailed(request);
    expect(value).toMatchObject({
      object: "chat.completion",
      model: "fallback",
      choices: [{ message: { role: "assistant", content: "resting, after 1 message" }, finish_reason: "stop" }],
    });
    expect(rescue).toMatchObject({ kind: "fallback" });
  });

  it("gives the last provider's error by reference to the SDK's own classes when there is no fallback", async () => {
    first.behaves({ kind: "reply", status: 401, body: OPENAI.invalidKey });
    second.behaves({ kind: "reply", status: 402, body: DEEPSEEK.insufficientBalance });
    await expect(makeLlm().llm.chat(request)).rejects.toBeInstanceOf(OpenAI.APIError);
  });
});

describe("the model", () => {
  it("of a request is for the first provider only", async () => {
    first.behaves({ kind: "reply", status: 401, body: OPENAI.invalidKey });
    const { llm } = makeLlm();
    await llm.chat({ ...request, model: "gpt-special" });
    expect(first.requests[0]?.body.model).toBe("gpt-special");
    expect(second.requests[0]?.body.model).toBe("deepseek-model");
  });

  it("may be given for each provider", async () => {
    first.behaves({ kind: "reply", status: 401, body: OPENAI.invalidKey });
    const { llm } = makeLlm();
    await llm.chat({ ...request, model: { deepseek: "deepseek-large" } });
    expect(first.requests[0]?.body.model).toBe("openai-model");
    expect(second.requests[0]?.body.model).toBe("deepseek-large");
  });
});

describe("what is measured", () => {
  it("has the GenAI names: duration and tokens, and the error's class", async () => {
    first.behaves({ kind: "reply", status: 401, body: OPENAI.invalidKey });
    const { llm, measured } = makeLlm();
    await llm.chat(request);
    const genAi = measured.filter(({ descriptor }) => descriptor.metricName.startsWith("gen_ai."));
    const tags = {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "deepseek",
      "gen_ai.request.model": "deepseek-model",
    };
    expect(
      genAi.map(({ descriptor: { metricName, unit, source, tags: found } }) => ({ metricName, unit, source, found })),
    ).toEqual([
      {
        metricName: "gen_ai.client.operation.duration",
        unit: "s",
        source: "llm:openai",
        found: {
          "gen_ai.operation.name": "chat",
          "gen_ai.provider.name": "openai",
          "gen_ai.request.model": "openai-model",
          "error.type": "auth",
        },
      },
      { metricName: "gen_ai.client.operation.duration", unit: "s", source: "llm:deepseek", found: tags },
      {
        metricName: "gen_ai.client.token.usage",
        unit: "{token}",
        source: "llm:deepseek",
        found: { ...tags, "gen_ai.token.type": "input" },
      },
      {
        metricName: "gen_ai.client.token.usage",
        unit: "{token}",
        source: "llm:deepseek",
        found: { ...tags, "gen_ai.token.type": "output" },
      },
    ]);
    expect(genAi.slice(2).map(({ value }) => value)).toEqual([11, 7]);
  });

  it("holds neither prompts nor completions nor keys", async () => {
    first.behaves({ kind: "reply", status: 500, body: OPENAI.serverError });
    second.behaves({ kind: "reply", status: 200, body: completion("a private answer") });
    const { llm, journal, measured } = makeLlm();
    await llm.chat(request);
    const kept = JSON.stringify([journal, measured, llm.providers]);
    for (const secret of [PROMPT, "a private answer", KEY]) expect(kept).not.toContain(secret);
  });
});

describe("the SDK", () => {
  it("does not retry, does not log, and sends nobody's account from the environment", async () => {
    process.env.OPENAI_ORG_ID = "org-secret";
    process.env.OPENAI_PROJECT_ID = "proj-secret";
    try {
      first.behaves({ kind: "reply", status: 500, body: OPENAI.serverError });
      const { llm } = makeLlm(alone(), {}, { rescues: false });
      await expect(llm.chat(request)).rejects.toBeInstanceOf(OpenAI.InternalServerError);
      expect(first.requests).toHaveLength(1);
      for (const { headers } of first.requests) {
        expect(headers["x-stainless-retry-count"]).toBe("0");
        expect(JSON.stringify(headers)).not.toContain('secret"');
        expect(headers["openai-organization"]).toBeUndefined();
        expect(headers["openai-project"]).toBeUndefined();
      }
    } finally {
      delete process.env.OPENAI_ORG_ID;
      delete process.env.OPENAI_PROJECT_ID;
    }
  });

  it("that is missing is told in one line, before any provider is blamed, and found once it is there", async () => {
    let installed = false;
    const { llm, journal } = makeLlm(
      {},
      {
        loadSdk: () =>
          installed ? Promise.resolve(OpenAI) : Promise.reject(new Error("Cannot find package 'openai'")),
      },
    );
    await expect(llm.chat(request)).rejects.toThrow("openai");
    expect(journal).toEqual([]);
    installed = true;
    expect((await llm.chat(request)).choices).toHaveLength(1);
  });

  it("asks for the key of the moment and sends the provider's headers", async () => {
    let asked = 0;
    const provider = providerOf("openai", first, {
      apiKey: async () => `key-${++asked}`,
      headers: { "x-team": "clinic" },
    });
    const { llm } = makeLlm({ providers: [provider] });
    await llm.chat(request);
    await llm.chat(request);
    expect(first.requests.map(({ headers }) => headers.authorization)).toEqual(["Bearer key-1", "Bearer key-2"]);
    expect(first.requests[0]?.headers["x-team"]).toBe("clinic");
  });
});

describe("options", () => {
  it.each<[string, Partial<LlmOptions>, string]>([
    ["no provider", { providers: [] }, "at least one"],
    [
      "a name twice",
      {
        providers: [providerOf("a", { baseURL: "http://a" }), providerOf("a", { baseURL: "http://a" })],
      },
      "named twice",
    ],
    ["a name that is none", { providers: [{ ...validProvider(), name: "a b" }] }, "letters"],
    ["no address", { providers: [{ ...validProvider(), baseURL: "api.openai.com" }] }, "baseURL"],
    ["credentials in the address", { providers: [{ ...validProvider(), baseURL: `https://me:${KEY}@x` }] }, "baseURL"],
    ["no key", { providers: [{ ...validProvider(), apiKey: "" }] }, "apiKey"],
    ["no model", { providers: [{ ...validProvider(), model: "" }] }, "model"],
    ["a time that is none", { providers: [{ ...validProvider(), timeoutMs: 0 }] }, "[1, "],
    ["an unknown option", { providers: [{ ...validProvider(), maxRetries: 3 } as LlmProvider] }, "maxRetries"],
    ["a total time that is none", { timeoutMs: Number.NaN }, "timeoutMs"],
    ["a fallback that is none", { fallback: "text" as never }, "fallback"],
  ])("%s is refused at once, without the key in the message", (_name, options, part) => {
    expect(() => makeLlm(options)).toThrow(expect.objectContaining({ code: "OPERATION_INVALID" }));
    try {
      makeLlm(options);
    } catch (error) {
      expect(String(error)).toContain(part);
      expect(String(error)).not.toContain(KEY);
    }
  });

  it("of a request do not hold streams", async () => {
    expectTypeOf<ChatRequest["stream"]>().toEqualTypeOf<false | null | undefined>();
    const { llm } = makeLlm();
    await expect(llm.chat({ ...request, stream: true } as never)).rejects.toMatchObject({ code: "OPERATION_INVALID" });
    expect(first.requests).toHaveLength(0);
  });
});

function validProvider(): LlmProvider {
  return { name: "openai", baseURL: "https://api.openai.com/v1", apiKey: KEY, model: "m" };
}
