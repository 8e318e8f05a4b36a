import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModelV3, LanguageModelV3CallOptions, LanguageModelV3StreamPart } from "@ai-sdk/provider";
import type { LanguageModelV4 } from "@ai-sdk/provider-v4";
import { APICallError, generateText, type LanguageModel, streamText, tool } from "ai";
import { MockLanguageModelV3, simulateReadableStream } from "ai/test";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import type { GuardedLanguageModel } from "../../../server/ai-sdk.js";
import { createGuardedModel, type GuardedModelOptions } from "../../../server/guard/llm/language-model.js";
import { StreamBrokenError } from "../../../server/guard/llm/stream/stream-broken-error.js";
import {
  answerTo,
  createFixtureProvider,
  type FixtureProvider,
  providerReplies,
  type StreamEnd,
} from "../../../server/testing.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createGuardsUnderTest, isSilent, KEY, PATIENT, PROMPT, patienceFor, read } from "./llm-harness.js";

let first: FixtureProvider;
let second: FixtureProvider;

beforeEach(async () => {
  [first, second] = await Promise.all([
    createFixtureProvider(),
    createFixtureProvider([{ kind: "answer", text: ["other ", "answer"] }]),
  ]);
});
afterEach(async () => {
  await Promise.all([first.close(), second.close()]);
});

const modelOf = (name: string, { baseURL }: FixtureProvider) =>
  createOpenAICompatible({ name, baseURL, apiKey: KEY, includeUsage: true }).chatModel(`${name}-model`);

function makeModel(
  options: GuardedModelOptions = {},
  { timeoutMs, stallTimeoutMs } = PATIENT,
  policy: Parameters<typeof createGuardsUnderTest>[0] = {},
) {
  const made = createGuardsUnderTest({ timeoutMs, ...policy });
  const deps = { run: made.guards.run, clock: made.clock, sink: made.sink };
  const models = { "llm:openai": modelOf("openai", first), "llm:deepseek": modelOf("deepseek", second) };
  return { ...made, model: createGuardedModel(deps, models, { stallTimeoutMs, ...options }) };
}

function mocked(models: Readonly<Record<string, LanguageModelV3>>, options: GuardedModelOptions = {}) {
  const made = createGuardsUnderTest({ timeoutMs: PATIENT.timeoutMs });
  return {
    ...made,
    model: createGuardedModel({ run: made.guards.run, clock: made.clock, sink: made.sink }, models, options),
  };
}

const USAGE = {
  inputTokens: { total: 3, noCache: 3, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 2, text: 2, reasoning: 0 },
};

describe("generateText with a guarded model", () => {
  it("gets the first model's answer, and its tokens are measured", async () => {
    const { model, genAi } = makeModel();
    const { text, usage } = await generateText({ model, prompt: PROMPT });
    expect(text).toBe("hello");
    expect(usage).toMatchObject({ inputTokens: 11, outputTokens: 7 });
    expect(
      genAi()
        .slice(1)
        .map(({ value }) => value),
    ).toEqual([11, 7]);
    expect(genAi()[0]?.descriptor.tags).toMatchObject({ "gen_ai.request.model": "openai-model" });
  });

  it("gets the next one's when the first fails, each asked as often as the guard says", async () => {
    first.behaves(providerReplies.openai.overloaded);
    const { model, failures } = makeModel();
    expect((await generateText({ model, prompt: PROMPT })).text).toBe("other answer");
    expect([first.requests.length, second.requests.length]).toEqual([2, 1]);
    expect(failures()[0]).toMatchObject({ failureType: "service_unavailable", affectedService: "llm:openai" });
  });

  it.each([
    ["auth", providerReplies.openai.invalidKey, "key:"],
    ["a spent quota", providerReplies.openai.quota, "account:"],
    ["a missing model", providerReplies.openai.modelNotFound, "model:openai-model"],
  ])("opens the circuit of what is to blame: %s", async (_name, behaviour, part) => {
    first.behaves(behaviour);
    const { model, state } = makeModel();
    await generateText({ model, prompt: PROMPT });
    await generateText({ model, prompt: PROMPT });
    expect(state(`llm:openai:${part}`)).toBe("open");
    expect(first.requests).toHaveLength(1);
  });

  it("asks at once with a rotated key: circuits of keys are told apart", async () => {
    first.behaves(providerReplies.openai.invalidKey, { kind: "answer" });
    const made = createGuardsUnderTest({ timeoutMs: PATIENT.timeoutMs });
    const deps = { run: made.guards.run, clock: made.clock, sink: made.sink };
    const withKey = (apiKey: string) =>
      createGuardedModel(deps, {
        "llm:openai": createOpenAICompatible({ name: "openai", baseURL: first.baseURL, apiKey }).chatModel("m"),
      });
    await expect(generateText({ model: withKey("sk-old"), prompt: PROMPT })).rejects.toMatchObject({ statusCode: 401 });
    expect((await generateText({ model: withKey("sk-new"), prompt: PROMPT })).text).not.toBe("");
    expect(made.registry.getAll().filter(({ name }) => name.includes(":key:"))).toHaveLength(2);
  });

  it("ends with an error that the SDK does not retry, of the class it knows", async () => {
    first.behaves(providerReplies.openai.serverError);
    second.behaves(providerReplies.openai.overloaded);
    const { model } = makeModel();
    const startedAt = performance.now();
    const error: unknown = await generateText({ model, prompt: PROMPT }).catch((thrown: unknown) => thrown);
    expect(performance.now() - startedAt).toBeLessThan(1_900);
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: 503, isRetryable: false, cause: { isRetryable: true } });
    // One more soon, and once both were asked, each gets the retries that a sole provider gets.
    expect([first.requests.length, second.requests.length]).toEqual([5, 4]);
  });

  it("is refused in a moment, and not asked again, when every circuit is open", async () => {
    const { model, registry } = makeModel();
    for (const name of ["llm:openai", "llm:deepseek"]) registry.getOrCreate(name).forceOpen("operator");
    const error: unknown = await generateText({ model, prompt: PROMPT }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    expect([first.requests.length, second.requests.length]).toEqual([0, 0]);
  });

  it("gives a bad request back as it came, to nobody else", async () => {
    first.behaves(providerReplies.openai.badRequest);
    const { model, journal } = makeModel();
    await expect(generateText({ model, prompt: PROMPT })).rejects.toMatchObject({ statusCode: 400 });
    expect([first.requests.length, second.requests.length]).toEqual([1, 0]);
    expect(journal).toEqual([]);
  });

  it("sends a request that is too long to a larger model only", async () => {
    first.behaves(providerReplies.openai.contextLength);
    const { model } = makeModel({ contextWindows: { "llm:openai": 16_385, "llm:deepseek": 128_000 } });
    expect((await generateText({ model, prompt: PROMPT })).text).toBe("other answer");
    const small = makeModel({ contextWindows: { "llm:openai": 16_385, "llm:deepseek": 16_385 } });
    await expect(generateText({ model: small.model, prompt: PROMPT })).rejects.toMatchObject({ statusCode: 400 });
  });

  it("stops when its caller aborts", async () => {
    first.behaves({ kind: "hang" });
    const { model, journal } = makeModel();
    const controller = new AbortController();
    const asking = generateText({ model, prompt: PROMPT, abortSignal: controller.signal }).catch(
      (error: unknown) => error,
    );
    await expect.poll(() => first.requests.length).toBe(1);
    controller.abort();
    expect(await asking).toMatchObject({ name: "AbortError" });
    expect(journal).toEqual([]);
    expect(second.requests).toHaveLength(0);
  });

  it("calls tools and reads structured answers as any model", async () => {
    first.behaves({ kind: "answer", toolCall: { name: "book", arguments: '{"day":"monday"}' } });
    const { model } = makeModel();
    const tools = { book: tool({ inputSchema: z.object({ day: z.string() }), execute: async ({ day }) => day }) };
    const { toolCalls } = await generateText({ model, prompt: PROMPT, tools });
    expect(toolCalls).toMatchObject([{ toolName: "book", input: { day: "monday" } }]);
  });

  it("takes an answer that says it failed for a failure", async () => {
    const failing = new MockLanguageModelV3({
      doGenerate: async () => ({
        content: [],
        finishReason: { unified: "error", raw: undefined },
        usage: USAGE,
        warnings: [],
      }),
    });
    const good = new MockLanguageModelV3({
      doGenerate: async () => ({
        content: [{ type: "text", text: "good" }],
        finishReason: { unified: "stop", raw: undefined },
        usage: USAGE,
        warnings: [],
      }),
    });
    const { model } = mocked({ "llm:a": failing, "llm:b": good });
    expect((await generateText({ model, prompt: PROMPT })).text).toBe("good");
  });
});

/** As many events as the provider's healthy stream has. */
const EVENTS =
  answerTo("/v1/chat/completions", { stream_options: { include_usage: true } }, { id: "1" })?.events.length ?? 0;
const [FIRST_CONTENT, WHOLE] = [2, 4];
const ENDS: Readonly<Record<StreamEnd, string>> = {
  closed: "cut",
  cut: "cut",
  stalled: "stalled",
  keep_alive: "stalled",
  malformed: "malformed",
  error: "failed",
};
const BOUNDARIES = Array.from({ length: EVENTS + 1 }, (_, after) => after);
const cases = Object.entries(ENDS).flatMap(([end, how]) =>
  BOUNDARIES.map((after) => ({ end: end as StreamEnd, how, after })),
);

describe("streamText with a guarded model, broken at every boundary between events", () => {
  it.each(cases.filter(({ after }) => after < FIRST_CONTENT))(
    "moves on when it is $end after $after events",
    async ({ end, after }) => {
      first.behaves({ kind: "stream", after, end });
      const clock = createFakeClock();
      const { model, failures, registry } = makeModel({}, PATIENT, isSilent(end) ? { clock } : {});
      const reading = read(streamText({ model, prompt: PROMPT }).fullStream);
      if (isSilent(end)) {
        await expect.poll(() => first.requests.length).toBe(1);
        await clock.advance(PATIENT.timeoutMs + 20);
      }
      const { items, error } = await reading;
      expect(error).toBeUndefined();
      expect(items.filter(({ type }) => type === "error")).toEqual([]);
      expect(items.map((part) => (part.type === "text-delta" ? part.text : "")).join("")).toBe("other answer");
      expect(failures()[0]?.affectedService).toBe("llm:openai");
      expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(first.requests.length);
    },
  );

  // The SDK's model tells that its provider's stream was whole only once the connection has ended in good order.
  it.each(cases.filter(({ end, after }) => after >= FIRST_CONTENT && (after < WHOLE || end !== "closed")))(
    "ends with an error part when it is $end after $after events",
    async ({ end, how, after }) => {
      first.behaves({ kind: "stream", after, end });
      const { model, failures } = makeModel({}, patienceFor(end));
      const { items } = await read(streamText({ model, prompt: PROMPT, onError() {} }).fullStream);
      const errors = items.flatMap((part) => (part.type === "error" ? [part.error] : []));
      expect(errors).toHaveLength(1);
      expect(errors[0]).toBeInstanceOf(StreamBrokenError);
      const received = after === FIRST_CONTENT ? "hel" : "hello";
      expect(errors[0]).toMatchObject({ how, delivered: true, safeToRetry: true, received });
      expect([first.requests.length, second.requests.length]).toEqual([1, 0]);
      expect(failures()).toHaveLength(1);
    },
  );

  it.each(BOUNDARIES.filter((after) => after >= WHOLE))("is whole when it is closed after %i events", async (after) => {
    first.behaves({ kind: "stream", after, end: "closed" });
    const { model, journal } = makeModel();
    const { items } = await read(streamText({ model, prompt: PROMPT }).fullStream);
    expect(items.map((part) => (part.type === "text-delta" ? part.text : "")).join("")).toBe("hello");
    expect(items.at(-1)).toMatchObject({ type: "finish", finishReason: "stop" });
    expect(journal).toEqual([]);
  });

  it.each(BOUNDARIES)("is an abort when its caller aborts after %i events", async (after) => {
    first.behaves({ kind: "stream", after, end: "stalled" });
    const { model, journal, registry } = makeModel();
    const controller = new AbortController();
    const reading = read(streamText({ model, prompt: PROMPT, abortSignal: controller.signal }).fullStream);
    await expect.poll(() => first.requests.length).toBe(1);
    controller.abort();
    await reading;
    await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
    expect(second.requests).toHaveLength(0);
    expect([journal, registry.get("llm:openai")?.snapshot().failureCount]).toEqual([[], 0]);
  });

  it("moves on from a model that does not know why its stream ended, as most of the SDK's say it", async () => {
    const parts = (...chunks: LanguageModelV3StreamPart[]) =>
      new MockLanguageModelV3({ doStream: async () => ({ stream: simulateReadableStream({ chunks }) }) });
    const ended = (unified: "stop" | "other", raw?: string) =>
      ({ type: "finish", finishReason: { unified, raw }, usage: USAGE }) as const;
    const text = (delta: string) => [
      { type: "text-start" as const, id: "1" },
      { type: "text-delta" as const, id: "1", delta },
    ];
    const made = mocked({ "llm:a": parts(ended("other")), "llm:b": parts(...text("good"), ended("other", "eos")) });
    const { items } = await read((await made.model.doStream({ prompt: [] })).stream);
    expect(items.map(({ type }) => type)).toEqual(["text-start", "text-delta", "finish"]);
    expect(made.failures()[0]).toMatchObject({ failureType: "stream_broken", affectedService: "llm:a" });
    const late = mocked({
      "llm:a": parts(...text("half"), ended("other")),
      "llm:b": parts(...text("good"), ended("stop")),
    });
    const broken = await read((await late.model.doStream({ prompt: [] })).stream);
    expect(broken.items.at(-1)).toMatchObject({ type: "error", error: { how: "cut", received: "half" } });
  });

  it("holds the greeting back until somebody has content", async () => {
    first.behaves({ kind: "stream", after: 1, end: "cut" });
    const { model } = makeModel();
    const { stream } = await model.doStream({ prompt: [] } as LanguageModelV3CallOptions);
    const { items } = await read(stream);
    expect(items.map(({ type }) => type)).toEqual([
      "stream-start",
      "response-metadata",
      "text-start",
      "text-delta",
      "text-delta",
      "text-end",
      "finish",
    ]);
  });

  it("rejects, once, when no model could begin", async () => {
    first.behaves(providerReplies.openai.invalidKey);
    second.behaves(providerReplies.deepseek.insufficientBalance);
    const { model } = makeModel();
    await expect(model.doStream({ prompt: [] } as LanguageModelV3CallOptions)).rejects.toMatchObject({
      statusCode: 402,
    });
  });

  it("is an abort when its caller leaves", async () => {
    first.behaves({ kind: "stream", after: 2, end: "stalled" });
    const { model, journal } = makeModel();
    const { stream } = await model.doStream({ prompt: [] } as LanguageModelV3CallOptions);
    for await (const part of stream) if (part.type === "text-delta") break;
    await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
    expect(journal).toEqual([]);
  });

  it("reads error parts that are plain objects, and says so once a tool was called", async () => {
    const parts = (...chunks: LanguageModelV3StreamPart[]) =>
      new MockLanguageModelV3({ doStream: async () => ({ stream: simulateReadableStream({ chunks }) }) });
    const overloaded = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } } as const;
    const good = parts(
      { type: "text-start", id: "1" },
      { type: "text-delta", id: "1", delta: "good" },
      { type: "finish", finishReason: { unified: "stop", raw: undefined }, usage: USAGE },
    );
    const made = mocked({ "llm:a": parts({ type: "stream-start", warnings: [] }, overloaded), "llm:b": good });
    const { items } = await read((await made.model.doStream({ prompt: [] })).stream);
    expect(items).toHaveLength(3);
    expect(made.failures()[0]).toMatchObject({ failureType: "service_unavailable" });
    const calling = mocked({
      "llm:a": parts({ type: "tool-input-start", id: "1", toolName: "book" }, overloaded),
      "llm:b": good,
    });
    const broken = await read((await calling.model.doStream({ prompt: [] })).stream);
    expect(broken.items.at(-1)).toMatchObject({ type: "error", error: { safeToRetry: false, how: "failed" } });
  });
});

describe("a guarded model", () => {
  it("takes by its address only what every model takes", async () => {
    const withUrls = (supportedUrls: Record<string, RegExp[]>) => new MockLanguageModelV3({ supportedUrls });
    const { model } = mocked({
      "llm:a": withUrls({ "image/*": [/^https:\/\/a/, /^https:\/\/both/], "audio/*": [/x/] }),
      "llm:b": withUrls({ "image/*": [/^https:\/\/both/] }),
    });
    expect(await model.supportedUrls).toEqual({ "image/*": [/^https:\/\/both/] });
  });

  it("needs models, of one version", () => {
    const v3 = new MockLanguageModelV3();
    expect(() => mocked({})).toThrow(expect.objectContaining({ code: "OPERATION_INVALID" }));
    const v2 = Object.assign(new MockLanguageModelV3(), { specificationVersion: "v2" }) as unknown as LanguageModelV3;
    expect(() => mocked({ "llm:a": v3, "llm:b": v2 })).toThrow("v3 and v2");
    expect(() => mocked({ "llm:a": v3 }, { timeoutMs: 0 })).toThrow("timeoutMs");
  });

  it("has the shape of either version of the specification", () => {
    expectTypeOf<GuardedLanguageModel<LanguageModelV3>>().toExtend<LanguageModelV3>();
    expectTypeOf<GuardedLanguageModel<LanguageModelV3>>().toExtend<LanguageModel>();
    expectTypeOf<GuardedLanguageModel<LanguageModelV4>>().toExtend<LanguageModelV4>();
  });
});
