/** The words for what failed. Rows keep these values for ever and strategies match on them. */
import { fnv1a } from "./fnv1a.js";

export const FAILURE_CATEGORIES = [
  "external_dependency",
  "database",
  "cache",
  "internal_service",
  "resource",
  "configuration",
] as const;
export type FailureCategory = (typeof FAILURE_CATEGORIES)[number];

export const FAILURE_TYPES = [
  "api_timeout",
  "connection_refused",
  "dns_error",
  "rate_limit",
  "quota_exceeded",
  "service_unavailable",
  "server_error",
  "auth_failed",
  "model_unavailable",
  "stream_broken",
  "malformed_response",
  "database_connection",
  "database_busy",
  "database_conflict",
  "database_readonly",
  "disk_full",
  "redis_connection",
  "procedure_error",
  "procedure_timeout",
  "health_check_failed",
  "memory_pressure",
  "cpu_saturation",
  "event_loop_blocked",
  "stuck_task",
  "anomaly",
  "predicted_failure",
  "unknown",
] as const;
export type FailureType = (typeof FAILURE_TYPES)[number];

export const SEVERITIES = ["low", "medium", "high", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

export const DETECTION_METHODS = [
  "exception",
  "threshold",
  "health_check",
  "watchdog",
  "anomaly",
  "prediction",
  "manual",
] as const;
export type DetectionMethod = (typeof DETECTION_METHODS)[number];

/** A metric's tag: the coarse class that dashboards group by. The failure type stands beside it. */
export const ERROR_CATEGORIES = [
  "timeout",
  "connection_refused",
  "dns_error",
  "rate_limit",
  "quota_exceeded",
  "trpc_error",
  "unknown",
] as const;
export type ErrorCategory = (typeof ERROR_CATEGORIES)[number];

/** JSON that a row may hold: already redacted, bounded and free of cycles. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** Tells an object from every other JSON value. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * One failure, as a guard, a middleware or a user reports it. Messages, stacks and context are redacted and bounded by
 * whoever makes it (`describeError`, `redact`), before it leaves the process.
 */
export interface Failure {
  /** Unique id of this sighting; a repeat is folded into the open event with the same fingerprint. */
  readonly eventId: string;
  /** UTC milliseconds. */
  readonly timestamp: number;
  readonly failureCategory: FailureCategory;
  readonly failureType: FailureType;
  readonly severity: Severity;
  /** `llm:openai`, `db:main`, `trpc.<path>`. */
  readonly affectedService: string;
  readonly errorMessage?: string | undefined;
  readonly errorStack?: string | undefined;
  readonly context?: JsonObject | undefined;
  readonly detectionMethod: DetectionMethod;
  readonly userId?: string | undefined;
  readonly requestId?: string | undefined;
}

/** A row of `failure_events`: a failure with the count of its repeats and its story. */
export interface FailureEvent extends Failure {
  readonly fingerprint: string;
  /** How often it was seen since it is open; at least 1. */
  readonly occurrences: number;
  readonly lastSeenAt: number;
  readonly resolved: boolean;
  readonly resolvedAt: number | undefined;
  readonly incidentId: string | undefined;
  /** The instance that saw it first. */
  readonly instance: string;
}

/**
 * What makes two failures the same: category, type, service, procedure and the message without its variable parts
 * (numbers, ids, quoted text), so that a storm is one row with a count. FNV-1a over UTF-16 units, twice with different
 * offsets, as 16 hex digits: identity among the open events of one system, not cryptography.
 *
 * @example fingerprintOf(failure) === fingerprintOf({ ...failure, eventId: "another", timestamp: later }) // true
 */
export function fingerprintOf(failure: Failure): string {
  const path = failure.context?.path;
  const parts = [
    failure.failureCategory,
    failure.failureType,
    failure.affectedService,
    typeof path === "string" ? path : "",
    templateOf(failure.errorMessage ?? ""),
  ].join("\u0000");
  return fnv1a(parts) + fnv1a(parts, 0x01000193);
}

/** Beyond this a message adds nothing to its identity, and a regular expression over 10 MB would hold the event loop. */
const TEMPLATE_LENGTH = 300;

function templateOf(message: string): string {
  return message
    .slice(0, TEMPLATE_LENGTH)
    .replace(/"[^"]{0,200}"|'[^']{0,200}'/g, '"…"')
    .replace(/\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{16,}\b/gi, "#")
    .replace(/\d+/g, "#");
}
