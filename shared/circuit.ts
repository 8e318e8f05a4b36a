/** The words for circuits, shared by rows, API and dashboard. The state machine itself is in `server/circuit/`. */
import type { CircuitConfig } from "./circuit-config.js";

export const CIRCUIT_STATES = ["closed", "open", "half_open"] as const;
export type CircuitState = (typeof CIRCUIT_STATES)[number];

/** A hold by hand stands beside the state and wins over it. */
export const HELD_STATES = ["forced_open", "disabled", "metrics_only"] as const;
export type HeldState = (typeof HELD_STATES)[number];

/** Why a circuit moved: kept in `circuit_transitions`. */
export const TRANSITION_REASONS = [
  "failure_threshold",
  "failure_ratio",
  "slow_call_ratio",
  "asked_to_wait",
  "probe_failed",
  "probes_succeeded",
  "reset_timeout",
  "half_open_expired",
  "children_open",
  "repair",
  "operator",
  "restored",
] as const;
export type TransitionReason = (typeof TRANSITION_REASONS)[number];

/** By these a circuit opens by itself: no hand, no repair and no memory of another life. */
export const OWN_OPENING_REASONS = [
  "failure_threshold",
  "failure_ratio",
  "slow_call_ratio",
  "asked_to_wait",
  "probe_failed",
  "half_open_expired",
  "children_open",
] as const satisfies readonly TransitionReason[];
export type OwnOpeningReason = (typeof OWN_OPENING_REASONS)[number];

/**
 * Whose failures move a circuit. `local`: each instance has its own. `shared`: one for all instances; the first that trips it
 * opens it everywhere. `quorum`: one for all, which opens when most of the instances that use it see it failing; until then
 * an instance that trips it refuses its own calls alone.
 */
export const CIRCUIT_SHARINGS = ["local", "shared", "quorum"] as const;
export type CircuitSharing = (typeof CIRCUIT_SHARINGS)[number];

/** What anybody may know of one circuit. Times are UTC milliseconds. */
export interface CircuitSnapshot {
  readonly name: string;
  readonly state: CircuitState;
  /** Rises with every transition: results of an earlier generation do not count. */
  readonly version: number;
  /** While closed, the failures that its window holds; once open, those that opened it. */
  readonly failureCount: number;
  /** Successful probes while half open. */
  readonly successCount: number;
  readonly lastFailureAt: number | undefined;
  readonly lastSuccessAt: number | undefined;
  readonly openedAt: number | undefined;
  /** When probes are next admitted; only while open. */
  readonly nextRetryAt: number | undefined;
  readonly held: CircuitHold | undefined;
  readonly config: CircuitConfig;
}

/**
 * What the window of a closed circuit holds now; while it is open, what that held when it opened; while it is half open, the
 * probes so far, without ratios. Of an opening in another process, or before a restart, the failures alone are known.
 */
export interface CircuitCounts {
  readonly calls: number;
  readonly failures: number;
  readonly slow: number;
  /** Of the slow ones. */
  readonly slowFailures: number;
  /** Undefined while the calls are too few to judge by. */
  readonly failureRatio: number | undefined;
  readonly slowCallRatio: number | undefined;
}

export interface CircuitHold {
  readonly state: HeldState;
  readonly by: string;
  readonly reason: string;
  /** UTC milliseconds; without it the hold stays until it is released. */
  readonly until: number | undefined;
}

/** A row of `circuit_transitions`. */
export interface CircuitTransition {
  readonly circuitName: string;
  readonly from: CircuitState;
  readonly to: CircuitState;
  readonly reason: TransitionReason;
  readonly version: number;
  readonly at: number;
  readonly instance: string;
  readonly failureEventId: string | undefined;
}
