/**
 * What an error of a guarded service means, decided from its structure and never by `instanceof`: duplicate installs and
 * bundlers make classes strangers to each other. Guards, transactions and health ask this one function.
 */
import type { Classification } from "./classification.js";
import { databaseClassByCode, databaseClassByWords } from "./database-errors.js";
import { decisionsOf, ERROR_CLASSES, type ErrorClass, type ErrorClassDecisions } from "./error-classes.js";
import { type ErrorFacts, factsOf, innerErrors, readProperty } from "./error-facts.js";
import type { ErrorCategory, FailureCategory, FailureType, Severity } from "./failure.js";
import { responseClassOf } from "./llm-errors.js";
import { networkClassByCode, networkClassByName, networkClassByWords } from "./network-errors.js";
import { redisClassOf } from "./redis-errors.js";
import { isRejection } from "./rejection.js";
import { type RetryHint, retryHintOf } from "./retry-hint.js";
import { trpcClassOf } from "./trpc-errors.js";

/**
 * Classifies anything that a guarded function threw. Never throws itself, whatever it is given.
 *
 * @param service name with its kind as prefix: `llm:`, `http:`, `db:`, `redis:` or `cache:`; it settles what is ambiguous
 * @param now UTC milliseconds, for hints that name a time of day where the response carries no `date`
 * @example
 * classify(new OpenAI.RateLimitError(…), "llm:openai");
 * // { failureType: "rate_limit", verdict: "ignored", retryable: true, failover: true, holdMs: 494, reason: "rate_limited", … }
 */
export function classify(error: unknown, service: string, now?: number): Classification {
  try {
    return classifyChain(error, service, now);
  } catch {
    // Nothing an error does to its reader may reach the caller: what cannot be read is an unknown failure.
    return toClassification("unknown", service, undefined, false);
  }
}

function classifyChain(error: unknown, service: string, now: number | undefined): Classification {
  if (isRejection(error)) return classifyRejection(error, service);
  const kind = kindOf(service);
  const chain = factsOf(error);
  const found = recognise(chain, kind);
  if (found === undefined) return toClassification("unknown", service, undefined, false);
  const { errorClass, facts } = found;
  const decided = toClassification(errorClass, service, holdOf(errorClass, facts, now), false);
  return {
    ...decided,
    // A provider that knows its own failure to be final says so.
    retryable: decided.retryable && facts.header("x-should-retry") !== "false",
    nothingSent: decided.nothingSent && everyInnerErrorSentNothing(error, service, now),
  };
}

/** What a guard refused. Of another service it proves nothing about the work around it, which may have begun. */
function classifyRejection(error: unknown, service: string): Classification {
  const circuitName = readProperty(error, "circuitName");
  const refusedBy = circuitName ?? readProperty(error, "service");
  const nothingSent = refusedBy === undefined || refusedBy === service;
  return toClassification(circuitName === undefined ? "rejected" : "circuit_open", service, undefined, !nothingSent);
}

type ServiceKind = "llm" | "http" | "database" | "redis" | "other";

function kindOf(service: string): ServiceKind {
  const prefix = service.split(":", 1)[0];
  switch (prefix) {
    case "llm":
    case "http":
    case "redis":
      return prefix;
    case "cache":
      return "redis";
    case "db":
    case "database":
      return "database";
    default:
      return "other";
  }
}

interface Recognised {
  readonly errorClass: ErrorClass;
  readonly facts: ErrorFacts;
}

/** Codes and statuses of any link go before names, and names before words: words are what an error says most loosely. */
function recognise(chain: readonly ErrorFacts[], kind: ServiceKind): Recognised | undefined {
  const passes: readonly ((facts: ErrorFacts) => ErrorClass | undefined)[] = [
    (facts) =>
      trpcClassOf(facts) ??
      databaseClassByCode(facts, kind === "database") ??
      networkClassByCode(facts) ??
      redisClassOf(facts, kind === "redis") ??
      responseClassOf(facts, kind === "llm"),
    (facts) => networkClassByName(facts) ?? (kind === "database" ? databaseClassByWords(facts) : undefined),
    (facts) => wordsClassOf(facts, kind),
    // It was answered, and what was answered raised an error: unless a line that went down explains it, the answer is to blame.
    ({ status }) => (status === undefined ? undefined : "malformed_response"),
  ];
  for (const pass of passes) {
    for (const facts of chain) {
      const errorClass = pass(facts);
      if (errorClass === undefined) continue;
      // An abort by a deadline keeps the deadline as its cause: that was a timeout, not the caller.
      const timedOut = errorClass === "aborted" && chain.some((link) => isTimeout(link));
      return { errorClass: timedOut ? "timeout" : errorClass, facts };
    }
  }
  return undefined;
}

function isTimeout(facts: ErrorFacts): boolean {
  return networkClassByName(facts) === "timeout" || trpcClassOf(facts) === "timeout";
}

function wordsClassOf(facts: ErrorFacts, kind: ServiceKind): ErrorClass | undefined {
  const parsedBody = facts.names.includes("SyntaxError") || facts.names.some((name) => name.endsWith("JSONParseError"));
  if (parsedBody && (kind === "llm" || kind === "http")) return "malformed_response";
  const network = networkClassByWords(facts);
  if (network !== undefined) return network;
  if (databaseClassByWords(facts) === "database_saturated") return "database_saturated";
  return /rate[\s_-]*limit/i.test(facts.message) && (kind === "llm" || kind === "http") ? "rate_limited" : undefined;
}

/** Asked only where resting helps: OpenAI sends its limits with every answer. */
function holdOf(errorClass: ErrorClass, facts: ErrorFacts, now: number | undefined): RetryHint | undefined {
  switch (decisionsOf(errorClass).failureType) {
    case "rate_limit":
    case "quota_exceeded":
    case "service_unavailable":
      return retryHintOf(facts, now);
    default:
      return undefined;
  }
}

/** Of several gathered attempts one refused connection proves nothing about the others. */
function everyInnerErrorSentNothing(error: unknown, service: string, now: number | undefined): boolean {
  const inner = innerErrors(error);
  return inner.length === 0 || inner.every((one) => !hasInner(one) && classify(one, service, now).nothingSent);
}

function hasInner(error: unknown): boolean {
  return innerErrors(error).length > 0;
}

function toClassification(
  errorClass: ErrorClass,
  service: string,
  hold: RetryHint | undefined,
  begun: boolean,
): Classification {
  const decisions: ErrorClassDecisions = decisionsOf(errorClass);
  const failureType = typeWithin(decisions.failureType, errorClass, kindOf(service));
  return {
    failureType,
    failureCategory: categoryOf(failureType, service),
    errorCategory: errorCategoryOf(failureType),
    verdict: decisions.verdict,
    retryable: decisions.retryable,
    failover: decisions.failover,
    holdMs: hold?.holdMs,
    holdSource: hold?.source,
    blame: decisions.blame,
    nothingSent: decisions.nothingSent === true && !begun,
    reason: errorClass,
  };
}

/** A refused connection is named after what it leads to. */
function typeWithin(type: FailureType, errorClass: ErrorClass, kind: ServiceKind): FailureType {
  const connection = type === "connection_refused" || errorClass === "connect_timeout" || type === "dns_error";
  if (!connection || type === "dns_error") return type;
  if (kind === "database") return "database_connection";
  if (kind === "redis") return "redis_connection";
  return type;
}

function categoryOf(type: FailureType, service: string): FailureCategory {
  if (type === "auth_failed" || type === "model_unavailable") return "configuration";
  if (type === "disk_full" || type === "memory_pressure") return "resource";
  if (service.startsWith("trpc.")) return "internal_service";
  switch (kindOf(service)) {
    case "database":
      return "database";
    case "redis":
      return "cache";
    case "llm":
    case "http":
    case "other":
      return "external_dependency";
  }
}

/**
 * The coarse class that dashboards group by.
 *
 * @example errorCategoryOf("api_timeout") // "timeout"
 */
export function errorCategoryOf(type: FailureType): ErrorCategory {
  switch (type) {
    case "api_timeout":
    case "procedure_timeout":
      return "timeout";
    case "connection_refused":
    case "database_connection":
    case "redis_connection":
      return "connection_refused";
    case "dns_error":
      return "dns_error";
    case "rate_limit":
      return "rate_limit";
    case "quota_exceeded":
      return "quota_exceeded";
    case "procedure_error":
      return "trpc_error";
    case "service_unavailable":
    case "server_error":
    case "auth_failed":
    case "model_unavailable":
    case "stream_broken":
    case "malformed_response":
    case "database_busy":
    case "database_conflict":
    case "database_readonly":
    case "disk_full":
    case "health_check_failed":
    case "memory_pressure":
    case "cpu_saturation":
    case "event_loop_blocked":
    case "stuck_task":
    case "anomaly":
    case "predicted_failure":
    case "unknown":
      return "unknown";
  }
}

/** How bad one failure of this class is; `medium` for a reason that is not one of ours. */
export function severityOf(classification: Pick<Classification, "reason">): Severity {
  return isErrorClass(classification.reason) ? decisionsOf(classification.reason).severity : "medium";
}

function isErrorClass(reason: string): reason is ErrorClass {
  return Object.hasOwn(ERROR_CLASSES, reason);
}
