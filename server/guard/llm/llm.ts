/** LLM providers behind guards: each request is asked of the first provider that can answer it. */
import type OpenAI from "openai";
import { readProperty } from "../../../shared/error-facts.js";
import type { Failure } from "../../../shared/failure.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { CallContext } from "../../ports/call-context.js";
import { noCallContext } from "../../ports/call-context.js";
import type { Clock } from "../../ports/clock.js";
import type { MetricSink } from "../../ports/metric-sink.js";
import type { Detailed } from "../guard.js";
import type { GuardPolicy } from "../guard-policy.js";
import type { Guards } from "../guards.js";
import { chunkOf, completionOf, requireCompletion, requireEmbeddings, unreadable } from "./checked-answers.js";
import { linkedController } from "./linked-controller.js";
import type {
  ChatChunk,
  ChatCompletion,
  ChatOptions,
  ChatRequest,
  ChatStream,
  EmbeddingResponse,
  EmbedRequest,
  ParsedChatCompletion,
  ParseRequest,
} from "./llm-requests.js";
import { createModelsInUse } from "./models-in-use.js";
import { createOpenAiClients, type OpenAiSdk } from "./openai-client.js";
import { invalidLlm, type LlmProvider, requireTimeout, serviceOf, validateProviders } from "./provider.js";
import { type Asking, askedFor, providerTargets } from "./provider-targets.js";
import { type RequestBounds, requestBounds } from "./request-bounds.js";
import type { Fetch } from "./reveal-failures.js";
import { ChatReader } from "./stream/chat-reader.js";
import { GuardedStream } from "./stream/guarded-stream.js";
import { watchStream } from "./stream/watch-stream.js";

/** Answers when no provider can: a text, or a whole completion. It must be local and quick. */
export type LlmFallback = (
  failure: Failure,
  request: ChatRequest,
) => string | ChatCompletion | Promise<string | ChatCompletion>;

export interface LlmOptions {
  /** In order of preference. */
  readonly providers: readonly LlmProvider[];
  /**
   * Of the guards of all providers: `rescueBudget` with a `name` is one for all.
   *
   * @example { rescueBudget: { name: "llm", maxCost: 2, windowMs: 3_600_000 }, hedge: { afterPercentile: 95, target: "next" } }
   */
  readonly policy?: GuardPolicy | undefined;
  /** For `chat` and, before any content, for `stream`. */
  readonly fallback?: LlmFallback | undefined;
  /** Bounds everything, rescues and whole streams too; 1 to 2^31-1 ms. @default the call's own deadline, if it has one */
  readonly timeoutMs?: number | undefined;
  /** The longest silence between two pieces of a stream's content; 1 to 2^31-1 ms. @default 30_000 */
  readonly stallTimeoutMs?: number | undefined;
  /** Names the operation in failure events. @default "llm.chat", "llm.stream", "llm.parse" or "llm.embed" */
  readonly name?: string | undefined;
}

export interface LlmDeps {
  readonly guards: Guards;
  readonly clock: Clock;
  readonly sink: MetricSink;
  /** @default none */
  readonly callContext?: CallContext | undefined;
  /** @default the platform's */
  readonly fetch?: Fetch | undefined;
  /** Loads the SDK. @default the `openai` package, when the first request is made */
  readonly loadSdk?: (() => Promise<OpenAiSdk>) | undefined;
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
  /**
   * As `chat`, in chunks. The request is made when the first chunk is asked for. Until content comes, another provider may
   * still answer; from then on a stream that breaks ends with a `StreamBrokenError`.
   *
   * @example for await (const chunk of llm.stream({ messages })) show(chunk.choices[0]?.delta.content);
   */
  stream(request: ChatRequest, options?: ChatOptions): ChatStream;
  /**
   * As `chat`, with the answer read by its `response_format`. An answer that cannot be read is the provider's failure.
   *
   * @example
   * import { zodResponseFormat } from "openai/helpers/zod";
   *
   * const { choices } = await llm.parse({ messages, response_format: zodResponseFormat(Diagnosis, "diagnosis") });
   * const diagnosis = choices[0]?.message.parsed;
   */
  parse<T>(request: ParseRequest<T>, options?: ChatOptions): Promise<ParsedChatCompletion<T>>;
  /**
   * Asks only providers with the same `embeddingModel`, because places in two models' spaces cannot be compared.
   *
   * @throws ParamedicError `OPERATION_INVALID` when no provider has an `embeddingModel`.
   * @example const { data } = await llm.embed({ input: ["Hello"] });
   */
  embed(request: EmbedRequest, options?: ChatOptions): Promise<EmbeddingResponse>;
  /** Without their keys. */
  readonly providers: readonly Readonly<Pick<LlmProvider, "name" | "model" | "baseURL"> & { service: string }>[];
}

/** As long as an attempt may take until it says anything at all. */
const STALL_TIMEOUT_MS = 30 * SECOND_MS;

/**
 * Guards OpenAI-compatible providers. Each is a service of its own, `llm:<name>`, with circuits beside it for its models, its
 * key and its account. The SDK's retries and timeouts are off, because the guard owns both. No prompt and no completion is
 * stored or logged.
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
export function createLlm(given: LlmDeps, options: LlmOptions): Llm {
  const { guards, clock, sink, callContext = noCallContext, loadSdk, fetch = globalThis.fetch } = given;
  const { providers, fallback, timeoutMs, stallTimeoutMs = STALL_TIMEOUT_MS } = options;
  validateProviders(providers);
  requireTimeout("timeoutMs", timeoutMs);
  requireTimeout("stallTimeoutMs", stallTimeoutMs);
  if (fallback !== undefined && typeof fallback !== "function") throw invalidLlm("the fallback is not a function");
  for (const provider of providers) guards.guard(serviceOf(provider), policyOf(provider, options.policy));
  const models = createModelsInUse({ clock, sink }, providers);
  const deps = { clients: createOpenAiClients(fetch, loadSdk), models, clock };
  const targetsFor = <T>(request: ChatRequest, { patience }: RequestBounds, ask: (asking: Asking) => Promise<T>) =>
    providerTargets(deps, "chat", askedFor(providers, request.model), patience, ask);
  const boundedBy = ({ signal, timeoutMs: ownMs = timeoutMs }: ChatOptions = {}) =>
    requestBounds(clock, callContext.current(), { signal, timeoutMs: ownMs });
  const nowS = () => Math.floor(clock.now() / SECOND_MS);

  const chatDetailed = async (request: ChatRequest, own?: ChatOptions): Promise<Detailed<ChatCompletion>> => {
    requireWhole("chat", request);
    const bounded = boundedBy(own);
    const targets = await targetsFor(request, bounded, async (asking) => {
      const { client, service, context, meter } = asking;
      const answer = await client.chat.completions.create(paramsFor(request, asking), { signal: context.signal });
      requireCompletion(service, answer);
      meter.succeeded(answer.usage);
      return answer;
    });
    return guards.runDetailed<ChatCompletion>(options.name ?? "llm.chat", {
      ...bounded.left(),
      targets,
      fallback: fallback && (async (failure) => completionOf(await fallback(failure, request), nowS())),
      idempotent: true,
    });
  };

  const parse = async <T>(request: ParseRequest<T>, own?: ChatOptions): Promise<ParsedChatCompletion<T>> => {
    requireWhole("parse", request);
    const bounded = boundedBy(own);
    const targets = await targetsFor(request, bounded, async (asking) => {
      const { client, service, context, meter } = asking;
      const params = { ...paramsFor(request, asking), response_format: request.response_format };
      const answer = await client.chat.completions.parse(params, { signal: context.signal }).catch(unreadable(service));
      requireCompletion(service, answer);
      meter.succeeded(answer.usage);
      return answer;
    });
    return guards.run<ParsedChatCompletion<T>>(options.name ?? "llm.parse", {
      ...bounded.left(),
      targets,
      idempotent: true,
    });
  };

  const stream = (request: ChatRequest, own?: ChatOptions): ChatStream => {
    requireWhole("stream", request);
    return new GuardedStream<ChatChunk>({
      callContext,
      signal: own?.signal,
      async run({ signal, give, begun }) {
        const bounded = boundedBy({ ...own, signal });
        const targets = await targetsFor(request, bounded, async (asking) => {
          const { client, provider, service, context, meter } = asking;
          const wantsUsage = request.stream_options?.include_usage === true;
          const params: OpenAI.Chat.ChatCompletionCreateParamsStreaming = {
            ...paramsFor(request, asking),
            stream: true,
            ...(provider.streamUsage !== false && {
              stream_options: { include_usage: true, ...request.stream_options },
            }),
          };
          const hangUp = linkedController([context.signal]);
          const source = await client.chat.completions.create(params, { signal: hangUp.signal });
          const reader = new ChatReader<ChatChunk>();
          await watchStream(clock, {
            service,
            source,
            reader,
            context,
            give,
            // The chunk that holds the tokens has no choice, which a caller who did not ask for it need not expect.
            passes: (chunk) => wantsUsage || !Array.isArray(chunk.choices) || chunk.choices.length > 0,
            stallTimeoutMs,
            onFirstContent() {
              meter.firstContent();
              begun({ service, received: () => reader.received });
            },
            hangUp: () => hangUp.abort(),
          });
          meter.succeeded(reader.usage);
          return NO_CHUNKS;
        });
        return guards.runDetailed<readonly ChatChunk[]>(options.name ?? "llm.stream", {
          ...bounded.left(),
          targets,
          fallback: fallback && (async (failure) => [chunkOf(completionOf(await fallback(failure, request), nowS()))]),
          idempotent: true,
        });
      },
    });
  };

  const embed = async (request: EmbedRequest, own?: ChatOptions): Promise<EmbeddingResponse> => {
    const model = request.model ?? providers.find(({ embeddingModel }) => embeddingModel !== undefined)?.embeddingModel;
    const asked = providers.flatMap((provider) =>
      model !== undefined && provider.embeddingModel === model ? [{ provider, model }] : [],
    );
    if (asked.length === 0) {
      throw invalidLlm(
        model === undefined
          ? "embed needs a provider with an embeddingModel"
          : `no provider has the embeddingModel "${model}"`,
      );
    }
    const bounded = boundedBy(own);
    const ask = async ({ client, service, context, meter }: Asking) => {
      const params = { ...request, model, encoding_format: "float" } as const;
      const answer = await client.embeddings.create(params as OpenAI.EmbeddingCreateParams, {
        signal: context.signal,
      });
      requireEmbeddings(service, answer, request.input);
      meter.succeeded(answer.usage);
      return answer;
    };
    const targets = await providerTargets(deps, "embeddings", asked, bounded.patience, ask);
    return guards.run<EmbeddingResponse>(options.name ?? "llm.embed", { ...bounded.left(), targets, idempotent: true });
  };

  return Object.freeze({
    chat: async (request: ChatRequest, own?: ChatOptions) => (await chatDetailed(request, own)).value,
    chatDetailed,
    parse,
    stream,
    embed,
    providers: Object.freeze(
      providers.map((provider) => {
        const { name, model, baseURL } = provider;
        return Object.freeze({ name, model, baseURL, service: serviceOf(provider) });
      }),
    ),
  });
}

/** Undefined where nothing is said: a policy that the service's guard has already stands. */
function policyOf({ policy, timeoutMs }: LlmProvider, forAll: GuardPolicy | undefined): GuardPolicy | undefined {
  if (policy === undefined && timeoutMs === undefined) return forAll;
  return { ...forAll, ...policy, ...(timeoutMs !== undefined && { timeoutMs }) };
}

const NO_CHUNKS: readonly ChatChunk[] = Object.freeze([]);

function paramsFor(
  request: ChatRequest,
  { model }: Pick<Asking, "model">,
): OpenAI.Chat.ChatCompletionCreateParamsNonStreaming {
  return { ...request, model, stream: false };
}

function requireWhole(method: string, request: ChatRequest): void {
  if (readProperty(request, "stream") !== true) return;
  throw invalidLlm(
    method === "stream" ? "stream sets `stream` itself; leave it out" : `${method} gives whole completions; use stream`,
  );
}
