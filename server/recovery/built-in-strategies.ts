/** The strategies that Paramedic brings along, ready to be registered. */
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type Random, systemRandom } from "../ports/random.js";
import { CircuitBreakStrategy, type CircuitBreakStrategyDeps } from "./circuit-break-strategy.js";
import { FailoverStrategy } from "./failover-strategy.js";
import { FallbackStrategy } from "./fallback-strategy.js";
import { RetryStrategy, type RetryStrategyOptions } from "./retry-strategy.js";

/**
 * Retry, failover and fallback; with a control channel and a way to look at circuits also the circuit break.
 *
 * @example
 * for (const strategy of createBuiltInStrategies({ circuits: { channel, circuitState } }, { maxAttempts: 3 })) engine.registerStrategy(strategy);
 */
export function createBuiltInStrategies(
  deps: {
    readonly clock?: Clock;
    readonly random?: Random;
    readonly circuits?: Pick<CircuitBreakStrategyDeps, "channel" | "circuitState">;
  } = {},
  retry: Omit<RetryStrategyOptions, "clock" | "random"> = {},
): readonly RecoveryStrategy[] {
  const { clock = systemClock, random = systemRandom, circuits } = deps;
  return [
    new RetryStrategy({ ...retry, clock, random }),
    new FailoverStrategy({ clock }),
    new FallbackStrategy({ clock }),
    ...(circuits ? [new CircuitBreakStrategy({ ...circuits, clock })] : []),
  ];
}
