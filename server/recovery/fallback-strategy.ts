/** Rescue number three, the last one: answers from the operation's fallback. */
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { runOnce } from "./strategy-result.js";

/**
 * Runs the fallback that the operation was given, for any failure of a service, one that nobody can name included: whoever
 * gives a fallback wants it rather than an error.
 *
 * @example
 * const { value } = await new FallbackStrategy().execute(failure, operation);
 */
export class FallbackStrategy implements RecoveryStrategy {
  readonly name = "last_good_fallback";
  readonly scope = "call";
  readonly actionType = "fallback";
  readonly priority = 3;
  readonly applicableFailureTypes: readonly FailureType[] = [
    "api_timeout",
    "connection_refused",
    "dns_error",
    "rate_limit",
    "quota_exceeded",
    "service_unavailable",
    "server_error",
    "auth_failed",
    "model_unavailable",
    "stream_broken",
    "malformed_response",
    "database_connection",
    "database_busy",
    "database_conflict",
    "database_readonly",
    "disk_full",
    "redis_connection",
    "unknown",
  ];
  readonly #clock: Clock;

  constructor({ clock = systemClock }: { readonly clock?: Clock } = {}) {
    this.#clock = clock;
  }

  execute(failure: Failure, operation?: RescueOperation): Promise<StrategyResult> {
    return runOnce(this, failure, operation, (way) => way.fallback(), {
      clock: this.#clock,
      succeeded: "the fallback answered",
      failed: operation?.hasFallback === false ? "there is no fallback" : "the fallback failed too",
    });
  }
}
