/** Streams in the words of each API, through its SDK on a guarded `fetch`, that end or are left at every boundary between events. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { createGuardFetch } from "../../../server/guard/llm/guard-fetch.js";
import { sseEvents } from "../../../server/guard/llm/stream/sse.js";
import {
  answerTo,
  createFixtureProvider,
  type FixtureBehaviour,
  type FixtureProvider,
  type StreamEnd,
} from "../../../server/testing.js";
import { readProperty } from "../../../shared/error-facts.js";
import type { FailureType } from "../../../shared/failure.js";
import { createGuardsUnderTest, KEY, PATIENT, PROMPT, patienceFor, read } from "./llm-harness.js";

type GuardedFetch = ReturnType<typeof createGuardFetch>;
type Ask = (provider: FixtureProvider, fetch: GuardedFetch, signal?: AbortSignal) => Promise<AsyncIterable<unknown>>;

interface Api {
  readonly name: string;
  readonly path: string;
  /** Events up to and with the first that has content, and up to and with the one that says that it is whole. */
  readonly firstContent: number;
  readonly whole: number;
  /** With the SDK's own retries left on, as people leave them. */
  readonly ask: Ask;
  readonly textOf: (item: unknown) => unknown;
}

const deltaOf = (item: unknown, type: string) =>
  readProperty(item, "type") === type ? readProperty(item, "delta") : "";
const inner = (value: unknown, ...keys: readonly (string | number)[]): unknown =>
  keys.reduce<unknown>((found, key) => readProperty(found, String(key)), value);

const APIS: readonly Api[] = [
  {
    name: "chat completions",
    path: "/v1/chat/completions",
    firstContent: 2,
    whole: 4,
    ask: ({ baseURL }, fetch, signal) =>
      new OpenAI({ apiKey: KEY, baseURL, fetch }).chat.completions.create(
        { model: "m", messages: [{ role: "user", content: PROMPT }], stream: true },
        { signal },
      ),
    textOf: (item) => inner(item, "choices", 0, "delta", "content"),
  },
  {
    name: "responses",
    path: "/v1/responses",
    firstContent: 5,
    whole: 10,
    ask: ({ baseURL }, fetch, signal) =>
      new OpenAI({ apiKey: KEY, baseURL, fetch }).responses.create(
        { model: "m", input: PROMPT, stream: true },
        { signal },
      ),
    textOf: (item) => deltaOf(item, "response.output_text.delta"),
  },
  {
    name: "messages",
    path: "/v1/messages",
    firstContent: 4,
    whole: 7,
    ask: ({ origin }, fetch, signal) =>
      new Anthropic({ apiKey: KEY, baseURL: origin, fetch }).messages.create(
        { model: "m", max_tokens: 10, messages: [{ role: "user", content: PROMPT }], stream: true },
        { signal },
      ),
    textOf: (item) => inner(deltaOf(item, "content_block_delta"), "text"),
  },
  {
    name: "Gemini's content",
    path: "/v1beta/models/m:streamGenerateContent",
    firstContent: 1,
    whole: 2,
    async ask({ origin }, fetch, signal) {
      const url = `${origin}/v1beta/models/m:streamGenerateContent?alt=sse`;
      const { body } = await fetch(url, { method: "POST", body: "{}", ...(signal && { signal }) });
      if (body === null) throw new Error("a stream has a body");
      return dataOf(body);
    },
    textOf: (item) => inner(item, "candidates", 0, "content", "parts", 0, "text"),
  },
];

async function* dataOf(body: ReadableStream<Uint8Array>): AsyncGenerator<unknown> {
  for await (const { data } of sseEvents(body)) yield JSON.parse(data);
}

const ENDS: Readonly<Record<StreamEnd, { how: string; type: FailureType }>> = {
  closed: { how: "cut", type: "stream_broken" },
  cut: { how: "cut", type: "stream_broken" },
  stalled: { how: "stalled", type: "api_timeout" },
  keep_alive: { how: "stalled", type: "api_timeout" },
  malformed: { how: "malformed", type: "malformed_response" },
  error: { how: "failed", type: "service_unavailable" },
};

const SERVICE = "llm:provider";

/** One provider and one guard for one test, so that tests can run beside each other. */
async function start(
  { textOf, ask }: Api,
  script: readonly FixtureBehaviour[],
  { timeoutMs, stallTimeoutMs } = PATIENT,
) {
  const provider = await createFixtureProvider(script);
  const guarded = createGuardsUnderTest({ timeoutMs });
  const fetch = createGuardFetch(guarded, SERVICE, undefined, { stallTimeoutMs });
  return {
    ...guarded,
    provider,
    ask: (signal?: AbortSignal) => ask(provider, fetch, signal),
    textIn: (items: readonly unknown[]) => items.map((item) => textOf(item) ?? "").join(""),
    failureCount: () => guarded.registry.get(SERVICE)?.snapshot().failureCount,
  };
}

describe.each(APIS)("a stream of $name that breaks at every boundary between events", (api) => {
  const events = answerTo(api.path, {}, { id: "1" })?.events.length ?? 0;
  const boundaries = Array.from({ length: events + 1 }, (_, after) => after);
  const cases = Object.entries(ENDS).flatMap(([end, expected]) =>
    boundaries.map((after) => ({ end: end as StreamEnd, after, ...expected })),
  );

  it("has as many boundaries as a stream has events, and one more", () => {
    expect(events).toBeGreaterThanOrEqual(api.whole);
    expect(cases).toHaveLength(6 * (events + 1));
  });

  it.concurrent.for(cases.filter(({ after }) => after < api.firstContent))(
    "is asked for again when it is $end after $after events, before any content",
    async ({ end, after, type }, { expect, onTestFinished }) => {
      const { provider, ask, textIn, failures, failureCount } = await start(
        api,
        [
          { kind: "stream", after, end },
          { kind: "answer", text: ["second ", "try"] },
        ],
        patienceFor(end),
      );
      onTestFinished(() => provider.close());
      const { items, error } = await read(await ask());
      expect(error).toBeUndefined();
      expect(textIn(items)).toBe("second try");
      expect(provider.requests).toHaveLength(2);
      expect(failures()).toMatchObject([{ failureType: type }]);
      expect(failureCount()).toBe(0);
      // What the first one said before its content stayed here.
      expect(items).toHaveLength((await read(await ask())).items.length);
    },
  );

  it.concurrent.for(cases.filter(({ after }) => after >= api.firstContent && after < api.whole))(
    "ends with an error when it is $end after $after events, and is not asked for again",
    async ({ end, after, how, type }, { expect, onTestFinished }) => {
      const { provider, ask, textIn, failures, failureCount } = await start(
        api,
        [{ kind: "stream", after, end }],
        patienceFor(end),
      );
      onTestFinished(() => provider.close());
      const { items, error } = await read(await ask());
      expect(textIn(items)).toBe(after === api.firstContent ? "hel" : "hello");
      expect(error).toMatchObject({ how, service: SERVICE, delivered: true, safeToRetry: true });
      expect(provider.requests).toHaveLength(1);
      expect(failures()).toMatchObject([{ failureType: type }]);
      expect(failureCount()).toBe(1);
    },
  );

  it.concurrent.for(cases.filter(({ after }) => after >= api.whole))(
    "is whole when it is $end after $after events, because it said so",
    async ({ end, after }, { expect, onTestFinished }) => {
      const { provider, ask, textIn, journal, failureCount } = await start(
        api,
        [{ kind: "stream", after, end }],
        patienceFor(end),
      );
      onTestFinished(() => provider.close());
      const { items, error } = await read(await ask());
      expect(error).toBeUndefined();
      expect(textIn(items)).toBe("hello");
      expect([journal, failureCount()]).toEqual([[], 0]);
    },
  );

  it.concurrent.for(boundaries)(
    "is an abort when its caller aborts after %i events",
    async (after, { expect, onTestFinished }) => {
      const script = [{ kind: "stream", after, end: "stalled" }] as const;
      const { provider, ask, journal, failureCount, measured } = await start(api, script);
      onTestFinished(() => provider.close());
      const controller = new AbortController();
      // Before any content there is nothing to read yet.
      const reading = ask(controller.signal).then(
        (stream) => read(stream),
        () => undefined,
      );
      await expect.poll(() => provider.requests.length).toBe(1);
      controller.abort();
      // SDKs end their loops quietly when their caller aborts.
      await reading;
      await expect.poll(() => provider.requests[0]?.hungUp).toBe(true);
      expect(provider.requests).toHaveLength(1);
      expect([journal, failureCount()]).toEqual([[], 0]);
      if (after < api.whole) {
        await expect
          .poll(() => measured.filter(({ descriptor }) => descriptor.tags.outcome === "aborted"))
          .toHaveLength(1);
      }
    },
  );
});

describe.each(APIS.filter(({ name }) => name !== "Gemini's content"))(
  "a stream of $name that has called a tool",
  (api) => {
    it.concurrent.for(["malformed", "cut"] as const)(
      "says that asking again is not safe when it is %s",
      async (end, { expect, onTestFinished }) => {
        const toolCall = { name: "book", arguments: '{"day":"monday"}' };
        const { provider, ask } = await start(api, [{ kind: "stream", after: api.firstContent, end, toolCall }]);
        onTestFinished(() => provider.close());
        const { error } = await read(await ask());
        expect(error).toMatchObject({ delivered: true, safeToRetry: false });
      },
    );
  },
);
