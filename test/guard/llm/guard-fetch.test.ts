import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAsyncCallContext } from "../../../server/adapters/async-call-context.js";
import { createGuardFetch, type GuardFetchOptions } from "../../../server/guard/llm/guard-fetch.js";
import { createNestedRetries } from "../../../server/guard/llm/nested-retries.js";
import { OPENAI } from "../../../server/testing/provider-bodies.js";
import {
  createFixtureProvider,
  event,
  type FixtureBehaviour,
  type FixtureProvider,
  providerReplies,
} from "../../../server/testing.js";
import type { ErrorClass } from "../../../shared/error-classes.js";
import { collectGarbage } from "../../support/collect-garbage.js";
import { createFakeClock } from "../../support/fake-clock.js";
import { createGuardsUnderTest, KEY, PATIENT, PROMPT, read } from "./llm-harness.js";

let provider: FixtureProvider;

beforeEach(async () => {
  provider = await createFixtureProvider();
});
afterEach(() => provider.close());

const SERVICE = "llm:anthropic";
const MESSAGE = { model: "claude", max_tokens: 10, messages: [{ role: "user" as const, content: PROMPT }] };

function makeFetch(
  options: GuardFetchOptions = {},
  policy: Parameters<typeof createGuardsUnderTest>[0] = {},
  service = SERVICE,
) {
  const made = createGuardsUnderTest({ timeoutMs: PATIENT.timeoutMs, ...policy });
  const warnings: string[] = [];
  const nestedRetries = {
    start() {},
    stop() {},
    found: (name: string) => void warnings.push(name),
  };
  const guardedFetch = createGuardFetch({ ...made, nestedRetries }, service, undefined, {
    stallTimeoutMs: PATIENT.stallTimeoutMs,
    ...options,
  });
  return { ...made, warnings, guardedFetch };
}

/** With the SDK's own retries left on, as people leave them: the guard says that they are not wanted. */
function makeAnthropic(...args: Parameters<typeof makeFetch>) {
  const made = makeFetch(...args);
  const client = new Anthropic({ apiKey: KEY, baseURL: provider.origin, fetch: made.guardedFetch });
  return { ...made, client };
}

const ANTHROPIC_CLASSES = {
  promptTooLong: "context_overflow",
  invalidRequest: "invalid_request",
  lowCredit: "quota_exhausted",
  authentication: "auth",
  billing: "quota_exhausted",
  permission: "auth",
  notFound: "model_missing",
  conflict: "conflict",
  tooLarge: "request_too_large",
  rateLimited: "rate_limited",
  rateLimitedUntilReset: "rate_limited",
  apiError: "server_error",
  timeout: "timeout",
  overloaded: "overloaded",
} as const satisfies Record<keyof typeof providerReplies.anthropic, ErrorClass>;

const OPENS: Readonly<Partial<Record<ErrorClass, string>>> = {
  auth: "key",
  quota_exhausted: "account",
  model_missing: "model",
};
/** Asked once more each where that may help: the first try and the guard's three more. */
const REPEATED: ReadonlySet<ErrorClass> = new Set(["server_error", "overloaded", "timeout", "conflict"]);
/** Of those, what says nothing about the provider's health. */
const UNCOUNTED: ReadonlySet<ErrorClass> = new Set(["conflict"]);
const CALLERS_OWN: ReadonlySet<ErrorClass> = new Set(["context_overflow", "invalid_request", "request_too_large"]);
const HOLDS_MS: Readonly<Record<string, number>> = { rateLimited: 8_000, rateLimitedUntilReset: 30_000 };

describe("Anthropic's SDK on a guarded fetch", () => {
  it("gets the answer, and its tokens are measured", async () => {
    const { client, genAi, registry } = makeAnthropic();
    const { content } = await client.messages.create(MESSAGE);
    expect(content).toMatchObject([{ type: "text", text: "hello" }]);
    expect(provider.requests).toHaveLength(1);
    expect(provider.requests[0]?.headers.authorization).toBe(`Bearer ${KEY}`);
    expect(
      genAi().map(({ descriptor, value }) => [descriptor.metricName, descriptor.tags["gen_ai.token.type"], value]),
    ).toEqual([
      ["gen_ai.client.operation.duration", undefined, expect.any(Number)],
      ["gen_ai.client.token.usage", "input", 11],
      ["gen_ai.client.token.usage", "output", 7],
    ]);
    expect(registry.getAll().map(({ name }) => name)).toEqual([
      SERVICE,
      `${SERVICE}:model:claude`,
      expect.stringMatching(/:key:[0-9a-f]{8}$/),
      expect.stringMatching(/:account:[0-9a-f]{8}$/),
    ]);
  });

  it.each(Object.entries(ANTHROPIC_CLASSES))(
    "sees %s as its own error, %s, and asks no more by itself",
    async (name, reason) => {
      const behaviour = providerReplies.anthropic[name as keyof typeof ANTHROPIC_CLASSES];
      provider.behaves(behaviour);
      const holdMs = HOLDS_MS[name];
      // A guard that has no deadline would wait as long as it is told to.
      const { client, state, registry, failures, journal, guards } = makeAnthropic(
        {},
        { failureThreshold: 10, rescues: holdMs === undefined },
      );
      const error: unknown = await client.messages
        .create(MESSAGE, { timeout: 5_000 })
        .catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(Anthropic.APIError);
      expect(error).toMatchObject({ status: behaviour.status, requestID: "req_fixture" });
      const asked = REPEATED.has(reason) ? 4 : 1;
      expect(provider.requests).toHaveLength(asked);
      const counted = REPEATED.has(reason) && !UNCOUNTED.has(reason) ? asked : 0;
      expect(registry.get(SERVICE)?.snapshot()).toMatchObject({ state: "closed", failureCount: counted });
      const { cooldownMs } = guards.guard(SERVICE).snapshot();
      expect(cooldownMs).toBeLessThanOrEqual(holdMs ?? 0);
      expect(cooldownMs).toBeGreaterThan((holdMs ?? 0) - 5_000);
      for (const part of ["key", "account", "model"]) {
        expect(state(`${SERVICE}:${part}:`)).toBe(OPENS[reason] === part ? "open" : "closed");
      }
      const recorded = CALLERS_OWN.has(reason) ? [] : Array(asked).fill(reason);
      expect(failures().map(({ context }) => context?.reason)).toEqual(recorded);
      const retries = journal.filter(
        (entry) => entry.type === "rescue.ended" && entry.rescue.actionStrategy === "exponential_backoff_retry",
      );
      expect(retries).toHaveLength(asked > 1 ? 1 : 0);
    },
  );

  it("is not asked to retry what the guard refuses: one answer, no request", async () => {
    const { client, registry } = makeAnthropic();
    registry.getOrCreate(SERVICE).forceOpen("operator");
    const error: unknown = await client.messages.create(MESSAGE).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Anthropic.InternalServerError);
    expect(error).toMatchObject({ status: 503, error: { error: { type: "paramedic_refusal", code: "circuit_open" } } });
    expect(provider.requests).toHaveLength(0);
  });

  it("is told 504 when the guard's time is up, once", async () => {
    provider.behaves({ kind: "hang" });
    const clock = createFakeClock();
    const { client } = makeAnthropic({}, { timeoutMs: 300, rescues: false, clock });
    const ended = expect(client.messages.create(MESSAGE)).rejects.toMatchObject({ status: 504 });
    await expect.poll(() => provider.requests.length).toBe(1);
    await clock.advance(320);
    await ended;
    expect(provider.requests).toHaveLength(1);
    await expect.poll(() => provider.requests[0]?.hungUp).toBe(true);
  });

  it("aborts when its caller does", async () => {
    provider.behaves({ kind: "hang" });
    const { client, journal, registry } = makeAnthropic();
    const controller = new AbortController();
    const asking = client.messages.create(MESSAGE, { signal: controller.signal }).catch((thrown: unknown) => thrown);
    await expect.poll(() => provider.requests.length).toBe(1);
    controller.abort();
    expect(await asking).toBeInstanceOf(Anthropic.APIUserAbortError);
    expect(journal).toEqual([]);
    expect(registry.get(SERVICE)?.snapshot().failureCount).toBe(0);
    await expect.poll(() => provider.requests[0]?.hungUp).toBe(true);
  });
});

describe("a stream of Anthropic's", () => {
  it("is left when its reader leaves the loop", async () => {
    provider.behaves({ kind: "stream", after: 5, end: "stalled" });
    const { client, journal, genAi } = makeAnthropic();
    for await (const one of await client.messages.create({ ...MESSAGE, stream: true })) {
      if (one.type === "content_block_delta") break;
    }
    await expect.poll(() => provider.requests[0]?.hungUp).toBe(true);
    expect(journal).toEqual([]);
    const took = genAi().filter(({ descriptor }) => descriptor.metricName === "gen_ai.client.operation.duration");
    expect(took.map(({ descriptor }) => descriptor.tags["error.type"])).toEqual(["aborted"]);
  });

  it("says that asking again is not safe once a tool was called, and adds up its tokens", async () => {
    const toolCall = { name: "book", arguments: '{"day":"monday"}' };
    provider.behaves({ kind: "stream", after: 5, end: "cut", toolCall }, { kind: "answer", toolCall });
    const { client, genAi } = makeAnthropic();
    const broken = await read(await client.messages.create({ ...MESSAGE, stream: true }));
    expect(broken.error).toMatchObject({ safeToRetry: false });
    const whole = await read(await client.messages.create({ ...MESSAGE, stream: true }));
    expect(whole.error).toBeUndefined();
    expect(
      genAi().flatMap(({ descriptor, value }) => (descriptor.metricName.endsWith("usage") ? [value] : [])),
    ).toEqual([11, 7]);
  });
});

describe("OpenAI's SDK on a guarded fetch", () => {
  const makeOpenAi = (...args: Parameters<typeof makeFetch>) => {
    const made = makeFetch(...args);
    return { ...made, client: new OpenAI({ apiKey: KEY, baseURL: provider.baseURL, fetch: made.guardedFetch }) };
  };

  it("asks once where the guard has asked enough", async () => {
    provider.behaves(providerReplies.openai.quota);
    const { client, state } = makeOpenAi({}, {}, "llm:openai");
    const asking = client.chat.completions.create({ model: "m", messages: [] });
    await expect(asking).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    expect(provider.requests).toHaveLength(1);
    expect(state("llm:openai:account:")).toBe("open");
  });

  it("sees failures in disguise for what they are", async () => {
    provider.behaves(providerReplies.openrouter.creditsInsideSuccess);
    const { client } = makeOpenAi({}, {}, "llm:openrouter");
    await expect(client.chat.completions.create({ model: "m", messages: [] })).rejects.toMatchObject({ status: 402 });
  });

  it("sees a spent quota that a response tells after two good events as an answer of its own", async () => {
    const created = event({ type: "response.created", sequence_number: 0, response: { id: "r" } }, "response.created");
    const progress = event({ type: "response.in_progress", sequence_number: 1, response: {} }, "response.in_progress");
    const quota = event({ type: "error", sequence_number: 2, error: OPENAI.quota.error }, "error");
    provider.behaves({ kind: "events", events: [created, progress, quota] });
    const { client, state, failures } = makeOpenAi({}, {}, "llm:openai");
    const asking = client.responses.create({ model: "m", input: "hello", stream: true });
    await expect(asking).rejects.toMatchObject({ status: 429, code: "insufficient_quota" });
    expect(provider.requests).toHaveLength(1);
    expect(failures()).toMatchObject([{ failureType: "quota_exceeded" }]);
    expect(state("llm:openai:account:")).toBe("open");
  });

  it("gives a response that fails because it is too long back to its caller, and blames nobody", async () => {
    const error = { code: "context_length_exceeded", message: "Your input exceeds the context window of this model." };
    const failed = event(
      { type: "response.failed", sequence_number: 1, response: { id: "r", error } },
      "response.failed",
    );
    provider.behaves({ kind: "events", events: [failed] });
    const { client, journal, registry } = makeOpenAi({}, {}, "llm:openai");
    const asking = client.responses.create({ model: "m", input: "hello", stream: true });
    await expect(asking).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
    expect(provider.requests).toHaveLength(1);
    expect([journal, registry.get("llm:openai")?.snapshot().failureCount]).toEqual([[], 0]);
  });

  it("is told of a stream that broke before its first content as often as the guard asked, and no more", async () => {
    provider.behaves({ kind: "stream", after: 1, end: "cut" });
    const { client } = makeOpenAi({}, {}, "llm:openai");
    const asking = client.chat.completions.create({ model: "m", messages: [], stream: true });
    await expect(asking).rejects.toMatchObject({ status: 502, error: { type: "stream_broken" } });
    expect(provider.requests).toHaveLength(4);
  });

  it("streams a response to its end", async () => {
    const delta = (text: string) =>
      event({ type: "response.output_text.delta", delta: text }, "response.output_text.delta");
    const completed = event(
      { type: "response.completed", response: { usage: { input_tokens: 3, output_tokens: 2 } } },
      "response.completed",
    );
    provider.behaves(
      { kind: "events", events: [delta("hel"), delta("lo"), completed] },
      { kind: "events", events: [delta("hel")] },
    );
    const { client, genAi } = makeOpenAi({}, {}, "llm:openai");
    const ask = async () => read(await client.responses.create({ model: "m", input: "hello", stream: true }));
    expect((await ask()).error).toBeUndefined();
    expect(
      genAi()
        .slice(-2)
        .map(({ value }) => value),
    ).toEqual([3, 2]);
    expect((await ask()).error).toMatchObject({ how: "cut" });
  });

  it("is warned of once where it retries by itself", async () => {
    provider.behaves({ kind: "reset" });
    const { client, warnings } = makeOpenAi({}, { rescues: false }, "llm:openai");
    await client.chat.completions.create({ model: "m", messages: [] }).catch(() => {});
    expect(warnings).toContain("llm:openai");
  });
});

describe("a guarded fetch", () => {
  const ask = (guardedFetch: typeof fetch, init?: RequestInit) => guardedFetch(`${provider.origin}/invoices`, init);

  it("gives another client's answers as they came, failures too", async () => {
    provider.behaves({ kind: "reply", status: 404, body: { no: "such invoice" }, headers: { "x-own": "1" } });
    const { guardedFetch, journal } = makeFetch({}, {}, "http:billing");
    const response = await ask(guardedFetch as typeof fetch);
    expect([response.status, response.headers.get("x-own"), response.headers.get("x-should-retry")]).toEqual([
      404,
      "1",
      null,
    ]);
    expect(await response.json()).toEqual({ no: "such invoice" });
    expect(response.url).toBe(`${provider.origin}/invoices`);
    expect(journal).toEqual([]);
  });

  it.each([
    ["GET", undefined, 4],
    ["PUT", "{}", 4],
    ["POST", "{}", 1],
  ])("asks again by %s only where that does no harm", async (method, body, asked) => {
    provider.behaves({ kind: "reply", status: 500, body: "oh" });
    const { guardedFetch } = makeFetch({}, {}, "http:billing");
    const response = await ask(guardedFetch as typeof fetch, { method, ...(body && { body }) });
    expect([response.status, await response.text()]).toEqual([500, "oh"]);
    expect(provider.requests).toHaveLength(asked);
  });

  it.each([
    ["/v1/chat/completions", 4],
    ["/v1/responses", 4],
    ["/v1/messages", 4],
    ["/v1/embeddings", 4],
    ["/openai/deployments/mine/chat/completions", 4],
    ["/v1beta/models/gemini:generateContent", 4],
    ["/model/anthropic.claude/invoke", 4],
    ["/api/chat", 4],
    ["/v1/files", 1],
    ["/v1/batches", 1],
    ["/v1/messages/batches", 1],
    ["/v1/fine_tuning/jobs", 1],
    ["/v1/threads/one/messages", 1],
    ["/v1/threads/one/runs", 1],
  ])("asks an LLM again by POST only for what completes or embeds: %s", async (path, asked) => {
    provider.behaves({ kind: "reply", status: 500, body: "oh" });
    const { guardedFetch } = makeFetch({}, { failureThreshold: 100 }, "llm:any");
    await guardedFetch(`${provider.origin}${path}`, { method: "POST", body: "{}" });
    expect(provider.requests).toHaveLength(asked);
  });

  it.each([
    ["POST", "/v1/fine_tuning/jobs", { object: "fine_tuning.job", status: "queued", error: {} }],
    ["GET", "/v1/fine_tuning/jobs/one", { object: "fine_tuning.job", status: "failed", error: { code: "invalid_n" } }],
    ["GET", "/v1/responses/one", { object: "response", status: "failed", error: { code: "server_error" } }],
  ])("takes the `error` of a thing that is looked up for a part of it: %s %s", async (method, path, body) => {
    provider.behaves({ kind: "reply", status: 200, body });
    const { guardedFetch, registry } = makeFetch({}, {}, "llm:any");
    const answer = await guardedFetch(`${provider.origin}${path}`, {
      method,
      ...(method === "POST" && { body: "{}" }),
    });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual(body);
    expect(provider.requests).toHaveLength(1);
    expect(registry.get("llm:any")?.getState()).toMatchObject({ failureCount: 0 });
  });

  it("never sends a streamed body twice, and a Request as often as it may", async () => {
    provider.behaves({ kind: "reply", status: 500, body: "" });
    const { guardedFetch } = makeFetch({ idempotent: true }, {}, "http:billing");
    const body = new Blob(["{}"]).stream();
    await ask(guardedFetch as typeof fetch, { method: "POST", body, duplex: "half" } as RequestInit);
    expect(provider.requests).toHaveLength(1);
    await guardedFetch(new Request(`${provider.origin}/invoices`, { method: "POST", body: '{"a":1}' }));
    expect(provider.requests.slice(1).map((request) => request.body)).toEqual(
      Array.from({ length: 4 }, () => ({ a: 1 })),
    );
  });

  it("throws what it refuses, and what the network says, to a client that does not ask again", async () => {
    const { guardedFetch, registry } = makeFetch({}, { rescues: false }, "http:billing");
    await provider.die();
    await expect(ask(guardedFetch as typeof fetch)).rejects.toThrow("fetch failed");
    registry.get("http:billing")?.forceOpen("operator");
    await expect(ask(guardedFetch as typeof fetch)).rejects.toMatchObject({ circuitName: "http:billing" });
  });

  const events = [": hello\n\n", "event: tick\r\ndata: 1\r\n\r\n", 'data: {"a":"é"}\n\n'];

  it("passes events of an unknown kind on, byte by byte, and takes an orderly end for the end", async () => {
    provider.behaves({ kind: "events", events });
    const { guardedFetch } = makeFetch({}, {}, "llm:ticks");
    const response = await ask(guardedFetch as typeof fetch);
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    // A comment is no event.
    expect(await response.text()).toBe(events.slice(1).join(""));
  });

  it.each([
    ["never read", 0],
    ["half read", 1],
  ])("hangs up on a stream that was %s and that nobody holds any more, and frees its place", async (_name, reads) => {
    const { guardedFetch, guards, registry } = makeFetch({}, { maxConcurrent: 1, maxQueued: 0 }, "llm:any");
    const forget = async () => {
      const body = JSON.stringify({ model: "m", stream: true, messages: [] });
      const answer = await guardedFetch(`${provider.baseURL}/chat/completions`, { method: "POST", body });
      if (reads > 0) await answer.body?.getReader().read();
      return answer.status;
    };
    for (let call = 1; call <= 2; call += 1) {
      expect(await forget()).toBe(200);
      await expect
        .poll(() => {
          collectGarbage();
          return guards.guard("llm:any").snapshot().inFlight;
        })
        .toBe(0);
    }
    expect(registry.get("llm:any")?.getState()).toMatchObject({ failureCount: 0 });
  });

  it("leaves the streams of other services alone, which may be silent as long as they like", async () => {
    provider.behaves({ kind: "events", events });
    const { guardedFetch, registry } = makeFetch({}, {}, "http:ticks");
    const response = await ask(guardedFetch as typeof fetch);
    expect(response.url).toBe(`${provider.origin}/invoices`);
    expect(await response.text()).toBe(events.join(""));
    expect(registry.getAll().map(({ name }) => name)).toEqual(["http:ticks"]);
  });

  it("reads Google's own streams", async () => {
    const chunk = (text: string, finishReason?: string) =>
      event({
        candidates: [{ content: { parts: [{ text }] }, ...(finishReason && { finishReason }) }],
        usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 2 },
      });
    provider.behaves(
      { kind: "events", events: [chunk("hel"), chunk("lo", "STOP")] },
      { kind: "events", events: [chunk("hel")] },
    );
    const { guardedFetch, genAi, state } = makeFetch({}, {}, "llm:gemini");
    const askGemini = () =>
      guardedFetch(`${provider.origin}/v1beta/models/g:streamGenerateContent`, { method: "POST", body: "{}" });
    expect(await (await askGemini()).text()).toContain("STOP");
    await expect((await askGemini()).text()).rejects.toMatchObject({ how: "cut" });
    // The model stands in the path there, and not in the body.
    expect(genAi()[0]?.descriptor.tags).toMatchObject({
      "gen_ai.operation.name": "generate_content",
      "gen_ai.request.model": "g",
    });
    expect(state("llm:gemini:model:g")).toBe("closed");
  });

  it.each<[string, GuardFetchOptions]>([["stallTimeoutMs", { stallTimeoutMs: 0 }]])(
    "refuses a wrong %s at once",
    (_name, options) => {
      expect(() => makeFetch(options)).toThrow(expect.objectContaining({ code: "OPERATION_INVALID" }));
    },
  );
});

describe("a client that retries inside a guard", () => {
  const call = {
    path: "ask",
    type: "query",
    requestId: "r1",
    userId: undefined,
    signal: undefined,
    deadlineAt: undefined,
    idempotent: undefined,
  } as const;

  function watch() {
    const callContext = createAsyncCallContext();
    callContext.enable();
    const warnings: unknown[] = [];
    const nested = createNestedRetries({
      callContext,
      logger: { debug() {}, info() {}, warn: (fields, message) => void warnings.push([fields, message]), error() {} },
      onFault(error) {
        throw error;
      },
    });
    const { guards } = createGuardsUnderTest({ rescues: false }, callContext);
    const inCall = <T>(run: () => Promise<T>) => callContext.run({ ...call, causes: [] }, run).catch(() => {});
    return { nested, warnings, guards, inCall };
  }
  const behaviours: readonly FixtureBehaviour[] = [providerReplies.openai.serverError, { kind: "answer" }];

  it("is found by what its SDK says, and told of once", async () => {
    const { nested, warnings, guards, inCall } = watch();
    nested.start();
    try {
      for (let round = 0; round < 2; round += 1) {
        provider.behaves(...behaviours);
        const client = new OpenAI({ apiKey: KEY, baseURL: provider.baseURL, maxRetries: 1 });
        await inCall(() =>
          guards
            .guard("llm:openai")
            .execute(({ signal }) => client.chat.completions.create({ model: "m", messages: [] }, { signal })),
        );
      }
    } finally {
      nested.stop();
    }
    expect(warnings).toEqual([
      [{ event: "nested_retries", service: "llm:openai" }, expect.stringContaining("maxRetries to 0")],
    ]);
  }, 20_000);

  it("is found whoever it is: by asking again after a failure, within one attempt", async () => {
    const { nested, warnings, guards, inCall } = watch();
    const twice = async () => {
      for (let tries = 0; tries < 2; tries += 1) await fetch(`${provider.origin}/v1/x`, { method: "POST", body: "{}" });
    };
    nested.start();
    try {
      provider.behaves({ kind: "reply", status: 503, body: "" });
      await inCall(() => guards.guard("llm:own").execute(twice));
      expect(warnings).toHaveLength(1);
      provider.behaves({ kind: "reply", status: 200, body: "{}" });
      await inCall(() => guards.guard("llm:other").execute(twice));
      await inCall(twice);
      expect(warnings).toHaveLength(1);
    } finally {
      nested.stop();
    }
    provider.behaves({ kind: "reply", status: 503, body: "" });
    await inCall(() => guards.guard("llm:third").execute(twice));
    expect(warnings).toHaveLength(1);
  });
});
