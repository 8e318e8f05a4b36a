/** Turns a circuit as it is stored, with UTC times, into a status of this process, with monotonic times. Pure. */
import type { CircuitHold, CircuitSnapshot } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import type { Clock } from "../ports/clock.js";
import type { StoredCircuit } from "../ports/store.js";
import type { CircuitStatus, PlacedHold } from "./circuit-status.js";
import { restoredWindow } from "./circuit-window.js";

/** One instant on the clock of this process and on the one that stored times came by. */
export interface Instant {
  /** Monotonic milliseconds. */
  readonly monotonic: number;
  /** UTC milliseconds. */
  readonly wall: number;
}

export function instantOf(clock: Clock): Instant {
  return { monotonic: clock.monotonic(), wall: clock.now() };
}

export type RestorableCircuit = Pick<
  CircuitSnapshot,
  "state" | "version" | "failureCount" | "lastFailureAt" | "nextRetryAt" | "held"
> &
  Partial<Pick<StoredCircuit, "openedAt" | "probeLease">>;

/**
 * The status to begin with after a restart. An open circuit waits for what is left of its time, never longer than that time
 * was in all, whatever the clocks say. A half-open one is open with its wait over, because its probes died with their
 * process: the next call is the one new probe.
 */
export function restoreStatus(stored: RestorableCircuit, instant: Instant, config: CircuitConfig): CircuitStatus {
  const { version, failureCount } = stored;
  const hold = placeHold(stored.held, instant);
  switch (stored.state) {
    case "closed": {
      const window = restoredWindow(failureCount, lastFailureAtOf(stored, instant), config);
      return { state: "closed", version, hold, window, rampUntil: undefined };
    }
    case "open": {
      const retryAt = instant.monotonic + waitLeftMs(stored, instant, config);
      return { state: "open", version, hold, failureCount, opened: undefined, openings: 1, retryAt };
    }
    case "half_open":
      return { state: "open", version, hold, failureCount, opened: undefined, openings: 1, retryAt: instant.monotonic };
  }
}

/**
 * The status after another living instance moved the circuit. While that one probes, this one waits for its verdict, at most
 * for as long as it may probe; then it probes itself.
 *
 * @param jitter in [0, 1): spreads the first probes of instances that heard of the same opening, by up to a tenth of the wait
 */
export function followStatus(
  moved: RestorableCircuit,
  instant: Instant,
  config: CircuitConfig,
  jitter: number,
): CircuitStatus {
  const status = restoreStatus(moved, instant, config);
  if (status.state !== "open") return status;
  return moved.state === "half_open"
    ? { ...status, retryAt: instant.monotonic + leaseLeftMs(moved, instant, config) }
    : { ...status, retryAt: status.retryAt + 0.1 * jitter * config.resetTimeoutMs };
}

/** Undefined for no hold, and for one that has expired. */
export function placeHold(hold: CircuitHold | undefined, instant: Instant): PlacedHold | undefined {
  if (hold === undefined) return undefined;
  if (hold.until === undefined) return { hold, expiresAt: Number.POSITIVE_INFINITY };
  return hold.until > instant.wall ? { hold, expiresAt: instant.monotonic + (hold.until - instant.wall) } : undefined;
}

function leaseLeftMs({ probeLease }: RestorableCircuit, instant: Instant, { probeLeaseMs }: CircuitConfig): number {
  return probeLease === undefined ? probeLeaseMs : Math.min(Math.max(probeLease.until - instant.wall, 0), probeLeaseMs);
}

function waitLeftMs({ nextRetryAt, openedAt }: RestorableCircuit, instant: Instant, config: CircuitConfig): number {
  const { resetTimeoutMs, maxResetTimeoutMs } = config;
  const leftMs = (nextRetryAt ?? Number.NaN) - instant.wall;
  if (!Number.isFinite(leftMs)) return resetTimeoutMs;
  const inAllMs = (nextRetryAt ?? 0) - (openedAt ?? Number.POSITIVE_INFINITY);
  return Math.min(Math.max(leftMs, 0), Math.max(inAllMs, resetTimeoutMs), maxResetTimeoutMs);
}

/** A streak whose last failure nobody dated, or that is dated in the future, is as young as can be. */
function lastFailureAtOf({ lastFailureAt }: RestorableCircuit, instant: Instant): number {
  return lastFailureAt === undefined
    ? instant.monotonic
    : instant.monotonic - Math.max(0, instant.wall - lastFailureAt);
}
