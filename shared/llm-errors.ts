/**
 * Names the class of an error that an HTTP service or an LLM provider answered. The status decides and the body refines it,
 * because bodies lie (a wrong code beside the right status) and statuses hide things (a bad key behind a 400).
 */
import type { ErrorClass } from "./error-classes.js";
import type { ErrorFacts, ProviderError } from "./error-facts.js";
import { listOf, readProperty } from "./error-facts.js";

/** Codes, types and statuses in the providers' own words, lower case; asked where no HTTP status is known, as inside a stream. */
const CLASS_BY_WORD: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  ["context_length_exceeded", "context_overflow"],
  ["content_policy_violation", "content_filtered"],
  ["content_filter", "content_filtered"],
  ["responsibleaipolicyviolation", "content_filtered"],
  ["insufficient_quota", "quota_exhausted"],
  ["credit_balance_exhausted", "quota_exhausted"],
  ["billing_hard_limit_reached", "quota_exhausted"],
  ["billing_not_active", "quota_exhausted"],
  ["billing_error", "quota_exhausted"],
  ["rate_limit_exceeded", "rate_limited"],
  ["rate_limit_error", "rate_limited"],
  ["resource_exhausted", "rate_limited"],
  ["server_is_overloaded", "overloaded"],
  ["slow_down", "overloaded"],
  ["overloaded_error", "overloaded"],
  ["engine_overloaded_error", "overloaded"],
  ["service_unavailable_error", "overloaded"],
  ["unavailable", "overloaded"],
  ["timeout_error", "timeout"],
  ["timeout", "timeout"],
  ["deadline_exceeded", "timeout"],
  ["model_not_found", "model_missing"],
  ["invalid_api_key", "auth"],
  ["authentication_error", "auth"],
  ["permission_error", "auth"],
  ["permission_denied", "auth"],
  ["unauthenticated", "auth"],
  ["request_too_large", "request_too_large"],
  ["conflict_error", "conflict"],
  ["api_error", "server_error"],
  ["server_error", "server_error"],
  ["internal_server_error", "server_error"],
  ["internal", "server_error"],
  ["not_found_error", "model_missing"],
  ["not_found", "model_missing"],
  ["invalid_request_error", "invalid_request"],
  ["invalid_argument", "invalid_request"],
]);

const CONTEXT_OVERFLOW =
  /exceeds? (the )?context (limit|window)|maximum context length|model's maximum context limit|longer than the model's context length|string too long\. expected a string with maximum length|input tokens exceed the configured limit|exceeds the available context size|exceeds the maximum number of tokens allowed|maximum input length is [\d,]+ tokens|prompt is too long: [\d,]+ tokens/i;

/** A too long single field is not a too long conversation. */
const FIELD_TOO_LONG = /string_above_max_length|invalid '[^']{1,60}'.{0,40}string too long/i;

const CONTENT_FILTERED =
  /content_policy_violation|responsibleaipolicyviolation|content_filter_policy|rejected as a result of our safety system/i;

/** Anchored at the start: the rest of a message may echo what the caller wrote. */
const QUOTA_EXHAUSTED =
  /^(you exceeded your current quota|insufficient[_ -]?(quota|balance)|usage quota|quota exhausted|your credit balance|you have reached your .{0,30}usage limits?|(you are |you're )?out of credits)/i;

/** The name of errors about answers that are no answers; by it they are known across copies of the package. */
export const MALFORMED_RESPONSE = "MalformedResponseError";

/** The name of errors about streams that broke; their `how` says in which way. */
export const STREAM_FAULT = "StreamFault";

/**
 * cut        it ended before it was whole
 * stalled    it stays open, and no content comes
 * malformed  it sent what cannot be read
 */
export const STREAM_FAULTS = ["cut", "stalled", "malformed"] as const;
export type StreamFaultKind = (typeof STREAM_FAULTS)[number];

const CLASS_BY_FAULT: ReadonlyMap<unknown, ErrorClass> = new Map<StreamFaultKind, ErrorClass>([
  ["cut", "stream_broken"],
  ["stalled", "timeout"],
  ["malformed", "malformed_response"],
]);

/** What SDKs raise about an answer that is whole, or about a request: by the name of the class. */
const CLASS_BY_NAME: ReadonlyMap<string, ErrorClass> = new Map<string, ErrorClass>([
  [MALFORMED_RESPONSE, "malformed_response"],
  // The answer is as long as the caller let it be.
  ["LengthFinishReasonError", "invalid_request"],
  ["ContentFilterFinishReasonError", "content_filtered"],
  // The AI SDK's: about what came, and about what it was given before anything was sent.
  ["AI_InvalidResponseDataError", "malformed_response"],
  ["AI_EmptyResponseBodyError", "malformed_response"],
  ["AI_TypeValidationError", "malformed_response"],
  ["AI_InvalidPromptError", "invalid_request"],
  ["AI_InvalidArgumentError", "invalid_request"],
  ["AI_UnsupportedFunctionalityError", "invalid_request"],
  ["AI_LoadAPIKeyError", "auth"],
  ["AI_NoSuchModelError", "model_missing"],
]);

/**
 * @param facts one link with a status or a provider's body
 * @param llm the service is an LLM provider: a 404 is then a missing model and a 403 a credential, not the caller's business
 */
export function responseClassOf(facts: ErrorFacts, llm: boolean): ErrorClass | undefined {
  const { status, body } = facts;
  if (facts.names.includes(STREAM_FAULT)) return CLASS_BY_FAULT.get(facts.read("how")) ?? "stream_broken";
  const named = facts.names.find((name) => CLASS_BY_NAME.has(name));
  if (named !== undefined) return CLASS_BY_NAME.get(named);
  if (status !== undefined) return classOfStatus(status, body, facts.message, llm);
  // Within a stream an error has a body and no status. Elsewhere a word like "internal" proves nothing.
  const streamed = facts.names.includes("APIError");
  if (body === undefined || !(llm || streamed)) return undefined;
  return classOfBody(body) ?? (streamed ? "stream_broken" : undefined);
}

/** Undefined where the status says that all is well, and nothing else does. */
function classOfStatus(
  status: number,
  body: ProviderError | undefined,
  message: string,
  llm: boolean,
): ErrorClass | undefined {
  switch (status) {
    case 400:
    case 422:
      return classOfBadRequest(body, message);
    case 401:
      return "auth";
    case 402:
      return "quota_exhausted";
    case 403:
      if (isModerated(body)) return "content_filtered";
      if (hasWord(body, "quota_exhausted") || QUOTA_EXHAUSTED.test(body?.message ?? "")) return "quota_exhausted";
      return llm ? "auth" : "caller_error";
    case 404:
      return llm || hasWord(body, "model_missing") ? "model_missing" : "caller_error";
    case 408:
    case 504:
    case 522:
    case 524:
      return "timeout";
    case 409:
      return llm ? "conflict" : "caller_error";
    case 413:
      return isContextOverflow(body, message) ? "context_overflow" : "request_too_large";
    case 429:
      return classOfTooManyRequests(body, message);
    case 501:
    case 505:
      return "not_implemented";
    case 503:
    case 529:
      return "overloaded";
    default:
      if (status >= 500) return hasWord(body, "overloaded") ? "overloaded" : "server_error";
      if (status >= 400) return "caller_error";
      return body && classOfBody(body);
  }
}

function classOfBadRequest(body: ProviderError | undefined, message: string): ErrorClass {
  if (isContextOverflow(body, message)) return "context_overflow";
  if (hasWord(body, "content_filtered") || CONTENT_FILTERED.test(body?.message ?? message)) return "content_filtered";
  if (detailReasons(body).includes("API_KEY_INVALID") || /^api key not valid/i.test(body?.message ?? "")) return "auth";
  // Google refuses a region or an account without billing this way: another provider may serve the request.
  if (body?.words.includes("failed_precondition")) return "auth";
  if (hasWord(body, "quota_exhausted") || QUOTA_EXHAUSTED.test(body?.message ?? "")) return "quota_exhausted";
  if (hasWord(body, "model_missing")) return "model_missing";
  return "invalid_request";
}

function classOfTooManyRequests(body: ProviderError | undefined, message: string): ErrorClass {
  // Google says "quota" for limits per minute and per day alike; only the violated quota's name tells them apart.
  const violated = violatedQuotas(body);
  if (violated.some((id) => /PerDay|PerMonth/i.test(id))) return "quota_exhausted";
  if (violated.length > 0 || body?.words.includes("resource_exhausted")) return "rate_limited";
  if (hasWord(body, "quota_exhausted")) return "quota_exhausted";
  if (hasWord(body, "rate_limited")) return "rate_limited";
  return QUOTA_EXHAUSTED.test((body?.message ?? message).replace(/^429 /, "")) ? "quota_exhausted" : "rate_limited";
}

function classOfBody(body: ProviderError): ErrorClass | undefined {
  const classes = body.words.flatMap((word) => CLASS_BY_WORD.get(word) ?? []);
  // "Invalid request" beside a plainer word is what DeepSeek says of everything.
  const named = classes.find((errorClass) => errorClass !== "invalid_request") ?? classes[0];
  switch (named) {
    case "rate_limited":
      return classOfTooManyRequests(body, body.message);
    case "invalid_request":
      return classOfBadRequest(body, body.message);
    default:
      return named;
  }
}

function hasWord(body: ProviderError | undefined, errorClass: ErrorClass): boolean {
  return body?.words.some((word) => CLASS_BY_WORD.get(word) === errorClass) ?? false;
}

function isContextOverflow(body: ProviderError | undefined, message: string): boolean {
  if (body?.words.includes("context_length_exceeded")) return true;
  const text = body?.message || message;
  return CONTEXT_OVERFLOW.test(text) && !FIELD_TOO_LONG.test(text) && !body?.words.includes("string_above_max_length");
}

/** OpenRouter answers 403 when moderation flagged the input, and says so in its metadata. */
function isModerated(body: ProviderError | undefined): boolean {
  return hasWord(body, "content_filtered") || readProperty(body?.metadata, "flagged_input") !== undefined;
}

function detailReasons(body: ProviderError | undefined): string[] {
  return (body?.details ?? []).flatMap((detail) => {
    const reason = readProperty(detail, "reason");
    return typeof reason === "string" ? [reason] : [];
  });
}

function violatedQuotas(body: ProviderError | undefined): string[] {
  return (body?.details ?? []).flatMap((detail) =>
    listOf(readProperty(detail, "violations")).flatMap((violation) => {
      const id = readProperty(violation, "quotaId") ?? readProperty(violation, "quotaMetric");
      return typeof id === "string" ? [id] : [];
    }),
  );
}
