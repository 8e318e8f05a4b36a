import { TRPCError } from "@trpc/server";
import Database from "better-sqlite3";
import { DrizzleQueryError } from "drizzle-orm/errors";
import fc from "fast-check";
import { ReplyError } from "ioredis";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { DatabaseError } from "../../server/guard/database/database-error.js";
import { TransactionError } from "../../server/guard/database/transaction-error.js";
import { ANTHROPIC, DEEPSEEK, GEMINI, OPENAI, OPENROUTER } from "../../server/testing/provider-bodies.js";
import { BLAMES, VERDICTS } from "../../shared/classification.js";
import { classify, errorCategoryOf, severityOf } from "../../shared/classify.js";
import { databaseCodeOf } from "../../shared/database-errors.js";
import { ERROR_CLASSES, type ErrorClass } from "../../shared/error-classes.js";
import { ERROR_CATEGORIES, FAILURE_CATEGORIES, FAILURE_TYPES, SEVERITIES } from "../../shared/failure.js";
import { REJECTION } from "../../shared/rejection.js";

const LLM = "llm:openai";
const DB = "db:main";

/** As the openai SDK makes it from an answer. */
function answered(status: number, body: unknown, headers: Record<string, string> = {}): Error {
  return OpenAI.APIError.generate(status, body as object, undefined, new Headers(headers));
}

/** As Node's own fetch makes it. */
function fetchFailed(cause: object): Error {
  return new TypeError("fetch failed", { cause: Object.assign(new Error("inner"), cause) });
}

const withCode = (code: string, rest: object = {}) => Object.assign(new Error("failed"), { code, ...rest });
const pg = (code: string, message = "failed") =>
  Object.assign(new Error(message), { code, severity: "ERROR", routine: "x" });
const mysql = (errno: number, code = "ER_X") => Object.assign(new Error("failed"), { errno, code, sqlState: "HY000" });

const answers: readonly (readonly [string, number, unknown, ErrorClass])[] = [
  ["OpenAI quota", 429, OPENAI.quota, "quota_exhausted"],
  ["OpenAI credit", 429, OPENAI.creditBalance, "quota_exhausted"],
  ["OpenAI rate limit", 429, OPENAI.rateLimit, "rate_limited"],
  ["OpenAI context length", 400, OPENAI.contextLength, "context_overflow"],
  ["OpenAI key", 401, OPENAI.invalidKey, "auth"],
  ["OpenAI model", 404, OPENAI.modelNotFound, "model_missing"],
  ["OpenAI content policy", 400, OPENAI.contentPolicy, "content_filtered"],
  ["OpenAI one field too long, 429 in its text", 400, OPENAI.fieldTooLong, "invalid_request"],
  ["OpenAI bad request that echoes 429", 400, OPENAI.badRequest, "invalid_request"],
  ["OpenAI overloaded", 503, OPENAI.overloaded, "overloaded"],
  ["OpenAI server error", 500, OPENAI.serverError, "server_error"],
  ["Anthropic overloaded", 529, ANTHROPIC.overloaded, "overloaded"],
  ["Anthropic prompt too long", 400, ANTHROPIC.promptTooLong, "context_overflow"],
  ["Anthropic low credit behind a 400", 400, ANTHROPIC.lowCredit, "quota_exhausted"],
  ["Anthropic key", 401, ANTHROPIC.authentication, "auth"],
  ["Anthropic billing", 402, ANTHROPIC.billing, "quota_exhausted"],
  ["Anthropic permission", 403, ANTHROPIC.permission, "auth"],
  ["Anthropic model", 404, ANTHROPIC.notFound, "model_missing"],
  ["Anthropic conflict", 409, ANTHROPIC.conflict, "conflict"],
  ["Anthropic too large", 413, ANTHROPIC.tooLarge, "request_too_large"],
  ["Anthropic rate limit", 429, ANTHROPIC.rateLimit, "rate_limited"],
  ["Anthropic api error", 500, ANTHROPIC.apiError, "server_error"],
  ["Anthropic timeout", 504, ANTHROPIC.timeout, "timeout"],
  ["Gemini per minute, though it says quota", 429, GEMINI.perMinute, "rate_limited"],
  ["Gemini per day", 429, GEMINI.perDay, "quota_exhausted"],
  ["Gemini overloaded", 503, GEMINI.overloaded, "overloaded"],
  ["Gemini bad argument", 400, GEMINI.invalidArgument, "invalid_request"],
  ["Gemini region", 400, GEMINI.region, "auth"],
  ["Gemini bad key behind a 400", 400, GEMINI.invalidKey, "auth"],
  ["Gemini permission", 403, GEMINI.permission, "auth"],
  ["Gemini model", 404, GEMINI.notFound, "model_missing"],
  ["Gemini internal", 500, GEMINI.internal, "server_error"],
  ["Gemini deadline", 504, GEMINI.deadline, "timeout"],
  ["DeepSeek format", 422, DEEPSEEK.invalidFormat, "invalid_request"],
  ["DeepSeek key, its code lies", 401, DEEPSEEK.authentication, "auth"],
  ["DeepSeek balance, its code lies", 402, DEEPSEEK.insufficientBalance, "quota_exhausted"],
  ["DeepSeek overloaded, its code lies", 503, DEEPSEEK.overloaded, "overloaded"],
  ["OpenRouter upstream", 502, OPENROUTER.badGateway, "server_error"],
  ["OpenRouter credits", 402, OPENROUTER.credits, "quota_exhausted"],
  ["OpenRouter moderation", 403, OPENROUTER.moderated, "content_filtered"],
  ["a gateway's HTML", 502, undefined, "server_error"],
  ["408", 408, undefined, "timeout"],
  ["501", 501, undefined, "not_implemented"],
  ["520", 520, undefined, "server_error"],
  ["524", 524, undefined, "timeout"],
];

describe("an LLM provider's answer", () => {
  it.each(answers)("%s (%i)", (_name, status, body, expected) => {
    expect(classify(answered(status, body), LLM).reason).toBe(expected);
  });

  it("is read the same from a Google array, where the SDK loses code and type", () => {
    expect(classify(Object.assign(new Error("429"), { status: 429, error: [GEMINI.perDay] }), LLM).reason).toBe(
      "quota_exhausted",
    );
  });

  it("is read the same from JSON within JSON", () => {
    const body = { error: { code: 429, message: JSON.stringify(GEMINI.perDay) } };
    expect(classify(Object.assign(new Error("429"), { status: 429, error: body }), LLM).reason).toBe("quota_exhausted");
  });

  it.each([
    ["the AI SDK", { statusCode: 429, responseBody: JSON.stringify(OPENAI.quota), responseHeaders: {} }],
    ["axios", { response: { status: 429, data: OPENAI.quota, headers: {} } }],
    ["Anthropic's SDK", { status: 429, error: OPENAI.quota, headers: new Headers() }],
  ])("is found where %s keeps it", (_name, properties) => {
    expect(classify(Object.assign(new Error("failed"), properties), LLM).reason).toBe("quota_exhausted");
  });

  it.each([
    [OPENAI.overloaded.error, "overloaded"],
    [OPENAI.quota.error, "quota_exhausted"],
    [ANTHROPIC.overloaded.error, "overloaded"],
    [ANTHROPIC.rateLimit.error, "rate_limited"],
  ] as const)("inside a stream has a body and no status: %j", (body, expected) => {
    expect(classify(new OpenAI.APIError(undefined, body, undefined, undefined), LLM).reason).toBe(expected);
  });

  it.each([
    ["AI_InvalidResponseDataError", "malformed_response"],
    ["AI_EmptyResponseBodyError", "malformed_response"],
    ["AI_TypeValidationError", "malformed_response"],
    ["AI_InvalidPromptError", "invalid_request"],
    ["AI_InvalidArgumentError", "invalid_request"],
    ["AI_UnsupportedFunctionalityError", "invalid_request"],
    ["AI_LoadAPIKeyError", "auth"],
    ["AI_NoSuchModelError", "model_missing"],
  ] as const)("that the AI SDK does not give as one is known by its name: %s", (name, expected) => {
    expect(classify(Object.assign(new Error("in its own words"), { name }), LLM).reason).toBe(expected);
  });

  it.each<[ErrorClass, number, string]>([
    ["context_overflow", 400, "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"],
    ["context_overflow", 400, "This model's maximum context length is 16385 tokens."],
    ["context_overflow", 400, "string too long. Expected a string with maximum length 1048576"],
    ["context_overflow", 400, "The request is over the model's maximum context limit"],
    ["context_overflow", 400, "The prompt is longer than the model's context length"],
    ["context_overflow", 400, "The input tokens exceed the configured limit of 8192 tokens"],
    ["context_overflow", 400, "the request exceeds the available context size, try to increase it"],
    ["context_overflow", 400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."],
    ["context_overflow", 400, "maximum input length is 8,192 tokens"],
    ["context_overflow", 413, "prompt is too long: 345320 tokens > 199999 maximum"],
    ["context_overflow", 400, "Your input exceeds the context window of this model."],
    ["invalid_request", 400, "Invalid 'user': string too long. Expected a string with maximum length 64"],
    ["content_filtered", 400, "content_policy_violation"],
    ["content_filtered", 400, "The response was filtered: ResponsibleAIPolicyViolation"],
    ["content_filtered", 400, "Your request was rejected as a result of our safety system."],
    ["content_filtered", 400, "blocked by content_filter_policy"],
    ["quota_exhausted", 429, "Insufficient quota"],
    ["quota_exhausted", 429, "You exceeded your current quota, please check your plan"],
    ["quota_exhausted", 429, "Usage quota reached, it will reset at midnight"],
    ["quota_exhausted", 429, "Quota exhausted"],
    ["quota_exhausted", 429, "Your credit balance is too low"],
    ["quota_exhausted", 429, "You're out of credits"],
    ["rate_limited", 429, "Slow down. The text that you sent says: you exceeded your current quota"],
  ])("that has words alone is %s (%i): %s", (expected, status, message) => {
    expect(classify(answered(status, { error: { message } }), LLM).reason).toBe(expected);
  });

  it("that cannot be read is to blame for it, unless the line went down in the midst of it", () => {
    const read = (cause: Error) =>
      Object.assign(new Error("Failed to process successful response", { cause }), {
        name: "AI_APICallError",
        statusCode: 200,
      });
    expect(classify(read(new Error("no idea")), LLM).reason).toBe("malformed_response");
    const socket = withCode("UND_ERR_SOCKET");
    expect(classify(read(new TypeError("terminated", { cause: socket })), LLM).reason).toBe("stream_broken");
    expect(classify(read(new TypeError("terminated")), LLM).reason).toBe("stream_broken");
  });

  it("is not asked again when the provider says so", () => {
    expect(classify(answered(503, OPENAI.overloaded, { "x-should-retry": "false" }), LLM).retryable).toBe(false);
    expect(classify(answered(503, OPENAI.overloaded), LLM).retryable).toBe(true);
  });

  it("carries how long to rest, from headers or from the body", () => {
    expect(classify(answered(429, OPENAI.rateLimit, OPENAI.rateLimitHeaders), LLM).holdMs).toBe(494);
    expect(classify(answered(429, GEMINI.perMinute), LLM).holdMs).toBe(34_400);
    expect(classify(answered(503, OPENAI.overloaded, { "retry-after": "2" }), LLM).holdMs).toBe(2_000);
    expect(classify(answered(500, OPENAI.serverError, OPENAI.rateLimitHeaders), LLM).holdMs).toBeUndefined();
  });

  it("of a plain HTTP service leaves what its caller caused alone", () => {
    expect(classify(answered(404, undefined), "http:billing").reason).toBe("caller_error");
    expect(classify(answered(403, undefined), "http:billing").reason).toBe("caller_error");
    expect(classify(answered(409, undefined), "http:billing").reason).toBe("caller_error");
    expect(classify(answered(401, undefined), "http:billing").reason).toBe("auth");
    expect(classify(answered(503, undefined), "http:billing").reason).toBe("overloaded");
  });
});

describe("the network", () => {
  it.each([
    [fetchFailed({ code: "ECONNREFUSED", syscall: "connect" }), "connection_refused", "connection_refused", true],
    [fetchFailed({ code: "ENOTFOUND", syscall: "getaddrinfo" }), "dns_error", "dns_error", true],
    [fetchFailed({ code: "EAI_AGAIN" }), "dns_error", "dns_error", true],
    [fetchFailed({ code: "UND_ERR_CONNECT_TIMEOUT" }), "connect_timeout", "api_timeout", true],
    [fetchFailed({ code: "ETIMEDOUT", syscall: "connect" }), "connect_timeout", "api_timeout", true],
    [fetchFailed({ code: "ETIMEDOUT", syscall: "read" }), "timeout", "api_timeout", false],
    [Object.assign(new Error("timeout of 1000ms exceeded"), { code: "ECONNABORTED" }), "timeout", "api_timeout", false],
    [Object.assign(new Error("Aborted"), { code: "ECONNABORTED" }), "connection_reset", "connection_refused", false],
    [fetchFailed({ code: "ECONNRESET" }), "connection_reset", "connection_refused", false],
    [fetchFailed({ code: "EPIPE" }), "connection_reset", "connection_refused", false],
    [fetchFailed({ code: "UND_ERR_SOCKET" }), "connection_reset", "connection_refused", false],
    [fetchFailed({ code: "UND_ERR_HEADERS_TIMEOUT" }), "timeout", "api_timeout", false],
    [fetchFailed({ code: "CERT_HAS_EXPIRED" }), "tls_certificate", "connection_refused", true],
    [new TypeError("fetch failed"), "network", "connection_refused", false],
    [new TypeError("terminated"), "stream_broken", "stream_broken", false],
    [new TypeError("terminated", { cause: { code: "UND_ERR_SOCKET" } }), "stream_broken", "stream_broken", false],
    [new TypeError("terminated", { cause: { code: "UND_ERR_BODY_TIMEOUT" } }), "timeout", "api_timeout", false],
    [Object.assign(new Error("aborted"), { code: "ECONNRESET" }), "stream_broken", "stream_broken", false],
    [
      new OpenAI.APIConnectionError({ message: undefined, cause: fetchFailed({ code: "ECONNREFUSED" }) }),
      "connection_refused",
      "connection_refused",
      true,
    ],
    [new OpenAI.APIConnectionTimeoutError(), "timeout", "api_timeout", false],
    [new DOMException("The operation was aborted due to timeout", "TimeoutError"), "timeout", "api_timeout", false],
    [new Error("socket hang up"), "connection_reset", "connection_refused", false],
    [new Error("request timed out"), "timeout", "api_timeout", false],
    [new SyntaxError("Unexpected token < in JSON"), "malformed_response", "malformed_response", false],
  ] as const)("%s", (error, reason, failureType, nothingSent) => {
    const found = classify(error, LLM);
    expect(found).toMatchObject({ reason, failureType, nothingSent, verdict: "failure", failover: true });
  });

  it("names a lost connection after the service behind it", () => {
    const refused = withCode("ECONNREFUSED");
    expect(classify(refused, DB)).toMatchObject({ failureType: "database_connection", failureCategory: "database" });
    expect(classify(refused, "redis:main")).toMatchObject({
      failureType: "redis_connection",
      failureCategory: "cache",
    });
  });

  it("takes several gathered attempts for unsent only when none was sent", () => {
    const refused = () => withCode("ECONNREFUSED");
    const dual = Object.assign(new AggregateError([refused(), refused()]), { code: "ECONNREFUSED" });
    const mixed = Object.assign(new AggregateError([refused(), withCode("ECONNRESET")]), { code: "ECONNREFUSED" });
    expect(classify(dual, LLM).nothingSent).toBe(true);
    expect(classify(mixed, LLM).nothingSent).toBe(false);
  });
});

describe("the caller", () => {
  it.each([
    new DOMException("This operation was aborted", "AbortError"),
    new OpenAI.APIUserAbortError(),
    withCode("ABORT_ERR"),
    new TRPCError({ code: "CLIENT_CLOSED_REQUEST" }),
  ])("who went away is no failure: %s", (error) => {
    expect(classify(error, LLM)).toMatchObject({
      reason: "aborted",
      verdict: "ignored",
      retryable: false,
      failover: false,
      blame: "caller",
    });
  });

  it("did not go away when a deadline aborted the work", () => {
    const error = new DOMException("aborted", "AbortError");
    Object.defineProperty(error, "cause", { value: new DOMException("late", "TimeoutError") });
    expect(classify(error, LLM)).toMatchObject({ reason: "timeout", verdict: "failure" });
  });

  it.each(["BAD_REQUEST", "NOT_FOUND", "UNAUTHORIZED", "TOO_MANY_REQUESTS"] as const)(
    "who asked wrongly is no failure: %s",
    (code) => {
      expect(classify(new TRPCError({ code }), LLM)).toMatchObject({
        verdict: "ignored",
        blame: "caller",
        failover: false,
      });
    },
  );

  it("is not blamed for what a TRPCError merely wraps", () => {
    const wrapped = new TRPCError({ code: "INTERNAL_SERVER_ERROR", cause: answered(529, ANTHROPIC.overloaded) });
    expect(classify(wrapped, LLM).reason).toBe("overloaded");
    expect(classify(new TRPCError({ code: "INTERNAL_SERVER_ERROR" }), LLM)).toMatchObject({
      reason: "unknown",
      verdict: "failure",
    });
    expect(classify(new TRPCError({ code: "GATEWAY_TIMEOUT" }), LLM).reason).toBe("timeout");
  });
});

describe("a guard's own refusal", () => {
  const refusal = (properties: object) =>
    Object.assign(
      new TRPCError({ code: "SERVICE_UNAVAILABLE", cause: withCode("ECONNRESET") }),
      { [REJECTION]: true },
      properties,
    );

  it("is no new failure, and proves that nothing was sent to its own service", () => {
    expect(classify(refusal({ circuitName: LLM }), LLM)).toMatchObject({
      reason: "circuit_open",
      failureType: "service_unavailable",
      verdict: "ignored",
      retryable: false,
      failover: true,
      nothingSent: true,
    });
    expect(classify(refusal({ reason: "bulkhead" }), LLM)).toMatchObject({ reason: "rejected", nothingSent: true });
  });

  it("proves nothing about the work around another service", () => {
    expect(classify(refusal({ circuitName: "db:main" }), LLM).nothingSent).toBe(false);
  });
});

describe("a database", () => {
  it.each([
    ["SQLITE_BUSY", "database_busy", "ignored", true],
    ["SQLITE_BUSY_RECOVERY", "database_busy", "ignored", true],
    ["SQLITE_BUSY_TIMEOUT", "database_busy", "ignored", true],
    ["SQLITE_BUSY_SNAPSHOT", "database_conflict", "ignored", true],
    ["SQLITE_LOCKED", "database_busy", "ignored", true],
    ["SQLITE_LOCKED_SHAREDCACHE", "database_busy", "ignored", true],
    ["SQLITE_SCHEMA", "database_busy", "ignored", true],
    ["SQLITE_PROTOCOL", "database_busy", "ignored", true],
    ["SQLITE_ABORT", "aborted", "ignored", false],
    ["SQLITE_CORRUPT", "database_corrupt", "failure", false],
    ["SQLITE_AUTH", "auth", "failure", false],
    ["SQLITE_CONSTRAINT_FOREIGNKEY", "caller_error", "ignored", false],
    ["SQLITE_MISMATCH", "caller_error", "ignored", false],
    ["SQLITE_RANGE", "caller_error", "ignored", false],
    ["SQLITE_INTERRUPT", "aborted", "ignored", false],
    ["SQLITE_ABORT_ROLLBACK", "aborted", "ignored", false],
    ["SQLITE_IOERR_FSYNC", "database_io", "failure", true],
    ["SQLITE_CANTOPEN", "database_io", "failure", true],
    ["SQLITE_NOMEM", "database_io", "failure", true],
    ["SQLITE_FULL", "disk_full", "failure", false],
    ["SQLITE_READONLY", "database_write_refused", "failure", false],
    ["SQLITE_READONLY_DBMOVED", "database_write_refused", "failure", false],
    ["SQLITE_CORRUPT_VTAB", "database_corrupt", "failure", false],
    ["SQLITE_NOTADB", "database_corrupt", "failure", false],
    ["SQLITE_PERM", "auth", "failure", false],
    ["SQLITE_CONSTRAINT_UNIQUE", "caller_error", "ignored", false],
    ["SQLITE_ERROR", "caller_error", "ignored", false],
    ["SQLITE_MISUSE", "caller_error", "ignored", false],
    ["SQLITE_TOOBIG", "caller_error", "ignored", false],
  ] as const)("SQLite %s", (code, reason, verdict, retryable) => {
    expect(classify(withCode(code), DB)).toMatchObject({ reason, verdict, retryable });
  });

  it.each([
    ["40001", "database_conflict"],
    ["40P01", "database_conflict"],
    ["40003", "database_outcome_unknown"],
    ["08007", "database_outcome_unknown"],
    ["55P03", "database_busy"],
    ["55006", "database_busy"],
    ["08000", "database_connection"],
    ["08003", "database_connection"],
    ["08004", "database_unreachable"],
    ["57P02", "database_connection"],
    ["25P03", "database_connection"],
    ["53000", "database_saturated"],
    ["53200", "database_saturated"],
    ["53400", "database_saturated"],
    ["58000", "database_internal"],
    ["28000", "auth"],
    ["57P04", "auth"],
    ["F0000", "auth"],
    ["21000", "caller_error"],
    ["44000", "caller_error"],
    ["54001", "caller_error"],
    ["23503", "caller_error"],
    ["42601", "caller_error"],
    ["08006", "database_connection"],
    ["08001", "database_unreachable"],
    ["57P01", "database_connection"],
    ["57P03", "database_unreachable"],
    ["53300", "database_saturated"],
    ["53100", "disk_full"],
    ["58030", "database_internal"],
    ["57014", "aborted"],
    ["25006", "database_readonly"],
    ["25P02", "transaction_aborted"],
    ["57P05", "database_connection"],
    ["72000", "database_conflict"],
    ["28P01", "auth"],
    ["3D000", "auth"],
    ["XX000", "database_internal"],
    ["23505", "caller_error"],
    ["42P01", "caller_error"],
    ["22001", "caller_error"],
    ["P0001", "caller_error"],
  ] as const)("PostgreSQL %s", (code, reason) => {
    expect(classify(pg(code), DB).reason).toBe(reason);
    expect(classify(pg(code), "other").reason).toBe(reason);
  });

  it("tells PostgreSQL's own timeout from a query that somebody cancelled", () => {
    expect(classify(pg("57014", "canceling statement due to statement timeout"), DB)).toMatchObject({
      reason: "timeout",
      verdict: "failure",
    });
    expect(classify(pg("57014", "canceling statement due to user request"), DB)).toMatchObject({
      reason: "aborted",
      verdict: "ignored",
    });
    expect(classify(pg("0A000", "cached plan must not change result type"), DB).retryable).toBe(true);
  });

  it("does not take a system call's code for an SQLSTATE", () => {
    expect(classify(withCode("EPIPE"), DB).reason).toBe("connection_reset");
    expect(classify(withCode("E2BIG"), DB).reason).toBe("unknown");
  });

  it.each([
    ["timeout exceeded when trying to connect", "database_saturated"],
    ["Connection terminated due to connection timeout", "database_unreachable"],
    ["timeout expired", "database_unreachable"],
    ["Connection terminated unexpectedly", "database_connection"],
    ["Connection terminated", "database_connection"],
    ["Query read timeout", "timeout"],
    ["Client has encountered a connection error and is not queryable", "database_connection"],
    ["Client was closed and is not queryable", "database_closed"],
    ["Cannot use a pool after calling end on the pool", "database_closed"],
    ["Pool is closed.", "database_closed"],
    ["No connections available.", "database_saturated"],
    ["Queue limit reached.", "database_saturated"],
  ] as const)("a driver's words: %s", (message, reason) => {
    expect(classify(new Error(message), DB).reason).toBe(reason);
  });

  it.each([
    [1213, "database_conflict", "ignored"],
    [1614, "database_conflict", "ignored"],
    [3058, "database_conflict", "ignored"],
    [1205, "database_busy", "ignored"],
    [1689, "database_busy", "ignored"],
    [1203, "database_saturated", "failure"],
    [1041, "database_saturated", "failure"],
    [1158, "database_connection", "failure"],
    [1159, "database_connection", "failure"],
    [1184, "database_connection", "failure"],
    [2013, "database_connection", "failure"],
    [1792, "database_readonly", "failure"],
    [1129, "auth", "failure"],
    [1044, "auth", "failure"],
    [1049, "auth", "failure"],
    [1698, "auth", "failure"],
    [1146, "caller_error", "ignored"],
    [1406, "caller_error", "ignored"],
    [1451, "caller_error", "ignored"],
    [1452, "caller_error", "ignored"],
    [1054, "caller_error", "ignored"],
    [3572, "database_busy", "ignored"],
    [1040, "database_saturated", "failure"],
    [1053, "database_connection", "failure"],
    [2006, "database_connection", "failure"],
    [1290, "caller_error", "ignored"],
    [1836, "database_readonly", "failure"],
    [3100, "database_readonly", "failure"],
    [1020, "database_conflict", "ignored"],
    [1969, "timeout", "failure"],
    [4031, "database_connection", "failure"],
    [1034, "database_corrupt", "failure"],
    [1114, "disk_full", "failure"],
    [1317, "aborted", "ignored"],
    [3024, "timeout", "failure"],
    [1021, "disk_full", "failure"],
    [1045, "auth", "failure"],
    [1062, "caller_error", "ignored"],
    [1064, "caller_error", "ignored"],
  ] as const)("MySQL %i", (errno, reason, verdict) => {
    expect(classify(mysql(errno), DB)).toMatchObject({ reason, verdict });
  });

  it.each([
    ["CONNECTION_CLOSED", "database_connection"],
    ["CONNECTION_ENDED", "database_closed"],
    ["CONNECT_TIMEOUT", "database_unreachable"],
    ["UNDEFINED_VALUE", "caller_error"],
    ["PROTOCOL_CONNECTION_LOST", "database_connection"],
    ["PROTOCOL_SEQUENCE_TIMEOUT", "timeout"],
  ] as const)("postgres.js or mysql2 %s", (code, reason) => {
    expect(classify(withCode(code), DB).reason).toBe(reason);
  });

  it.each([
    ["outcome_unknown", "database_outcome_unknown", false],
    ["rolled_back", "transaction_aborted", false],
    ["transaction_open", "database_busy", true],
  ] as const)("a transaction that ended as %s", (ended, reason, retryable) => {
    expect(classify(new TransactionError(ended), DB)).toMatchObject({ reason, retryable });
  });

  it.each([
    ["no_connection", "database_saturated", "failure"],
    ["statement_timeout", "timeout", "failure"],
    ["read_only", "rejected", "ignored"],
  ] as const)("what its guard refused or ended: %s", (why, reason, verdict) => {
    expect(classify(new DatabaseError(why, DB, "no"), DB)).toMatchObject({ reason, verdict });
  });

  it("tells MySQL's read-only server and full disk from what else one number stands for", () => {
    const said = (errno: number, message: string) => classify(Object.assign(mysql(errno), { message }), DB).reason;
    const option = (name: string) => `The MariaDB server is running with the ${name} option so it cannot execute this`;
    expect(said(1290, option("--read-only"))).toBe("database_readonly");
    expect(said(1290, option("--super-read-only"))).toBe("database_readonly");
    expect(said(1290, option("--secure-file-priv"))).toBe("caller_error");
    expect(said(1030, 'Got error 28 "No space left on device" from storage engine InnoDB')).toBe("disk_full");
    expect(said(1026, "Error writing file './x' (errno: 28)")).toBe("disk_full");
    expect(said(1030, "Got error 168 from storage engine")).toBe("database_internal");
  });

  it("has a code of its own, found through what wraps it", () => {
    expect(databaseCodeOf(new DrizzleQueryError("insert into x", ["s3cret"], pg("40001")))).toBe("40001");
    expect(databaseCodeOf(mysql(1213))).toBe("1213");
    expect(databaseCodeOf(withCode("SQLITE_BUSY_SNAPSHOT"))).toBe("SQLITE_BUSY_SNAPSHOT");
    expect(databaseCodeOf(withCode("ECONNRESET"))).toBeUndefined();
    expect(databaseCodeOf(undefined)).toBeUndefined();
  });

  it("is found behind Drizzle, whose message carries the parameters", () => {
    const error = new DrizzleQueryError("insert into x", ["s3cret"], pg("40001"));
    expect(classify(error, DB).reason).toBe("database_conflict");
    expect(JSON.stringify(classify(error, DB))).not.toContain("s3cret");
  });

  it("is recognised from better-sqlite3's own errors", () => {
    const db = new Database(":memory:");
    const errorOf = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        return error;
      }
      throw new Error("expected a throw");
    };
    expect(
      classify(
        errorOf(() => db.prepare("select nonsense")),
        DB,
      ).reason,
    ).toBe("caller_error");
    expect(
      classify(
        errorOf(() => db.prepare("select ?").get({})),
        DB,
      ).reason,
    ).toBe("caller_error");
    expect(
      classify(
        errorOf(() => db.prepare("select ?").get()),
        DB,
      ).reason,
    ).toBe("caller_error");
    db.close();
    expect(
      classify(
        errorOf(() => db.prepare("select 1")),
        DB,
      ),
    ).toMatchObject({ reason: "database_closed", verdict: "failure" });
  });
});

describe("Redis", () => {
  it.each([
    ["LOADING Redis is loading the dataset in memory", "redis_unreachable", "failure"],
    ["READONLY You can't write against a read only replica.", "redis_readonly", "failure"],
    ["OOM command not allowed when used memory > 'maxmemory'.", "redis_out_of_memory", "failure"],
    ["NOAUTH Authentication required.", "auth", "failure"],
    ["CLUSTERDOWN The cluster is down", "redis_connection", "failure"],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", "caller_error", "ignored"],
    ["ERR unknown command", "caller_error", "ignored"],
  ] as const)("%s", (message, reason, verdict) => {
    expect(classify(new ReplyError(message), "redis:main")).toMatchObject({ reason, verdict });
  });

  it("tells ioredis's own errors", () => {
    const retries = Object.assign(new Error("Reached the max retries per request limit"), {
      name: "MaxRetriesPerRequestError",
    });
    expect(classify(retries, "redis:main").failureType).toBe("redis_connection");
    expect(classify(new Error("Connection is closed."), "redis:main").failureType).toBe("redis_connection");
    expect(classify(new Error("Command timed out"), "redis:main").failureType).toBe("api_timeout");
    expect(
      classify(new Error("Stream isn't writeable and enableOfflineQueue options is false"), "redis:main").nothingSent,
    ).toBe(true);
  });
});

describe("classify", () => {
  it("answers well-formed for anything at all", () => {
    const services = fc.oneof(fc.constantFrom("llm:a", "http:a", "db:a", "redis:a", "trpc.a", ""), fc.string());
    const word = fc.constantFrom(
      "name",
      "message",
      "code",
      "status",
      "statusCode",
      "error",
      "errors",
      "cause",
      "lastError",
      "headers",
      "response",
      "data",
      "errno",
      "severity",
    );
    const value = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSet: true,
      maxDepth: 4,
    });
    const shaped = fc.dictionary(word, fc.oneof(value, fc.string({ size: "max", maxLength: 20_000 })));
    fc.assert(
      fc.property(fc.oneof(value, shaped), services, (error, service) => {
        const found = classify(error, service);
        expect(FAILURE_TYPES).toContain(found.failureType);
        expect(FAILURE_CATEGORIES).toContain(found.failureCategory);
        expect(ERROR_CATEGORIES).toContain(found.errorCategory);
        expect(VERDICTS).toContain(found.verdict);
        expect(BLAMES).toContain(found.blame);
        expect(SEVERITIES).toContain(severityOf(found));
        if (found.holdMs !== undefined) expect(found.holdMs).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 500 },
    );
  }, 60_000);

  it("survives what users throw", () => {
    const throwing = new Proxy(
      {},
      {
        get: () => {
          throw new Error("no");
        },
        getPrototypeOf: () => {
          throw new Error("no");
        },
      },
    );
    const endless: object = new Proxy({}, { get: (_target, key) => (key === "cause" ? endless : undefined) });
    const growing = (): object =>
      new Proxy({}, { get: (_target, key) => (key === "cause" || key === "lastError" ? growing() : undefined) });
    const { proxy: revoked, revoke } = Proxy.revocable({}, {});
    revoke();
    const cycle: Error & { cause?: unknown } = new Error("a");
    cycle.cause = new Error("b", { cause: cycle });
    const huge = new Error("x".repeat(10_000_000));
    const list = [
      undefined,
      null,
      0,
      "",
      "boom",
      Symbol("s"),
      () => {},
      throwing,
      endless,
      growing(),
      revoked,
      cycle,
      huge,
    ];
    for (const error of list) {
      expect(classify(error, LLM)).toMatchObject({
        reason: "unknown",
        verdict: "failure",
        retryable: false,
        blame: "unknown",
      });
    }
  });

  it("reads a service's name only by its prefix, whatever it is", () => {
    expect(classify(new Error("x"), "__proto__").failureCategory).toBe("external_dependency");
    expect(classify(new Error("x"), "trpc.ask").failureCategory).toBe("internal_service");
  });
});

describe("the table of error classes", () => {
  it("never opens a circuit for what a caller did, nor asks again for it", () => {
    for (const [name, decisions] of Object.entries(ERROR_CLASSES)) {
      if (decisions.blame !== "caller") continue;
      expect([name, decisions.verdict, decisions.retryable, decisions.failover]).toEqual([
        name,
        "ignored",
        false,
        false,
      ]);
    }
  });

  it("does not count contention or a rate limit", () => {
    for (const name of ["database_busy", "database_conflict", "rate_limited", "circuit_open"] as const) {
      expect(ERROR_CLASSES[name].verdict).toBe("ignored");
    }
  });

  it("gives each failure type a category", () => {
    for (const type of FAILURE_TYPES) expect(ERROR_CATEGORIES).toContain(errorCategoryOf(type));
    expect(errorCategoryOf("api_timeout")).toBe("timeout");
  });
});
