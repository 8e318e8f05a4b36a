/** How one circuit is set: every setting with its unit, its legal range and its default, and the presets. */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from "./units.js";

/** What a closed circuit looks at: the failures in a row, its last calls, or the calls of the last while. */
export const WINDOW_KINDS = ["consecutive", "count", "time"] as const;
export type WindowKind = (typeof WINDOW_KINDS)[number];

export const HALF_OPEN_TARGETS = ["open", "closed"] as const;
export type HalfOpenTarget = (typeof HALF_OPEN_TARGETS)[number];

/** Whole numbers, except ratios, factor and jitter. Every threshold is reached with `>=`. */
export interface CircuitConfig {
  /** What a closed circuit looks at. @default "consecutive" */
  readonly window: WindowKind;
  /** Consecutive failures that open the circuit; heeded by window `consecutive` alone. 1 to 10,000. @default 5 */
  readonly failureThreshold: number;
  /**
   * After so long without a failure, those before it are forgotten: by windows `consecutive` and `count`, the latter with all
   * its calls. 1 to 2^31-1 ms. @default 300_000
   */
  readonly failureCountResetMs: number;
  /** Calls that window `count` looks at, the last ones. 1 to 10,000. @default 100 */
  readonly windowCalls: number;
  /** How far window `time` looks back, to within a tenth. 10 ms to 24 h. @default 10_000 */
  readonly windowMs: number;
  /**
   * Calls in the window before its ratios are judged; in a window `count`, at most `windowCalls`. 1 to 1,000,000. @default 10
   */
  readonly minimumCalls: number;
  /** Share of the window's calls that failed which opens the circuit; above 0, to 1. @default 0.5 without `windowFailures`, else none */
  readonly failureRatio: number | undefined;
  /** Failures in the window, however many calls, that open the circuit. 1 to 1,000,000. @default none */
  readonly windowFailures: number | undefined;
  /** From this duration on a call is slow, whether it failed or not. 1 to 2^31-1 ms. @default none is slow */
  readonly slowCallMs: number | undefined;
  /** Share of the window's calls that were slow which opens the circuit; above 0, to 1. @default 0.5 */
  readonly slowCallRatio: number;
  /** How long one call may take before it counts as a failure; 1 to 2^31-1 ms. @default 30_000 */
  readonly timeoutMs: number;
  /** How long it stays open before probes are admitted; 1 to 2^31-1 ms. @default 60_000 */
  readonly resetTimeoutMs: number;
  /** By how much each further opening without a closing in between waits longer. 1 to 10. @default 1: as long as the first */
  readonly resetTimeoutFactor: number;
  /** The longest wait, after many openings or as an outcome asks. 1 to 2^31-1 ms. @default one hour, or `resetTimeoutMs` if longer */
  readonly maxResetTimeoutMs: number;
  /** Up to this share of each wait is cut off by chance, so that a fleet does not probe at once. 0 to less than 1. @default 0 */
  readonly resetJitter: number;
  /** Successful probes that close it. 1 to 1,000. @default 2 */
  readonly successThreshold: number;
  /**
   * Probes whose results are heard: `successThreshold` of them must succeed, and it opens when they no longer can. 1 to 1,000.
   * @default successThreshold, so that one failed probe opens it; 10 with `successRatio`
   */
  readonly halfOpenCalls: number;
  /** Instead of `successThreshold`: the share of `halfOpenCalls` that must succeed, judged when all are in; above 0, to 1. @default none */
  readonly successRatio: number | undefined;
  /** Probes in flight at once while half open; 1 to 1,000. @default halfOpenCalls */
  readonly halfOpenPermits: number;
  /** A probe that has not settled after this long loses its permit; 1 to 2^31-1 ms. @default 2 × timeoutMs */
  readonly probeLeaseMs: number;
  /** How long it may stay half open; 1 to 2^31-1 ms. @default for ever, as long as probes come back */
  readonly halfOpenMaxMs: number | undefined;
  /** What becomes of it after `halfOpenMaxMs`. @default "open" */
  readonly halfOpenTarget: HalfOpenTarget;
  /** After probes closed it, the share of calls that is admitted grows from a tenth to all in this time. 1 to 2^31-1 ms. @default all at once */
  readonly rampMs: number | undefined;
}

export const CIRCUIT_DEFAULTS: CircuitConfig = Object.freeze({
  window: "consecutive",
  failureThreshold: 5,
  failureCountResetMs: 5 * MINUTE_MS,
  windowCalls: 100,
  windowMs: 10 * SECOND_MS,
  minimumCalls: 10,
  failureRatio: undefined,
  windowFailures: undefined,
  slowCallMs: undefined,
  slowCallRatio: 0.5,
  timeoutMs: 30 * SECOND_MS,
  resetTimeoutMs: MINUTE_MS,
  resetTimeoutFactor: 1,
  maxResetTimeoutMs: HOUR_MS,
  resetJitter: 0,
  successThreshold: 2,
  halfOpenCalls: 2,
  successRatio: undefined,
  halfOpenPermits: 2,
  probeLeaseMs: MINUTE_MS,
  halfOpenMaxMs: undefined,
  halfOpenTarget: "open",
  rampMs: undefined,
});

/** Of windows that look at more than the failures in a row, unless a number of failures is said instead. */
export const FAILURE_RATIO_DEFAULT = 0.5;

/** Probes that are heard where a ratio of them decides. */
export const RATIO_PROBES_DEFAULT = 10;

/** Two settings with a name: open soon and come back soon, or neither. */
export const CIRCUIT_PRESETS = {
  aggressive: { failureThreshold: 3, resetTimeoutMs: 30 * SECOND_MS, successThreshold: 1 },
  conservative: { failureThreshold: 10, resetTimeoutMs: 5 * MINUTE_MS, successThreshold: 5 },
} as const satisfies Readonly<Record<string, Partial<CircuitConfig>>>;
export type CircuitPreset = keyof typeof CIRCUIT_PRESETS;
