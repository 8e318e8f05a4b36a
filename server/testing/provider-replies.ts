/** Every failure that providers are known to answer, as a whole reply: status, headers and body in their own words. */
import type { FixtureBehaviour } from "./fixture-behaviour.js";
import { ANTHROPIC, DEEPSEEK, GEMINI, OPENAI, OPENROUTER } from "./provider-bodies.js";

export type FixtureReply = Extract<FixtureBehaviour, { kind: "reply" }>;

function reply(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): FixtureReply {
  return { kind: "reply", status, body, headers: { "x-request-id": "req_fixture", ...headers } };
}

/** Anthropic names its request ids otherwise. */
function anthropic(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): FixtureReply {
  return { kind: "reply", status, body, headers: { "request-id": "req_fixture", ...headers } };
}

const HTML = { "content-type": "text/html" };

/**
 * By provider and by what went wrong.
 *
 * @example provider.behaves(providerReplies.gemini.perMinute, { kind: "answer" });
 */
export const providerReplies = {
  openai: {
    quota: reply(429, OPENAI.quota),
    creditBalance: reply(429, OPENAI.creditBalance),
    rateLimited: reply(429, OPENAI.rateLimit, OPENAI.rateLimitHeaders),
    rateLimitedWithoutHint: reply(429, { error: { message: "Too many requests", type: "requests", code: null } }),
    rateLimitedUntilDate: reply(429, OPENAI.rateLimitPlain, {
      date: "Thu, 01 Jan 2026 00:00:00 GMT",
      "retry-after": "Thu, 01 Jan 2026 00:00:20 GMT",
    }),
    rateLimitedByReset: reply(429, OPENAI.rateLimitPlain, {
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1m0.052s",
      "x-ratelimit-remaining-requests": "9999",
      "x-ratelimit-reset-requests": "6ms",
    }),
    rateLimitedInWords: reply(429, OPENAI.rateLimit),
    contextLength: reply(400, OPENAI.contextLength),
    invalidKey: reply(401, OPENAI.invalidKey),
    modelNotFound: reply(404, OPENAI.modelNotFound),
    contentPolicy: reply(400, OPENAI.contentPolicy),
    fieldTooLong: reply(400, OPENAI.fieldTooLong),
    badRequest: reply(400, OPENAI.badRequest),
    unprocessable: reply(422, OPENAI.badRequest),
    conflict: reply(409, OPENAI.conflict),
    tooLarge: reply(413, OPENAI.tooLarge),
    requestTimeout: reply(408, OPENAI.requestTimeout),
    overloaded: reply(503, OPENAI.overloaded),
    overloadedWithHint: reply(503, OPENAI.overloaded, { "retry-after": "2" }),
    slowDown: reply(503, OPENAI.slowDown),
    serverError: reply(500, OPENAI.serverError),
    badGateway: reply(502, "<html><body>502 Bad Gateway</body></html>", HTML),
    gatewayTimeout: reply(504, "<html><body>504 Gateway Time-out</body></html>", HTML),
    cloudflareTimeout: reply(524, "error code: 524", { "content-type": "text/plain" }),
    cloudflareUnknown: reply(520, "error code: 520", { "content-type": "text/plain" }),
  },
  anthropic: {
    promptTooLong: anthropic(400, ANTHROPIC.promptTooLong),
    invalidRequest: anthropic(400, ANTHROPIC.invalidRequest),
    lowCredit: anthropic(400, ANTHROPIC.lowCredit),
    authentication: anthropic(401, ANTHROPIC.authentication),
    billing: anthropic(402, ANTHROPIC.billing),
    permission: anthropic(403, ANTHROPIC.permission),
    notFound: anthropic(404, ANTHROPIC.notFound),
    conflict: anthropic(409, ANTHROPIC.conflict),
    tooLarge: anthropic(413, ANTHROPIC.tooLarge),
    rateLimited: anthropic(429, ANTHROPIC.rateLimit, { "retry-after": "8" }),
    rateLimitedUntilReset: anthropic(429, ANTHROPIC.rateLimit, {
      date: "Thu, 01 Jan 2026 00:00:00 GMT",
      "anthropic-ratelimit-input-tokens-limit": "50000",
      "anthropic-ratelimit-input-tokens-remaining": "0",
      "anthropic-ratelimit-input-tokens-reset": "2026-01-01T00:00:30Z",
      "anthropic-ratelimit-requests-remaining": "49",
      "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
    }),
    apiError: anthropic(500, ANTHROPIC.apiError),
    timeout: anthropic(504, ANTHROPIC.timeout),
    overloaded: anthropic(529, ANTHROPIC.overloaded),
  },
  gemini: {
    perMinute: reply(429, GEMINI.perMinute),
    perMinuteInArray: reply(429, [GEMINI.perMinute]),
    perDay: reply(429, [GEMINI.perDay]),
    overloaded: reply(503, [GEMINI.overloaded]),
    overloadedEncodedTwice: reply(503, { error: { message: JSON.stringify(GEMINI.overloaded), code: 503 } }),
    invalidArgument: reply(400, [GEMINI.invalidArgument]),
    region: reply(400, [GEMINI.region]),
    invalidKey: reply(400, [GEMINI.invalidKey]),
    permission: reply(403, [GEMINI.permission]),
    notFound: reply(404, [GEMINI.notFound]),
    internal: reply(500, [GEMINI.internal]),
    deadline: reply(504, [GEMINI.deadline]),
    tokenCount: reply(400, [GEMINI.tokenCount]),
  },
  deepseek: {
    invalidFormat: reply(400, DEEPSEEK.invalidFormat),
    authentication: reply(401, DEEPSEEK.authentication),
    insufficientBalance: reply(402, DEEPSEEK.insufficientBalance),
    invalidParameters: reply(422, DEEPSEEK.invalidFormat),
    rateLimited: reply(429, DEEPSEEK.rateLimited),
    serverError: reply(500, DEEPSEEK.serverError),
    overloaded: reply(503, DEEPSEEK.overloaded),
    ranOut: { kind: "answer", text: ["half"], finishReason: "insufficient_system_resource" },
  },
  openrouter: {
    credits: reply(402, OPENROUTER.credits),
    timeout: reply(408, OPENROUTER.timeout),
    moderated: reply(403, OPENROUTER.moderated),
    rateLimited: reply(429, OPENROUTER.rateLimited),
    badGateway: reply(502, OPENROUTER.badGateway),
    unavailable: reply(503, OPENROUTER.unavailable),
    badGatewayInsideSuccess: reply(200, OPENROUTER.badGateway),
    creditsInsideSuccess: reply(200, OPENROUTER.credits),
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, FixtureBehaviour>>>>;
