/** The switches and numbers that operators set from the environment: names, defaults, legal ranges, and a pure parser. */
import { MODES } from "./mode.js";
import { MAX_TIMER_MS } from "./units.js";
import { parseVariables, type VariableSource, type VariableSpec, type VariableValues } from "./variables.js";

const flag = (about: string) => ({ kind: "boolean", default: true, about }) as const;
const off = (about: string) => ({ kind: "boolean", default: false, about }) as const;
const milliseconds = (value: number, about: string) =>
  ({ kind: "integer", default: value, min: 1, max: MAX_TIMER_MS, about }) as const;
const count = (value: number, max: number, about: string) =>
  ({ kind: "integer", default: value, min: 1, max, about }) as const;

/**
 * Every flag and number of self-healing. A flag that the environment turns off stays off, whatever code or an operator
 * says; its part becomes a pass-through. Which ones an operator may turn off and on at run time: `LIVE_FLAGS`.
 */
export const SELF_HEALING_FEATURE_FLAGS = {
  SELF_HEALING_ENABLED: flag("Everything. Off: every part passes through and nothing is written."),
  SELF_HEALING_MODE: {
    kind: "choice",
    default: "full",
    choices: MODES,
    about: "How much Paramedic may do by itself: the ceiling under which an operator may move it.",
  },
  INSTRUMENTATION_ENABLED: flag("Measuring of calls."),
  HEALTH_MONITORING_ENABLED: flag("Health checks in the background."),
  CIRCUIT_BREAKERS_ENABLED: flag("Circuit breakers in guards."),
  AUTO_RECOVERY_ENABLED: flag("Rescues and repairs."),
  RETRY_STRATEGY_ENABLED: flag("The built-in retry."),
  FAILOVER_STRATEGY_ENABLED: flag("The built-in failover."),
  METRICS_BATCH_SIZE: count(100, 10_000, "Series in one batch."),
  METRICS_FLUSH_INTERVAL_MS: milliseconds(1_000, "How often what was measured is sent."),
  METRICS_REDIS_STREAM_KEY: {
    kind: "text",
    default: "metrics:stream",
    pattern: /^[\x21-\x7e]{1,200}$/,
    legal: "1 to 200 printable characters without spaces",
    example: "metrics:stream",
    about: "The Redis stream that carries batches.",
  },
  HEALTH_CHECK_INTERVAL_MS: milliseconds(30_000, "How often health is checked."),
  HEALTH_CHECK_TIMEOUT_MS: milliseconds(5_000, "How long one check may take."),
  CIRCUIT_BREAKER_FAILURE_THRESHOLD: count(
    5,
    10_000,
    "Consecutive failures that open a circuit; where it is unset, 10 for llm:*.",
  ),
  CIRCUIT_BREAKER_SUCCESS_THRESHOLD: count(2, 1_000, "Successful probes that close it."),
  CIRCUIT_BREAKER_TIMEOUT_MS: milliseconds(30_000, "How long one guarded call may take."),
  CIRCUIT_BREAKER_RESET_TIMEOUT_MS: milliseconds(60_000, "How long a circuit stays open before it is probed."),
  RECOVERY_MAX_RETRY_ATTEMPTS: {
    kind: "integer",
    default: 3,
    min: 0,
    max: 20,
    about: "How often one call may be retried.",
  },
  RECOVERY_RETRY_BASE_DELAY_MS: milliseconds(1_000, "The first retry's longest delay; it doubles with each."),
  RECOVERY_RETRY_MAX_DELAY_MS: milliseconds(30_000, "The longest delay of any retry."),
  ALERT_EMAIL_ENABLED: off("Alerts by e-mail; this version sends none yet."),
  ALERT_SMS_ENABLED: off("Alerts by SMS; this version sends none yet."),
  ALERT_WEBHOOK_URL: {
    kind: "text",
    default: undefined,
    pattern: /^https?:\/\/[^\s/]+\S*$/,
    legal: "an http or https URL",
    example: "https://hooks.example.org/paramedic",
    about: "Where alerts are posted; this version sends none yet.",
    secret: true,
  },
} as const satisfies Record<string, VariableSpec>;

export type FeatureFlags = VariableValues<typeof SELF_HEALING_FEATURE_FLAGS>;

/** What each flag is when the environment says nothing. */
export const FEATURE_FLAG_DEFAULTS: FeatureFlags = parseVariables(SELF_HEALING_FEATURE_FLAGS, {}).values;

/**
 * Parses the flags strictly.
 *
 * @returns the values with defaults filled in, and one line per problem.
 * @example parseFeatureFlags({ SELF_HEALING_MODE: "shadow" }).values.SELF_HEALING_MODE // "shadow"
 */
export function parseFeatureFlags(source: VariableSource): {
  readonly values: FeatureFlags;
  readonly problems: readonly string[];
} {
  const { values, problems } = parseVariables(SELF_HEALING_FEATURE_FLAGS, source);
  const conflict =
    values.RECOVERY_RETRY_BASE_DELAY_MS > values.RECOVERY_RETRY_MAX_DELAY_MS
      ? [
          `RECOVERY_RETRY_BASE_DELAY_MS: got ${values.RECOVERY_RETRY_BASE_DELAY_MS}; legal: at most RECOVERY_RETRY_MAX_DELAY_MS (${values.RECOVERY_RETRY_MAX_DELAY_MS}); example: RECOVERY_RETRY_BASE_DELAY_MS=${SELF_HEALING_FEATURE_FLAGS.RECOVERY_RETRY_BASE_DELAY_MS.default}`,
        ]
      : [];
  return { values, problems: [...problems, ...conflict] };
}
