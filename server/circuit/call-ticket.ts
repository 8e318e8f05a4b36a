/** What an admitted call carries, and what circuits above and below one another ask and tell. */
import type { CircuitBreakerError } from "./circuit-breaker-error.js";
import type { Ticket } from "./circuit-status.js";
import type { ShadowRule } from "./shadow-rule.js";

/** What a failure's reporter may add to it. */
export interface FailureDetails {
  /** Kept as the cause of the refusals that follow. */
  readonly error?: unknown;
  /** Of the failure's row; linked from the transition that it causes. */
  readonly failureEventId?: string | undefined;
  /**
   * How long the service asked to be left alone (Retry-After), in milliseconds: the circuit opens at once, for that time, at
   * most `maxResetTimeoutMs`.
   */
  readonly openForMs?: number | undefined;
}

/** The ticket of an admitted call, also for the rule that only looks on, and for the circuits above of which it is a probe. */
export interface CallTicket extends Ticket {
  readonly above?: readonly PermitAbove[];
  readonly shadow?: { readonly rule: ShadowRule; readonly ticket: Ticket };
}

/** A permit of a circuit above: what came of the call is told to it too. */
export interface PermitAbove {
  success(now: number): void;
  failure(details: FailureDetails | undefined): void;
  ignored(): void;
}

/** What a circuit asks of the one above it. */
export interface CircuitAbove {
  /** Neither it nor one above it keeps calls away. */
  readonly admitsAll: boolean;
  /** Permits of it and those above, as far as the call is a probe of them; undefined when one of them refuses. */
  admitBelow(now: number | undefined): readonly PermitAbove[] | undefined;
  refusal(now?: number): CircuitBreakerError;
}
