/** The strategies that Paramedic brings along, ready to be registered. */
import type { RecoveryStrategy } from "../../shared/recovery.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type Random, systemRandom } from "../ports/random.js";
import { type AlertOperatorDeps, AlertOperatorStrategy } from "./alert-operator-strategy.js";
import { CircuitBreakStrategy, type CircuitBreakStrategyDeps } from "./circuit-break-strategy.js";
import { CircuitResetStrategy, type CircuitResetStrategyDeps } from "./circuit-reset-strategy.js";
import { FailoverStrategy } from "./failover-strategy.js";
import { FallbackStrategy } from "./fallback-strategy.js";
import { ReconnectStrategy, type ReconnectStrategyDeps } from "./reconnect-strategy.js";
import { RetryStrategy, type RetryStrategyOptions } from "./retry-strategy.js";

/**
 * Retry, failover and fallback; with a control channel and a way to look at circuits also the circuit break, with a way to ask
 * services past their circuits also its reset, with connections that can be replaced also the reconnect, with somebody to tell
 * also the alert.
 *
 * @example
 * for (const strategy of createBuiltInStrategies({ circuits: { channel, circuitState } }, { maxAttempts: 3 })) engine.registerStrategy(strategy);
 */
export function createBuiltInStrategies(
  deps: {
    readonly clock?: Clock;
    readonly random?: Random;
    readonly circuits?: Omit<CircuitBreakStrategyDeps, "clock">;
    readonly circuitReset?: Omit<CircuitResetStrategyDeps, "clock">;
    readonly reconnectable?: ReconnectStrategyDeps["reconnectable"];
    readonly operators?: Omit<AlertOperatorDeps, "clock">;
  } = {},
  retry: Omit<RetryStrategyOptions, "clock" | "random"> = {},
): readonly RecoveryStrategy[] {
  const { clock = systemClock, random = systemRandom, circuits, circuitReset, reconnectable, operators } = deps;
  return [
    new RetryStrategy({ ...retry, clock, random }),
    new FailoverStrategy({ clock }),
    new FallbackStrategy({ clock }),
    ...(reconnectable
      ? [
          new ReconnectStrategy({ reconnectable, clock }),
          new ReconnectStrategy({ reconnectable, clock, kind: "redis" }),
        ]
      : []),
    ...(operators ? [new AlertOperatorStrategy({ ...operators, clock })] : []),
    ...(circuits ? [new CircuitBreakStrategy({ ...circuits, clock })] : []),
    ...(circuitReset ? [new CircuitResetStrategy({ ...circuitReset, clock })] : []),
  ];
}
