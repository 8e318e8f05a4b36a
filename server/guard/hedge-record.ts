/** What the journal is told of a hedge: which attempt was late, who answered instead, or why nobody else was asked. */
import type { Failure, Json } from "../../shared/failure.js";
import type { CallInfo } from "../ports/call-context.js";
import type { RescueRecord } from "../ports/journal.js";
import type { GuardEngine } from "./guard-engine.js";
import type { GuardedService } from "./guarded-service.js";

/** A hedge that has ended, or was not sent. */
export interface HedgeEnd {
  /** Whose attempt was late. */
  readonly service: GuardedService;
  /** Who was asked beside it. */
  readonly target: GuardedService;
  /** How long the late attempt had been running. */
  readonly lateMs: number;
  readonly durationMs: number;
  readonly status: "succeeded" | "failed" | "skipped";
  /** Why it was not sent. */
  readonly refused: string | undefined;
}

export const HEDGE_STRATEGY = "hedged_request";

/** The mode records what would have been done. */
export const REFUSED_BY_MODE = "mode";

/** To be late is no failure of a service, but what a hedge answers has to be written down. */
export function slownessOf(
  { service, lateMs }: HedgeEnd,
  { clock, ids, classify }: Pick<GuardEngine, "clock" | "ids" | "classify">,
  operation: string | undefined,
  call: CallInfo | undefined,
): Failure {
  const context: Record<string, Json> = { target: service.name, reason: "late", lateMs: Math.round(lateMs) };
  if (call !== undefined) context.path = call.path;
  if (operation !== undefined) context.operation = operation;
  return {
    eventId: ids(),
    timestamp: clock.now(),
    failureCategory: classify(undefined, service.name).failureCategory,
    failureType: "anomaly",
    severity: "low",
    affectedService: service.name,
    errorMessage: `${service.name} took longer than usual to answer`,
    errorStack: undefined,
    context,
    detectionMethod: "threshold",
    userId: call?.userId,
    requestId: call?.requestId,
  };
}

export function recordOfHedge(failure: Failure, end: HedgeEnd, timestamp: number): RescueRecord {
  const { service, target, lateMs, durationMs, status, refused } = end;
  return {
    failureEventId: failure.eventId,
    timestamp,
    actionType: target === service ? "retry" : "failover",
    actionStrategy: HEDGE_STRATEGY,
    status,
    target: target.name,
    durationMs,
    message: messageOf(end),
    metadata: { lateMs: Math.round(lateMs), ...(refused !== undefined && { refused: { [HEDGE_STRATEGY]: refused } }) },
    dryRun: refused === REFUSED_BY_MODE,
  };
}

function messageOf({ status, target, refused }: HedgeEnd): string {
  switch (status) {
    case "succeeded":
      return `a second attempt, at ${target.name}, answered first`;
    case "failed":
      return `a second attempt, at ${target.name}, failed`;
    case "skipped":
      return refused === REFUSED_BY_MODE
        ? "a second attempt would be made; the mode only records it"
        : `no second attempt was made: ${refused ?? "unknown"}`;
  }
}
