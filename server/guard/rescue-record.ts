/** What the journal is told of one strategy's try, or of why none was made. */
import { describeError } from "../../shared/describe-error.js";
import { type Failure, isJsonObject, type JsonObject } from "../../shared/failure.js";
import type { Plan, Refusal as PlanRefusal } from "../../shared/plan.js";
import { NO_STRATEGY, type RecoveryStrategy, type StrategyResult } from "../../shared/recovery.js";
import { boundText, redactJson, safeText } from "../../shared/redaction.js";
import type { RescueRecord } from "../ports/journal.js";
import type { BudgetLimit } from "./rescue-budget.js";

const MESSAGE_LENGTH = 300;

/** What became of one strategy. */
export type StepEnd =
  | { readonly status: "answered"; readonly result: StrategyResult }
  | { readonly status: "threw"; readonly error: unknown }
  | { readonly status: "timed_out" }
  | { readonly status: "cancelled" };

export interface StepFacts {
  readonly timestamp: number;
  readonly durationMs: number;
  /** The target asked last. */
  readonly target: string;
  /** Attempts that the strategy made. */
  readonly attempts: number;
  readonly remainingMs: number;
  /** The limit of the rescue budget that is spent. */
  readonly rescuesSpent: BudgetLimit | undefined;
}

export function recordOfStep(
  failure: Failure,
  strategy: RecoveryStrategy,
  decision: Plan,
  end: StepEnd,
  { timestamp, durationMs, target, attempts, remainingMs, rescuesSpent }: StepFacts,
): RescueRecord {
  return {
    failureEventId: failure.eventId,
    timestamp,
    actionType: strategy.actionType ?? "custom",
    actionStrategy: strategy.name,
    status: statusOf(end, remainingMs),
    target,
    durationMs,
    message: messageOf(end),
    metadata: { ...metadataOf(end), attempts, ...refusalsOf(decision, rescuesSpent) },
    dryRun: false,
  };
}

/** That nothing was done is worth a row too: because nothing applies, or because the mode only says what would be done. */
export function recordOfNothing(
  failure: Failure,
  decision: Plan,
  strategy: RecoveryStrategy | undefined,
  timestamp: number,
  rescuesSpent: BudgetLimit | undefined,
): RescueRecord {
  return {
    failureEventId: failure.eventId,
    timestamp,
    actionType: strategy?.actionType ?? "custom",
    actionStrategy: strategy?.name ?? NO_STRATEGY,
    status: "skipped",
    target: failure.affectedService,
    durationMs: 0,
    message:
      strategy === undefined
        ? `no strategy applies to ${failure.failureType} here`
        : `${strategy.name} would be tried; the mode only records it`,
    metadata: {
      ...(decision.steps.length > 1 && { followedBy: decision.steps.slice(1) }),
      ...refusalsOf(decision, rescuesSpent),
    },
    dryRun: decision.dryRun,
  };
}

function statusOf(end: StepEnd, remainingMs: number): RescueRecord["status"] {
  switch (end.status) {
    case "cancelled":
    case "timed_out":
      return end.status;
    case "answered":
      if (end.result.success) return "succeeded";
      return remainingMs <= 0 ? "timed_out" : "failed";
    case "threw":
      return "failed";
  }
}

function messageOf(end: StepEnd): string {
  switch (end.status) {
    case "cancelled":
      return "the caller is gone";
    case "timed_out":
      return "it did not answer within the caller's deadline";
    case "threw":
      return boundText(`it threw: ${describeError(end.error).message}`, MESSAGE_LENGTH);
    case "answered":
      return textOf(end.result.message);
  }
}

/** Whatever its type says, a user's strategy may leave its message out; nothing about it may cost the caller the value. */
function textOf(message: unknown): string {
  return typeof message === "string" ? safeText(message, MESSAGE_LENGTH) : "";
}

function metadataOf(end: StepEnd): JsonObject {
  if (end.status !== "answered") return {};
  const { metadata, error } = end.result;
  const own = metadata === undefined ? {} : redactJson(metadata);
  return {
    ...(isJsonObject(own) && own),
    ...(error !== undefined && { error: boundText(describeError(error).message, MESSAGE_LENGTH) }),
  };
}

/** What the plan refused for a reason that lies in this call. */
function refusalsOf({ refused }: Plan, rescuesSpent: BudgetLimit | undefined): JsonObject {
  const telling = refused.filter(({ reason }) => !["not_applicable", "already_tried"].includes(reason));
  if (telling.length === 0) return {};
  const why = (reason: PlanRefusal) => (reason === "budget" && rescuesSpent ? `budget_${rescuesSpent}` : reason);
  return { refused: Object.fromEntries(telling.map(({ strategy, reason }) => [strategy, why(reason)])) };
}
