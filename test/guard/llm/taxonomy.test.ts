/** Every failure that providers are known to answer, over real HTTP through the real SDK: who is asked, what is counted, held and recorded. */
import http from "node:http";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import type { CircuitBreaker } from "../../../server/circuit/circuit-breaker.js";
import { systemClock } from "../../../server/ports/clock.js";
import {
  createFixtureProvider,
  event,
  type FixtureBehaviour,
  type FixtureProvider,
  providerReplies,
} from "../../../server/testing.js";
import type { ErrorClass } from "../../../shared/error-classes.js";
import { listOf, readProperty } from "../../../shared/error-facts.js";
import type { RetryHint } from "../../../shared/retry-hint.js";
import { createGuardsUnderTest, createLlmUnderTest, providerOf, read, request } from "./llm-harness.js";

let first: FixtureProvider;
let second: FixtureProvider;

beforeEach(async () => {
  [first, second] = await Promise.all([createFixtureProvider(), createFixtureProvider()]);
});
afterEach(async () => {
  await Promise.all([first.close(), second.close()]);
});

/** What becomes of one class of failure while another provider is well. */
interface Consequence {
  readonly type: string | undefined;
  /** Requests that the failing provider gets, and the next one. */
  readonly asked: readonly [number, number];
  /** Failures that the provider's own circuit counts. */
  readonly counted: number;
  /** Whose circuit opens at once. */
  readonly opens: "key" | "account" | "model" | undefined;
}

const NOWHERE: Consequence = { type: undefined, asked: [1, 0], counted: 0, opens: undefined };
const ONCE_MORE = { asked: [2, 1], counted: 2, opens: undefined } as const;
const AT_ONCE = { asked: [1, 1], counted: 0 } as const;

const CONSEQUENCES: Readonly<Partial<Record<ErrorClass, Consequence>>> = {
  invalid_request: NOWHERE,
  request_too_large: NOWHERE,
  context_overflow: NOWHERE,
  content_filtered: NOWHERE,
  rate_limited: { ...AT_ONCE, type: "rate_limit", opens: undefined },
  quota_exhausted: { ...AT_ONCE, type: "quota_exceeded", opens: "account" },
  auth: { ...AT_ONCE, type: "auth_failed", opens: "key" },
  model_missing: { ...AT_ONCE, type: "model_unavailable", opens: "model" },
  overloaded: { ...ONCE_MORE, type: "service_unavailable" },
  server_error: { ...ONCE_MORE, type: "server_error" },
  malformed_response: { ...ONCE_MORE, type: "malformed_response" },
  conflict: { ...ONCE_MORE, type: "server_error", counted: 0 },
  stream_broken: { ...ONCE_MORE, type: "stream_broken" },
  timeout: { type: "api_timeout", asked: [1, 1], counted: 1, opens: undefined },
};

interface Row {
  readonly name: string;
  readonly behaviour: FixtureBehaviour;
  readonly reason: ErrorClass;
  readonly hold?: readonly [number, RetryHint["source"]];
  /** Of the error that the SDK raises, where it is not the reply's. */
  readonly status?: number;
}

const CLASSES = {
  openai: {
    quota: "quota_exhausted",
    creditBalance: "quota_exhausted",
    rateLimited: "rate_limited",
    rateLimitedWithoutHint: "rate_limited",
    rateLimitedUntilDate: "rate_limited",
    rateLimitedByReset: "rate_limited",
    rateLimitedInWords: "rate_limited",
    contextLength: "context_overflow",
    invalidKey: "auth",
    modelNotFound: "model_missing",
    contentPolicy: "content_filtered",
    fieldTooLong: "invalid_request",
    badRequest: "invalid_request",
    unprocessable: "invalid_request",
    conflict: "conflict",
    tooLarge: "request_too_large",
    requestTimeout: "timeout",
    overloaded: "overloaded",
    overloadedWithHint: "overloaded",
    slowDown: "overloaded",
    serverError: "server_error",
    badGateway: "server_error",
    gatewayTimeout: "timeout",
    cloudflareTimeout: "timeout",
    cloudflareUnknown: "server_error",
  },
  anthropic: {
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
  },
  gemini: {
    perMinute: "rate_limited",
    perMinuteInArray: "rate_limited",
    perDay: "quota_exhausted",
    overloaded: "overloaded",
    overloadedEncodedTwice: "overloaded",
    invalidArgument: "invalid_request",
    region: "auth",
    invalidKey: "auth",
    permission: "auth",
    notFound: "model_missing",
    internal: "server_error",
    deadline: "timeout",
    tokenCount: "context_overflow",
  },
  deepseek: {
    invalidFormat: "invalid_request",
    authentication: "auth",
    insufficientBalance: "quota_exhausted",
    invalidParameters: "invalid_request",
    rateLimited: "rate_limited",
    serverError: "server_error",
    overloaded: "overloaded",
    ranOut: "overloaded",
  },
  openrouter: {
    credits: "quota_exhausted",
    timeout: "timeout",
    moderated: "content_filtered",
    rateLimited: "rate_limited",
    badGateway: "server_error",
    unavailable: "overloaded",
    badGatewayInsideSuccess: "server_error",
    creditsInsideSuccess: "quota_exhausted",
  },
} as const satisfies {
  readonly [P in keyof typeof providerReplies]: Record<keyof (typeof providerReplies)[P], ErrorClass>;
};

/** How long, and where it was said. */
const HOLDS: Readonly<Record<string, readonly [number, RetryHint["source"]]>> = {
  "openai.rateLimited": [494, "retry-after-ms"],
  "openai.rateLimitedInWords": [494, "message"],
  "openai.rateLimitedUntilDate": [20_000, "retry-after"],
  "openai.rateLimitedByReset": [60_052, "ratelimit-reset"],
  "openai.overloadedWithHint": [2_000, "retry-after"],
  "anthropic.rateLimited": [8_000, "retry-after"],
  "anthropic.rateLimitedUntilReset": [30_000, "ratelimit-reset"],
  "gemini.perMinute": [34_400, "retry-info"],
  "gemini.perMinuteInArray": [34_400, "retry-info"],
  "gemini.perDay": [34_400, "retry-info"],
};

const STATUSES: Readonly<Record<string, number>> = {
  "deepseek.ranOut": 503,
  "openrouter.badGatewayInsideSuccess": 502,
  "openrouter.creditsInsideSuccess": 402,
};

const rows: readonly Row[] = Object.entries(CLASSES).flatMap(([provider, classes]) =>
  Object.entries(classes).map(([failure, reason]) => {
    const name = `${provider}.${failure}`;
    const replies: Readonly<Record<string, FixtureBehaviour>> =
      providerReplies[provider as keyof typeof providerReplies];
    const behaviour = replies[failure] ?? { kind: "hang" };
    const status = STATUSES[name] ?? (behaviour.kind === "reply" ? behaviour.status : undefined);
    return {
      name,
      behaviour,
      reason,
      ...(HOLDS[name] !== undefined && { hold: HOLDS[name] }),
      ...(status !== undefined && { status }),
    };
  }),
);

/** Without a word of the provider's. */
const RESET_MS = { model: 300_000, key: 300_000, account: 60_000 } as const;

const restOf = (circuit: CircuitBreaker) => (circuit.getState().nextRetryTime ?? 0) - systemClock.now();

describe("a provider's failure", () => {
  it.each(rows)("$name is $reason", async ({ behaviour, reason, hold, status }) => {
    first.behaves(behaviour);
    const [holdMs, holdSource] = hold ?? [];
    const expected = CONSEQUENCES[reason];
    if (expected === undefined) throw new Error(`no consequence is written down for ${reason}`);
    // A target that asked for a rest is not asked again at once.
    const asked = holdMs === undefined ? expected.asked : [1, expected.asked[1]];
    const counted = holdMs === undefined ? expected.counted : Math.min(expected.counted, 1);

    const { llm, state, failures, registry, guards, journal } = createLlmUnderTest({
      providers: [providerOf("openai", first), providerOf("deepseek", second)],
    });
    const outcome = await llm.chatDetailed(request).catch((error: unknown) => error);

    expect([first.requests.length, second.requests.length]).toEqual(asked);
    expect(registry.get("llm:openai")?.snapshot()).toMatchObject({ state: "closed", failureCount: counted });
    for (const part of ["key", "account", "model"] as const) {
      expect(state(`llm:openai:${part}:`), part).toBe(part === expected.opens ? "open" : "closed");
    }
    // Who is to blame rests: the provider, or the circuit of its account.
    const opened = registry.getAll().find((circuit) => circuit.getState().state === "open");
    const restMs = opened === undefined ? guards.guard("llm:openai").snapshot().cooldownMs : restOf(opened);
    const expectedMs = holdMs ?? (expected.opens === undefined ? 0 : RESET_MS[expected.opens]);
    expect(restMs).toBeLessThanOrEqual(expectedMs + 1);
    expect(restMs).toBeGreaterThan(expectedMs - 5_000);
    if (expected.asked[1] === 0) {
      expect(outcome).toBeInstanceOf(OpenAI.APIError);
      expect(failures()).toEqual([]);
    } else {
      expect(outcome).toMatchObject({ value: { object: "chat.completion" }, rescue: { kind: "failed_over" } });
      expect(failures()[0]).toMatchObject({
        failureType: expected.type,
        affectedService: "llm:openai",
        context: { reason, ...(holdMs !== undefined && { holdMs, holdSource }) },
      });
      expect(failures()[0]?.context?.circuit?.toString().startsWith(`llm:openai:${expected.opens}:`)).toBe(
        expected.opens === undefined ? undefined : true,
      );
    }

    const steps = journal.flatMap((entry) =>
      entry.type === "rescue.ended" ? [`${entry.rescue.actionStrategy}:${entry.rescue.status}`] : [],
    );
    expect(steps).toEqual(
      [asked[0] === 2 && "exponential_backoff_retry:failed", asked[1] === 1 && "provider_failover:succeeded"].filter(
        Boolean,
      ),
    );

    const alone = createLlmUnderTest({ providers: [providerOf("openai", first)] }, {}, { rescues: false });
    const error = await alone.llm.chat(request).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.APIError);
    expect(error).toMatchObject({ status });
  });
});

/** What a status alone had said is not known there. */
const CLASSES_IN_STREAM: Readonly<Record<string, ErrorClass>> = {
  "openai.conflict": "invalid_request",
  "openai.tooLarge": "invalid_request",
  "openai.rateLimitedWithoutHint": "stream_broken",
};
const bodyOf = ({ behaviour }: Row) =>
  behaviour.kind === "reply" ? (listOf(behaviour.body)[0] ?? behaviour.body) : {};
/** Of a hint in headers only what the body says too is left. */
const saidInBody = ([holdMs, source]: NonNullable<Row["hold"]>) =>
  source === "retry-after-ms" ? ([holdMs, "message"] as const) : ([holdMs, source] as const);

const rowsInStream = rows
  .filter((row) => readProperty(bodyOf(row), "error") !== undefined && !row.name.startsWith("anthropic"))
  .map((row) => {
    const said = row.hold && saidInBody(row.hold);
    const isSaid = said?.[1] === "message" || said?.[1] === "retry-info";
    return {
      name: row.name,
      body: bodyOf(row),
      reason: CLASSES_IN_STREAM[row.name] ?? row.reason,
      hold: isSaid ? said : undefined,
    };
  });

describe("a provider's failure within a stream that it had begun", () => {
  it.each(rowsInStream)(
    "$name is $reason, and the caller never saw that it had begun",
    async ({ body, reason, hold }) => {
      const greeting = {
        id: "1",
        choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }],
      };
      first.behaves({ kind: "events", events: [event(greeting), event(body)] });
      const expected = CONSEQUENCES[reason];
      if (expected === undefined) throw new Error(`no consequence is written down for ${reason}`);
      const { llm, state, failures, registry, guards } = createLlmUnderTest({
        providers: [providerOf("openai", first), providerOf("deepseek", second)],
      });
      const { items, error } = await read(llm.stream(request));

      expect([first.requests.length, second.requests.length]).toEqual(expected.asked);
      expect(registry.get("llm:openai")?.snapshot()).toMatchObject({ state: "closed", failureCount: expected.counted });
      for (const part of ["key", "account", "model"] as const) {
        expect(state(`llm:openai:${part}:`), part).toBe(part === expected.opens ? "open" : "closed");
      }
      const holdMs = expected.opens === undefined ? (hold?.[0] ?? 0) : 0;
      expect(guards.guard("llm:openai").snapshot().cooldownMs).toBeLessThanOrEqual(holdMs + 1);
      expect(guards.guard("llm:openai").snapshot().cooldownMs).toBeGreaterThan(holdMs - 5_000);
      if (expected.asked[1] === 0) {
        expect(error).toBeInstanceOf(OpenAI.APIError);
        expect([items, failures()]).toEqual([[], []]);
      } else {
        expect(error).toBeUndefined();
        expect(items.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("hello");
        expect(failures()[0]).toMatchObject({
          failureType: expected.type,
          affectedService: "llm:openai",
          context: { reason, ...(hold && { holdMs: hold[0], holdSource: hold[1] }) },
        });
      }
    },
  );
});

describe("a failure on the way to a provider", () => {
  const dead = { baseURL: "http://127.0.0.1:9/v1" };
  const nobody = { baseURL: "http://nobody.invalid/v1" };

  it.each([
    ["a refused connection", () => dead, { kind: "hang" }, "connection_refused", [0, 1]],
    ["a name that does not exist", () => nobody, { kind: "hang" }, "dns_error", [0, 1]],
    ["a connection dropped before the answer", () => first, { kind: "reset" }, "connection_refused", [1, 1]],
    ["an answer cut in half", () => first, { kind: "cut" }, "stream_broken", [2, 1]],
    ["no answer in time", () => first, { kind: "hang" }, "api_timeout", [1, 1]],
  ] as const)("%s counts, and the next provider answers", async (_name, target, behaviour, type, asked) => {
    first.behaves(behaviour);
    // Who asks for names may take longer to say that there is none.
    const timeoutMs = type === "api_timeout" ? 2_000 : 15_000;
    const { llm, failures, registry } = createLlmUnderTest({
      providers: [providerOf("openai", target(), { timeoutMs }), providerOf("deepseek", second)],
    });
    expect((await llm.chatDetailed(request)).rescue).toMatchObject({ kind: "failed_over", target: "llm:deepseek" });
    expect(failures()[0]).toMatchObject({ failureType: type });
    // What was answered, if only half of it, was asked once more before somebody else.
    expect(registry.get("llm:openai")?.snapshot().failureCount).toBe(Math.max(asked[0], 1));
    expect([first.requests.length, second.requests.length]).toEqual(asked);
  });
});

describe("an answer cut in half", () => {
  const throughNode = (url: string) =>
    new Promise((resolve, reject) => {
      http
        .request(url, { method: "POST" }, (response) => response.on("end", resolve).on("error", reject).resume())
        .on("error", reject)
        .end("{}");
    });
  const throughFetch = async (url: string) => (await fetch(url, { method: "POST", body: "{}" })).json();

  it.each([
    ["fetch", throughFetch],
    ["node:http", throughNode],
  ])("through %s proves that work was begun: what must not run twice does not", async (_how, post) => {
    first.behaves({ kind: "cut" });
    const { guards, failures } = createGuardsUnderTest();
    const guard = guards.guard("http:orders");
    await expect(
      guard.execute(() => post(`${first.baseURL}/chat/completions`), { idempotent: false }),
    ).rejects.toThrow();
    expect(first.requests).toHaveLength(1);
    expect(failures()).toMatchObject([{ failureType: "stream_broken", affectedService: "http:orders" }]);
  });
});

describe("a network that reaches no provider", () => {
  it("is to blame: circuits stay closed, calls fail fast, and the first that gets through ends it", async () => {
    await Promise.all([first.die(), second.die()]);
    const { llm, registry, failures } = createLlmUnderTest({
      providers: [providerOf("openai", first), providerOf("deepseek", second)],
    });
    const errors: unknown[] = [];
    for (let call = 0; call < 20; call += 1) errors.push(await llm.chat(request).catch((error: unknown) => error));
    expect(errors[0]).toBeInstanceOf(OpenAI.APIConnectionError);
    expect(errors.at(-1)).toMatchObject({ reason: "network_down", code: "SERVICE_UNAVAILABLE" });
    for (const name of ["llm:openai", "llm:deepseek"]) expect(registry.get(name)?.snapshot().state).toBe("closed");
    const tried = failures().filter(({ context }) => context?.reason !== "network_down");
    expect(new Set(tried.map(({ affectedService }) => affectedService))).toEqual(
      new Set(["llm:openai", "llm:deepseek"]),
    );
    expect(tried.length).toBeLessThanOrEqual(4);

    await Promise.all([first.revive(), second.revive()]);
    const answered = () =>
      llm.chat(request).then(
        ({ choices }) => choices.length,
        () => 0,
      );
    await expect.poll(answered, { timeout: 10_000, interval: 50 }).toBe(1);
    expect((await llm.chatDetailed(request)).rescue.target).toBe("llm:openai");
  });
});

describe("a circuit beside a provider's own", () => {
  it("of a refused key refuses without a request, until the key is another one", async () => {
    first.behaves(providerReplies.openai.invalidKey, { kind: "answer" });
    const alone = createLlmUnderTest({ providers: [providerOf("openai", first)] });
    await alone.llm.chat(request).catch(() => {});
    await expect(alone.llm.chat(request)).rejects.toMatchObject({
      code: "SERVICE_UNAVAILABLE",
      circuitName: expect.stringMatching(/^llm:openai:key:[0-9a-f]{8}$/),
    });
    expect(first.requests).toHaveLength(1);
    expect(alone.state("llm:openai:key:")).toBe("open");
  });

  it("is shared by providers behind one address with one key", async () => {
    first.behaves(providerReplies.openai.invalidKey, { kind: "answer" });
    const { llm } = createLlmUnderTest({
      providers: [providerOf("openai", first), providerOf("openai-large", first), providerOf("deepseek", second)],
    });
    expect((await llm.chatDetailed(request)).rescue.target).toBe("llm:deepseek");
    expect(first.requests).toHaveLength(1);
  });

  it("of a spent account is shared by its keys, and of other accounts not", async () => {
    first.behaves(providerReplies.openai.quota, { kind: "answer" });
    const { llm, state } = createLlmUnderTest({
      providers: [
        providerOf("a", first, { account: "clinic" }),
        providerOf("b", first, { account: "clinic", apiKey: "another key" }),
        providerOf("c", first, { account: "lab", apiKey: "a third key" }),
      ],
    });
    expect((await llm.chatDetailed(request)).rescue.target).toBe("llm:c");
    expect(first.requests).toHaveLength(2);
    expect(state("llm:a:account:clinic")).toBe("open");
  });

  it("of a missing model leaves the provider's other models alone", async () => {
    first.behaves(providerReplies.openai.modelNotFound, { kind: "answer" });
    const { llm, state } = createLlmUnderTest({ providers: [providerOf("openai", first)] });
    await llm.chat({ ...request, model: "models/gone" }).catch(() => {});
    expect(state("llm:openai:model:models%2Fgone")).toBe("open");
    await expect(llm.chat({ ...request, model: "models/gone" })).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    expect((await llm.chat(request)).choices).toHaveLength(1);
    expect(first.requests).toHaveLength(2);
  });

  it("of a key that a function gives is the key's own, so that a rotated key is asked at once", async () => {
    let key = "sk-old-key";
    first.decides(({ headers }) =>
      headers.authorization === "Bearer sk-old-key" ? providerReplies.openai.invalidKey : { kind: "answer" },
    );
    const { llm, registry } = createLlmUnderTest({
      providers: [providerOf("openai", first, { apiKey: async () => key })],
    });
    await llm.chat(request).catch(() => {});
    await expect(llm.chat(request)).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    expect(first.requests).toHaveLength(1);
    key = "sk-new-key";
    expect((await llm.chat(request)).choices).toHaveLength(1);
    const keys = registry.getAll().flatMap(({ name, state }) => (name.includes(":key:") ? [{ name, state }] : []));
    expect(keys.map(({ state }) => state)).toEqual(["open", "closed"]);
    expect(JSON.stringify(keys)).not.toContain("sk-");
  });

  it("of a function that gives no key is shared, and the attempt says why it failed", async () => {
    const { llm, registry } = createLlmUnderTest({
      providers: [providerOf("openai", first, { apiKey: () => Promise.reject(new Error("the vault is sealed")) })],
    });
    await expect(llm.chat(request)).rejects.toThrow("vault is sealed");
    expect(registry.getAll().map(({ name }) => name)).toContain("llm:openai:key:current");
    expect(first.requests).toHaveLength(0);
  });

  it("of a function that hangs is waited for within the request's own time and patience", async () => {
    let asked = 0;
    const apiKey = () => {
      asked += 1;
      return new Promise<string>(() => {});
    };
    const { llm } = createLlmUnderTest({ providers: [providerOf("openai", first, { apiKey })] });
    const startedAt = systemClock.monotonic();
    await expect(llm.chat(request, { timeoutMs: 20 })).rejects.toMatchObject({ code: "GATEWAY_TIMEOUT" });
    const caller = new AbortController();
    const gone = new Error("gone");
    const left = [
      llm.chat(request, { signal: caller.signal }),
      llm.stream(request, { signal: caller.signal }).next(),
      llm.parse({ ...request, response_format: zodResponseFormat(z.object({}), "any") }, { signal: caller.signal }),
    ];
    await expect.poll(() => asked).toBeGreaterThanOrEqual(5);
    caller.abort(gone);
    for (const one of await Promise.allSettled(left)) expect(one).toMatchObject({ reason: gone });
    // As long as it waits for a key at most: once would be longer.
    expect(systemClock.monotonic() - startedAt).toBeLessThan(1_000);
  });
});

describe("a request that is too long", () => {
  const overflow = () => first.behaves(providerReplies.openai.contextLength);

  it("goes on to the next provider that is known to take more, and opens nothing", async () => {
    overflow();
    const { llm, failures, state, registry } = createLlmUnderTest({
      providers: [
        providerOf("small", first, { contextWindow: 16_385 }),
        providerOf("same", second, { contextWindow: 16_385 }),
        providerOf("unknown", second),
        providerOf("large", second, { contextWindow: 128_000 }),
      ],
    });
    expect((await llm.chatDetailed(request)).rescue).toMatchObject({
      kind: "failed_over",
      target: "llm:large",
      attempts: 2,
    });
    expect(failures()).toMatchObject([{ severity: "low", context: { reason: "context_overflow" } }]);
    expect(registry.getAll().every((circuit) => circuit.snapshot().state === "closed")).toBe(true);
    expect(state("llm:small")).toBe("closed");
  });

  it("is given back where no provider takes more", async () => {
    overflow();
    second.behaves(providerReplies.anthropic.promptTooLong);
    const { llm, failures } = createLlmUnderTest({
      providers: [
        providerOf("large", first, { contextWindow: 128_000 }),
        providerOf("larger", second, { contextWindow: 200_000 }),
      ],
      fallback: () => "no fallback can shorten it",
    });
    await expect(llm.chat(request)).rejects.toMatchObject({ status: 400 });
    expect([first.requests.length, second.requests.length]).toEqual([1, 1]);
    expect(failures()).toHaveLength(1);
  });

  it("is given back where the request names a model whose window nobody knows", async () => {
    overflow();
    const { llm, failures } = createLlmUnderTest({
      providers: [
        providerOf("small", first, { contextWindow: 16_385 }),
        providerOf("large", second, { contextWindow: 128_000 }),
      ],
    });
    await expect(llm.chat({ ...request, model: "other" })).rejects.toMatchObject({ status: 400 });
    expect(failures()).toEqual([]);
  });
});
