/** LLM providers behind guards: one chat completion, asked of the first provider that can give it. */
import type OpenAI from "openai";
import { classify } from "../../shared/classify.js";
import { readProperty } from "../../shared/error-facts.js";
import { ParamedicError } from "../../shared/errors.js";
import type { Failure } from "../../shared/failure.js";
import type { SeriesDescriptor, Tags } from "../../shared/series.js";
import { MAX_TIMER_MS, SECOND_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { MetricSink } from "../ports/metric-sink.js";
import type { Detailed, GuardContext } from "./guard.js";
import type { Guards } from "./guards.js";
import { type LlmProvider, requireTimeout, validateProviders } from "./llm-options.js";
import { type Fetch, MalformedResponseError, revealFailures } from "./llm-response.js";

export type { LlmProvider } from "./llm-options.js";

export type ChatCompletion = OpenAI.Chat.ChatCompletion;

/** A chat request as the `openai` package takes it. It is asked for whole: `stream` is not offered. */
export interface ChatRequest extends Omit<OpenAI.Chat.ChatCompletionCreateParamsNonStreaming, "model" | "stream"> {
  /**
   * A name for the first provider only, because it means nothing to the others; or one name per provider.
   *
   * @default each provider's own model
   */
  readonly model?: string | Readonly<Record<string, string>> | undefined;
  readonly stream?: false | null | undefined;
}

/** Answers when no provider can: a text, or a whole completion. It must be local and quick. */
export type LlmFallback = (
  failure: Failure,
  request: ChatRequest,
) => string | ChatCompletion | Promise<string | ChatCompletion>;

export interface LlmOptions {
  /** In order of preference. */
  readonly providers: readonly LlmProvider[];
  readonly fallback?: LlmFallback | undefined;
  /** Bounds everything, rescues too; 1 to 2^31-1 ms. @default the call's own deadline, if it has one */
  readonly timeoutMs?: number | undefined;
  /** Names the operation in failure events. @default "llm.chat" */
  readonly name?: string | undefined;
}

export interface ChatOptions {
  /** The caller's own signal, beside the one of the tRPC call. */
  readonly signal?: AbortSignal | undefined;
  /** @default the options' own */
  readonly timeoutMs?: number | undefined;
}

export interface LlmDeps {
  readonly guards: Guards;
  readonly clock: Clock;
  readonly sink: MetricSink;
  /** @default the platform's */
  readonly fetch?: Fetch | undefined;
  /** Loads the SDK. @default the `openai` package, when the first request is made */
  readonly loadSdk?: (() => Promise<typeof OpenAI>) | undefined;
}

export interface Llm {
  /**
   * @throws what the last provider answered, as the SDK raises it, or a guard's own error.
   * @throws ParamedicError `PEER_MISSING` when the `openai` package is not installed.
   * @example const { choices } = await llm.chat({ messages: [{ role: "user", content: "Hello" }] });
   */
  chat(request: ChatRequest, options?: ChatOptions): Promise<ChatCompletion>;
  /** As `chat`, and says how the completion was obtained: `rescue.kind`, `rescue.target`. */
  chatDetailed(request: ChatRequest, options?: ChatOptions): Promise<Detailed<ChatCompletion>>;
  /** Without their keys. */
  readonly providers: readonly Readonly<Pick<LlmProvider, "name" | "model" | "baseURL"> & { service: string }>[];
}

/** The model that a fallback's text is said to come from. */
const FALLBACK_MODEL = "fallback";

/**
 * Guards OpenAI-compatible providers. Each is a service of its own, `llm:<name>`; the SDK's retries and timeouts are off,
 * because the guard owns both. No prompt and no completion is stored or logged.
 *
 * @throws ParamedicError `OPERATION_INVALID` at once when an option is wrong.
 * @example
 * const llm = createLlm({ guards, clock, sink }, {
 *   providers: [
 *     { name: "openai", baseURL: "https://api.openai.com/v1", apiKey, model: "gpt-4.1-mini" },
 *     { name: "deepseek", baseURL: "https://api.deepseek.com", apiKey: otherKey, model: "deepseek-chat" },
 *   ],
 *   fallback: () => "The assistant is resting. Please try again in a minute.",
 * });
 */
export function createLlm(deps: LlmDeps, options: LlmOptions): Llm {
  const { guards, clock, sink, loadSdk = loadOpenAi, fetch = globalThis.fetch } = deps;
  const { providers, fallback, timeoutMs, name = "llm.chat" } = options;
  validateProviders(providers);
  requireTimeout("timeoutMs", timeoutMs);
  if (fallback !== undefined && typeof fallback !== "function") {
    throw new ParamedicError("OPERATION_INVALID", "llm: the fallback is not a function");
  }
  for (const provider of providers) {
    guards.guard(serviceOf(provider), provider.timeoutMs === undefined ? {} : { timeoutMs: provider.timeoutMs });
  }
  const clients = new Map<string, Promise<OpenAI>>();
  const clientOf = (provider: LlmProvider): Promise<OpenAI> => {
    const known = clients.get(provider.name);
    if (known !== undefined) return known;
    const made = loadSdk().then((Sdk) => makeClient(Sdk, provider, fetch));
    clients.set(provider.name, made);
    // Once the package is installed, the next request finds it.
    made.catch(() => clients.delete(provider.name));
    return made;
  };

  const ask = async (
    provider: LlmProvider,
    isFirst: boolean,
    client: OpenAI,
    request: ChatRequest,
    { signal }: GuardContext,
  ): Promise<ChatCompletion> => {
    const service = serviceOf(provider);
    const model = modelFor(provider, isFirst, request);
    const tags: Tags = {
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": provider.name,
      "gen_ai.request.model": model,
    };
    const startedAt = clock.monotonic();
    const measure = (more: Tags) => recordDuration(sink, service, { ...tags, ...more }, clock.monotonic() - startedAt);
    try {
      const params: OpenAI.Chat.ChatCompletionCreateParamsNonStreaming = { ...request, model, stream: false };
      const answer = requireCompletion(service, await client.chat.completions.create(params, { signal }));
      measure({});
      recordTokens(sink, service, tags, answer);
      return answer;
    } catch (error) {
      measure({ "error.type": classify(error, service).reason });
      throw error;
    }
  };

  const chatDetailed = async (request: ChatRequest, chat: ChatOptions = {}): Promise<Detailed<ChatCompletion>> => {
    if (readProperty(request, "stream") === true) {
      throw new ParamedicError("OPERATION_INVALID", "llm.chat gives whole completions; leave `stream` out");
    }
    // A missing package is a mistake of setup, not a failure of a provider: it is told before anything is guarded.
    const targets = await Promise.all(
      providers.map(async (provider, index) => {
        const client = await clientOf(provider);
        const run = (context: GuardContext) => ask(provider, index === 0, client, request, context);
        return { service: serviceOf(provider), run };
      }),
    );
    return await guards.runDetailed<ChatCompletion>(name, {
      targets,
      fallback: fallback && (async (failure) => completionOf(await fallback(failure, request), clock)),
      idempotent: true,
      timeoutMs: chat.timeoutMs ?? timeoutMs,
      signal: chat.signal,
    });
  };

  return Object.freeze({
    chat: async (request: ChatRequest, chat?: ChatOptions) => (await chatDetailed(request, chat)).value,
    chatDetailed,
    providers: Object.freeze(
      providers.map((provider) => {
        const { name: providerName, model, baseURL } = provider;
        return Object.freeze({ name: providerName, model, baseURL, service: serviceOf(provider) });
      }),
    ),
  });
}

function serviceOf(provider: LlmProvider): string {
  return `llm:${provider.name}`;
}

async function loadOpenAi(): Promise<typeof OpenAI> {
  try {
    return (await import("openai")).default;
  } catch (cause) {
    throw new ParamedicError("PEER_MISSING", "llm needs the `openai` package; run: npm install openai", { cause });
  }
}

function makeClient(Sdk: typeof OpenAI, provider: LlmProvider, fetch: Fetch): OpenAI {
  return new Sdk({
    apiKey: provider.apiKey,
    baseURL: provider.baseURL,
    // Nested retries multiply and know neither circuit nor budget.
    maxRetries: 0,
    // Off: the guard owns the deadline, and zero would end every request at once.
    timeout: MAX_TIMER_MS,
    // Else the SDK takes them from the environment and sends one provider's account to another.
    organization: null,
    project: null,
    // Its log would hold prompts.
    logLevel: "off",
    fetch: revealFailures(fetch),
    ...(provider.headers && { defaultHeaders: provider.headers }),
  });
}

function modelFor(provider: LlmProvider, isFirst: boolean, { model }: ChatRequest): string {
  if (typeof model === "string") return isFirst ? model : provider.model;
  return (model && Object.hasOwn(model, provider.name) ? model[provider.name] : undefined) ?? provider.model;
}

/** Whatever the types say, a provider may send anything with status 200. How it finished is the caller's to judge. */
function requireCompletion(service: string, answer: ChatCompletion): ChatCompletion {
  const choices = readProperty(answer, "choices");
  if (!Array.isArray(choices)) throw new MalformedResponseError(service, "it is no chat completion");
  if (choices.length === 0) throw new MalformedResponseError(service, "it holds no choice");
  return answer;
}

function completionOf(answer: string | ChatCompletion, clock: Clock): ChatCompletion {
  if (typeof answer !== "string") return answer;
  const now = clock.now();
  return {
    id: `${FALLBACK_MODEL}-${now}`,
    object: "chat.completion",
    created: Math.floor(now / SECOND_MS),
    model: FALLBACK_MODEL,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: answer, refusal: null },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
  };
}

function recordDuration(sink: MetricSink, service: string, tags: Tags, durationMs: number): void {
  sink.series(seriesOf("gen_ai.client.operation.duration", "s", service, tags)).record(durationMs / SECOND_MS);
}

function recordTokens(sink: MetricSink, service: string, tags: Tags, { usage }: ChatCompletion): void {
  const counts = [
    ["input", readProperty(usage, "prompt_tokens")],
    ["output", readProperty(usage, "completion_tokens")],
  ] as const;
  for (const [type, count] of counts) {
    if (typeof count !== "number") continue;
    const descriptor = seriesOf("gen_ai.client.token.usage", "{token}", service, {
      ...tags,
      "gen_ai.token.type": type,
    });
    sink.series(descriptor).record(count);
  }
}

function seriesOf(metricName: string, unit: string, source: string, tags: Tags): SeriesDescriptor {
  return { metricType: "operation", metricName, kind: "histogram", unit, source, tags };
}
