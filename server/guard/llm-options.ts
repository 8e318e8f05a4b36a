/** What a user says about LLM providers, checked once, when the guard is made. Keys never appear in a message. */
import { ParamedicError } from "../../shared/errors.js";
import { MAX_TIMER_MS } from "../../shared/units.js";

/** A provider that speaks OpenAI's chat completions. */
export interface LlmProvider {
  /** Unique among the providers; its service is `llm:<name>`. Letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  /** Up to the path that `/chat/completions` follows, such as `https://api.openai.com/v1`. */
  readonly baseURL: string;
  /** Or a function that gives the key of the moment, asked for each request. */
  readonly apiKey: string | (() => Promise<string>);
  /** Asked for where a request names none. */
  readonly model: string;
  /** How long one attempt may take; 1 to 2^31-1 ms. @default the guards' own, 30_000 */
  readonly timeoutMs?: number | undefined;
  /** Sent with every request, such as `openai-organization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const PROVIDER_OPTIONS: ReadonlySet<string> = new Set<keyof LlmProvider>([
  "name",
  "baseURL",
  "apiKey",
  "model",
  "timeoutMs",
  "headers",
]);

/**
 * @throws ParamedicError `OPERATION_INVALID` naming the provider, the option and what is legal.
 */
export function validateProviders(providers: readonly LlmProvider[]): void {
  if (!Array.isArray(providers) || providers.length === 0) {
    throw invalid("providers: give at least one, in order of preference");
  }
  const names = new Set<string>();
  for (const [index, provider] of providers.entries()) {
    const { name, baseURL, apiKey, model, timeoutMs } = provider;
    if (typeof name !== "string" || !/^[\w.-]{1,100}$/.test(name)) {
      throw invalid(
        `providers[${index}].name: got ${JSON.stringify(name)}; legal: 1 to 100 letters, digits, ".", "_", "-"`,
      );
    }
    if (names.has(name)) throw invalid(`provider "${name}" is named twice; each needs a name of its own`);
    names.add(name);
    for (const option of Object.keys(provider)) {
      if (PROVIDER_OPTIONS.has(option)) continue;
      throw invalid(`provider "${name}": ${option} is unknown; the options are ${[...PROVIDER_OPTIONS].join(", ")}`);
    }
    if (!isHttpUrl(baseURL)) {
      throw invalid(
        `provider "${name}": baseURL must be an http or https address without credentials, such as https://api.openai.com/v1`,
      );
    }
    if (typeof apiKey !== "function" && (typeof apiKey !== "string" || apiKey === "")) {
      throw invalid(`provider "${name}": apiKey is missing; give the key, or a function that gives it`);
    }
    if (typeof model !== "string" || model === "") throw invalid(`provider "${name}": model is missing`);
    requireTimeout(`provider "${name}": timeoutMs`, timeoutMs);
  }
}

export function requireTimeout(what: string, timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || (typeof timeoutMs === "number" && timeoutMs >= 1 && timeoutMs <= MAX_TIMER_MS)) return;
  throw invalid(`${what} got ${String(timeoutMs)}; legal: [1, ${MAX_TIMER_MS}]`);
}

function isHttpUrl(text: unknown): boolean {
  if (typeof text !== "string" || !URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "";
}

function invalid(problem: string): ParamedicError {
  return new ParamedicError("OPERATION_INVALID", `llm: ${problem}`);
}
