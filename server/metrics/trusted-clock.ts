/** Whether the wall clock may decide what is old enough to delete: a clock that jumped has to prove itself first. */
import { HOUR_MS, MINUTE_MS } from "../../shared/units.js";

/** One reading of both clocks. */
export interface ClockReading {
  /** Wall time. */
  readonly now: number;
  readonly monotonic: number;
}

/** What was learned so far: since when the wall clock has run as evenly as the monotonic one. */
export interface ClockTrust {
  readonly last: ClockReading;
  /** Monotonic time from which on it is believed. */
  readonly believedFrom: number;
  /** Whether it was behind the newest row. */
  readonly isBehind: boolean;
}

export type ClockVerdict = { readonly trusted: true } | { readonly trusted: false; readonly reason: string };

/** A step of this much is what NTP does; more is a jump. */
const TOLERANCE_MS = 5 * MINUTE_MS;
/** After a jump, so long must the clock run evenly: a wrong clock is set right before it costs any row. */
const PROOF_MS = HOUR_MS;
/** Since the newest row, so long may a system have been off without its clock being doubted. */
const LONGEST_PAUSE_MS = 24 * HOUR_MS;

/**
 * A clock behind the newest row has to prove itself too. If it is wrong it deletes too little; if the row is wrong, written in
 * a minute in which some process had a clock that was years ahead, it must not stop all deleting for those years.
 *
 * @param newestRow wall time of the last commit of any process; undefined when there is none
 * @example
 * const { verdict, trust } = judgeClock(undefined, { now: clock.now(), monotonic: clock.monotonic() }, newest);
 */
export function judgeClock(
  before: ClockTrust | undefined,
  reading: ClockReading,
  newestRow: number | undefined,
): { readonly verdict: ClockVerdict; readonly trust: ClockTrust } {
  const isBehind = newestRow !== undefined && reading.now < newestRow - TOLERANCE_MS;
  const jumped = before === undefined ? pausedLong(reading, newestRow) : steppedBy(before.last, reading) > TOLERANCE_MS;
  const isDoubted = jumped || (isBehind && before?.isBehind !== true);
  const believedFrom = isDoubted ? reading.monotonic + PROOF_MS : (before?.believedFrom ?? reading.monotonic);
  const trust = { last: reading, believedFrom, isBehind };
  if (reading.monotonic < believedFrom) {
    const reason = isBehind ? "the clock is behind the newest row" : "the clock jumped within the last hour";
    return { trust, verdict: { trusted: false, reason } };
  }
  return { trust, verdict: { trusted: true } };
}

function steppedBy(last: ClockReading, reading: ClockReading): number {
  return Math.abs(reading.now - last.now - (reading.monotonic - last.monotonic));
}

function pausedLong({ now }: ClockReading, newestRow: number | undefined): boolean {
  return newestRow !== undefined && now - newestRow > LONGEST_PAUSE_MS;
}
