/** Bodies and headers in the shapes that real providers send. */

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export function completion(options: { id: string; model: string; text: string; createdAt: number }): Reply {
  return {
    status: 200,
    headers: { "x-request-id": options.id },
    body: {
      id: `chatcmpl-${options.id}`,
      object: "chat.completion",
      created: Math.floor(options.createdAt / 1_000),
      model: options.model,
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: options.text, refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 21, completion_tokens: 17, total_tokens: 38 },
    },
  };
}

export function errorReply(status: 429 | 500 | 503 | 529, id: string): Reply {
  switch (status) {
    case 429:
      return {
        status,
        headers: {
          "x-request-id": id,
          "retry-after": "1",
          "retry-after-ms": "494",
          "x-ratelimit-limit-tokens": "30000",
          "x-ratelimit-remaining-tokens": "0",
          "x-ratelimit-reset-tokens": "494ms",
        },
        body: {
          error: {
            message:
              "Rate limit reached on tokens per min (TPM): Limit 30000, Used 30000, Requested 38. Please try again in 494ms.",
            type: "tokens",
            param: null,
            code: "rate_limit_exceeded",
          },
        },
      };
    case 500:
      return {
        status,
        headers: { "x-request-id": id },
        body: {
          error: {
            message: "The server had an error while processing your request. Sorry about that!",
            type: "server_error",
            param: null,
            code: null,
          },
        },
      };
    case 503:
      return {
        status,
        headers: { "x-request-id": id },
        body: {
          error: {
            message: "Our servers are currently overloaded. Please try again later.",
            type: "service_unavailable_error",
            param: null,
            code: "server_is_overloaded",
          },
        },
      };
    case 529:
      return {
        status,
        headers: { "request-id": id },
        body: { type: "error", error: { type: "overloaded_error", message: "Overloaded" }, request_id: id },
      };
  }
}
