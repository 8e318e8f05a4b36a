/**
 * Rescues the caller while it waits: asks the plan, lets one strategy try, and plans again with what that showed, until there
 * is a value or nothing is left. Then the caller gets the last error of a service, by reference.
 */
import type { Classification } from "../../shared/classification.js";
import type { Failure } from "../../shared/failure.js";
import { type Plan, plan, type StrategyDescriptor } from "../../shared/plan.js";
import type { ActionType, RecoveryStrategy } from "../../shared/recovery.js";
import { CircuitBreakerError } from "../circuit/circuit-breaker-error.js";
import type { GuardedService } from "./guarded-service.js";
import type { RescuableCall } from "./rescuable-call.js";
import { canAfford, rescuesSpent } from "./rescue-cost.js";
import { recordOfNothing, recordOfStep } from "./rescue-record.js";
import { RescueStep } from "./rescue-step.js";

/**
 * Resolves with the value that a strategy got; rejects with the caller's error. Tells the journal before it settles.
 *
 * @param fault what kept the guard itself from beginning the work; undefined otherwise
 */
export async function rescue(call: RescuableCall, fault: unknown): Promise<unknown> {
  const { engine, record } = call;
  let rescued: { readonly value: unknown } | undefined;
  try {
    rescued = await tryStrategies(call);
  } catch (error) {
    engine.onFault(error);
  }
  record.tell(engine.journal, rescued !== undefined);
  if (rescued !== undefined) return rescued.value;
  if (call.gone !== undefined) throw call.gone.reason;
  if (call.lastThrown === undefined && record.last === undefined) {
    engine.onFault(fault);
    throw fault;
  }
  throw errorFor(call);
}

async function tryStrategies(call: RescuableCall): Promise<{ readonly value: unknown } | undefined> {
  const { engine, record } = call;
  const tried = new Set<string>();
  const asked = new Set<GuardedService>();
  let target: GuardedService | undefined;
  for (let isFirst = true; ; isFirst = false) {
    const seen = record.last;
    if (call.gone !== undefined || seen?.failure === undefined || !engine.flags.autoRecovery) return undefined;
    if (call.service !== target && !asked.has(call.service)) tried.clear();
    target = call.service;
    if (call.attempts > 0) asked.add(target);

    const { failure, classification } = seen;
    const strategies = engine.strategies().filter(({ scope }) => scope === "call");
    const decision = decide(call, failure, classification, strategies, tried);
    const strategy = strategies.find(({ name }) => name === decision.steps[0]);
    if (strategy === undefined || decision.dryRun) {
      if (isFirst) record.note(recordOfNothing(failure, decision, strategy, engine.clock.now(), rescuesSpent(call)));
      return undefined;
    }
    tried.add(strategy.name);

    const attemptsBefore = call.attempts;
    const startedAt = engine.clock.monotonic();
    const end = await new RescueStep(call, failure).take(strategy);
    if (end.status === "threw") engine.onFault(end.error);
    record.note(
      recordOfStep(failure, strategy, decision, end, {
        timestamp: engine.clock.now(),
        durationMs: engine.clock.monotonic() - startedAt,
        target: call.service.name,
        attempts: call.attempts - attemptsBefore,
        remainingMs: call.remainingMs(),
        rescuesSpent: rescuesSpent(call),
      }),
    );
    if (end.status === "answered" && end.result.success) return { value: end.result.value };
  }
}

/** The last error that a service gave, else what refused the call; of open circuits the one that admits calls soonest. */
function errorFor(call: RescuableCall): unknown {
  if (call.lastThrown !== undefined) return call.lastThrown.error;
  const refused = call.record.last;
  if (refused?.classification.reason !== "circuit_open") return refused?.error;
  let soonest = refused.error;
  for (const service of call.work.services) {
    const circuit = service.circuit();
    if (circuit === undefined || service.admits(call.engine.clock.monotonic())) continue;
    const error = circuit.refusal();
    if (waitOf(error) < waitOf(soonest)) soonest = error;
  }
  return soonest;
}

function waitOf(error: unknown): number {
  return error instanceof CircuitBreakerError
    ? (error.retryAfterMs ?? Number.POSITIVE_INFINITY)
    : Number.POSITIVE_INFINITY;
}

function decide(
  call: RescuableCall,
  failure: Failure,
  classification: Classification,
  strategies: readonly RecoveryStrategy[],
  tried: ReadonlySet<string>,
): Plan {
  const { engine, service, work } = call;
  return plan(
    failure,
    {
      scope: "call",
      tried: [...tried],
      targetsLeft: call.targetsLeft(),
      hasFallback: work.fallback !== undefined,
      idempotent: call.idempotent,
      nothingSent: call.nothingSent,
      outputDelivered: call.outputDelivered,
      aborted: call.gone !== undefined,
      remainingMs: call.remainingMs(),
      // Others are asked meanwhile.
      holdMs: call.targetsInTurn() > 1 ? undefined : classification.holdMs,
      retryable: classification.retryable,
      failover: classification.failover,
      budgetLeft: call.canRetry,
      failoverBudgetLeft: canAfford(call, "next"),
      nested: call.nested,
    },
    {
      strategies: strategies.map((strategy) => descriptorOf(call, strategy, failure)),
      permits: call.permits(service),
      minRetryMs: 1,
      repairCooldownMs: 0,
    },
    engine.clock.now(),
  );
}

function descriptorOf({ engine }: RescuableCall, strategy: RecoveryStrategy, failure: Failure): StrategyDescriptor {
  const { name, scope, priority, applicableFailureTypes } = strategy;
  const actionType = strategy.actionType ?? "custom";
  let applies = true;
  try {
    applies = strategy.appliesTo?.(failure) ?? true;
  } catch (error) {
    applies = false;
    engine.onFault(error);
  }
  return {
    name,
    scope,
    priority,
    actionType,
    applicableFailureTypes,
    applies,
    enabled: isEnabled(actionType, engine.flags),
  };
}

function isEnabled(actionType: ActionType, flags: { readonly retry: boolean; readonly failover: boolean }): boolean {
  if (actionType === "retry") return flags.retry;
  return actionType === "failover" ? flags.failover : true;
}
