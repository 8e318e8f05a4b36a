/**
 * The `fetch` through which guarded LLM clients speak: gives failures in disguise the status they should have had, so that
 * the SDK raises them as errors. Providers answer 200 with an error inside, wrap errors in arrays, and cut answers short.
 */
import { classify } from "../../../shared/classify.js";
import type { ErrorClass } from "../../../shared/error-classes.js";
import { listOf, providerError, readProperty } from "../../../shared/error-facts.js";
import { bytesWithin, eventsWithin, jsonOf, textOf } from "./bounded-body.js";

export type Fetch = (url: string | URL | Request, init?: RequestInit) => Promise<Response>;

/**
 * Answers in JSON, and those that say failure, are read whole here; others pass as they come, events one by one.
 *
 * @param completes a completion was asked for. Else a 200 is what it says: that the job or the answer that somebody looks up
 *   has an `error`, if only an empty one, is what was asked for
 * @example new OpenAI({ apiKey, baseURL, maxRetries: 0, fetch: revealFailures("llm:openai", fetch) })
 */
export function revealFailures(service: string, fetch: Fetch, completes = true): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    const { body, status, statusText, headers } = response;
    // An answer without a body (204) cannot be made anew with one.
    if (body === null) return response;
    const contentType = headers.get("content-type") ?? "";
    if (status < 400 && contentType.includes("text/event-stream")) {
      return new Response(eventsWithin(service, body), { status, statusText, headers });
    }
    if (status < 400 && !contentType.includes("json")) return response;
    const text = textOf(await bytesWithin(service, response));
    const revealed = completes || status >= 400 ? revealedFailure(status, text) : undefined;
    return new Response(revealed?.text ?? text, {
      status: revealed?.status ?? status,
      statusText,
      headers: isAsSent(response, revealed) ? headers : withoutLength(headers),
    });
  };
}

/** The body is the one that its headers tell of, and most are. */
function isAsSent({ headers }: Response, revealed: unknown): boolean {
  return revealed === undefined && !headers.has("content-encoding");
}

/** Of a body that was read and decoded here: its length and encoding are no longer what the headers say. */
export function withoutLength(headers: Headers): Headers {
  const kept = new Headers(headers);
  kept.delete("content-length");
  kept.delete("content-encoding");
  return kept;
}

/** What the answer should have been, or undefined when it is what it says. */
function revealedFailure(status: number, text: string): { status: number; text: string } | undefined {
  const parsed = jsonOf(text);
  const body = listOf(parsed)[0] ?? parsed;
  const error = errorWithin(body);
  if (error === undefined) return undefined;
  const unwrapped = JSON.stringify({ error });
  if (status >= 400) return { status, text: unwrapped };
  const said = providerError(error)?.status;
  const isFailure = said !== undefined && said >= 400;
  return { status: isFailure ? said : statusOfClass(classify({ error }, "llm:").reason), text: unwrapped };
}

/** By what the error says it is; else a bad gateway's: the provider answered for somebody who did not. */
export function statusOfClass(reason: string): number {
  return STATUS_BY_CLASS.get(reason) ?? 502;
}

const STATUS_BY_CLASS: ReadonlyMap<string, number> = new Map<ErrorClass, number>([
  ["invalid_request", 400],
  ["context_overflow", 400],
  ["content_filtered", 400],
  ["auth", 401],
  ["model_missing", 404],
  ["rate_limited", 429],
  ["quota_exhausted", 429],
  ["overloaded", 503],
  ["timeout", 504],
]);

/** The error of a body: its own, its choice's (OpenRouter), or the resources that ran out while answering (DeepSeek). */
function errorWithin(body: unknown): unknown {
  const own = readProperty(body, "error");
  if (own !== undefined && own !== null) return typeof own === "string" ? { message: own } : own;
  const choice = listOf(readProperty(body, "choices"))[0];
  const within = readProperty(choice, "error");
  if (within !== undefined && within !== null) return within;
  return readProperty(choice, "finish_reason") === RAN_OUT ? RAN_OUT_ERROR : undefined;
}

/** DeepSeek's word for an answer that it could not finish. */
export const RAN_OUT = "insufficient_system_resource";

export const RAN_OUT_ERROR = Object.freeze({
  code: 503,
  type: "service_unavailable_error",
  message: "the provider ran out of resources while answering",
});
