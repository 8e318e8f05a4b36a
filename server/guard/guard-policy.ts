/** What a guard enforces for one service: its options, their defaults and legal ranges, merged and checked in one place. */
import {
  CIRCUIT_DEFAULTS,
  CIRCUIT_PRESETS,
  type CircuitConfig,
  type CircuitPreset,
} from "../../shared/circuit-config.js";
import { ParamedicError } from "../../shared/errors.js";
import { MAX_TIMER_MS, SECOND_MS } from "../../shared/units.js";
import { type HedgePolicy, type ResolvedHedgePolicy, resolveHedgePolicy } from "./hedge-policy.js";
import { invalidPolicy, requireInteger, requireNumber } from "./policy-checks.js";
import { type RescueBudgetPolicy, resolveRescueBudget } from "./rescue-budget-policy.js";

/** How many retries, hedges and failovers a service may cost, so that rescuing never becomes the storm that keeps it down. */
export interface RetryBudgetPolicy {
  /** Tokens that each call to the service earns; a retry or a hedge costs one token. 0 to 1. @default 0.1 */
  readonly ratio: number;
  /** Tokens that come back in each window without any traffic. 0 to 10,000. @default 10 */
  readonly minRetries: number;
  /** Length of that window; 1 to 2^31-1 ms. @default 10_000 */
  readonly windowMs: number;
}

/**
 * Every option of a guard. Circuit options are those of the circuit breaker, the name of a preset included.
 *
 * @example paramedic.guard("http:billing", { timeoutMs: 5_000, failureThreshold: 5, maxConcurrent: 50 })
 */
export interface GuardPolicy extends Partial<CircuitConfig> {
  /** Consecutive failures that open its circuit; 1 to 10,000. @default 10 for `llm:*`, else 5 */
  readonly failureThreshold?: number;
  /** How long one attempt may take; 1 to 2^31-1 ms. @default 30_000 */
  readonly timeoutMs?: number;
  /** Circuit options that stand where this policy says nothing else. @default none: the defaults of all guards */
  readonly preset?: CircuitPreset | undefined;
  /** Running the work twice does no harm. @default true for `llm:*` and inside a query, else false */
  readonly idempotent?: boolean | undefined;
  /**
   * Attempts that may run at once; 1 to 1,000,000. A place is taken until the work has ended, also when its caller was told
   * before that its time is up: give work that can hang the `signal`. @default none: no limit
   */
  readonly maxConcurrent?: number | undefined;
  /** Attempts that may wait for a place, each within its own deadline; 0 to 1,000,000. Needs `maxConcurrent`. @default 0 */
  readonly maxQueued?: number | undefined;
  readonly retryBudget?: Partial<RetryBudgetPolicy> | undefined;
  /** Attempts, tokens or money that retries, hedges and failovers may cost in a window. @default no limit but `retryBudget` */
  readonly rescueBudget?: RescueBudgetPolicy | undefined;
  /** Asks once more beside an attempt that is late. @default none */
  readonly hedge?: HedgePolicy | undefined;
}

/** A policy with every default filled in. */
export interface ResolvedGuardPolicy {
  readonly timeoutMs: number;
  readonly idempotent: boolean | undefined;
  readonly maxConcurrent: number | undefined;
  readonly maxQueued: number;
  readonly retryBudget: RetryBudgetPolicy;
  readonly rescueBudget: RescueBudgetPolicy | undefined;
  readonly hedge: ResolvedHedgePolicy | undefined;
  /** What was said about the circuit; the circuit breaker fills in and checks the rest. */
  readonly circuit: Partial<CircuitConfig>;
}

export const GUARD_POLICY_DEFAULTS = {
  timeoutMs: CIRCUIT_DEFAULTS.timeoutMs,
  maxQueued: 0,
  retryBudget: { ratio: 0.1, minRetries: 10, windowMs: 10 * SECOND_MS },
} as const;

/**
 * LLM providers fail now and then on a bad day and answer the next call: where three calls in ten fail and hundreds are made,
 * five failures in a row are chance, ten are not.
 */
const LLM_CIRCUIT = { failureThreshold: 10 } as const satisfies Partial<CircuitConfig>;

/** All but the deadline, which is the guard's. */
const CIRCUIT_OPTIONS = Object.keys(CIRCUIT_DEFAULTS).filter(isCircuitOption);

function isCircuitOption(name: string): name is Exclude<keyof CircuitConfig, "timeoutMs"> {
  return name in CIRCUIT_DEFAULTS && name !== "timeoutMs";
}

const POLICY_OPTIONS: ReadonlySet<string> = new Set<keyof GuardPolicy>([
  ...CIRCUIT_OPTIONS,
  "timeoutMs",
  "preset",
  "idempotent",
  "maxConcurrent",
  "maxQueued",
  "retryBudget",
  "rescueBudget",
  "hedge",
]);

/**
 * Fills a policy in with `defaults`, then with {@link GUARD_POLICY_DEFAULTS}, and checks it.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` naming the service, the option, what it got and what is legal.
 */
export function resolveGuardPolicy(
  service: string,
  policy: GuardPolicy,
  defaults: GuardPolicy = {},
): ResolvedGuardPolicy {
  if (typeof service !== "string" || service === "") {
    throw new ParamedicError("CONFIGURATION_INVALID", `a guard needs the name of its service, such as http:billing`);
  }
  for (const option of Object.keys(policy)) {
    if (!POLICY_OPTIONS.has(option)) {
      throw invalidPolicy(service, option, `is unknown; the options of a guard are ${[...POLICY_OPTIONS].join(", ")}`);
    }
  }
  const timeoutMs = policy.timeoutMs ?? defaults.timeoutMs ?? GUARD_POLICY_DEFAULTS.timeoutMs;
  const maxConcurrent = policy.maxConcurrent ?? defaults.maxConcurrent;
  const maxQueued = policy.maxQueued ?? defaults.maxQueued ?? GUARD_POLICY_DEFAULTS.maxQueued;
  const idempotent = policy.idempotent ?? defaults.idempotent;
  const retryBudget = { ...GUARD_POLICY_DEFAULTS.retryBudget, ...defaults.retryBudget, ...policy.retryBudget };

  requireNumber(service, "timeoutMs", timeoutMs, 1, MAX_TIMER_MS);
  if (maxConcurrent !== undefined) requireInteger(service, "maxConcurrent", maxConcurrent, 1, 1_000_000);
  requireInteger(service, "maxQueued", maxQueued, 0, 1_000_000);
  if (maxQueued > 0 && maxConcurrent === undefined) {
    throw invalidPolicy(service, "maxQueued", "needs maxConcurrent: without a limit nothing waits");
  }
  if (idempotent !== undefined && typeof idempotent !== "boolean") {
    throw invalidPolicy(service, "idempotent", `got ${String(idempotent)}; legal: true or false`);
  }
  requireNumber(service, "retryBudget.ratio", retryBudget.ratio, 0, 1);
  requireInteger(service, "retryBudget.minRetries", retryBudget.minRetries, 0, 10_000);
  requireNumber(service, "retryBudget.windowMs", retryBudget.windowMs, 1, MAX_TIMER_MS);

  return Object.freeze({
    timeoutMs,
    idempotent,
    maxConcurrent,
    maxQueued,
    retryBudget: Object.freeze(retryBudget),
    rescueBudget: resolveRescueBudget(service, policy.rescueBudget ?? defaults.rescueBudget),
    hedge: resolveHedgePolicy(service, policy.hedge ?? defaults.hedge),
    circuit: Object.freeze({
      ...(service.startsWith("llm:") && LLM_CIRCUIT),
      ...circuitOptions(defaults),
      ...presetOf(service, policy),
      ...circuitOptions(policy),
      timeoutMs,
    }),
  });
}

function presetOf(service: string, { preset }: GuardPolicy): Partial<CircuitConfig> {
  if (preset === undefined) return {};
  if (!Object.hasOwn(CIRCUIT_PRESETS, preset)) {
    const legal = Object.keys(CIRCUIT_PRESETS).join(", ");
    throw invalidPolicy(service, "preset", `got ${String(preset)}; legal: ${legal}`);
  }
  return CIRCUIT_PRESETS[preset];
}

function circuitOptions(policy: GuardPolicy): Partial<CircuitConfig> {
  return Object.fromEntries(
    CIRCUIT_OPTIONS.flatMap((option) => (policy[option] === undefined ? [] : [[option, policy[option]]])),
  );
}
