/** What a circuit says beside its transitions: what it would have done where it may not, or by another rule. */
import type { TransitionReason } from "../../shared/circuit.js";

/** A circuit would have refused calls from now on. Under `metrics_only` told once for each hold, by a shadow rule each time. */
export interface CircuitNotice {
  readonly type: "would_have_opened";
  readonly circuitName: string;
  readonly rule: "metrics_only" | "shadow";
  readonly reason: TransitionReason;
  /** Failures that its window held. */
  readonly failureCount: number;
  /** UTC milliseconds. */
  readonly at: number;
}
