import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../../server/adapters/async-call-context.js";
import type { LlmOptions } from "../../../server/guard/llm/llm.js";
import type { ChatChunk } from "../../../server/guard/llm/llm-requests.js";
import { StreamBrokenError } from "../../../server/guard/llm/stream/stream-broken-error.js";
import { GEMINI } from "../../../server/testing/provider-bodies.js";
import {
  answerTo,
  createFixtureProvider,
  event,
  type FixtureBehaviour,
  type FixtureProvider,
  providerReplies,
  type StreamEnd,
} from "../../../server/testing.js";
import type { FailureType } from "../../../shared/failure.js";
import { createFakeClock } from "../../support/fake-clock.js";
import {
  createLlmUnderTest,
  HURRIED,
  isSilent,
  PATIENT,
  PROMPT,
  patienceFor,
  providerOf,
  read,
  request,
} from "./llm-harness.js";

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

const textOf = (chunks: readonly ChatChunk[]) => chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");

function makeLlm(
  options: Partial<LlmOptions> = {},
  policy: Parameters<typeof createLlmUnderTest>[2] = {},
  { timeoutMs, stallTimeoutMs } = PATIENT,
) {
  const providers = [providerOf("openai", first, { timeoutMs }), providerOf("deepseek", second)];
  return createLlmUnderTest({ providers, stallTimeoutMs, ...options }, {}, policy);
}

/** As many events as a healthy stream has, the tokens and `[DONE]` included. */
const EVENTS = answerTo(
  "/v1/chat/completions",
  { stream_options: { include_usage: true } },
  { id: "1", text: ["hel", "lo"] },
)?.events.length;
const BOUNDARIES = Array.from({ length: (EVENTS ?? 0) + 1 }, (_, after) => after);
/** The greeting and the first piece of text; both pieces and the reason why it ended. */
const [FIRST_CONTENT, WHOLE] = [2, 4];

const ENDS: Readonly<Record<StreamEnd, { how: string; type: FailureType; asked: number }>> = {
  closed: { how: "cut", type: "stream_broken", asked: 2 },
  cut: { how: "cut", type: "stream_broken", asked: 2 },
  stalled: { how: "stalled", type: "api_timeout", asked: 1 },
  keep_alive: { how: "stalled", type: "api_timeout", asked: 1 },
  malformed: { how: "malformed", type: "malformed_response", asked: 2 },
  error: { how: "failed", type: "service_unavailable", asked: 2 },
};
const cases = Object.entries(ENDS).flatMap(([end, expected]) =>
  BOUNDARIES.map((after) => ({ end: end as StreamEnd, after, ...expected })),
);

describe("a stream that breaks at every boundary between events", () => {
  it("has as many boundaries as a stream has events, and one more", () => {
    expect(BOUNDARIES).toHaveLength(7);
    expect(cases).toHaveLength(42);
  });

  it.each(cases.filter(({ after }) => after < FIRST_CONTENT))(
    "is asked of the next provider when it is $end after $after events, before any content",
    async ({ end, after, type, asked }) => {
      first.behaves({ kind: "stream", after, end });
      const clock = createFakeClock();
      const { llm, failures, registry } = makeLlm({}, isSilent(end) ? { clock } : {});
      const stream = llm.stream(request);
      const reading = read(stream);
      if (isSilent(end)) {
        await expect.poll(() => first.requests.length).toBe(1);
        await clock.advance(PATIENT.timeoutMs + 20);
      }
      const { items, error } = await reading;
      expect(error).toBeUndefined();
      expect(textOf(items)).toBe("other answer");
      expect(items.filter(({ choices }) => choices[0]?.delta.role !== undefined)).toHaveLength(1);
      expect(stream.rescue).toMatchObject({ kind: "failed_over", target: "llm:deepseek" });
      expect([first.requests.length, second.requests.length]).toEqual([asked, 1]);
      expect(failures()[0]).toMatchObject({ failureType: type, affectedService: "llm:openai" });
      expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(asked);
    },
  );

  it.each(cases.filter(({ after }) => after >= FIRST_CONTENT && after < WHOLE))(
    "ends with what was received when it is $end after $after events, and asks nobody else",
    async ({ end, after, how, type }) => {
      first.behaves({ kind: "stream", after, end });
      const { llm, journal, failures, registry } = makeLlm({ fallback: () => "must not answer" }, {}, patienceFor(end));
      const { items, error } = await read(llm.stream(request));
      const received = after === FIRST_CONTENT ? "hel" : "hello";
      expect(textOf(items)).toBe(received);
      expect(error).toBeInstanceOf(StreamBrokenError);
      expect(error).toMatchObject({ how, service: "llm:openai", delivered: true, safeToRetry: true, received });
      expect([first.requests.length, second.requests.length]).toEqual([1, 0]);
      expect(failures()).toMatchObject([{ failureType: type }]);
      expect(journal[1]).toMatchObject({ rescue: { status: "skipped", metadata: { refused: expect.anything() } } });
      expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(1);
    },
  );

  it.each(cases.filter(({ after }) => after >= WHOLE))(
    "is whole when it is $end after $after events, because it said so",
    async ({ end, after }) => {
      first.behaves({ kind: "stream", after, end });
      const { llm, journal, registry } = makeLlm({}, {}, patienceFor(end));
      const { items, error } = await read(llm.stream(request));
      expect(error).toBeUndefined();
      expect(textOf(items)).toBe("hello");
      expect(items.at(-1)?.choices[0]?.finish_reason).toBe("stop");
      expect(journal).toEqual([]);
      expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(0);
    },
  );

  it.each(BOUNDARIES.filter((after) => after < WHOLE))(
    "is an abort when its caller aborts after %i events: the provider is hung up on and nobody is blamed",
    async (after) => {
      first.behaves({ kind: "stream", after, end: "stalled" });
      const { llm, journal, registry, measured } = makeLlm();
      registry.getOrCreate("llm:openai").forceOpen("operator");
      registry.getOrCreate("llm:openai").reset("operator");
      const controller = new AbortController();
      const reason = new Error("gone");
      const reading = read(llm.stream(request, { signal: controller.signal }));
      await expect.poll(() => first.requests.length).toBe(1);
      controller.abort(reason);
      const { error } = await reading;
      expect(error).toBe(reason);
      await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
      expect(second.requests).toHaveLength(0);
      expect(journal).toEqual([]);
      expect(registry.get("llm:openai")?.snapshot()).toMatchObject({ state: "closed", failureCount: 0 });
      expect(measured.filter(({ descriptor }) => descriptor.tags.outcome === "aborted")).toHaveLength(1);
    },
  );

  it.each([1, 2, 3])("is left when its caller breaks out of the loop after %i chunks", async (count) => {
    first.behaves({ kind: "stream", after: 3, end: "stalled" });
    const { llm, journal, measured, genAi } = makeLlm();
    let seen = 0;
    for await (const _chunk of llm.stream(request)) {
      seen += 1;
      if (seen === count) break;
    }
    await expect.poll(() => first.requests[0]?.hungUp).toBe(true);
    await expect.poll(() => measured.filter(({ descriptor }) => descriptor.tags.outcome === "aborted")).toHaveLength(1);
    expect(journal).toEqual([]);
    const took = genAi().filter(({ descriptor }) => descriptor.metricName === "gen_ai.client.operation.duration");
    expect(took.map(({ descriptor }) => descriptor.tags["error.type"])).toEqual(["aborted"]);
  });
});

describe("llm.stream", () => {
  it("gives the provider's chunks, measures tokens, and keeps the chunk of tokens to itself", async () => {
    const { llm, genAi } = makeLlm();
    const stream = llm.stream(request);
    expect(stream.rescue).toBeUndefined();
    const { items } = await read(stream);
    expect(textOf(items)).toBe("hello");
    expect(items.every(({ choices }) => choices.length === 1)).toBe(true);
    expect(stream.rescue).toMatchObject({ kind: "fresh", target: "llm:openai" });
    expect(first.requests[0]?.body).toMatchObject({ stream: true, stream_options: { include_usage: true } });
    expect(genAi().map(({ descriptor }) => descriptor.metricName)).toEqual([
      "gen_ai.client.operation.time_to_first_chunk",
      "gen_ai.client.operation.duration",
      "gen_ai.client.token.usage",
      "gen_ai.client.token.usage",
    ]);
  });

  it("passes the chunk of tokens on to a caller who asked for it, and asks for none where a server refuses", async () => {
    const asking = await read(makeLlm().llm.stream({ ...request, stream_options: { include_usage: true } }));
    expect(asking.items.at(-1)?.usage).toMatchObject({ prompt_tokens: 11 });
    const strict = makeLlm({ providers: [providerOf("openai", first, { streamUsage: false })] });
    expect(textOf((await read(strict.llm.stream(request))).items)).toBe("hello");
    expect(first.requests[1]?.body).not.toHaveProperty("stream_options");
  });

  it("asks for nothing until it is read", async () => {
    const { llm } = makeLlm();
    const stream = llm.stream(request);
    await stream.return?.();
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(first.requests).toHaveLength(0);
  });

  it.each([
    ["an overloaded provider", providerReplies.anthropic.overloaded],
    ["a rate limit", providerReplies.openai.rateLimited],
    ["an error inside a 200", providerReplies.openrouter.badGatewayInsideSuccess],
    ["a whole completion instead of a stream", { kind: "reply", status: 200, body: { choices: [] } }],
    ["a page of HTML", { kind: "reply", status: 200, body: "<html>", headers: { "content-type": "text/html" } }],
    ["no answer at all", { kind: "hang" }],
    ["a dropped connection", { kind: "reset" }],
  ] satisfies [string, FixtureBehaviour][])("asks the next provider after %s", async (_name, behaviour) => {
    first.behaves(behaviour);
    const { llm } = makeLlm({}, {}, behaviour.kind === "hang" ? HURRIED : PATIENT);
    const { items, error } = await read(llm.stream(request));
    expect(error).toBeUndefined();
    expect(textOf(items)).toBe("other answer");
  });

  it("gives the SDK's error by reference to its classes when no provider could begin", async () => {
    first.behaves(providerReplies.openai.invalidKey);
    second.behaves(providerReplies.deepseek.insufficientBalance);
    const { error } = await read(makeLlm().llm.stream(request));
    expect(error).toBeInstanceOf(OpenAI.APIError);
  });

  it("passes through while guards are switched off, and still says what broke", async () => {
    const { llm, journal, registry } = makeLlm({}, { enabled: false });
    expect(textOf((await read(llm.stream(request))).items)).toBe("hello");
    first.behaves({ kind: "stream", after: 3, end: "cut" });
    expect((await read(llm.stream(request))).error).toMatchObject({ how: "cut", received: "hello" });
    expect([journal, registry.getAll()]).toEqual([[], []]);
  });

  it("reads errors that come in an array", async () => {
    first.behaves({ kind: "events", events: [event([GEMINI.overloaded])] });
    const { llm, failures } = makeLlm();
    expect(textOf((await read(llm.stream(request))).items)).toBe("other answer");
    expect(failures()[0]).toMatchObject({ failureType: "service_unavailable" });
  });

  it("answers from the fallback, as one chunk, when every provider is dead", async () => {
    first.behaves(providerReplies.openai.serverError);
    second.behaves({ kind: "reset" });
    const { llm } = makeLlm({ fallback: (_failure, { messages }) => `resting, after ${messages.length} message` });
    const stream = llm.stream(request);
    const { items, error } = await read(stream);
    expect(error).toBeUndefined();
    expect(textOf(items)).toBe("resting, after 1 message");
    expect(items[0]?.choices[0]?.finish_reason).toBe("stop");
    expect(stream.rescue?.kind).toBe("fallback");
  });

  it("holds an empty answer to be whole when it says why it ended", async () => {
    first.behaves({ kind: "answer", text: [], finishReason: "content_filter" });
    const { items, error } = await read(makeLlm().llm.stream(request));
    expect(error).toBeUndefined();
    expect(items.at(-1)?.choices[0]?.finish_reason).toBe("content_filter");
    expect(second.requests).toHaveLength(0);
  });

  it("takes resources that ran out, and a reason that says error, for failures", async () => {
    for (const finishReason of ["insufficient_system_resource", "error"]) {
      first.behaves({ kind: "answer", text: [], finishReason });
      const { items } = await read(makeLlm().llm.stream(request));
      expect(textOf(items)).toBe("other answer");
    }
  });

  it("counts thoughts as content, and a role alone as none", async () => {
    const chunk = (delta: unknown, finish: string | null = null) =>
      event({ id: "1", choices: [{ index: 0, delta, finish_reason: finish }] });
    first.behaves({
      kind: "events",
      events: [
        chunk({ role: "assistant", content: "" }),
        chunk({ reasoning_content: "hm" }),
        chunk({ role: "assistant" }),
      ],
    });
    const { error, items } = await read(makeLlm().llm.stream(request));
    expect(error).toMatchObject({ how: "cut", delivered: true, received: "" });
    expect(items).toHaveLength(3);
    first.behaves({
      kind: "events",
      events: Array.from({ length: 5 }, () => chunk({ role: "assistant", content: "" })),
    });
    expect(textOf((await read(makeLlm().llm.stream(request))).items)).toBe("other answer");
  });

  it("says that asking again is not safe once a part of a tool call came", async () => {
    first.behaves({
      kind: "stream",
      after: 2,
      end: "cut",
      toolCall: { name: "book", arguments: '{"day":"monday"}' },
    });
    const { items, error } = await read(makeLlm().llm.stream(request));
    expect(items.at(-1)?.choices[0]?.delta.tool_calls?.[0]?.function?.name).toBe("book");
    expect(error).toMatchObject({ delivered: true, safeToRetry: false, received: "" });
    expect(second.requests).toHaveLength(0);
  });

  it("waits for every choice before it calls a stream whole", async () => {
    const chunk = (index: number, content: string, finish: string | null = null) =>
      event({ id: "1", choices: [{ index, delta: { content }, finish_reason: finish }] });
    first.behaves({ kind: "events", events: [chunk(0, "a"), chunk(1, "b"), chunk(0, "", "stop")] });
    expect((await read(makeLlm().llm.stream(request))).error).toMatchObject({ how: "cut" });
    first.behaves({
      kind: "events",
      events: [chunk(0, "a"), chunk(1, "b"), chunk(0, "", "stop"), chunk(1, "", "stop")],
    });
    expect((await read(makeLlm().llm.stream(request))).error).toBeUndefined();
  });

  it("takes the shorter of the policy's time and the caller's, and blames nobody for the caller's", async () => {
    first.behaves({ kind: "stream", after: 3, end: "stalled" });
    const providers = [providerOf("openai", first, { timeoutMs: 10_000 })];
    const { llm, registry } = makeLlm({ providers });
    const { error } = await read(llm.stream(request, { timeoutMs: 1_500 }));
    expect(error).toMatchObject({ how: "timed_out", delivered: true, received: "hello" });
    expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(0);
  });

  it("may take longer than an attempt once content came", async () => {
    first.behaves({ kind: "stream", after: 3, end: "stalled" });
    const { llm } = makeLlm({}, {}, { timeoutMs: 1_000, stallTimeoutMs: 1_200 });
    const startedAt = performance.now();
    const { error } = await read(llm.stream(request));
    expect(error).toMatchObject({ how: "stalled" });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1_200);
  });

  it("does not hold a slow caller against the provider", async () => {
    const { llm } = makeLlm({}, {}, HURRIED);
    const received: ChatChunk[] = [];
    for await (const chunk of llm.stream(request)) {
      received.push(chunk);
      await new Promise((resolve) => setTimeout(resolve, 400));
    }
    expect(textOf(received)).toBe("hello");
  });

  it("gives a probe's permit back when its caller leaves", async () => {
    const { llm, registry } = makeLlm({}, { resetTimeoutMs: 1, successThreshold: 1 });
    registry.get("llm:openai")?.forceOpen("operator");
    await new Promise((resolve) => setTimeout(resolve, 5));
    first.behaves({ kind: "stream", after: 2, end: "stalled" });
    for await (const _chunk of llm.stream(request)) break;
    await expect.poll(() => registry.get("llm:openai")?.snapshot().state).toBe("half_open");
    await expect.poll(() => registry.get("llm:openai")?.tryAcquire() !== undefined).toBe(true);
  });

  it("belongs to the call that asked for it, whoever reads it", async () => {
    const callContext = createAsyncCallContext();
    callContext.enable();
    const causes: string[] = [];
    const call = {
      path: "ask",
      type: "query",
      requestId: "r1",
      userId: undefined,
      signal: undefined,
      deadlineAt: undefined,
      idempotent: undefined,
      causes,
    } as const;
    first.behaves(providerReplies.openai.serverError);
    const made = makeLlm({ providers: [providerOf("openai", first)] });
    const { createLlm } = await import("../../../server/guard/llm/llm.js");
    let seen: unknown;
    const guards = {
      ...made.guards,
      runDetailed: async () => {
        seen = callContext.current();
        return { value: [], rescue: { kind: "fresh", target: "llm:openai", attempts: 1, durationMs: 0 } };
      },
    };
    const llm = createLlm(
      { guards: guards as never, clock: made.clock, sink: made.sink, callContext },
      { providers: [providerOf("openai", first)] },
    );
    const stream = callContext.run(call, () => llm.stream(request));
    await read(stream);
    expect(seen).toBe(call);
  });

  it("never shows what was received where errors are printed or sent", async () => {
    first.behaves({ kind: "stream", after: 3, end: "cut", text: ["a private ", "answer"] });
    const { error } = await read(makeLlm().llm.stream(request));
    expect(error).toMatchObject({ received: "a private answer" });
    const { inspect } = await import("node:util");
    for (const text of [JSON.stringify(error), String(error), inspect(error, { depth: 9, showHidden: false })]) {
      expect(text).not.toContain("private");
      expect(text).not.toContain(PROMPT);
    }
  });
});
