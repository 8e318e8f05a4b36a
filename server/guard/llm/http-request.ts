/** What a guard may know of an HTTP request before it is sent: which model and key it uses, and whether it can be sent again. */
import { isJsonObject } from "../../../shared/failure.js";
import { keyInHeaders } from "./key-in-use.js";

export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly path: string;
  /** Of the JSON that is sent, or of the path, where Google has it. */
  readonly model: string | undefined;
  /** A completion, or what is like it: asked twice, it costs twice and changes nothing. */
  readonly completes: boolean;
  readonly apiKey: string | undefined;
  /** `false` where its body is a stream, which is gone once it was sent. */
  readonly repeatable: boolean;
  readonly signal: AbortSignal | undefined;
  /** Of the SDKs of OpenAI, Anthropic and others that Stainless makes; undefined where another client speaks. */
  readonly sdkRetryCount: number | undefined;
}

/** Longer bodies are not parsed for the model's name alone. */
const MAX_PARSED = 1_000_000;

const GOOGLE_MODEL = /\/models\/([^/:]+):\w+$/;

/**
 * The last word of a path, as the APIs of OpenAI, Anthropic, Google, Bedrock, Cohere and Ollama have it. What they do beside,
 * such as files, batches and fine-tuning, leaves something behind each time.
 */
const COMPLETION =
  /[/:](?:chat|completions|responses|messages|count_tokens|embed|embeddings|generate|rerank|moderations|invoke|invoke-with-response-stream|converse|converse-stream|(?:stream)?generateContent|(?:batch)?embedContents?|countTokens)$/i;

export function readRequest(input: string | URL | Request, init: RequestInit = {}): HttpRequest {
  const request = input instanceof Request ? input : undefined;
  const headers = new Headers(init.headers ?? request?.headers);
  const url = new URL(request?.url ?? String(input), "http://localhost");
  const retryCount = headers.get("x-stainless-retry-count");
  return {
    method: (init.method ?? request?.method ?? "GET").toUpperCase(),
    url: url.href,
    path: url.pathname,
    model: modelIn(init.body) ?? GOOGLE_MODEL.exec(url.pathname)?.[1],
    completes: COMPLETION.test(url.pathname) && !url.pathname.includes("/threads/"),
    apiKey: keyInHeaders(headers) ?? url.searchParams.get("key") ?? undefined,
    repeatable: !isStream(init.body),
    signal: init.signal ?? request?.signal,
    sdkRetryCount: headers.has("x-stainless-lang") ? Number(retryCount ?? 0) : undefined,
  };
}

/** A `Request` is read once: each attempt sends a copy. */
export function copyOf(input: string | URL | Request): string | URL | Request {
  return input instanceof Request ? input.clone() : input;
}

function modelIn(body: unknown): string | undefined {
  if (typeof body !== "string" || body.length > MAX_PARSED || !body.includes('"model"')) return undefined;
  try {
    const parsed: unknown = JSON.parse(body);
    return isJsonObject(parsed) && typeof parsed.model === "string" ? parsed.model : undefined;
  } catch {
    return undefined;
  }
}

function isStream(body: unknown): boolean {
  if (typeof body !== "object" || body === null) return false;
  return body instanceof ReadableStream || (Symbol.asyncIterator in body && !(body instanceof Blob));
}
