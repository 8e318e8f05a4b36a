/** What a guard refuses without asking the service: the error for the caller, and what it means to the plan of rescue. */
import type { Classification } from "../../shared/classification.js";
import type { CircuitBreakerError } from "../circuit/circuit-breaker-error.js";
import { GuardError } from "./guard-error.js";

export interface Refusal {
  readonly refused: true;
  readonly error: CircuitBreakerError | GuardError;
  /** Its category is the service's own. */
  readonly classification: Omit<Classification, "failureCategory">;
}

/** Nothing was sent, so every other way is safe; the same way is not worth asking again at once. */
const REFUSED = {
  failureType: "service_unavailable",
  errorCategory: "unknown",
  verdict: "ignored",
  retryable: false,
  failover: true,
  holdMs: undefined,
  blame: "target",
  nothingSent: true,
} as const satisfies Omit<Classification, "reason" | "failureCategory">;

export function refusedByCircuit(error: CircuitBreakerError): Refusal {
  return { refused: true, error, classification: { ...REFUSED, reason: "circuit_open" } };
}

export function refusedByBulkhead(service: string): Refusal {
  return {
    refused: true,
    error: new GuardError(
      "bulkhead_full",
      service,
      `${service} has as many calls at work as it may have; try again later`,
    ),
    classification: { ...REFUSED, reason: "bulkhead_full" },
  };
}

/** The service asked to be left alone. Waiting it out is a way, if the caller has the time. */
export function refusedByCooldown(service: string, restMs: number): Refusal {
  const retryAfterMs = Math.ceil(restMs);
  return {
    refused: true,
    error: new GuardError("cooldown", service, `${service} asked to be left alone; try again in ${retryAfterMs} ms`, {
      retryAfterMs,
    }),
    classification: {
      ...REFUSED,
      failureType: "rate_limit",
      errorCategory: "rate_limit",
      retryable: true,
      holdMs: restMs,
      blame: "account",
      reason: "cooldown",
    },
  };
}

/** Services of another kind may be reached by another way. */
export function refusedByNetwork(service: string, holdMs: number): Refusal {
  const retryAfterMs = Math.ceil(holdMs);
  const message = `the network reaches no service of the kind of ${service}; try again in ${retryAfterMs} ms`;
  return {
    refused: true,
    error: new GuardError("network_down", service, message, { retryAfterMs }),
    classification: { ...REFUSED, failureType: "connection_refused", blame: "network", reason: "network_down" },
  };
}

export function refusedByDeadline(service: string): Refusal {
  return {
    refused: true,
    error: new GuardError("deadline", service, `no time was left to ask ${service}; give the call a longer deadline`),
    classification: {
      ...REFUSED,
      failureType: "api_timeout",
      errorCategory: "timeout",
      failover: false,
      blame: "caller",
      reason: "deadline",
    },
  };
}
