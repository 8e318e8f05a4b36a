/** Completes and checks the options of one circuit, before it sees its first call. */
import {
  CIRCUIT_DEFAULTS,
  CIRCUIT_PRESETS,
  type CircuitConfig,
  type CircuitPreset,
  FAILURE_RATIO_DEFAULT,
  HALF_OPEN_TARGETS,
  RATIO_PROBES_DEFAULT,
  WINDOW_KINDS,
} from "../../shared/circuit-config.js";
import { ParamedicError } from "../../shared/errors.js";
import { DAY_MS, MAX_TIMER_MS } from "../../shared/units.js";

/**
 * What a user may say about a circuit; `timeout` and `resetTimeout` are other names for the settings with units.
 *
 * @example { preset: "aggressive", timeoutMs: 5_000 }
 * @example { window: "time", windowMs: 30_000, failureRatio: 0.5, minimumCalls: 20, slowCallMs: 2_000 }
 */
export interface CircuitBreakerOptions extends Partial<CircuitConfig> {
  /** Settings that stand where nothing else is said: `aggressive` opens after 3 failures for 30 s, `conservative` after 10 for 5 min. */
  readonly preset?: CircuitPreset | undefined;
  /** Milliseconds; the same as `timeoutMs`, which wins. */
  readonly timeout?: number;
  /** Milliseconds; the same as `resetTimeoutMs`, which wins. */
  readonly resetTimeout?: number;
}

/** @throws ParamedicError `CONFIGURATION_INVALID` with every problem: the option, what it got, what is legal */
export function resolveCircuitConfig(name: string, options: CircuitBreakerOptions = {}): CircuitConfig {
  checkCircuitName(name);
  const preset = options.preset;
  const legalPreset = preset === undefined || Object.hasOwn(CIRCUIT_PRESETS, preset);
  const config = complete(legalPreset ? options : { ...options, preset: undefined });
  const problems = [
    ...(legalPreset ? [] : [`preset must be one of ${Object.keys(CIRCUIT_PRESETS).join(", ")}, got ${String(preset)}`]),
    ...CONFIG_KEYS.flatMap((key) => RULES[key](key, config[key])),
    ...contradictions(options, config),
  ];
  if (problems.length > 0) {
    throw new ParamedicError("CONFIGURATION_INVALID", `circuit "${name}": ${problems.join("; ")}`);
  }
  return config;
}

/** @throws ParamedicError `CONFIGURATION_INVALID` for what is no text, and for none */
export function checkCircuitName(name: unknown): void {
  if (typeof name === "string" && name !== "") return;
  throw new ParamedicError("CONFIGURATION_INVALID", "a circuit needs a name, such as http:billing");
}

/** Whether two circuits would behave alike. */
export function sameCircuitConfig(a: CircuitConfig, b: CircuitConfig): boolean {
  return CONFIG_KEYS.every((key) => a[key] === b[key]);
}

/** What is not said follows from what is, and then from the defaults. */
function complete({ preset, timeout, resetTimeout, ...said }: CircuitBreakerOptions): CircuitConfig {
  const base = { ...CIRCUIT_DEFAULTS, ...(preset && CIRCUIT_PRESETS[preset]) };
  const window = said.window ?? base.window;
  const isPlainWindow = window !== "consecutive" && said.windowFailures === undefined;
  const windowCalls = said.windowCalls ?? base.windowCalls;
  const minimumCalls = said.minimumCalls ?? base.minimumCalls;
  const successThreshold = said.successThreshold ?? base.successThreshold;
  const halfOpenCalls =
    said.halfOpenCalls ?? (said.successRatio === undefined ? successThreshold : RATIO_PROBES_DEFAULT);
  const timeoutMs = said.timeoutMs ?? timeout ?? base.timeoutMs;
  const resetTimeoutMs = said.resetTimeoutMs ?? resetTimeout ?? base.resetTimeoutMs;
  return Object.freeze({
    window,
    failureThreshold: said.failureThreshold ?? base.failureThreshold,
    failureCountResetMs: said.failureCountResetMs ?? base.failureCountResetMs,
    windowCalls,
    windowMs: said.windowMs ?? base.windowMs,
    // More calls than the window holds would never be there.
    minimumCalls: window === "count" ? Math.min(minimumCalls, windowCalls) : minimumCalls,
    failureRatio: said.failureRatio ?? (isPlainWindow ? FAILURE_RATIO_DEFAULT : undefined),
    windowFailures: said.windowFailures,
    slowCallMs: said.slowCallMs,
    slowCallRatio: said.slowCallRatio ?? base.slowCallRatio,
    timeoutMs,
    resetTimeoutMs,
    resetTimeoutFactor: said.resetTimeoutFactor ?? base.resetTimeoutFactor,
    maxResetTimeoutMs: said.maxResetTimeoutMs ?? Math.max(base.maxResetTimeoutMs, resetTimeoutMs),
    resetJitter: said.resetJitter ?? base.resetJitter,
    successThreshold,
    halfOpenCalls,
    successRatio: said.successRatio,
    halfOpenPermits: said.halfOpenPermits ?? halfOpenCalls,
    probeLeaseMs: said.probeLeaseMs ?? Math.min(2 * timeoutMs, MAX_TIMER_MS),
    halfOpenMaxMs: said.halfOpenMaxMs,
    halfOpenTarget: said.halfOpenTarget ?? base.halfOpenTarget,
    rampMs: said.rampMs,
  });
}

/** Says what is wrong with a value, if anything. */
type Rule = (key: keyof CircuitConfig, value: unknown) => readonly string[];

const duration = whole(1, MAX_TIMER_MS);
const ratio = number("a number above 0, up to 1", (value) => value > 0 && value <= 1);

const RULES: Readonly<Record<keyof CircuitConfig, Rule>> = {
  window: oneOf(WINDOW_KINDS),
  failureThreshold: whole(1, 10_000),
  failureCountResetMs: duration,
  windowCalls: whole(1, 10_000),
  windowMs: whole(10, DAY_MS),
  minimumCalls: whole(1, 1_000_000),
  failureRatio: optional(ratio),
  windowFailures: optional(whole(1, 1_000_000)),
  slowCallMs: optional(duration),
  slowCallRatio: ratio,
  timeoutMs: duration,
  resetTimeoutMs: duration,
  resetTimeoutFactor: number("a number in [1, 10]", (value) => value >= 1 && value <= 10),
  maxResetTimeoutMs: duration,
  resetJitter: number("a number from 0 to less than 1", (value) => value >= 0 && value < 1),
  successThreshold: whole(1, 1_000),
  halfOpenCalls: whole(1, 1_000),
  successRatio: optional(ratio),
  halfOpenPermits: whole(1, 1_000),
  probeLeaseMs: duration,
  halfOpenMaxMs: optional(duration),
  halfOpenTarget: oneOf(HALF_OPEN_TARGETS),
  rampMs: optional(duration),
};

const CONFIG_KEYS: readonly (keyof CircuitConfig)[] = Object.keys(RULES).filter(isConfigKey);

function isConfigKey(key: string): key is keyof CircuitConfig {
  return key in RULES;
}

/** Settings that are legal each and make no sense together. */
function contradictions(options: CircuitBreakerOptions, config: CircuitConfig): readonly string[] {
  const { windowFailures, slowCallMs, failureRatio } = options;
  const needsWindow = Object.entries({ windowFailures, slowCallMs, failureRatio }).filter(
    ([, said]) => said !== undefined,
  );
  return [
    ...(config.window === "consecutive"
      ? needsWindow.map(([option]) => `${option} needs window "count" or "time", got window "consecutive"`)
      : []),
    ...(config.maxResetTimeoutMs < config.resetTimeoutMs
      ? [
          `maxResetTimeoutMs must be at least resetTimeoutMs (${config.resetTimeoutMs}), got ${config.maxResetTimeoutMs}`,
        ]
      : []),
    ...(config.successRatio === undefined && config.halfOpenCalls < config.successThreshold
      ? [`halfOpenCalls must be at least successThreshold (${config.successThreshold}), got ${config.halfOpenCalls}`]
      : []),
  ];
}

function whole(least: number, most: number): Rule {
  return number(
    `a whole number in [${least}, ${most}]`,
    (value) => Number.isInteger(value) && value >= least && value <= most,
  );
}

function number(legal: string, isLegal: (value: number) => boolean): Rule {
  return (key, value) =>
    typeof value === "number" && isLegal(value) ? [] : [`${key} must be ${legal}, got ${String(value)}`];
}

function oneOf(legal: readonly string[]): Rule {
  return (key, value) =>
    legal.some((one) => one === value) ? [] : [`${key} must be one of ${legal.join(", ")}, got ${String(value)}`];
}

function optional(rule: Rule): Rule {
  return (key, value) => (value === undefined ? [] : rule(key, value));
}
