/**
 * Parts of a service that some of its work uses and other work does not: a model, a key, an account. A refused key is no
 * outage, so each part has a circuit beside the service's own, which opens by the first failure that is the part's.
 */
import type { CircuitConfig } from "../../shared/circuit-config.js";
import { ParamedicError } from "../../shared/errors.js";
import type { FailureType } from "../../shared/failure.js";
import { MAX_TIMER_MS } from "../../shared/units.js";
import type { FailureDetails } from "../circuit/call-ticket.js";
import type { CircuitBreaker } from "../circuit/circuit-breaker.js";
import { CircuitBreakerError } from "../circuit/circuit-breaker-error.js";
import type { CircuitBreakerRegistry } from "../circuit/circuit-breaker-registry.js";
import type { Permit } from "../circuit/permit.js";

export interface ServicePart {
  /** The name of its circuit: `llm:openai:key:3f9a2c1b`. */
  readonly circuit: string;
  /** Failures that are the part's: one of them opens its circuit, and the service's own does not count it. */
  readonly takes: readonly FailureType[];
  /** How long its circuit stays open before one call may try again; 1 to 2^31-1 ms. */
  readonly resetTimeoutMs: number;
}

export interface PartPermit {
  readonly part: ServicePart;
  readonly permit: Permit;
}

export const NO_PERMITS: readonly PartPermit[] = Object.freeze([]);

const OPENS_AT_ONCE = { failureThreshold: 1, successThreshold: 1 } as const satisfies Partial<CircuitConfig>;

/**
 * A permit of each part's circuit, or the refusal of the first that gives none.
 *
 * @param registry undefined while circuit breakers are switched off
 * @param now monotonic milliseconds
 */
export function acquireParts(
  parts: readonly ServicePart[] | undefined,
  registry: CircuitBreakerRegistry | undefined,
  now: number,
): readonly PartPermit[] | CircuitBreakerError {
  if (parts === undefined || registry === undefined) return NO_PERMITS;
  const permits: PartPermit[] = [];
  for (const part of parts) {
    const circuit = circuitOf(part, registry);
    const permit = circuit.tryAcquire(now);
    if (permit === undefined) {
      for (const held of permits) held.permit.ignored();
      return circuit.refusal(now);
    }
    permits.push({ part, permit });
  }
  return permits;
}

/** As far as can be told without asking: a half-open circuit may still refuse. */
export function partsAdmit(
  parts: readonly ServicePart[] | undefined,
  registry: CircuitBreakerRegistry | undefined,
  wallNow: number,
): boolean {
  if (parts === undefined || registry === undefined) return true;
  return parts.every((part) => mayAdmit(circuitOf(part, registry), wallNow));
}

/** Whether a circuit lets calls pass now, or would let a probe. */
export function mayAdmit(circuit: CircuitBreaker, wallNow: number): boolean {
  // Nearly always, and a snapshot costs more than all the rest of an admission.
  if (circuit.admitsAll) return true;
  const { state, held, nextRetryAt } = circuit.snapshot();
  switch (held?.state) {
    case "forced_open":
      return false;
    case "disabled":
    case "metrics_only":
      return true;
    case undefined:
      return state !== "open" || (nextRetryAt ?? 0) <= wallNow;
  }
}

/** The part that a failure of this type belongs to. */
export function partOf(permits: readonly PartPermit[], type: FailureType): ServicePart | undefined {
  return permits.find(({ part }) => part.takes.includes(type))?.part;
}

/** Counts a failure in its part's circuit; the permits of the other parts come back. */
export function failPart(
  permits: readonly PartPermit[],
  blamed: ServicePart | undefined,
  details: FailureDetails,
): void {
  for (const { part, permit } of permits) {
    if (part === blamed) permit.failure(details);
    else permit.ignored();
  }
}

export function isRefusal(acquired: readonly PartPermit[] | CircuitBreakerError): acquired is CircuitBreakerError {
  return acquired instanceof CircuitBreakerError;
}

/** @throws ParamedicError `OPERATION_INVALID` naming the owner, the part and what is legal. */
export function validateParts(owner: string, parts: readonly ServicePart[] | undefined): void {
  for (const { circuit, resetTimeoutMs } of parts ?? []) {
    if (typeof circuit !== "string" || circuit === "") {
      throw new ParamedicError("OPERATION_INVALID", `${owner}: a part needs the name of its circuit`);
    }
    if (resetTimeoutMs >= 1 && resetTimeoutMs <= MAX_TIMER_MS) continue;
    const got = `${owner}: the part ${circuit}: resetTimeoutMs got ${String(resetTimeoutMs)}`;
    throw new ParamedicError("OPERATION_INVALID", `${got}; legal: [1, ${MAX_TIMER_MS}]`);
  }
}

function circuitOf({ circuit, resetTimeoutMs }: ServicePart, registry: CircuitBreakerRegistry): CircuitBreaker {
  return registry.get(circuit) ?? registry.getOrCreate(circuit, { ...OPENS_AT_ONCE, resetTimeoutMs });
}
