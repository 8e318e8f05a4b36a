/** How long a circuit stays open. Pure: chance comes in as a number. */
import type { CircuitConfig } from "../../shared/circuit-config.js";

/**
 * Grows with each opening since the circuit was closed last, up to `maxResetTimeoutMs`; then chance cuts off up to
 * `resetJitter` of it, so that the longest wait stays the longest.
 *
 * @param openings 1 for the first
 * @param chance in [0, 1)
 * @example openTimeMs(3, { ...config, resetTimeoutMs: 1_000, resetTimeoutFactor: 2 }, 0) // 4_000
 */
export function openTimeMs(openings: number, config: CircuitConfig, chance: number): number {
  const grown = config.resetTimeoutMs * config.resetTimeoutFactor ** (openings - 1);
  return Math.min(grown, config.maxResetTimeoutMs) * (1 - config.resetJitter * chance);
}

/** The time that an outcome asked for, at most `maxResetTimeoutMs`; undefined when it asked for none that can be kept. */
export function askedTimeMs(openForMs: number | undefined, config: CircuitConfig): number | undefined {
  const askedMs = openForMs ?? 0;
  return askedMs > 0 ? Math.min(askedMs, config.maxResetTimeoutMs) : undefined;
}
