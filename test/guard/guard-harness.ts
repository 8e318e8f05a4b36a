/** A set of guards on a fake clock, whose journal, metrics and faults a test can read. */

import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import type { GuardFlags } from "../../server/guard/guard-engine.js";
import type { GuardPolicy } from "../../server/guard/guard-policy.js";
import { createGuards, GUARD_FLAGS_ON, type Guards } from "../../server/guard/guards.js";
import type { ServiceReach } from "../../server/guard/reach/service-reach.js";
import { type CallContext, type CallInfo, noCallContext } from "../../server/ports/call-context.js";
import type { JournalEntry, RescueRecord } from "../../server/ports/journal.js";
import { FailoverStrategy } from "../../server/recovery/failover-strategy.js";
import { FallbackStrategy } from "../../server/recovery/fallback-strategy.js";
import { RetryStrategy } from "../../server/recovery/retry-strategy.js";
import type { Classification } from "../../shared/classification.js";
import { classify } from "../../shared/classify.js";
import type { Failure } from "../../shared/failure.js";
import { type Mode, permitsOf } from "../../shared/mode.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import type { SeriesDescriptor } from "../../shared/series.js";
import { createFakeClock, type FakeClock } from "../support/fake-clock.js";

export interface GuardHarness {
  readonly clock: FakeClock;
  readonly guards: Guards;
  readonly registry: CircuitBreakerRegistry;
  readonly entries: JournalEntry[];
  readonly points: { readonly name: string; readonly outcome: string | undefined; readonly value: number }[];
  readonly faults: unknown[];
  readonly warnings: string[];
  mode: Mode;
  failures(): Failure[];
  rescues(): RescueRecord[];
  /** `strategy:status`, in order. */
  story(): string[];
}

export interface GuardHarnessOptions {
  readonly defaults?: GuardPolicy;
  readonly flags?: Partial<GuardFlags>;
  readonly strategies?: readonly RecoveryStrategy[];
  readonly callContext?: CallContext;
  readonly reach?: ServiceReach;
  readonly classify?: (error: unknown, service: string) => Classification;
  readonly mode?: Mode;
  readonly clock?: FakeClock;
}

export function createGuardHarness(options: GuardHarnessOptions = {}): GuardHarness {
  const { clock = createFakeClock() } = options;
  const entries: JournalEntry[] = [];
  const points: { name: string; outcome: string | undefined; value: number }[] = [];
  const faults: unknown[] = [];
  const warnings: string[] = [];
  const registry = new CircuitBreakerRegistry({
    clock,
    random: () => 0,
    enforce: (name) => permitsOf(harness.mode, name).circuits,
    onFault: (error) => faults.push(error),
  });
  let nextId = 0;
  const strategies = options.strategies ?? builtIn(clock);
  const guards = createGuards(
    {
      clock,
      random: () => 0,
      ids() {
        nextId += 1;
        return `id-${nextId}`;
      },
      registry,
      journal: { append: (entry) => void entries.push(entry) },
      callContext: options.callContext ?? noCallContext,
      reach: options.reach,
      settings: { mode: () => harness.mode, stopped: () => false },
      sink: {
        record() {},
        series: (series: SeriesDescriptor) => ({
          record: (value) => void points.push({ name: series.metricName, outcome: series.tags.outcome, value }),
        }),
      },
      strategies: () => strategies,
      classify: options.classify ?? classify,
      flags: { ...GUARD_FLAGS_ON, ...options.flags },
      logger: { debug() {}, info() {}, warn: (_fields, message) => void warnings.push(message), error() {} },
      onFault: (error) => void faults.push(error),
    },
    options.defaults ?? {},
  );
  const harness: GuardHarness = {
    clock,
    guards,
    registry,
    entries,
    points,
    faults,
    warnings,
    mode: options.mode ?? "full",
    failures: () => entries.flatMap((entry) => (entry.type === "failure.observed" ? [entry.failure] : [])),
    rescues: () => entries.flatMap((entry) => (entry.type === "rescue.ended" ? [entry.rescue] : [])),
    story: () => harness.rescues().map(({ actionStrategy, status }) => `${actionStrategy}:${status}`),
  };
  return harness;
}

/** Jitter off: `random` 0.999 makes each wait the longest it may be. */
export function builtIn(clock: FakeClock, random = () => 0.999): readonly RecoveryStrategy[] {
  return [new RetryStrategy({ clock, random }), new FailoverStrategy({ clock }), new FallbackStrategy({ clock })];
}

/** A call-scoped strategy of a user. */
export function userStrategy(
  execute: (failure: Failure, operation: RescueOperation) => Promise<Partial<StrategyResult>>,
  more: Partial<RecoveryStrategy> = {},
): RecoveryStrategy {
  return {
    name: "mine",
    scope: "call",
    priority: 0,
    applicableFailureTypes: ["server_error", "service_unavailable", "api_timeout", "rate_limit", "unknown"],
    async execute(failure, operation) {
      if (operation === undefined) throw new Error("no operation");
      const result = await execute(failure, operation);
      return { success: false, actionType: "custom", actionStrategy: "mine", durationMs: 0, message: "", ...result };
    },
    ...more,
  };
}

/** An answer of an HTTP service, as client libraries throw it. */
export function httpError(status: number, headers: Record<string, string> = {}): Error {
  return Object.assign(new Error(`answered ${status}`), { status, headers });
}

export function refusedConnection(): Error {
  return Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:9"), { code: "ECONNREFUSED" });
}

export function callOf(more: Partial<CallInfo> = {}): CallInfo {
  return {
    path: "invoices.get",
    type: "query",
    requestId: "request-1",
    userId: "user-1",
    signal: undefined,
    deadlineAt: undefined,
    idempotent: undefined,
    causes: [],
    ...more,
  };
}

/** The outcome of a promise, without throwing. */
export async function settled<T>(promise: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}
