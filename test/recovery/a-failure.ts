/** Failures for tests, with everything that a test does not care about filled in. */
import type { Failure } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";

let sequence = 0;

export function aFailure(given: Partial<Failure> = {}): Failure {
  sequence += 1;
  return {
    eventId: `failure-${sequence}`,
    timestamp: Date.UTC(2026, 0, 1),
    failureCategory: "external_dependency",
    failureType: "service_unavailable",
    severity: "medium",
    affectedService: "llm:openai",
    errorMessage: "overloaded",
    detectionMethod: "exception",
    ...given,
  };
}

/** A strategy whose effect is counted: what it says it did is what `executed` holds. */
export function aStrategy(given: Partial<RecoveryStrategy> = {}): RecoveryStrategy & { readonly executed: string[] } {
  const executed: string[] = [];
  return {
    name: "reconnect_service",
    scope: "service",
    priority: 10,
    actionType: "reconnect",
    applicableFailureTypes: ["service_unavailable"],
    execute: async (failure) => {
      executed.push(failure.eventId);
      return aResult({ success: true });
    },
    ...given,
    executed,
  };
}

export function aResult(given: Partial<StrategyResult> = {}): StrategyResult {
  return {
    success: true,
    actionType: "reconnect",
    actionStrategy: "reconnect_service",
    durationMs: 1,
    message: "reconnected",
    ...given,
  };
}
