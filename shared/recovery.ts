/** The words for recoveries, the shape of a strategy and of what it did. */
import type { Failure, FailureType, JsonObject } from "./failure.js";

export const ACTION_TYPES = [
  "retry",
  "failover",
  "fallback",
  "reconnect",
  "circuit_break",
  "restart",
  "reset",
  "degrade",
  "shed",
  "scale",
  "custom",
] as const;
export type ActionType = (typeof ACTION_TYPES)[number];

/**
 * pending_approval → initiated → in_progress → succeeded | failed | rolled_back | timed_out | cancelled
 * pending_approval → expired | cancelled;  in_progress → abandoned (its lease ran out);  skipped: decided against
 */
export const ACTION_STATUSES = [
  "pending_approval",
  "initiated",
  "in_progress",
  "succeeded",
  "failed",
  "rolled_back",
  "skipped",
  "timed_out",
  "cancelled",
  "expired",
  "abandoned",
] as const;
export type ActionStatus = (typeof ACTION_STATUSES)[number];

/** `immediate`: in the call; the others are repairs, lowest first. What each does is told in `escalation.ts`. */
export const RECOVERY_LEVELS = ["immediate", "service", "process", "human"] as const;
export type RecoveryLevel = (typeof RECOVERY_LEVELS)[number];

export const REPAIR_LEVELS = ["service", "process", "human"] as const satisfies readonly RecoveryLevel[];
export type RepairLevel = (typeof REPAIR_LEVELS)[number];

/** `call`: a rescue for the caller who waits. `service`: a repair behind the call, for everybody. */
export const STRATEGY_SCOPES = ["call", "service"] as const;
export type StrategyScope = (typeof STRATEGY_SCOPES)[number];

/** The name under which "no strategy applies" is recorded: that nothing could be done is worth a row too. */
export const NO_STRATEGY = "none";

/** The name of the strategy that tells a human: its success says nothing of the service. */
export const ALERT_OPERATOR = "alert_operator";

/**
 * The caller's piece of work in the hands of a call-scoped strategy. Each method really runs something and resolves with
 * its value or rejects with its error; none may be called after the strategy's `execute` has settled.
 */
export interface RescueOperation {
  /**
   * Runs the same target again after `delayMs`. Rejects at once when deadline, budget or safety forbid it. With `inTurn`, once
   * every target was asked, those take turns whose failure another try may mend and whose retry budget can pay.
   */
  again(options?: { readonly delayMs?: number; readonly inTurn?: boolean }): Promise<unknown>;
  /** Runs the next target in order of preference that admits calls. Rejects when none is left. */
  next(): Promise<unknown>;
  /** Runs the fallback. Rejects when there is none. */
  fallback(): Promise<unknown>;
  /** Targets that `next` could still try. */
  readonly targetsLeft: number;
  /** Targets that would take turns now, at least 1. @default 1 */
  readonly targetsInTurn?: number | undefined;
  readonly hasFallback: boolean;
  /** The target that was asked last; strategies name it in what they report. */
  readonly target?: string | undefined;
  /** Milliseconds until the caller's deadline. */
  remainingMs(): number;
  /** Attempts made so far, the first one included. */
  readonly attempts: number;
  readonly signal: AbortSignal;
}

/** What one strategy did about one failure. */
export interface StrategyResult {
  readonly success: boolean;
  readonly actionType: ActionType;
  readonly actionStrategy: string;
  readonly durationMs: number;
  readonly message: string;
  readonly metadata?: JsonObject | undefined;
  /** What the caller gets; only of a successful call-scoped strategy. Never stored. */
  readonly value?: unknown;
  /** The last error, when the strategy failed; rethrown to the caller as it is. Never stored. */
  readonly error?: unknown;
  /** The effect ends this process: its row stays under way, and whoever takes over says whether it worked. */
  readonly handsOver?: boolean | undefined;
}

/**
 * A named way to recover. Call-scoped strategies receive the operation and run inside the call; service-scoped ones run in
 * the RecoveryEngine under a lease, and `succeeded` is written only after `verify` said so.
 *
 * @example
 * const flushCache: RecoveryStrategy = {
 *   name: "flush_cache", scope: "service", priority: 10, applicableFailureTypes: ["malformed_response"],
 *   async execute() { await cache.flush(); return { success: true, actionType: "reset", actionStrategy: "flush_cache", durationMs: 3, message: "cache flushed" }; },
 * };
 */
export interface RecoveryStrategy {
  readonly name: string;
  readonly scope: StrategyScope;
  /** Lower runs first. Built in: retry 1, failover 2, last-good fallback 3. */
  readonly priority: number;
  readonly applicableFailureTypes: readonly FailureType[];
  /** What it does to the work; decides which safety rules bind it. @default "custom" */
  readonly actionType?: ActionType | undefined;
  /** Of a repair: lower levels are tried first. @default `process` for a restart, else `service` */
  readonly level?: RepairLevel | undefined;
  /** Of a repair: what it acts upon, where that is not the service that failed. @default the service */
  readonly target?: string | undefined;
  /** Of a repair: it runs for one target at most once per this time; 0 to 2^31-1 ms. @default the engine's */
  readonly cooldownMs?: number | undefined;
  /** Of a repair: it begins so often at most for one target, over all instances. @default the engine's budget alone */
  readonly limit?: { readonly most: number; readonly windowMs: number } | undefined;
  /** Of a repair: it completes what another one did, and need not wait until that has settled. @default false */
  readonly completes?: boolean | undefined;
  /** Of a repair: an operator must say yes first, unless a policy says otherwise. @default false */
  readonly needsApproval?: boolean | undefined;
  appliesTo?(failure: Failure): boolean;
  execute(failure: Failure, operation?: RescueOperation): Promise<StrategyResult>;
  verify?(failure: Failure): Promise<boolean>;
  rollback?(failure: Failure): Promise<void>;
}

/** A row of `recovery_actions`: one rescue or repair by one strategy. */
export interface RecoveryAction {
  readonly actionId: string;
  /** Of the stored (folded) failure event. */
  readonly failureEventId: string;
  readonly timestamp: number;
  readonly actionType: ActionType;
  readonly actionStrategy: string;
  readonly status: ActionStatus;
  readonly scope: StrategyScope;
  /** The service acted upon, or moved to. */
  readonly target: string;
  readonly automated: boolean;
  /** `guard`, `engine`, or an operator's name. */
  readonly triggeredBy: string;
  readonly parameters: JsonObject | undefined;
  readonly result: JsonObject | undefined;
  /** Of the last occurrence. */
  readonly durationMs: number | undefined;
  readonly completedAt: number | undefined;
  /** How many rescues are folded into this row; at least 1. */
  readonly occurrences: number;
  readonly lastAt: number;
  readonly leaseUntil: number | undefined;
  readonly instance: string;
  readonly dryRun: boolean;
}

/** How a caller's value was obtained. */
export const RESCUE_KINDS = ["fresh", "retried", "hedged", "failed_over", "fallback", "stale"] as const;
export type RescueKind = (typeof RESCUE_KINDS)[number];

export interface Rescue {
  readonly kind: RescueKind;
  /** The target that answered; undefined when the fallback did. */
  readonly target: string | undefined;
  readonly attempts: number;
  readonly durationMs: number;
  /** Of a stale value: how long ago it was good. */
  readonly ageMs?: number | undefined;
}
