/** What the watchdog tells, and what can be asked of it. */
import type { Severity } from "../../shared/failure.js";
import type { HealthReport } from "../../shared/health.js";
import type { OwnRate, SafetyVerdict } from "../../shared/safety.js";

/** Something that somebody should look at; it fires once and resolves once. */
export interface WatchdogAlert {
  readonly rule: "own_failure_rate" | "emergency_stop" | "no_activity";
  readonly severity: Severity;
  readonly summary: string;
}

/** `calm`: at the first look of this life it does not hold; what an earlier life left firing is over. */
export type WatchdogAlertStatus = "firing" | "resolved" | "calm";

export interface WatchdogState {
  readonly beats: number;
  /** How long ago the last beat ended, and how long it took; undefined before the first one. Milliseconds. */
  readonly sinceMs: number | undefined;
  readonly tookMs: number | undefined;
  /** A beat is due for so long that one was missed. */
  readonly missed: boolean;
  readonly verdict: SafetyVerdict;
  readonly own: OwnRate;
  readonly firing: readonly WatchdogAlert[];
}

/** What came of looking at all that is known and repairing what was broken. */
export interface HealReport {
  /** After the repairs. */
  readonly health: HealthReport;
  /** The checks that failed before. */
  readonly repaired: readonly {
    readonly check: string;
    readonly recovered: boolean;
    /** How each strategy that was tried ended. */
    readonly actions: readonly string[];
  }[];
}

export interface WatchdogControl {
  state(): WatchdogState;
  healEverything(): Promise<HealReport>;
}
