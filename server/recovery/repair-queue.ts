/**
 * Decides which stored failures are repaired, and when: one at a time for each service, a few at once in this process, none
 * while recovery is stopped. Waiting ones are few words each and bounded; a failure that fell quiet meanwhile is let go.
 */

import type { Failure } from "../../shared/failure.js";
import type { ModePermits } from "../../shared/mode.js";
import { type Plan, type PlanConfig, type PlanHistory, plan } from "../../shared/plan.js";
import type { ActionStatus, RecoveryAction, RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Settings } from "../ports/settings.js";
import type { RecoveryStore } from "../ports/store.js";
import type { LandedFailure } from "./landing.js";
import { skippedRow } from "./recovery-rows.js";
import type { Repairs } from "./repair.js";
import { type RepairGateOptions, repairGate } from "./repair-gate.js";
import { isOwnFailure, isToldByItsGuard, serviceAnswersAgain } from "./repair-need.js";
import { isStoreAway } from "./store-away.js";
import { describeStrategies, type StrategyRegistry } from "./strategy-registry.js";

export interface RepairQueueDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly instance: string;
  readonly settings: Settings;
  readonly permits: (service: string) => ModePermits;
  readonly isEnabled: (strategyName: string) => boolean;
  readonly registry: StrategyRegistry;
  readonly repairs: Repairs;
  readonly store: Pick<RecoveryStore, "listRecoveries">;
  readonly onFault: (error: unknown) => void;
}

export interface RepairQueueOptions extends RepairGateOptions {
  readonly maxConcurrentRepairs: number;
  /** A failure not seen for this long needs no repair any more. */
  readonly resolveAfterMs: number;
}

/** What was done about one failure by one strategy. */
export interface HandledAction extends StrategyResult {
  readonly status: ActionStatus;
  readonly target: string;
  readonly dryRun: boolean;
}

/** What follows from a failure, decided without looking at what was done lately. */
export type RepairDecision =
  | { readonly type: "repair"; readonly plan: Plan }
  /** No strategy applies, or the mode only lets it be written down. */
  | { readonly type: "skip"; readonly plan: Plan; readonly row: RecoveryAction };

export interface RepairQueue {
  /** A failure that came through the journal: queues its repair, or gives the row that says why there is none. */
  consider(landed: LandedFailure): RecoveryAction | undefined;
  decide(landed: LandedFailure): RepairDecision;
  /** Repairs as soon as recovery is not stopped. */
  enqueue(landed: LandedFailure): void;
  /** Repairs now, after the repair of that service that may be under way. Rejects while the store is away. */
  repairNow(landed: LandedFailure): Promise<{ readonly plan: Plan; readonly actions: readonly HandledAction[] }>;
  /** Begins what waits and may begin. */
  pump(): void;
  /** From now on nothing begins, or may begin again. */
  pause(paused: boolean): void;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
  planConfig(failure: Failure): PlanConfig;
  readonly waiting: number;
  readonly running: number;
}

/** How many failures may wait for their repair. */
const MAX_WAITING = 1_000;

/** Rows of one service that are read before a repair; more than a window's budget ever fills. */
const MAX_HISTORY = 100;

export function createRepairQueue(deps: RepairQueueDeps, options: RepairQueueOptions): RepairQueue {
  const { clock, ids, instance, settings, permits, isEnabled, registry, repairs, store, onFault } = deps;
  const waiting = new Map<string, LandedFailure>();
  const running = new Map<string, Promise<unknown>>();
  let paused = false;

  const mayBegin = () => !paused && !settings.stopped();

  const planConfig = (failure: Failure): PlanConfig => ({
    strategies: describeStrategies(registry.all(), failure, { isEnabled, onFault }),
    permits: permits(failure.affectedService),
    minRetryMs: 0,
    repairCooldownMs: options.repairCooldownMs,
  });

  const planWith = (failure: Failure, history: Omit<Extract<PlanHistory, { scope: "service" }>, "scope">): Plan =>
    plan(failure, { scope: "service", ...history }, planConfig(failure), clock.now());

  const decide = (landed: LandedFailure): RepairDecision => {
    const { failure } = landed;
    const planned = planWith(failure, { repairs: [], stopped: false });
    const strategy: RecoveryStrategy | undefined = isOwnFailure(failure)
      ? undefined
      : registry.get(planned.steps[0] ?? "");
    if (strategy !== undefined && !planned.dryRun) return { type: "repair", plan: planned };
    const origin = { actionId: ids(), failureEventId: failure.eventId, instance };
    return { type: "skip", plan: planned, row: skippedRow(failure, planned, landed, origin, strategy) };
  };

  const enqueue = (landed: LandedFailure) => {
    if (waiting.size < MAX_WAITING || waiting.has(landed.fingerprint)) waiting.set(landed.fingerprint, landed);
  };

  const repair = async (failure: Failure) => {
    const now = clock.now();
    const { items: rows } = await store.listRecoveries({
      target: failure.affectedService,
      from: now - Math.max(options.repairWindowMs, options.repairCooldownMs),
      limit: MAX_HISTORY,
    });
    const history = rows
      .filter((row) => row.scope === "service" && !row.dryRun && row.status !== "skipped")
      .map((row) => ({ strategy: row.actionStrategy, at: row.lastAt, succeeded: row.status === "succeeded" }));
    const planned = planWith(failure, { repairs: history, stopped: settings.stopped() });
    const actions: HandledAction[] = [];
    if (planned.dryRun || repairGate(rows, now, options) !== "free") return { plan: planned, actions };
    for (const step of planned.steps) {
      const strategy = registry.get(step);
      if (strategy === undefined || !mayBegin()) break;
      const done = await repairs.carryOut(strategy, failure);
      if (done === undefined) break;
      const { status, target, dryRun } = done.row;
      actions.push({ ...done.result, success: status === "succeeded", status, target, dryRun });
      if (status === "succeeded") break;
    }
    return { plan: planned, actions };
  };

  const repairAlone = <T>(service: string, run: () => Promise<T>): Promise<T> => {
    const result = run().finally(() => running.delete(service));
    running.set(service, result);
    return result;
  };

  const pump = () => {
    const quietSince = clock.now() - options.resolveAfterMs;
    for (const [fingerprint, landed] of waiting) {
      if (!mayBegin() || running.size >= options.maxConcurrentRepairs) return;
      const service = landed.failure.affectedService;
      if (running.has(service)) continue;
      waiting.delete(fingerprint);
      if (landed.lastSeenAt < quietSince) continue;
      repairAlone(service, () => repair(landed.failure)).then(pump, (error: unknown) => {
        onFault(error);
        if (isStoreAway(error)) enqueue(landed);
      });
    }
  };

  return Object.freeze<RepairQueue>({
    consider(landed) {
      if (isOwnFailure(landed.failure) || serviceAnswersAgain(landed)) return undefined;
      const decision = decide(landed);
      switch (decision.type) {
        case "repair":
          enqueue(landed);
          return undefined;
        case "skip":
          return decision.row.dryRun || !isToldByItsGuard(landed) ? decision.row : undefined;
      }
    },
    decide,
    enqueue,
    async repairNow(landed) {
      const service = landed.failure.affectedService;
      while (running.has(service)) await Promise.allSettled([running.get(service)]);
      return repairAlone(service, () => repair(landed.failure));
    },
    pump,
    pause(yes) {
      paused = yes;
    },
    async idle() {
      while (running.size > 0) await Promise.allSettled(running.values());
    },
    planConfig,
    get waiting() {
      return waiting.size;
    },
    get running() {
      return running.size;
    },
  });
}
