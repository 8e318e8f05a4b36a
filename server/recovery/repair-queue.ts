/**
 * Decides which stored failures are repaired, and when: one at a time for each service, a few at once in this process, none
 * while recovery is stopped. Waiting ones are few words each and bounded; a failure that fell quiet meanwhile is let go.
 */

import type { Failure } from "../../shared/failure.js";
import type { Plan, PlanConfig } from "../../shared/plan.js";
import type { ActionStatus, RecoveryAction, RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { Settings } from "../ports/settings.js";
import type { RecoveryStore } from "../ports/store.js";
import type { LandedFailure } from "./landing.js";
import { skippedRow, waitingRow } from "./recovery-rows.js";
import type { Repairs } from "./repair.js";
import { type RepairGateOptions, repairGate } from "./repair-gate.js";
import { isOwnFailure, isToldByItsGuard, serviceAnswersAgain } from "./repair-need.js";
import type { RepairPlanning } from "./repair-planning.js";
import { isStoreAway } from "./store-away.js";
import type { StrategyRegistry } from "./strategy-registry.js";

export interface RepairQueueDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly instance: string;
  readonly settings: Settings;
  readonly planning: RepairPlanning;
  readonly registry: StrategyRegistry;
  readonly repairs: Repairs;
  readonly store: Pick<RecoveryStore, "listRecoveries" | "recordRescues">;
  readonly onRow: (row: RecoveryAction) => void;
  readonly onFault: (error: unknown) => void;
}

export interface RepairQueueOptions extends RepairGateOptions {
  readonly maxConcurrentRepairs: number;
  /** A failure not seen for this long needs no repair any more. */
  readonly resolveAfterMs: number;
  /** How long a repair waits for an operator. */
  readonly approvalTimeoutMs: number;
}

/** What was done about one failure by one strategy. */
export interface HandledAction extends StrategyResult {
  readonly status: ActionStatus;
  readonly target: string;
  readonly dryRun: boolean;
  /** Of its row, where one was written at once. */
  readonly actionId?: string | undefined;
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
  /** Runs `work` on a service while nothing else of this queue does. */
  alone<T>(service: string, work: () => Promise<T>): Promise<T>;
  /** Repairs of a service, and of whatever else its strategies act upon, as far back as they matter. */
  rowsOf(failure: Failure): Promise<readonly RecoveryAction[]>;
  /** Begins what waits and may begin. */
  pump(): void;
  /** From now on nothing begins, or may begin again. */
  pause(paused: boolean): void;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
  planConfig(failure: Failure): PlanConfig;
  /** Nothing begins any more. */
  readonly paused: boolean;
  readonly waiting: number;
  readonly running: number;
}

/** How many failures may wait for their repair. */
const MAX_WAITING = 1_000;

/** Rows of one service that are read before a repair; more than a window's budget ever fills. */
const MAX_HISTORY = 100;

export function createRepairQueue(deps: RepairQueueDeps, options: RepairQueueOptions): RepairQueue {
  const { clock, ids, instance, settings, planning, registry, repairs, store, onRow, onFault } = deps;
  const waiting = new Map<string, LandedFailure>();
  const running = new Map<string, Promise<unknown>>();
  let paused = false;

  const mayBegin = () => !paused && !settings.stopped();

  const originOf = (failure: Failure) => ({ actionId: ids(), failureEventId: failure.eventId, instance });

  const decide = (landed: LandedFailure): RepairDecision => {
    const { failure } = landed;
    const planned = planning.planRepair(failure, { rows: [], stopped: false }, clock.now());
    const strategy: RecoveryStrategy | undefined = isOwnFailure(failure)
      ? undefined
      : registry.get(planned.steps[0] ?? "");
    if (strategy !== undefined && planned.permitted.length > 0) return { type: "repair", plan: planned };
    return { type: "skip", plan: planned, row: skippedRow(failure, planned, landed, originOf(failure), strategy) };
  };

  const enqueue = (landed: LandedFailure) => {
    if (waiting.size < MAX_WAITING || waiting.has(landed.fingerprint)) waiting.set(landed.fingerprint, landed);
  };

  const rowsOf = async (failure: Failure): Promise<readonly RecoveryAction[]> => {
    const applicable = registry
      .all()
      .filter(({ scope, applicableFailureTypes: types }) => scope === "service" && types.includes(failure.failureType));
    const targets = new Set([failure.affectedService, ...applicable.flatMap(({ target }) => target ?? [])]);
    const longestMs = Math.max(
      options.repairWindowMs,
      options.repairCooldownMs,
      ...applicable.map(({ cooldownMs = 0 }) => cooldownMs),
    );
    const from = clock.now() - longestMs;
    const pages = await Promise.all(
      [...targets].map((target) => store.listRecoveries({ target, scope: "service", from, limit: MAX_HISTORY })),
    );
    return pages.flatMap(({ items }) => items);
  };

  /** What the mode does not permit any more is written down like what it never permitted. */
  const keep = async (row: RecoveryAction) => {
    await store.recordRescues([row]);
    onRow(row);
    return { ...actionOf(row), message: typeof row.result?.message === "string" ? row.result.message : "" };
  };

  const askForApproval = async (strategy: RecoveryStrategy, failure: Failure): Promise<HandledAction> => {
    const timestamp = clock.now();
    const times = { timestamp, expiresAt: timestamp + options.approvalTimeoutMs };
    const row = waitingRow(failure, strategy, times, originOf(failure));
    return { ...(await keep(row)), message: "waits for an operator" };
  };

  const repair = async (landed: LandedFailure) => {
    const { failure, lastSeenAt } = landed;
    const now = clock.now();
    const rows = await rowsOf(failure);
    const planned = planning.planRepair(failure, { rows, stopped: settings.stopped() }, now);
    const actions: HandledAction[] = [];
    if (planned.dryRun) {
      const strategy = registry.get(planned.steps.find((step) => !planned.permitted.includes(step)) ?? "");
      if (strategy) actions.push(await keep(skippedRow(failure, planned, landed, originOf(failure), strategy)));
    }
    const gate = repairGate(
      rows.filter(({ target }) => target === failure.affectedService),
      now,
      options,
    );
    const goesOn =
      gate === "free" ||
      (gate === "budget_spent" && planned.level === "human") ||
      (gate === "settling" && registry.get(planned.steps[0] ?? "")?.completes === true);
    if (!goesOn) return { plan: planned, actions };
    // A step may take long, and meanwhile mode, flags, policies or maintenance may have changed.
    const isStillPermitted = (step: string) =>
      planning.planRepair(failure, { rows, stopped: false }, clock.now()).permitted.includes(step);
    for (const step of planned.permitted) {
      const strategy = registry.get(step);
      if (strategy === undefined || !mayBegin()) break;
      if (!isStillPermitted(step)) continue;
      // What was held back is not mended: somebody is told all the same.
      if (actions.some(({ success }) => success) && strategy.level !== "human") continue;
      if (planned.approvals.includes(step)) {
        actions.push(await askForApproval(strategy, failure));
        break;
      }
      const terms = planning.termsOf(strategy, failure, { now: clock.now(), lastSeenAt });
      const done = await repairs.carryOut(strategy, failure, { terms });
      if (done === undefined) break;
      const action = { ...done.result, ...actionOf(done.row) };
      actions.push(action);
      if (done.row.status === "in_progress" || done.row.status === "cancelled") break;
    }
    return { plan: planned, actions };
  };

  const repairAlone = <T>(service: string, run: () => Promise<T>): Promise<T> => {
    const result = run().finally(() => running.delete(service));
    running.set(service, result);
    return result;
  };

  const alone = async <T>(service: string, work: () => Promise<T>): Promise<T> => {
    while (running.has(service)) await Promise.allSettled([running.get(service)]);
    return repairAlone(service, work);
  };

  const pump = () => {
    const quietSince = clock.now() - options.resolveAfterMs;
    for (const [fingerprint, landed] of waiting) {
      if (!mayBegin() || running.size >= options.maxConcurrentRepairs) return;
      const service = landed.failure.affectedService;
      if (running.has(service)) continue;
      waiting.delete(fingerprint);
      if (landed.lastSeenAt < quietSince) continue;
      repairAlone(service, () => repair(landed)).then(pump, (error: unknown) => {
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
          return decision.row.dryRun || restsForMaintenance(decision.plan) || !isToldByItsGuard(landed)
            ? decision.row
            : undefined;
      }
    },
    decide,
    enqueue,
    repairNow: (landed) => alone(landed.failure.affectedService, () => repair(landed)),
    alone,
    rowsOf,
    pump,
    pause(yes) {
      paused = yes;
    },
    async idle() {
      while (running.size > 0) await Promise.allSettled(running.values());
    },
    planConfig: (failure) => planning.planConfig(failure, clock.now()),
    get paused() {
      return paused;
    },
    get waiting() {
      return waiting.size;
    },
    get running() {
      return running.size;
    },
  });
}

/** Its guard knows of its rescues, and nothing of announced work. */
function restsForMaintenance({ refused }: Plan): boolean {
  return refused.some(({ reason }) => reason === "maintenance");
}

function actionOf(row: RecoveryAction): Omit<HandledAction, "message"> {
  const { actionId, actionType, actionStrategy, status, target, dryRun, durationMs = 0 } = row;
  return { success: status === "succeeded", actionType, actionStrategy, durationMs, status, target, dryRun, actionId };
}
