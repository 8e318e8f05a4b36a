/** Plain rows for tests of stores: valid as they are, each field can be named anew. */

import type { FailureSighting } from "../../server/ports/store.js";
import type { CircuitSnapshot, CircuitTransition } from "../../shared/circuit.js";
import { CIRCUIT_DEFAULTS } from "../../shared/circuit-config.js";
import { type Failure, fingerprintOf } from "../../shared/failure.js";
import { bucketIndex } from "../../shared/histogram.js";
import type { RecoveryAction } from "../../shared/recovery.js";
import type { Batch, SeriesDescriptor, SeriesSummary } from "../../shared/series.js";

export const START = Date.UTC(2026, 0, 1);

export const durations: SeriesDescriptor = {
  metricType: "operation",
  metricName: "trpc.ask.duration",
  kind: "histogram",
  unit: "ms",
  source: "trpc.ask",
  tags: { status: "success" },
};

/** What a collector would make of these values. */
export function summaryOf(values: readonly number[]): SeriesSummary {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(bucketIndex(value), (counts.get(bucketIndex(value)) ?? 0) + 1);
  return {
    count: values.length,
    sum: values.reduce((sum, value) => sum + value, 0),
    min: Math.min(...values),
    max: Math.max(...values),
    last: values.at(-1) ?? 0,
    buckets: [...counts].sort(([a], [b]) => a - b).flat(),
  };
}

export function batchOf(overrides: Partial<Batch> = {}, values: readonly number[] = [10, 20, 30]): Batch {
  const windowEnd = overrides.windowEnd ?? START + 1_000;
  return {
    version: 1,
    instance: "a",
    boot: "boot-1",
    seq: 1,
    windowStart: windowEnd - 1_000,
    windowEnd,
    recordedTotal: values.length,
    droppedTotal: {},
    series: [{ ...durations, ...summaryOf(values) }],
    ...overrides,
  };
}

let lastId = 0;

export function freshId(kind: string): string {
  lastId += 1;
  return `${kind}-${lastId}`;
}

export function failureOf(overrides: Partial<Failure> = {}): Failure {
  return {
    eventId: freshId("event"),
    timestamp: START,
    failureCategory: "external_dependency",
    failureType: "api_timeout",
    severity: "medium",
    affectedService: "llm:openai",
    errorMessage: "the request timed out",
    errorStack: "Error: the request timed out\n    at ask",
    context: { path: "ask", attempt: 1, nested: { list: [1, "two", null] } },
    detectionMethod: "exception",
    userId: "user-1",
    requestId: "request-1",
    ...overrides,
  };
}

export function sightingOf(
  overrides: Partial<Failure> = {},
  sighting: Partial<Omit<FailureSighting, "failure">> = {},
): FailureSighting {
  const failure = failureOf(overrides);
  return {
    failure,
    fingerprint: fingerprintOf(failure),
    occurrences: 1,
    lastSeenAt: failure.timestamp,
    instance: "a",
    ...sighting,
  };
}

export function rescueOf(failureEventId: string, overrides: Partial<RecoveryAction> = {}): RecoveryAction {
  const timestamp = overrides.timestamp ?? START;
  return {
    actionId: freshId("action"),
    failureEventId,
    timestamp,
    actionType: "retry",
    actionStrategy: "exponential_backoff_retry",
    status: "succeeded",
    scope: "call",
    target: "llm:openai",
    automated: true,
    triggeredBy: "guard",
    parameters: { maxAttempts: 3 },
    result: { attempts: 2 },
    durationMs: 120,
    completedAt: timestamp,
    occurrences: 1,
    lastAt: timestamp,
    leaseUntil: undefined,
    instance: "a",
    dryRun: false,
    ...overrides,
  };
}

export function repairOf(failureEventId: string, overrides: Partial<RecoveryAction> = {}): RecoveryAction {
  const timestamp = overrides.timestamp ?? START;
  return rescueOf(failureEventId, {
    actionType: "reconnect",
    actionStrategy: "reconnect",
    status: "in_progress",
    scope: "service",
    target: "db:main",
    triggeredBy: "engine",
    result: undefined,
    durationMs: undefined,
    completedAt: undefined,
    leaseUntil: timestamp + 30_000,
    ...overrides,
  });
}

export function circuitOf(overrides: Partial<CircuitSnapshot> = {}): CircuitSnapshot {
  return {
    name: "llm:openai",
    state: "closed",
    version: 0,
    failureCount: 0,
    successCount: 0,
    lastFailureAt: undefined,
    lastSuccessAt: undefined,
    openedAt: undefined,
    nextRetryAt: undefined,
    held: undefined,
    config: {
      ...CIRCUIT_DEFAULTS,
      failureThreshold: 3,
      successThreshold: 2,
      timeoutMs: 1_000,
      resetTimeoutMs: 5_000,
      halfOpenPermits: 2,
      probeLeaseMs: 2_000,
    },
    ...overrides,
  };
}

export function transitionOf(overrides: Partial<CircuitTransition> = {}): CircuitTransition {
  return {
    circuitName: "llm:openai",
    from: "closed",
    to: "open",
    reason: "failure_threshold",
    version: 1,
    at: START,
    instance: "a",
    failureEventId: undefined,
    ...overrides,
  };
}
