/** Completes and checks the options of one circuit, before it sees its first call. */
import { CIRCUIT_DEFAULTS, type CircuitConfig } from "../../shared/circuit.js";
import { ParamedicError } from "../../shared/errors.js";
import { MAX_TIMER_MS } from "../../shared/units.js";

/** What a user may say about a circuit; `timeout` and `resetTimeout` are other names for the fields with units. */
export interface CircuitBreakerOptions extends Partial<CircuitConfig> {
  /** Milliseconds; the same as `timeoutMs`, which wins. */
  readonly timeout?: number;
  /** Milliseconds; the same as `resetTimeoutMs`, which wins. */
  readonly resetTimeout?: number;
}

const LEGAL_RANGES = {
  failureThreshold: [1, 10_000],
  successThreshold: [1, 1_000],
  timeoutMs: [1, MAX_TIMER_MS],
  resetTimeoutMs: [1, MAX_TIMER_MS],
  halfOpenPermits: [1, 1_000],
  probeLeaseMs: [1, MAX_TIMER_MS],
} as const satisfies Record<keyof CircuitConfig, readonly [number, number]>;

/** @throws ParamedicError `CONFIGURATION_INVALID` with every problem: the option, what it got, what is legal */
export function resolveCircuitConfig(name: string, options: CircuitBreakerOptions = {}): CircuitConfig {
  const successThreshold = options.successThreshold ?? CIRCUIT_DEFAULTS.successThreshold;
  const timeoutMs = options.timeoutMs ?? options.timeout ?? CIRCUIT_DEFAULTS.timeoutMs;
  const config: CircuitConfig = Object.freeze({
    failureThreshold: options.failureThreshold ?? CIRCUIT_DEFAULTS.failureThreshold,
    successThreshold,
    timeoutMs,
    resetTimeoutMs: options.resetTimeoutMs ?? options.resetTimeout ?? CIRCUIT_DEFAULTS.resetTimeoutMs,
    halfOpenPermits: options.halfOpenPermits ?? successThreshold,
    probeLeaseMs: options.probeLeaseMs ?? Math.min(2 * timeoutMs, MAX_TIMER_MS),
  });
  if (typeof name !== "string" || name === "") {
    throw new ParamedicError("CONFIGURATION_INVALID", "a circuit needs a name, such as http:billing");
  }
  const problems = CONFIG_KEYS.flatMap((key) => problemOf(key, config[key]));
  if (problems.length > 0) {
    throw new ParamedicError("CONFIGURATION_INVALID", `circuit "${name}": ${problems.join("; ")}`);
  }
  return config;
}

/** Whether two circuits would behave alike. */
export function sameCircuitConfig(a: CircuitConfig, b: CircuitConfig): boolean {
  return CONFIG_KEYS.every((key) => a[key] === b[key]);
}

const CONFIG_KEYS = [
  "failureThreshold",
  "successThreshold",
  "timeoutMs",
  "resetTimeoutMs",
  "halfOpenPermits",
  "probeLeaseMs",
] as const satisfies readonly (keyof CircuitConfig)[];

function problemOf(key: keyof CircuitConfig, value: unknown): readonly string[] {
  const [least, most] = LEGAL_RANGES[key];
  const whole = typeof value === "number" && Number.isInteger(value);
  if (whole && value >= least && value <= most) return [];
  return [`${key} must be a whole number in [${least}, ${most}], got ${String(value)}`];
}
