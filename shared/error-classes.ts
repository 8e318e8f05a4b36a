/**
 * The table of what each class of error means for a guard: one row, several separate decisions. Recognisers only name a
 * class; what follows from it stands here and nowhere else.
 */
import type { Blame, Verdict } from "./classification.js";
import type { FailureType, Severity } from "./failure.js";

export interface ErrorClassDecisions {
  readonly failureType: FailureType;
  readonly verdict: Verdict;
  readonly retryable: boolean;
  readonly failover: boolean;
  readonly blame: Blame;
  readonly severity: Severity;
  /** Refused before anything was sent. */
  readonly nothingSent?: true;
}

/** Nobody but the caller can put it right: no retry, no other target, and no circuit opens for everybody because of it. */
const CALLER = {
  failureType: "procedure_error",
  verdict: "ignored",
  retryable: false,
  failover: false,
  blame: "caller",
  severity: "low",
} as const;

/** The target is at fault, and a second try or another target may help. */
const TARGET = {
  verdict: "failure",
  retryable: true,
  failover: true,
  blame: "target",
  severity: "high",
} as const;

/** Contention between healthy parties: asking again helps, opening a circuit would harm. */
const CONTENTION = {
  verdict: "ignored",
  retryable: true,
  failover: false,
  blame: "target",
  severity: "low",
} as const;

/** Only a person can put it right: the same target stays wrong until then, so it counts and is not asked again. */
const SETUP = { verdict: "failure", retryable: false, failover: true, severity: "high" } as const;

export const ERROR_CLASSES = {
  // Ours
  circuit_open: { ...CALLER, failureType: "service_unavailable", failover: true, blame: "target", nothingSent: true },
  rejected: { ...CALLER, failureType: "service_unavailable", failover: true, blame: "target", nothingSent: true },
  aborted: CALLER,

  // The caller
  caller_error: CALLER,
  invalid_request: CALLER,
  request_too_large: CALLER,
  context_overflow: CALLER,
  content_filtered: CALLER,

  // Network
  connection_refused: { ...TARGET, failureType: "connection_refused", blame: "network", nothingSent: true },
  connection_reset: { ...TARGET, failureType: "connection_refused", blame: "network" },
  connect_timeout: { ...TARGET, failureType: "api_timeout", blame: "network", nothingSent: true },
  network: { ...TARGET, failureType: "connection_refused", blame: "network" },
  dns_error: { ...TARGET, failureType: "dns_error", blame: "network", nothingSent: true },
  tls_certificate: { ...SETUP, failureType: "connection_refused", blame: "configuration", nothingSent: true },
  timeout: { ...TARGET, failureType: "api_timeout" },
  stream_broken: { ...TARGET, failureType: "stream_broken", severity: "medium" },

  // What an HTTP service or an LLM provider answers
  rate_limited: { ...CONTENTION, failureType: "rate_limit", failover: true, blame: "account", severity: "medium" },
  quota_exhausted: { ...SETUP, failureType: "quota_exceeded", blame: "account" },
  overloaded: { ...TARGET, failureType: "service_unavailable" },
  server_error: { ...TARGET, failureType: "server_error" },
  not_implemented: { ...SETUP, failureType: "server_error", blame: "configuration" },
  conflict: { ...CONTENTION, failureType: "server_error", failover: true, severity: "medium" },
  auth: { ...SETUP, failureType: "auth_failed", blame: "credential" },
  model_missing: { ...SETUP, failureType: "model_unavailable", blame: "configuration" },
  malformed_response: { ...TARGET, failureType: "malformed_response", severity: "medium" },

  // Databases
  database_busy: { ...CONTENTION, failureType: "database_busy" },
  database_conflict: { ...CONTENTION, failureType: "database_conflict" },
  database_connection: { ...TARGET, failureType: "database_connection" },
  database_unreachable: { ...TARGET, failureType: "database_connection", nothingSent: true },
  database_saturated: { ...TARGET, failureType: "database_connection" },
  // It may have happened: a second time would be too often, on this target or another. Only its owner can find out.
  database_outcome_unknown: { ...TARGET, failureType: "database_connection", retryable: false, failover: false },
  database_readonly: { ...TARGET, failureType: "database_readonly" },
  database_write_refused: { ...SETUP, failureType: "database_readonly", blame: "configuration", severity: "critical" },
  database_io: { ...TARGET, failureType: "database_connection" },
  database_corrupt: { ...SETUP, failureType: "database_connection", blame: "target", severity: "critical" },
  database_closed: { ...SETUP, failureType: "database_connection", blame: "configuration" },
  database_internal: { ...SETUP, failureType: "server_error", blame: "target" },
  disk_full: { ...SETUP, failureType: "disk_full", blame: "target", severity: "critical" },
  transaction_aborted: CALLER,

  // Redis
  redis_connection: { ...TARGET, failureType: "redis_connection" },
  redis_unreachable: { ...TARGET, failureType: "redis_connection", nothingSent: true },
  redis_readonly: { ...TARGET, failureType: "redis_connection" },
  redis_out_of_memory: { ...SETUP, failureType: "memory_pressure", blame: "target" },

  unknown: {
    ...TARGET,
    failureType: "unknown",
    retryable: false,
    failover: false,
    blame: "unknown",
    severity: "medium",
  },
} as const satisfies Readonly<Record<string, ErrorClassDecisions>>;

/** The name of a class; it is a classification's `reason`. */
export type ErrorClass = keyof typeof ERROR_CLASSES;

export function decisionsOf(errorClass: ErrorClass): ErrorClassDecisions {
  return ERROR_CLASSES[errorClass];
}
