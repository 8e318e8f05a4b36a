/** Where one circuit stands, as a value: what the state machine takes and gives. Times are monotonic milliseconds. */
import type { CircuitHold } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import { type CircuitWindow, EMPTY_WINDOWS, type WindowCounts } from "./circuit-window.js";

interface StatusBase {
  /** Rises by one with every transition. */
  readonly version: number;
  readonly hold: PlacedHold | undefined;
}

export interface ClosedStatus extends StatusBase {
  readonly state: "closed";
  readonly window: CircuitWindow;
  /** Until then only a growing share of the calls is admitted; undefined where all are. */
  readonly rampUntil: number | undefined;
}

export interface OpenStatus extends StatusBase {
  readonly state: "open";
  /** Failures in the window that opened it. */
  readonly failureCount: number;
  /** All that the window held; undefined where it was another process's. */
  readonly opened: WindowCounts | undefined;
  /** Since it was closed last, this one included. */
  readonly openings: number;
  readonly retryAt: number;
}

export interface HalfOpenStatus extends StatusBase {
  readonly state: "half_open";
  readonly failureCount: number;
  readonly opened: WindowCounts | undefined;
  readonly openings: number;
  readonly since: number;
  readonly successCount: number;
  /** Probes that failed, where not the first one decides. */
  readonly failedProbes: number;
  /** Probes in flight. */
  readonly probes: readonly Probe[];
  /** Probes admitted since this half-open began: the last probe's number. */
  readonly admitted: number;
  /** What the fleet's lease allows; undefined while this process probes by itself. */
  readonly grant: ProbeGrant | undefined;
}

export type CircuitStatus = ClosedStatus | OpenStatus | HalfOpenStatus;

export interface Probe {
  readonly id: number;
  readonly leaseUntil: number;
}

/** This process's part of the probes of a whole fleet. */
export interface ProbeGrant {
  /** Probes in flight at once. */
  readonly permits: number;
  readonly until: number;
}

export interface PlacedHold {
  readonly hold: CircuitHold;
  /** Infinity without an expiry. */
  readonly expiresAt: number;
}

/** What an admitted call brings back with its result. */
export interface Ticket {
  readonly version: number;
  /** The probe's number; 0 of a call that is none. */
  readonly probe: number;
  /** NaN where nobody measures how long calls take. */
  readonly beganAt: number;
}

/** The ticket of a call whose result counts for nothing. */
export const UNCOUNTED: Ticket = Object.freeze({ version: -1, probe: 0, beganAt: Number.NaN });

/** A circuit that has never moved. One value for all of a kind: there may be many that nobody uses. */
export function initialStatus({ window }: CircuitConfig): ClosedStatus {
  return INITIAL[window];
}

const initial = (window: CircuitWindow): ClosedStatus =>
  Object.freeze({ state: "closed", version: 0, hold: undefined, window, rampUntil: undefined });

const INITIAL: Readonly<Record<CircuitWindow["kind"], ClosedStatus>> = Object.freeze({
  consecutive: initial(EMPTY_WINDOWS.consecutive),
  count: initial(EMPTY_WINDOWS.count),
  time: initial(EMPTY_WINDOWS.time),
});

export function withoutExpiredHold(status: CircuitStatus, now: number): CircuitStatus {
  return status.hold !== undefined && now >= status.hold.expiresAt ? { ...status, hold: undefined } : status;
}
