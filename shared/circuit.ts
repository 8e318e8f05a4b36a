/** The words for circuits, shared by rows, API and dashboard. The state machine itself is in `server/circuit/`. */
import { MINUTE_MS, SECOND_MS } from "./units.js";

export const CIRCUIT_STATES = ["closed", "open", "half_open"] as const;
export type CircuitState = (typeof CIRCUIT_STATES)[number];

/** A hold by hand stands beside the state and wins over it. */
export const HELD_STATES = ["forced_open", "disabled", "metrics_only"] as const;
export type HeldState = (typeof HELD_STATES)[number];

/** Why a circuit moved: kept in `circuit_transitions`. */
export const TRANSITION_REASONS = [
  "failure_threshold",
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

/**
 * Whose failures move a circuit. `local`: each instance has its own. `shared`: one for all instances; the first that trips it
 * opens it everywhere. `quorum`: one for all, which opens when most of the instances that use it see it failing; until then
 * an instance that trips it refuses its own calls alone.
 */
export const CIRCUIT_SHARINGS = ["local", "shared", "quorum"] as const;
export type CircuitSharing = (typeof CIRCUIT_SHARINGS)[number];

export interface CircuitConfig {
  /** Consecutive failures that open the circuit, reached with `>=`. 1 to 10,000. @default 5 */
  readonly failureThreshold: number;
  /** Successful probes that close it. 1 to 1,000. @default 2 */
  readonly successThreshold: number;
  /** How long one call may take before it counts as a failure; 1 to 2^31-1 ms. @default 30_000 */
  readonly timeoutMs: number;
  /** How long it stays open before probes are admitted; 1 to 2^31-1 ms. @default 60_000 */
  readonly resetTimeoutMs: number;
  /** Probes in flight at once while half open; 1 to 1,000. @default successThreshold */
  readonly halfOpenPermits: number;
  /** A probe that has not settled after this long loses its permit; 1 to 2^31-1 ms. @default 2 × timeoutMs */
  readonly probeLeaseMs: number;
}

export const CIRCUIT_DEFAULTS = {
  failureThreshold: 5,
  successThreshold: 2,
  timeoutMs: 30 * SECOND_MS,
  resetTimeoutMs: MINUTE_MS,
} as const satisfies Partial<CircuitConfig>;

/** What anybody may know of one circuit. Times are UTC milliseconds. */
export interface CircuitSnapshot {
  readonly name: string;
  readonly state: CircuitState;
  /** Rises with every transition: results of an earlier generation do not count. */
  readonly version: number;
  /** Consecutive failures while closed. */
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
