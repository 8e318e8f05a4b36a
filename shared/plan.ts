/**
 * The one decision of recovery: which strategies to try for a failure, in which order, and why the others not. Pure: the
 * guard asks it for rescues, the engine for repairs.
 */
import type { Failure, FailureType } from "./failure.js";
import type { ModePermits } from "./mode.js";
import type { ActionType, StrategyScope } from "./recovery.js";
import { MINUTE_MS } from "./units.js";

export interface StrategyDescriptor {
  readonly name: string;
  readonly scope: StrategyScope;
  readonly priority: number;
  /** What the strategy does to the work; decides which safety rules bind it. */
  readonly actionType: ActionType;
  readonly applicableFailureTypes: readonly FailureType[];
  /** The strategy's own `appliesTo`, already asked. @default true */
  readonly applies?: boolean | undefined;
  /** Its feature flag. @default true */
  readonly enabled?: boolean | undefined;
}

/** What is known of the call, or of the service, when the failure happens. */
export type PlanHistory =
  | {
      readonly scope: "call";
      /** Strategies that already failed against the present target. */
      readonly tried: readonly string[];
      readonly targetsLeft: number;
      readonly hasFallback: boolean;
      /** Running the work a second time does no harm (law 17). */
      readonly idempotent: boolean;
      /** Proof that the failed attempt never reached its target. */
      readonly nothingSent: boolean;
      /** Output has reached the caller: nothing may run again. */
      readonly outputDelivered: boolean;
      readonly aborted: boolean;
      readonly remainingMs: number;
      /** How long the target asked to be left alone. */
      readonly holdMs: number | undefined;
      /** The classification allows the same target, or another one, to be asked. */
      readonly retryable: boolean;
      readonly failover: boolean;
      /** The retry budget has a token left. */
      readonly budgetLeft: boolean;
      /** It can pay for a failover, which costs less. @default budgetLeft */
      readonly failoverBudgetLeft?: boolean | undefined;
      /** A guard around this one runs its work again, so this one must not: retries would multiply. @default false */
      readonly nested?: boolean | undefined;
    }
  | {
      readonly scope: "service";
      /** Repairs of this service, newest first. */
      readonly repairs: readonly { readonly strategy: string; readonly at: number; readonly succeeded: boolean }[];
      /** Emergency stop, or settings that cannot be read. */
      readonly stopped: boolean;
    };

export interface PlanConfig {
  readonly strategies: readonly StrategyDescriptor[];
  readonly permits: ModePermits;
  /** The least time a retry needs: its smallest delay and a chance to finish. @default 1 */
  readonly minRetryMs: number;
  /** A strategy repairs one service at most once per this time. */
  readonly repairCooldownMs: number;
}

export const REFUSALS = [
  "not_applicable",
  "disabled",
  "already_tried",
  "aborted",
  "unsafe",
  "output_delivered",
  "deadline",
  "hold_exceeds_deadline",
  "budget",
  "nested",
  "alternative_preferred",
  "no_target_left",
  "no_fallback",
  "cooldown",
  "stopped",
] as const;
export type Refusal = (typeof REFUSALS)[number];

export interface Plan {
  /** Strategies to try, first one first. */
  readonly steps: readonly string[];
  readonly refused: readonly { readonly strategy: string; readonly reason: Refusal }[];
  /** The mode records what would have been done and does not do it. */
  readonly dryRun: boolean;
}

/**
 * Types for which the same target gets one more chance even while another target waits: they answered fast. A target that
 * hung, refused or rests would only spend the caller's time.
 */
const QUICK_TO_FAIL: ReadonlySet<FailureType> = new Set([
  "server_error",
  "service_unavailable",
  "malformed_response",
  "stream_broken",
]);

/** A caller without a deadline would wait for whatever a target says, up to a day: an error tells it more. */
const LONGEST_HOLD_MS = MINUTE_MS;

/**
 * Whether a caller can wait until a target that asked to be left alone may be asked again: within its deadline, and for at
 * most a minute where it has none.
 *
 * @param remainingMs `Infinity` without a deadline
 * @example isHoldBearable(3_600_000, Number.POSITIVE_INFINITY) // false
 */
export function isHoldBearable(holdMs: number, remainingMs: number): boolean {
  return remainingMs === Number.POSITIVE_INFINITY ? holdMs <= LONGEST_HOLD_MS : holdMs < remainingMs;
}

/**
 * @example
 * plan(failure, history, { strategies: [retry, failover], permits, minRetryMs: 1, repairCooldownMs: 30_000 }, now).steps
 * // ["exponential_backoff_retry", "provider_failover"]
 */
export function plan(failure: Failure, history: PlanHistory, config: PlanConfig, now: number): Plan {
  const steps: string[] = [];
  const refused: { strategy: string; reason: Refusal }[] = [];
  const candidates = config.strategies
    .filter((strategy) => strategy.scope === history.scope)
    .toSorted((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1));
  for (const strategy of candidates) {
    const reason = refusalOf(failure, strategy, history, config, now);
    if (reason === undefined) steps.push(strategy.name);
    else refused.push({ strategy: strategy.name, reason });
  }
  const permitted = history.scope === "call" ? config.permits.rescues : config.permits.repairs;
  return { steps, refused, dryRun: !permitted };
}

function refusalOf(
  failure: Failure,
  strategy: StrategyDescriptor,
  history: PlanHistory,
  config: PlanConfig,
  now: number,
): Refusal | undefined {
  if (strategy.enabled === false) return "disabled";
  if (!strategy.applicableFailureTypes.includes(failure.failureType)) return "not_applicable";
  if (strategy.applies === false) return "not_applicable";
  switch (history.scope) {
    case "call":
      return callRefusal(failure, strategy, history, config);
    case "service":
      if (history.stopped) return "stopped";
      return history.repairs.some(
        (repair) => repair.strategy === strategy.name && now - repair.at < config.repairCooldownMs,
      )
        ? "cooldown"
        : undefined;
  }
}

function callRefusal(
  failure: Failure,
  strategy: StrategyDescriptor,
  history: Extract<PlanHistory, { scope: "call" }>,
  config: PlanConfig,
): Refusal | undefined {
  if (history.tried.includes(strategy.name)) return "already_tried";
  if (history.aborted) return "aborted";
  if (history.outputDelivered) return "output_delivered";
  if (strategy.actionType === "fallback") return history.hasFallback ? undefined : "no_fallback";
  if (!history.idempotent && !history.nothingSent) return "unsafe";
  if (history.remainingMs <= 0) return "deadline";
  if (strategy.actionType === "failover") {
    if (!history.failover) return "not_applicable";
    if (history.targetsLeft === 0) return "no_target_left";
    return (history.failoverBudgetLeft ?? history.budgetLeft) ? undefined : "budget";
  }
  if (!history.budgetLeft) return "budget";
  if (strategy.actionType === "retry") {
    if (!history.retryable) return "not_applicable";
    if (history.nested === true) return "nested";
    if (history.targetsLeft > 0 && (!QUICK_TO_FAIL.has(failure.failureType) || history.holdMs !== undefined)) {
      return "alternative_preferred";
    }
    if (history.holdMs !== undefined && !isHoldBearable(history.holdMs, history.remainingMs))
      return "hold_exceeds_deadline";
    if (history.remainingMs < config.minRetryMs) return "deadline";
  }
  return undefined;
}
