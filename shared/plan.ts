/**
 * The one decision of recovery: which strategies to try for a failure, in which order, and why the others not. Pure: the
 * guard asks it for rescues, the engine for repairs.
 */
import { type Escalation, type EscalationConfig, escalate, levelOf, type PastRepair } from "./escalation.js";
import type { Failure, FailureType } from "./failure.js";
import type { ModePermits } from "./mode.js";
import {
  type ActionType,
  REPAIR_LEVELS,
  type RecoveryLevel,
  type RepairLevel,
  type StrategyScope,
} from "./recovery.js";
import type { PolicyVerdict } from "./recovery-policy.js";
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
  /** Of a repair. @default `process` for a restart, else `service` */
  readonly level?: RepairLevel | undefined;
  /** It repairs one service at most once per this time. @default the plan's */
  readonly cooldownMs?: number | undefined;
  /** What operators allow. @default allowed */
  readonly policy?: PolicyVerdict | undefined;
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
      readonly repairs: readonly PastRepair[];
      /** Emergency stop, or settings that cannot be read. */
      readonly stopped: boolean;
      /** It was repaired as often as it may be in its window. @default false */
      readonly budgetSpent?: boolean | undefined;
    };

export interface PlanConfig {
  readonly strategies: readonly StrategyDescriptor[];
  readonly permits: ModePermits;
  /** The least time a retry needs: its smallest delay and a chance to finish. @default 1 */
  readonly minRetryMs: number;
  /** A strategy repairs one service at most once per this time. */
  readonly repairCooldownMs: number;
  /** @default three failures of a level within ten minutes lead to the next */
  readonly escalation?: EscalationConfig | undefined;
}

export const ESCALATION_DEFAULTS: EscalationConfig = Object.freeze({ failuresPerLevel: 3, windowMs: 10 * MINUTE_MS });

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
  "policy",
  "maintenance",
  "outside_hours",
  "awaiting_approval",
  "declined",
  "level_exhausted",
  "level_not_reached",
] as const;
export type Refusal = (typeof REFUSALS)[number];

export interface Plan {
  /** Strategies to try, first one first. */
  readonly steps: readonly string[];
  readonly refused: readonly { readonly strategy: string; readonly reason: Refusal }[];
  /** The mode records what would have been done and does not do it, at least of one step. */
  readonly dryRun: boolean;
  /** Steps that the mode lets be carried out. */
  readonly permitted: readonly string[];
  /** The level of the steps; undefined without any. */
  readonly level: RecoveryLevel | undefined;
  /** Lower levels that were tried lately and did not help. */
  readonly exhausted: Escalation["exhausted"];
  /** Steps that begin only once an operator says so. */
  readonly approvals: readonly string[];
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
  const candidates = config.strategies
    .filter((strategy) => strategy.scope === history.scope)
    .toSorted((a, b) => a.priority - b.priority || (a.name < b.name ? -1 : 1))
    .map((strategy) => ({ strategy, reason: refusalOf(failure, strategy, history, config, now) }));
  const permits = (strategy: Pick<StrategyDescriptor, "level">) =>
    history.scope === "call" ? config.permits.rescues : mayCarryOut(strategy, config.permits);
  const escalation = history.scope === "call" ? undefined : escalationOf(candidates, history, config, now);

  const steps: StrategyDescriptor[] = [];
  const refused: { strategy: string; reason: Refusal }[] = [];
  for (const { strategy, reason } of candidates) {
    const refusal = reason ?? (escalation && levelRefusal(failure, strategy, escalation, history, now, config));
    if (refusal === undefined) steps.push(strategy);
    else refused.push({ strategy: strategy.name, reason: refusal });
  }
  return {
    steps: steps.map(({ name }) => name),
    refused,
    dryRun: steps.length === 0 ? !permits({}) : !steps.every(permits),
    permitted: steps.filter(permits).map(({ name }) => name),
    level: steps[0] && levelOf(steps[0]),
    exhausted: escalation?.exhausted ?? [],
    approvals: steps.filter(({ policy }) => policy?.type === "needs_approval").map(({ name }) => name),
  };
}

/** Whether the mode lets a repair be carried out, or only written down. To tell a human changes nothing: it is an alert. */
export function mayCarryOut({ level }: Pick<StrategyDescriptor, "level">, permits: ModePermits): boolean {
  return level === "human" ? permits.alerts : permits.repairs;
}

type ServiceHistory = Extract<PlanHistory, { scope: "service" }>;

/** Refusals that only put a strategy off leave its level the one to be tried. */
const NEVER_NOW: ReadonlySet<Refusal> = new Set([
  "disabled",
  "not_applicable",
  "policy",
  "maintenance",
  "outside_hours",
]);

function escalationOf(
  candidates: readonly { readonly strategy: StrategyDescriptor; readonly reason: Refusal | undefined }[],
  { repairs, budgetSpent }: ServiceHistory,
  config: PlanConfig,
  now: number,
): Escalation {
  const applicable = candidates
    .filter(({ reason }) => reason === undefined || !NEVER_NOW.has(reason))
    .map(({ strategy }) => ({ name: strategy.name, level: levelOf(strategy) }));
  return escalate(applicable, repairs, config.escalation ?? ESCALATION_DEFAULTS, now, { budgetSpent });
}

function levelRefusal(
  { failureCategory }: Failure,
  strategy: StrategyDescriptor,
  { level, exhausted }: Escalation,
  history: PlanHistory,
  now: number,
  { repairCooldownMs }: PlanConfig,
): Refusal | undefined {
  const own = levelOf(strategy);
  // Nobody else can put a refused key or a wrong name right, whatever holds the harm back until then.
  if (own === "human" && failureCategory === "configuration") return undefined;
  if (own !== level) return exhausted.some((one) => one.level === own) ? exhaustedBy(history) : "level_not_reached";
  if (own === REPAIR_LEVELS[0] || history.scope === "call") return undefined;
  // What the level below did last gets the time to take effect.
  const latest = history.repairs.filter((repair) => repair.strategy !== strategy.name)[0];
  return own === "process" && latest !== undefined && now - latest.at < repairCooldownMs ? "cooldown" : undefined;
}

function exhaustedBy(history: PlanHistory): Refusal {
  return history.scope === "service" && history.budgetSpent === true ? "budget" : "level_exhausted";
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
      if (strategy.policy?.type === "refused") return strategy.policy.reason;
      if (history.stopped) return "stopped";
      return repairRefusal(strategy, history, config, now);
  }
}

function repairRefusal(
  { name, policy, cooldownMs }: StrategyDescriptor,
  { repairs }: ServiceHistory,
  { repairCooldownMs, escalation = ESCALATION_DEFAULTS }: PlanConfig,
  now: number,
): Refusal | undefined {
  const own = repairs.filter(({ strategy }) => strategy === name);
  const isLately = ({ at }: PastRepair) => now - at < escalation.windowMs;
  if (own.some(({ status, sameFailure }) => status === "pending_approval" && sameFailure === true)) {
    return "awaiting_approval";
  }
  if (own.some((one) => (one.status === "cancelled" || one.status === "expired") && isLately(one))) return "declined";
  const begun = own.filter(
    ({ status }) => status !== "cancelled" && status !== "expired" && status !== "pending_approval",
  );
  if (begun.some(({ at }) => now - at < (cooldownMs ?? repairCooldownMs))) return "cooldown";
  const limit = policy?.type === "refused" ? undefined : policy?.limit;
  if (limit !== undefined && begun.filter(({ at }) => now - at < limit.windowMs).length >= limit.most) return "budget";
  return undefined;
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
