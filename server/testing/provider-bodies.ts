/** Bodies as LLM providers send them. */

const openaiError = (message: string, type: string, code: string | null, param: string | null = null) => ({
  error: { message, type, param, code },
});
const anthropicError = (type: string, message: string) => ({
  type: "error",
  error: { type, message },
  request_id: "req_1",
});
const googleError = (code: number, status: string, message: string, details: readonly unknown[] = []) => ({
  error: { code, message, status, details },
});

export const OPENAI = {
  quota: openaiError(
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    "insufficient_quota",
    "insufficient_quota",
  ),
  creditBalance: openaiError("Your credit balance is used up.", "insufficient_quota", "credit_balance_exhausted"),
  rateLimit: openaiError(
    "Rate limit reached for gpt-4.1 in organization org-1 on tokens per min (TPM): Limit 30000000, Used 30000000, Requested 247009. Please try again in 494ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
    "tokens",
    "rate_limit_exceeded",
  ),
  rateLimitPlain: openaiError("Rate limit reached", "tokens", "rate_limit_exceeded"),
  rateLimitHeaders: {
    "retry-after": "1",
    "retry-after-ms": "494",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-remaining-tokens": "0",
    "x-ratelimit-reset-tokens": "1m0.052s",
  },
  contextLength: openaiError(
    "This model's maximum context length is 16385 tokens. However, your messages resulted in 17351 tokens. Please reduce the length of the messages.",
    "invalid_request_error",
    "context_length_exceeded",
    "messages",
  ),
  invalidKey: openaiError(
    "Incorrect API key provided: sk-x***x. You can find your API key at https://platform.openai.com/account/api-keys.",
    "invalid_request_error",
    "invalid_api_key",
  ),
  modelNotFound: openaiError(
    "The model `gpt-9` does not exist or you do not have access to it.",
    "invalid_request_error",
    "model_not_found",
  ),
  contentPolicy: openaiError(
    "Your request was rejected as a result of our safety system.",
    "invalid_request_error",
    "content_policy_violation",
  ),
  fieldTooLong: openaiError(
    "Invalid 'user': string too long. Expected a string with maximum length 64, but got a string with length 429 instead.",
    "invalid_request_error",
    "string_above_max_length",
    "user",
  ),
  badRequest: openaiError(
    "Invalid value: 'teacher'. Supported values are: 'system', 'user'. 429 429",
    "invalid_request_error",
    "invalid_value",
  ),
  overloaded: {
    type: "error",
    sequence_number: 2,
    error: {
      type: "service_unavailable_error",
      code: "server_is_overloaded",
      message: "Our servers are currently overloaded. Please try again later.",
      param: null,
    },
  },
  slowDown: openaiError("Please slow down.", "server_error", "slow_down"),
  conflict: openaiError("The resource was updated by another request.", "invalid_request_error", null),
  tooLarge: openaiError("Request body is too large", "invalid_request_error", null),
  requestTimeout: openaiError("The request timed out.", "timeout", null),
  serverError: openaiError(
    "The server had an error while processing your request. Sorry about that!",
    "server_error",
    null,
  ),
} as const;

export const ANTHROPIC = {
  overloaded: anthropicError("overloaded_error", "Overloaded"),
  invalidRequest: anthropicError("invalid_request_error", "max_tokens: Field required"),
  promptTooLong: anthropicError("invalid_request_error", "prompt is too long: 345320 tokens > 199999 maximum"),
  lowCredit: anthropicError(
    "invalid_request_error",
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
  ),
  authentication: anthropicError("authentication_error", "invalid x-api-key"),
  billing: anthropicError("billing_error", "Billing issue"),
  permission: anthropicError("permission_error", "Your API key does not have permission to use the specified resource"),
  notFound: anthropicError("not_found_error", "model: claude-9"),
  conflict: anthropicError("conflict_error", "Conflict"),
  tooLarge: anthropicError("request_too_large", "Request exceeds the maximum size"),
  rateLimit: anthropicError(
    "rate_limit_error",
    "This request would exceed your organization's rate limit of 50,000 input tokens per minute",
  ),
  apiError: anthropicError("api_error", "Internal server error"),
  timeout: anthropicError("timeout_error", "Request timed out"),
} as const;

const RETRY_INFO = { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "34.4s" };
const quotaFailure = (quotaId: string) => ({
  "@type": "type.googleapis.com/google.rpc.QuotaFailure",
  violations: [{ quotaId }],
});

export const GEMINI = {
  perMinute: googleError(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan.", [
    quotaFailure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier"),
    RETRY_INFO,
  ]),
  perDay: googleError(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan.", [
    quotaFailure("GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
    RETRY_INFO,
  ]),
  overloaded: googleError(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
  invalidArgument: googleError(400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
  region: googleError(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
  invalidKey: googleError(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [
    { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "API_KEY_INVALID", domain: "googleapis.com" },
  ]),
  permission: googleError(403, "PERMISSION_DENIED", "Permission denied on resource project."),
  notFound: googleError(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta."),
  internal: googleError(500, "INTERNAL", "An internal error has occurred."),
  tokenCount: googleError(
    400,
    "INVALID_ARGUMENT",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
  ),
  deadline: googleError(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
} as const;

export const DEEPSEEK = {
  invalidFormat: openaiError(
    "Failed to deserialize the JSON body into the target type",
    "invalid_request_error",
    "invalid_request_error",
  ),
  authentication: openaiError("Authentication Fails (no such user)", "authentication_error", "invalid_request_error"),
  insufficientBalance: openaiError("Insufficient Balance", "unknown_error", "invalid_request_error"),
  rateLimited: openaiError("Rate limit reached for requests", "rate_limit_error", "invalid_request_error"),
  serverError: openaiError("Internal server error", "server_error", "invalid_request_error"),
  overloaded: openaiError("Server is overloaded", "service_unavailable_error", "invalid_request_error"),
} as const;

export const OPENROUTER = {
  badGateway: { error: { code: 502, message: "Provider returned error", metadata: { provider_name: "x" } } },
  timeout: { error: { code: 408, message: "Request timed out" } },
  rateLimited: { error: { code: 429, message: "Rate limited", metadata: { provider_name: "x" } } },
  unavailable: { error: { code: 503, message: "No available model provider that meets your routing requirements" } },
  credits: { error: { code: 402, message: "Insufficient credits" } },
  moderated: {
    error: { code: 403, message: "Your input was flagged", metadata: { reasons: ["violence"], flagged_input: "…" } },
  },
} as const;

/** A successful chat completion. */
export function completion(content: string, overrides: { model?: string; finishReason?: string } = {}) {
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_767_225_600,
    model: overrides.model ?? "fake-model",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content, refusal: null },
        logprobs: null,
        finish_reason: overrides.finishReason ?? "stop",
      },
    ],
    usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 },
  };
}
