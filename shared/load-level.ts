/** When a process sheds load, by how late its event loop is. Pure. */

export interface LoadState {
  readonly level: 0 | 1 | 2;
  /** Readings in a row that speak for a higher level. */
  readonly late: number;
  /** Readings in a row that speak for a lower one. */
  readonly calm: number;
}

export const CALM: LoadState = Object.freeze({ level: 0, late: 0, calm: 0 });

export interface LoadLimits {
  /** From this delay on optional calls are refused; from twice as much on all but critical ones. */
  readonly maxDelayMs: number;
}

/** One block that is over says nothing about the next call: several late readings in a row do. */
const LATE_READINGS = 3;

/** It comes down more slowly than it goes up, a level at a time, so that it does not flap. */
const CALM_READINGS = 20;

/** A level is left once the delay is below this share of what it began at. */
const CALM_SHARE = 0.5;

/**
 * @param delayMs how late the last reading was
 * @example nextLoad(CALM, 900, { maxDelayMs: 200 }).late // 1
 */
export function nextLoad(state: LoadState, delayMs: number, { maxDelayMs }: LoadLimits): LoadState {
  const wanted = delayMs >= 2 * maxDelayMs ? 2 : delayMs >= maxDelayMs ? 1 : 0;
  if (wanted > state.level) {
    const late = state.late + 1;
    return late >= LATE_READINGS ? { level: wanted, late: 0, calm: 0 } : { ...state, late, calm: 0 };
  }
  const beganAt = state.level === 2 ? 2 * maxDelayMs : maxDelayMs;
  if (state.level === 0 || delayMs >= beganAt * CALM_SHARE) return { ...state, late: 0, calm: 0 };
  const calm = state.calm + 1;
  return calm >= CALM_READINGS ? { level: state.level === 2 ? 1 : 0, late: 0, calm: 0 } : { ...state, late: 0, calm };
}
