/** Whether a timeout is the fault of this process, which had too little processor, and not of the service that it asked. */

/**
 * An exchange with a service takes a good many rounds of the event loop. A busy loop is late for some tenths of the time; one
 * that is starved, for nearly all of it, and only that one is an excuse: a service that hangs must not hide behind load.
 */
const LATE_SHARE = 0.5;

/**
 * @param lateMs by which the event loop was late in all while the service was waited for; may be more than `limitMs`
 * @param limitMs how long the service might take
 * @example isOwnDelay(800, 1_000) // true: the service was heard for a fifth of its second
 */
export function isOwnDelay(lateMs: number, limitMs: number): boolean {
  return lateMs > limitMs * LATE_SHARE;
}
