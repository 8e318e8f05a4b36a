/**
 * Carries out one repair: its lease row first, then the effect, then the proof, then the row's end. Another instance that
 * sees the same failure finds the lease and leaves it alone; if this process dies, the lease lapses and the row is abandoned.
 *
 * in_progress → succeeded     it said so, and its `verify` too, where it has one
 *             → failed        it said so, threw, returned rubbish, or could not be verified nor undone
 *             → rolled_back   it could not be verified and was undone
 *             → timed_out     it did not end; it may still be at work, so nothing is undone under its hands
 *             → cancelled     an operator did not want to wait for it; the same holds
 *             → in_progress   its effect ends this process: whoever takes over says how it went
 */
import type { Failure } from "../../shared/failure.js";
import type { RecoveryAction, RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import type { LeaseTerms } from "../../shared/repair-lease.js";
import { SECOND_MS } from "../../shared/units.js";
import type { CallContext, CallInfo } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { ApprovalOutcome, RecoveryStore } from "../ports/store.js";
import { attemptStrategy, doubtOf } from "./attempt-strategy.js";
import { leaseRow, storable } from "./recovery-rows.js";

export interface RepairDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly store: Pick<RecoveryStore, "leaseRepair" | "approveRepair" | "completeRepair">;
  readonly callContext: CallContext;
  readonly instance: string;
  readonly onRow: (row: RecoveryAction) => void;
  readonly onFault: (error: unknown) => void;
}

export interface RepairOptions {
  /** How long a strategy's `execute` may take. */
  readonly repairTimeoutMs: number;
  /** How long each of `verify` and `rollback` may take. */
  readonly verifyTimeoutMs: number;
}

/** A repair that ended. */
export interface CarriedOutRepair {
  readonly row: RecoveryAction;
  readonly result: StrategyResult;
}

export interface Repairs {
  /**
   * Gives undefined, and has no effect, when another instance has the lease, the repair was carried out before, or the terms
   * are not met. Rejects while the store is away, before any effect.
   */
  carryOut(strategy: RecoveryStrategy, failure: Failure, order: RepairOrder): Promise<CarriedOutRepair | undefined>;
  /** Begins one that waited for an operator, who has now said yes. */
  carryOutApproved(
    strategy: RecoveryStrategy,
    failure: Failure,
    approval: { readonly actionId: string; readonly approvedBy: string; readonly terms: LeaseTerms },
  ): Promise<CarriedOutRepair | Extract<ApprovalOutcome, { approved: false }>>;
  /** Waits for a repair of this process no longer, and says so in its row by then. False when there is none of that id. */
  cancel(actionId: string, why: string): Promise<boolean>;
  /** Writes the ends that the store did not take before. Rejects while it is still away. */
  completeLeftOver(): Promise<void>;
}

/** Who wants it, and what must hold for it to begin. */
export interface RepairOrder {
  readonly terms: LeaseTerms;
  /** An operator's name. @default the engine */
  readonly by?: string | undefined;
  /** @default none */
  readonly reason?: string | undefined;
}

/** The paths of what a repair calls begin with this, and failures seen under it lead to no repair. */
export const REPAIR_PATH_PREFIX = "paramedic.recovery.";

/** For the store's part of the work, on top of what the strategy may take. */
const LEASE_MARGIN_MS = 10 * SECOND_MS;

type Completion = Parameters<RecoveryStore["completeRepair"]>[0];
type Ending = Pick<Completion, "status"> & { readonly result: StrategyResult; readonly verified: boolean };

export function createRepairs(
  { clock, ids, store, callContext, instance, onRow, onFault }: RepairDeps,
  { repairTimeoutMs, verifyTimeoutMs }: RepairOptions,
): Repairs {
  const leaseMs = repairTimeoutMs + 2 * verifyTimeoutMs + LEASE_MARGIN_MS;
  const underWay = new Map<string, (why: string) => Promise<unknown>>();
  let leftOver: { readonly completion: Completion; readonly leaseUntil: number }[] = [];

  const perform = async (strategy: RecoveryStrategy, failure: Failure): Promise<Ending> => {
    const { status, result } = await attemptStrategy(strategy, failure, undefined, {
      clock,
      timeoutMs: repairTimeoutMs,
    });
    if (status !== "succeeded" || strategy.verify === undefined) return { status, result, verified: false };
    const doubt = await doubtOf(clock, verifyTimeoutMs, async () => strategy.verify?.(failure));
    if (doubt === undefined) return { status, result, verified: true };
    const failed = (message: string) => ({
      ...result,
      success: false,
      message: `${result.message}; ${doubt}${message}`,
    });
    if (strategy.rollback === undefined) return { status: "failed", result: failed(""), verified: false };
    const undone = await doubtOf(clock, verifyTimeoutMs, async () => {
      await strategy.rollback?.(failure);
      return true;
    });
    return undone === undefined
      ? { status: "rolled_back", result: failed("; undone"), verified: false }
      : { status: "failed", result: failed(`; undoing it: ${undone}`), verified: false };
  };

  const complete = async (completion: Completion, leaseUntil: number): Promise<boolean> => {
    try {
      return await store.completeRepair(completion);
    } catch (error) {
      onFault(error);
      leftOver.push({ completion, leaseUntil });
      return true;
    }
  };

  /** The row is the lease by now: has the effect, and ends the row. */
  const act = (strategy: RecoveryStrategy, failure: Failure, lease: RecoveryAction): Promise<CarriedOutRepair> => {
    let stop: (ending: Ending) => void;
    const cancelled = new Promise<Ending>((resolve) => {
      stop = resolve;
    });
    const ended = actUntil(cancelled, strategy, failure, lease);
    underWay.set(lease.actionId, (why) => {
      stop({ status: "cancelled", result: cancelledResult(strategy, why), verified: false });
      return Promise.allSettled([ended]);
    });
    return ended;
  };

  const actUntil = async (
    cancelled: Promise<Ending>,
    strategy: RecoveryStrategy,
    failure: Failure,
    lease: RecoveryAction,
  ): Promise<CarriedOutRepair> => {
    const startedAt = clock.monotonic();
    const { actionId, leaseUntil = clock.now() } = lease;
    const performed = callContext.run(repairCall(strategy, clock, repairTimeoutMs), () => perform(strategy, failure));
    const { status, result, verified } = await Promise.race([performed, cancelled]).finally(() =>
      underWay.delete(actionId),
    );
    if (status === "succeeded" && result.handsOver === true) return { row: lease, result };
    const completion: Completion = {
      actionId,
      status,
      result: { ...storable(result.metadata ?? {}), ...storable({ message: result.message, verified }) },
      durationMs: Math.round(clock.monotonic() - startedAt),
      completedAt: clock.now(),
    };
    const kept = await complete(completion, leaseUntil);
    const row: RecoveryAction = {
      ...lease,
      ...completion,
      status: kept ? status : "abandoned",
      lastAt: completion.completedAt,
    };
    onRow(row);
    return { row, result };
  };

  return Object.freeze<Repairs>({
    async carryOut(strategy, failure, { terms, by, reason }) {
      const startedAt = clock.monotonic();
      const timestamp = clock.now();
      const lease = leaseRow(
        failure,
        strategy,
        { timestamp, leaseUntil: timestamp + leaseMs, by, reason },
        { actionId: ids(), failureEventId: failure.eventId, instance },
      );
      if (!(await store.leaseRepair(lease, terms))) return undefined;
      // A lease that was won too late would lapse, and be won by another, while the effect is still under way.
      if (clock.monotonic() - startedAt > LEASE_MARGIN_MS) return undefined;
      return act(strategy, failure, lease);
    },
    async carryOutApproved(strategy, failure, { actionId, approvedBy, terms }) {
      const startedAt = clock.monotonic();
      const at = clock.now();
      const approval = { actionId, approvedBy, instance, at, leaseUntil: at + leaseMs };
      const outcome = await store.approveRepair(approval, terms);
      if (!outcome.approved) return outcome;
      if (clock.monotonic() - startedAt > LEASE_MARGIN_MS) return { approved: false, reason: "barred" };
      return act(strategy, failure, outcome.action);
    },
    async cancel(actionId, why) {
      const stop = underWay.get(actionId);
      await stop?.(why);
      return stop !== undefined;
    },
    async completeLeftOver() {
      while (leftOver[0]) {
        const { completion, leaseUntil } = leftOver[0];
        if (leaseUntil > clock.now()) await store.completeRepair(completion);
        leftOver = leftOver.slice(1);
      }
    },
  });
}

function cancelledResult({ name, actionType = "custom" }: RecoveryStrategy, message: string): StrategyResult {
  return { success: false, actionType, actionStrategy: name, durationMs: 0, message };
}

/** What guards inside a repair see as their call: bounded, and known as recovery's own. */
function repairCall(strategy: RecoveryStrategy, clock: Clock, timeoutMs: number): CallInfo {
  return {
    path: `${REPAIR_PATH_PREFIX}${strategy.name}`,
    type: "mutation",
    requestId: undefined,
    userId: undefined,
    signal: undefined,
    deadlineAt: clock.monotonic() + timeoutMs,
    idempotent: undefined,
    causes: [],
  };
}
