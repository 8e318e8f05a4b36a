/** What a user says about LLM providers, checked once, when the guard is made. Keys never appear in a message. */
import { ParamedicError } from "../../../shared/errors.js";
import { MAX_TIMER_MS } from "../../../shared/units.js";
import type { GuardPolicy } from "../guard-policy.js";

/** What a provider asks for its work. */
export interface LlmPrice {
  /** For a million tokens of the request; 0 or more. */
  readonly inputPerMillion: number;
  /** For a million tokens of the answer; 0 or more. */
  readonly outputPerMillion: number;
  /** For a million tokens of the request that the provider had kept. @default inputPerMillion */
  readonly cachedInputPerMillion?: number | undefined;
  /** @default "USD" */
  readonly currency?: string | undefined;
}

/** A provider that speaks OpenAI's chat completions. */
export interface LlmProvider {
  /** Unique among the providers; its service is `llm:<name>`. Letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  /** Up to the path that `/chat/completions` follows, such as `https://api.openai.com/v1`. */
  readonly baseURL: string;
  /** Or a function that gives the key of the moment, asked for each request, of every provider that could answer it. */
  readonly apiKey: string | (() => Promise<string>);
  /** Asked for where a request names none. */
  readonly model: string;
  /** Asked for by `embed`. @default none: the provider is not asked for embeddings */
  readonly embeddingModel?: string | undefined;
  /** Who pays: providers that name the same account share its spent quota. @default the key's own */
  readonly account?: string | undefined;
  /**
   * Tokens that `model` takes. A request that is too long for one provider goes on to the next that is known to take more.
   * 1 or more. @default unknown: such a request is given back
   */
  readonly contextWindow?: number | undefined;
  /** What the tokens of `model` cost, for the metric `paramedic.llm.cost`. @default unknown: no cost is recorded */
  readonly price?: LlmPrice | undefined;
  /**
   * How long one attempt may take, and a stream until its first content; 1 to 2^31-1 ms. @default the guards' own, 30_000
   */
  readonly timeoutMs?: number | undefined;
  /** Ask for the tokens that a stream used; `false` for a server that refuses `stream_options`. @default true */
  readonly streamUsage?: boolean | undefined;
  /**
   * Of its guard, over `policy` of all providers: circuit, bulkhead, budgets, hedge. `timeoutMs` beside it wins.
   *
   * @default what is said for all, then the guards' own
   */
  readonly policy?: GuardPolicy | undefined;
  /** Sent with every request, such as `openai-organization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const PROVIDER_OPTIONS: ReadonlySet<string> = new Set<keyof LlmProvider>([
  "name",
  "baseURL",
  "apiKey",
  "model",
  "embeddingModel",
  "account",
  "contextWindow",
  "price",
  "timeoutMs",
  "streamUsage",
  "policy",
  "headers",
]);

const PRICE_OPTIONS = ["inputPerMillion", "outputPerMillion", "cachedInputPerMillion"] as const;

export function serviceOf({ name }: LlmProvider): string {
  return `llm:${name}`;
}

/**
 * @throws ParamedicError `OPERATION_INVALID` naming the provider, the option and what is legal.
 */
export function validateProviders(providers: readonly LlmProvider[]): void {
  if (!Array.isArray(providers) || providers.length === 0) {
    throw invalidLlm("providers: give at least one, in order of preference");
  }
  const names = new Set<string>();
  for (const [index, provider] of providers.entries()) {
    const { name } = provider;
    if (typeof name !== "string" || !NAME.test(name)) {
      throw invalidLlm(
        `providers[${index}].name: got ${JSON.stringify(name)}; legal: 1 to 100 letters, digits, ".", "_", "-"`,
      );
    }
    if (names.has(name)) throw invalidLlm(`provider "${name}" is named twice; each needs a name of its own`);
    names.add(name);
    validateProvider(provider);
  }
}

const NAME = /^[\w.-]{1,100}$/;

function validateProvider(provider: LlmProvider): void {
  const { name, baseURL, apiKey, model, embeddingModel, account, contextWindow, price, timeoutMs, streamUsage } =
    provider;
  const invalid = (problem: string) => invalidLlm(`provider "${name}": ${problem}`);
  for (const option of Object.keys(provider)) {
    if (PROVIDER_OPTIONS.has(option)) continue;
    throw invalid(`${option} is unknown; the options are ${[...PROVIDER_OPTIONS].join(", ")}`);
  }
  if (!isHttpUrl(baseURL)) {
    throw invalid("baseURL must be an http or https address without credentials, such as https://api.openai.com/v1");
  }
  if (typeof apiKey !== "function" && (typeof apiKey !== "string" || apiKey === "")) {
    throw invalid("apiKey is missing; give the key, or a function that gives it");
  }
  if (typeof model !== "string" || model === "") throw invalid("model is missing");
  if (embeddingModel !== undefined && (typeof embeddingModel !== "string" || embeddingModel === "")) {
    throw invalid("embeddingModel is empty; leave it out where there is none");
  }
  if (account !== undefined && (typeof account !== "string" || !NAME.test(account))) {
    throw invalid(`account got ${JSON.stringify(account)}; legal: 1 to 100 letters, digits, ".", "_", "-"`);
  }
  if (contextWindow !== undefined && !(Number.isInteger(contextWindow) && contextWindow >= 1)) {
    throw invalid(`contextWindow got ${String(contextWindow)}; legal: a whole number of tokens from 1 on`);
  }
  for (const option of PRICE_OPTIONS) {
    const amount = price?.[option];
    if (price === undefined || (amount === undefined && option === "cachedInputPerMillion")) continue;
    if (typeof amount !== "number" || !(amount >= 0 && amount < Number.POSITIVE_INFINITY)) {
      throw invalid(`price.${option} got ${String(amount)}; legal: 0 or more`);
    }
  }
  if (streamUsage !== undefined && typeof streamUsage !== "boolean") {
    throw invalid(`streamUsage got ${String(streamUsage)}; legal: true or false`);
  }
  requireTimeout(`provider "${name}": timeoutMs`, timeoutMs);
}

export function requireTimeout(what: string, timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || (typeof timeoutMs === "number" && timeoutMs >= 1 && timeoutMs <= MAX_TIMER_MS)) return;
  throw invalidLlm(`${what} got ${String(timeoutMs)}; legal: [1, ${MAX_TIMER_MS}]`);
}

function isHttpUrl(text: unknown): boolean {
  if (typeof text !== "string" || !URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "";
}

export function invalidLlm(problem: string): ParamedicError {
  return new ParamedicError("OPERATION_INVALID", `llm: ${problem}`);
}
