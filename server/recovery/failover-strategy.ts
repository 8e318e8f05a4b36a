/** Rescue number two: asks the next target in order of preference. */
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { runOnce } from "./strategy-result.js";

/**
 * Runs the operation's next target once; whoever executes it plans anew when that one fails too. For every type whose fault
 * lies with the target, its account or the way to it: another one may well answer.
 *
 * @example
 * const { success, value, metadata } = await new FailoverStrategy().execute(failure, operation);
 * // metadata: { from: "llm:openai", target: "llm:deepseek" }
 */
export class FailoverStrategy implements RecoveryStrategy {
  readonly name = "provider_failover";
  readonly scope = "call";
  readonly actionType = "failover";
  readonly priority = 2;
  readonly applicableFailureTypes: readonly FailureType[] = [
    "api_timeout",
    "service_unavailable",
    "connection_refused",
    "dns_error",
    "rate_limit",
    "quota_exceeded",
    "server_error",
    "auth_failed",
    "model_unavailable",
    "stream_broken",
    "malformed_response",
    "database_connection",
    "database_readonly",
    "disk_full",
    "redis_connection",
    // A request that is too long for one model may fit another's; no other error of a caller's own lets anybody else be asked.
    "procedure_error",
  ];
  readonly #clock: Clock;

  constructor({ clock = systemClock }: { readonly clock?: Clock } = {}) {
    this.#clock = clock;
  }

  execute(failure: Failure, operation?: RescueOperation): Promise<StrategyResult> {
    return runOnce(this, failure, operation, (way) => way.next(), {
      clock: this.#clock,
      succeeded: "another target answered",
      failed: operation?.targetsLeft === 0 ? "no other target is left" : "the next target failed too",
    });
  }
}
