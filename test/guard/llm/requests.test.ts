/** Structured answers, tools, embeddings and what they cost. */
import { ContentFilterFinishReasonError, LengthFinishReasonError } from "openai/core/error";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import { createFixtureProvider, type FixtureProvider, providerReplies } from "../../../server/testing.js";
import { createLlmUnderTest, providerOf, request } from "./llm-harness.js";

let first: FixtureProvider;
let second: FixtureProvider;

beforeEach(async () => {
  [first, second] = await Promise.all([createFixtureProvider(), createFixtureProvider()]);
});
afterEach(async () => {
  await Promise.all([first.close(), second.close()]);
});

const both = () => [providerOf("openai", first), providerOf("deepseek", second)];
const Diagnosis = z.object({ illness: z.string(), urgent: z.boolean() });
const asked = { ...request, response_format: zodResponseFormat(Diagnosis, "diagnosis") };

describe("llm.parse", () => {
  it("reads the answer by its format, whose schema is sent", async () => {
    first.behaves({ kind: "answer", text: ['{"illness":"flu",', '"urgent":false}'] });
    const { llm } = createLlmUnderTest({ providers: both() });
    const { choices } = await llm.parse(asked);
    const parsed = choices[0]?.message.parsed;
    expectTypeOf(parsed).toEqualTypeOf<{ illness: string; urgent: boolean } | null | undefined>();
    expect(parsed).toEqual({ illness: "flu", urgent: false });
    expect(first.requests[0]?.body).toMatchObject({
      model: "openai-model",
      stream: false,
      response_format: { type: "json_schema", json_schema: { name: "diagnosis", strict: true } },
    });
  });

  it.each([
    ["no JSON", "I think it is the flu"],
    ["JSON of another shape", '{"illness":7}'],
  ])("takes %s for the provider's failure: asks once more, then the next one", async (_name, text) => {
    first.behaves({ kind: "answer", text: [text] });
    second.behaves({ kind: "answer", text: ['{"illness":"flu","urgent":true}'] });
    const { llm, failures, registry } = createLlmUnderTest({ providers: both() });
    expect((await llm.parse(asked)).choices[0]?.message.parsed).toEqual({ illness: "flu", urgent: true });
    expect([first.requests.length, second.requests.length]).toEqual([2, 1]);
    expect(failures()[0]).toMatchObject({ failureType: "malformed_response" });
    expect(failures()[0]?.errorMessage).not.toContain("flu");
    expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(2);
  });

  it.each([
    ["length", LengthFinishReasonError],
    ["content_filter", ContentFilterFinishReasonError],
  ] as const)(
    "gives an answer that ended by %s back as the SDK says it, and blames nobody",
    async (finishReason, error) => {
      first.behaves({ kind: "answer", text: ['{"illness":'], finishReason });
      const { llm, journal, registry } = createLlmUnderTest({ providers: both() }, {}, { failureThreshold: 1 });
      await expect(llm.parse(asked)).rejects.toBeInstanceOf(error);
      expect([first.requests.length, second.requests.length]).toEqual([1, 0]);
      expect(journal).toEqual([]);
      expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(0);
    },
  );

  it("names what it could not read without quoting it, and keeps the reason for its caller", async () => {
    first.behaves({ kind: "answer", text: ["a private answer"] });
    const { llm } = createLlmUnderTest({ providers: [providerOf("openai", first)] }, {}, { rescues: false });
    const error: unknown = await llm.parse(asked).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ name: "MalformedResponseError", cause: { name: "SyntaxError" } });
    expect(String(error)).not.toContain("private");
  });
});

describe("tool calls", () => {
  const tools = [zodFunction({ name: "book", parameters: z.object({ day: z.string() }) })];

  it("come whole from chat, from whoever answers", async () => {
    first.behaves(providerReplies.openai.overloaded);
    second.behaves({ kind: "answer", toolCall: { name: "book", arguments: '{"day":"monday"}' } });
    const { llm } = createLlmUnderTest({ providers: both() });
    const { choices } = await llm.chat({ ...request, tools });
    expect(choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        content: null,
        tool_calls: [{ type: "function", function: { name: "book", arguments: '{"day":"monday"}' } }],
      },
    });
    expect(second.requests[0]?.body.tools).toMatchObject([{ type: "function", function: { name: "book" } }]);
  });

  it("come in pieces from a stream", async () => {
    first.behaves({ kind: "answer", toolCall: { name: "book", arguments: '{"day":"monday"}' } });
    const { llm } = createLlmUnderTest({ providers: both() });
    let collected = "";
    for await (const chunk of llm.stream({ ...request, tools })) {
      collected += chunk.choices[0]?.delta.tool_calls?.[0]?.function?.arguments ?? "";
    }
    expect(collected).toBe('{"day":"monday"}');
  });
});

describe("llm.embed", () => {
  const embedding = (model: string) => [
    providerOf("openai", first, { embeddingModel: model }),
    providerOf("chat-only", second),
    providerOf("azure", second, { embeddingModel: "small" }),
  ];

  it("gives a place for each text, and its tokens are measured", async () => {
    const { llm, genAi } = createLlmUnderTest({ providers: embedding("small") });
    const { data } = await llm.embed({ input: ["a", "b"] });
    expect(data.map(({ embedding: place }) => place)).toEqual([
      [0.25, -0.5, 0],
      [0.25, -0.5, 1],
    ]);
    expect(first.requests[0]).toMatchObject({ path: "/v1/embeddings", body: { model: "small", input: ["a", "b"] } });
    expect(genAi().map(({ descriptor }) => descriptor.tags["gen_ai.operation.name"])).toEqual([
      "embeddings",
      "embeddings",
    ]);
  });

  it("asks the next provider of the same model, and no other", async () => {
    first.behaves(providerReplies.openai.overloaded);
    const { llm } = createLlmUnderTest({ providers: embedding("small") });
    await llm.embed({ input: "a" });
    expect([first.requests.length, second.requests.length]).toEqual([2, 1]);
    const other = createLlmUnderTest({ providers: embedding("large") });
    await expect(other.llm.embed({ input: "a" })).rejects.toMatchObject({ status: 503 });
    expect(second.requests).toHaveLength(1);
  });

  it.each([
    ["nothing", { object: "list", data: [] }],
    ["too few", { object: "list", data: [{ embedding: [1] }] }],
    ["none that is one", { object: "list", data: [{ embedding: "x" }, { embedding: "y" }] }],
  ])("takes %s for a malformed answer", async (_name, body) => {
    first.behaves({ kind: "reply", status: 200, body });
    const { llm, failures } = createLlmUnderTest({ providers: embedding("small") });
    expect((await llm.embed({ input: ["a", "b"] })).data).toHaveLength(2);
    expect(failures()[0]).toMatchObject({ failureType: "malformed_response" });
  });

  it("says what is missing where no provider embeds", async () => {
    const { llm } = createLlmUnderTest({ providers: both() });
    await expect(llm.embed({ input: "a" })).rejects.toMatchObject({ code: "OPERATION_INVALID" });
    const small = createLlmUnderTest({ providers: embedding("small") });
    await expect(small.llm.embed({ input: "a", model: "large" })).rejects.toThrow(
      'no provider has the embeddingModel "large"',
    );
  });
});

describe("what a request costs", () => {
  const price = { inputPerMillion: 2, outputPerMillion: 10, cachedInputPerMillion: 1 };
  const costs = (genAi: () => { descriptor: { metricName: string; unit: string }; value: number }[]) =>
    genAi().flatMap(({ descriptor, value }) =>
      descriptor.metricName === "paramedic.llm.cost" ? [[descriptor.unit, value]] : [],
    );

  it("is recorded in the price's currency, for chats and for streams", async () => {
    const { llm, genAi } = createLlmUnderTest({ providers: [providerOf("openai", first, { price })] });
    await llm.chat(request);
    for await (const _chunk of llm.stream(request));
    const each = (11 * 2 + 7 * 10) / 1_000_000;
    expect(costs(genAi)).toEqual([
      ["USD", each],
      ["USD", each],
    ]);
  });

  it("counts what the provider had kept at its own price", async () => {
    const usage = { prompt_tokens: 100, completion_tokens: 10, prompt_tokens_details: { cached_tokens: 80 } };
    first.behaves({
      kind: "reply",
      status: 200,
      body: { choices: [{ index: 0, message: { role: "assistant", content: "x" }, finish_reason: "stop" }], usage },
    });
    const { llm, genAi } = createLlmUnderTest({
      providers: [providerOf("openai", first, { price: { ...price, currency: "EUR" } })],
    });
    await llm.chat(request);
    expect(costs(genAi)).toEqual([["EUR", (20 * 2 + 80 * 1 + 10 * 10) / 1_000_000]]);
  });

  it("is not called nothing where it is unknown: after a failure, for another model, without tokens", async () => {
    first.behaves(
      providerReplies.openai.badRequest,
      { kind: "answer" },
      { kind: "reply", status: 200, body: { choices: [{}] } },
    );
    const { llm, genAi } = createLlmUnderTest({ providers: [providerOf("openai", first, { price })] });
    await llm.chat(request).catch(() => {});
    await llm.chat({ ...request, model: "another" });
    await llm.chat(request);
    expect(costs(genAi)).toEqual([]);
  });
});

describe("a provider's options", () => {
  const refused = (more: object) => () =>
    createLlmUnderTest({ providers: [{ ...providerOf("openai", { baseURL: "http://x/v1" }), ...more }] });

  it.each([
    ["contextWindow", { contextWindow: 0 }],
    ["contextWindow", { contextWindow: 1.5 }],
    ["price.inputPerMillion", { price: { outputPerMillion: 1 } }],
    ["price.outputPerMillion", { price: { inputPerMillion: 1, outputPerMillion: -1 } }],
    [
      "price.cachedInputPerMillion",
      { price: { inputPerMillion: 1, outputPerMillion: 1, cachedInputPerMillion: Number.NaN } },
    ],
    ["embeddingModel", { embeddingModel: "" }],
    ["account", { account: "a b" }],
    ["streamUsage", { streamUsage: "no" }],
  ])("are refused at once: %s", (option, more) => {
    expect(refused(more)).toThrow(
      expect.objectContaining({ code: "OPERATION_INVALID", message: expect.stringContaining(option) }),
    );
  });

  it("may all be given", () => {
    expect(
      refused({
        contextWindow: 1,
        price: { inputPerMillion: 0, outputPerMillion: 0 },
        account: "a",
        streamUsage: true,
      }),
    ).not.toThrow();
  });

  it("leave a stall's time to legal ranges", () => {
    expect(() => createLlmUnderTest({ providers: both(), stallTimeoutMs: 0 })).toThrow("stallTimeoutMs");
  });
});
