/** What an error means: one class, several separate decisions. Structural, so that it works across duplicate installs. */
import type { ErrorCategory, FailureCategory, FailureType } from "./failure.js";
import type { RetryHint } from "./retry-hint.js";

/** What a circuit makes of a result: `ignored` neither counts nor clears a streak, and gives its permit back. */
export const VERDICTS = ["failure", "success", "ignored"] as const;
export type Verdict = (typeof VERDICTS)[number];

export const BLAMES = ["target", "account", "credential", "network", "caller", "configuration", "unknown"] as const;
export type Blame = (typeof BLAMES)[number];

export interface Classification {
  readonly failureType: FailureType;
  readonly failureCategory: FailureCategory;
  readonly errorCategory: ErrorCategory;
  /** What the circuit counts. Contention, 429 and the caller's own errors are `ignored`. */
  readonly verdict: Verdict;
  /** The same target may be asked again. */
  readonly retryable: boolean;
  /** Another target may be asked. */
  readonly failover: boolean;
  /** How long the target asked to be left alone (Retry-After and its kin); undefined without a hint. */
  readonly holdMs: number | undefined;
  /** Where that was said. */
  readonly holdSource?: RetryHint["source"] | undefined;
  readonly blame: Blame;
  /** Proof that the work was not begun: refused before anything was sent. */
  readonly nothingSent: boolean;
  /** The class in words: `overloaded`, `quota_exhausted`, `context_overflow`, … */
  readonly reason: string;
}
