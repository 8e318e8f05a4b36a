/**
 * What a closed circuit remembers of its latest results, as a value: `record(window, failed, slow, now, config)` gives the
 * next window and leaves the given one as it is. Each result costs the same, however much the window holds: a calendar of ten
 * buckets, or a queue of two halves, is rebuilt once in many results. Pure.
 */
import type { CircuitCounts } from "../../shared/circuit.js";
import type { CircuitConfig, WindowKind } from "../../shared/circuit-config.js";

export type WindowCounts = Pick<CircuitCounts, "calls" | "failures" | "slow" | "slowFailures">;

interface WindowBase extends WindowCounts {
  /** Monotonic; -Infinity before the first failure. */
  readonly lastFailureAt: number;
}

/** Failures in a row: a success ends it, so calls and failures are the same. */
export interface StreakWindow extends WindowBase {
  readonly kind: "consecutive";
}

/** The last calls, in a queue whose older half is read and whose newer half grows. */
export interface CountWindow extends WindowBase {
  readonly kind: "count";
  /** Oldest first; the first `forgotten` of them have left the window. */
  readonly older: readonly Remembered[];
  readonly forgotten: number;
  readonly newest: Remembered | undefined;
}

/** One call, and in the newer half those before it. */
export interface Remembered {
  readonly failed: boolean;
  readonly slow: boolean;
  readonly earlier: Remembered | undefined;
}

/** The calls of the last while: full buckets, and the one that is being filled, which holds what the totals have more. */
export interface TimeWindow extends WindowBase {
  readonly kind: "time";
  readonly buckets: readonly Bucket[];
  /** When the bucket that is being filled began. */
  readonly startAt: number;
}

export interface Bucket extends WindowCounts {
  readonly startAt: number;
}

export type CircuitWindow = StreakWindow | CountWindow | TimeWindow;

const BUCKETS = 10;

const NO_CALL: Remembered = Object.freeze({ failed: false, slow: false, earlier: undefined });

const NOTHING = { calls: 0, failures: 0, slow: 0, slowFailures: 0, lastFailureAt: Number.NEGATIVE_INFINITY } as const;

export const EMPTY_WINDOWS: { readonly [K in WindowKind]: Extract<CircuitWindow, { kind: K }> } = Object.freeze({
  consecutive: Object.freeze({ kind: "consecutive", ...NOTHING }),
  count: Object.freeze({ kind: "count", ...NOTHING, older: [], forgotten: 0, newest: undefined }),
  time: Object.freeze({ kind: "time", ...NOTHING, buckets: [], startAt: Number.NEGATIVE_INFINITY }),
});

/**
 * @param now monotonic; one that is earlier than a previous one counts as that one
 * @example record(EMPTY_WINDOWS.consecutive, true, false, now, config).failures // 1
 */
export function record(
  window: CircuitWindow,
  failed: boolean,
  slow: boolean,
  now: number,
  config: CircuitConfig,
): CircuitWindow {
  switch (window.kind) {
    case "consecutive":
      return recordInStreak(window, failed, now, config);
    case "count":
      return recordCall(forgetOldFailures(window, now, config), failed, slow, now, config);
    case "time":
      return recordInBucket(window, failed, slow, now, config);
  }
}

/**
 * Until when a success can bring no threshold nearer, so that successes need only be counted: in a window without failures,
 * and in one of time that has calls enough, until its bucket is full.
 */
export function calmUntil(window: CircuitWindow, config: CircuitConfig): number {
  const { kind, failures, calls } = window;
  switch (kind) {
    case "consecutive":
      return failures === 0 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
    case "count":
      return Number.NEGATIVE_INFINITY;
    case "time": {
      const isCalm = config.slowCallMs === undefined && (failures === 0 || calls >= config.minimumCalls);
      return isCalm ? window.startAt + bucketMs(config) : Number.NEGATIVE_INFINITY;
    }
  }
}

/** The window after that many successes before `calmUntil`. */
export function addSuccesses(window: CircuitWindow, successes: number): CircuitWindow {
  return window.kind === "time" ? { ...window, calls: window.calls + successes } : window;
}

/** The window as it stands at `now`, without what has left it since its last result. */
export function asOf(window: CircuitWindow, now: number, config: CircuitConfig): CircuitWindow {
  switch (window.kind) {
    case "consecutive":
    case "count":
      return forgetOldFailures(window, now, config);
    case "time":
      return turnPage(window, now, config);
  }
}

/** What the window holds at `now`. */
export function countsIn(window: CircuitWindow, now: number, config: CircuitConfig): WindowCounts {
  const { calls, failures, slow, slowFailures } = asOf(window, now, config);
  return { calls, failures, slow, slowFailures };
}

/** The window under another configuration: it keeps what both let it hold; another kind of window begins empty. */
export function refit(window: CircuitWindow, now: number, before: CircuitConfig, config: CircuitConfig): CircuitWindow {
  if (window.kind !== config.window) return EMPTY_WINDOWS[config.window];
  const present = asOf(window, now, before);
  switch (present.kind) {
    case "consecutive":
      return forgetOldFailures(present, now, config);
    case "count":
      return forgetOldFailures(forgetOldest(present, config.windowCalls), now, config);
    case "time":
      return turnPage(present, now, config);
  }
}

/** The window after a restart, of which only the streak was kept: never one that should have opened the circuit. */
export function restoredWindow(
  failureCount: number,
  lastFailureAt: number,
  { window, failureThreshold }: CircuitConfig,
): CircuitWindow {
  const failures = Math.min(failureCount, failureThreshold - 1);
  return window === "consecutive" && failures > 0
    ? { kind: "consecutive", calls: failures, failures, slow: 0, slowFailures: 0, lastFailureAt }
    : EMPTY_WINDOWS[window];
}

function recordInStreak(window: StreakWindow, failed: boolean, now: number, config: CircuitConfig): StreakWindow {
  if (!failed) return EMPTY_WINDOWS.consecutive;
  const failures = forgetOldFailures(window, now, config).failures + 1;
  return { kind: "consecutive", calls: failures, failures, slow: 0, slowFailures: 0, lastFailureAt: now };
}

function recordCall(
  window: CountWindow,
  failed: boolean,
  slow: boolean,
  now: number,
  config: CircuitConfig,
): CountWindow {
  const {
    calls,
    failures,
    slow: slowOnes,
    slowFailures,
    lastFailureAt,
    older,
    forgotten,
    newest,
  } = forgetOldest(window, config.windowCalls - 1);
  return {
    kind: "count",
    calls: calls + 1,
    failures: failed ? failures + 1 : failures,
    slow: slow ? slowOnes + 1 : slowOnes,
    slowFailures: slow && failed ? slowFailures + 1 : slowFailures,
    lastFailureAt: failed ? now : lastFailureAt,
    older,
    forgotten,
    newest: { failed, slow, earlier: newest },
  };
}

function forgetOldest(window: CountWindow, callsLeft: number): CountWindow {
  let kept = window;
  while (kept.calls > callsLeft) {
    const isRead = kept.forgotten === kept.older.length;
    const older = isRead ? inOrder(kept.newest) : kept.older;
    const forgotten = isRead ? 0 : kept.forgotten;
    const oldest = older[forgotten] ?? NO_CALL;
    kept = {
      kind: "count",
      calls: kept.calls - 1,
      failures: oldest.failed ? kept.failures - 1 : kept.failures,
      slow: oldest.slow ? kept.slow - 1 : kept.slow,
      slowFailures: oldest.slow && oldest.failed ? kept.slowFailures - 1 : kept.slowFailures,
      lastFailureAt: kept.lastFailureAt,
      older,
      forgotten: forgotten + 1,
      newest: isRead ? undefined : kept.newest,
    };
  }
  return kept;
}

function inOrder(newest: Remembered | undefined): readonly Remembered[] {
  const oldestFirst: Remembered[] = [];
  for (let call = newest; call !== undefined; call = call.earlier) oldestFirst.push(call);
  return oldestFirst.reverse();
}

function forgetOldFailures<W extends StreakWindow | CountWindow>(window: W, now: number, config: CircuitConfig): W;
function forgetOldFailures(
  window: StreakWindow | CountWindow,
  now: number,
  { failureCountResetMs }: CircuitConfig,
): StreakWindow | CountWindow {
  const stale = window.failures > 0 && now - window.lastFailureAt >= failureCountResetMs;
  return stale ? EMPTY_WINDOWS[window.kind] : window;
}

function recordInBucket(
  window: TimeWindow,
  failed: boolean,
  slow: boolean,
  now: number,
  config: CircuitConfig,
): TimeWindow {
  const present = now < window.startAt + bucketMs(config) ? window : turnPage(window, now, config);
  return {
    kind: "time",
    calls: present.calls + 1,
    failures: failed ? present.failures + 1 : present.failures,
    slow: slow ? present.slow + 1 : present.slow,
    slowFailures: slow && failed ? present.slowFailures + 1 : present.slowFailures,
    lastFailureAt: failed ? now : present.lastFailureAt,
    buckets: present.buckets,
    startAt: present.startAt,
  };
}

/** Begins the bucket of `now`, and drops those that have left the window: however long nothing happened, in one step. */
function turnPage(window: TimeWindow, now: number, config: CircuitConfig): TimeWindow {
  const startAt = Math.floor(now / bucketMs(config)) * bucketMs(config);
  const buckets = [...window.buckets, filled(window)].filter(
    (bucket) => bucket.calls > 0 && bucket.startAt > startAt - BUCKETS * bucketMs(config),
  );
  return { kind: "time", ...sum(buckets), lastFailureAt: window.lastFailureAt, buckets, startAt };
}

/** The bucket that was being filled. */
function filled({ startAt, calls, failures, slow, slowFailures, buckets }: TimeWindow): Bucket {
  const before = sum(buckets);
  return {
    startAt,
    calls: calls - before.calls,
    failures: failures - before.failures,
    slow: slow - before.slow,
    slowFailures: slowFailures - before.slowFailures,
  };
}

function sum(buckets: readonly Bucket[]): WindowCounts {
  let [calls, failures, slow, slowFailures] = [0, 0, 0, 0];
  for (const bucket of buckets) {
    calls += bucket.calls;
    failures += bucket.failures;
    slow += bucket.slow;
    slowFailures += bucket.slowFailures;
  }
  return { calls, failures, slow, slowFailures };
}

/** Whole milliseconds, so that buckets begin at the same times for ever. */
function bucketMs({ windowMs }: CircuitConfig): number {
  return Math.ceil(windowMs / BUCKETS);
}
