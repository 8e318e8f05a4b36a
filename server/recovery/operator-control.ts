/**
 * What an operator does about recovery by hand: looks at what would be done, begins a repair, says yes to one that waits, or
 * calls one off. The same leases, policies and modes bind it; only cooldown and budget are the operator's own to judge.
 */
import type { Failure, FailureType } from "../../shared/failure.js";
import { mayCarryOut, plan } from "../../shared/plan.js";
import type { RecoveryAction, RecoveryStrategy } from "../../shared/recovery.js";
import type { PolicyVerdict } from "../../shared/recovery-policy.js";
import { safeText } from "../../shared/redaction.js";
import type { Clock } from "../ports/clock.js";
import type { Ids } from "../ports/ids.js";
import type { ControlOutcome, ControlRefusal, OperatorControl } from "../ports/operator-control.js";
import type { Settings } from "../ports/settings.js";
import type { LandedFailure } from "./landing.js";
import type { RecoveryRecord } from "./local-record.js";
import { expiryOf, skippedRow } from "./recovery-rows.js";
import type { Repairs } from "./repair.js";
import { type RepairGateOptions, repairGate } from "./repair-gate.js";
import type { RepairPlanning } from "./repair-planning.js";
import type { RepairQueue } from "./repair-queue.js";
import type { StrategyRegistry } from "./strategy-registry.js";

export interface OperatorControlDeps {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly instance: string;
  readonly settings: Settings;
  readonly planning: RepairPlanning;
  readonly registry: StrategyRegistry;
  readonly repairs: Repairs;
  readonly queue: RepairQueue;
  readonly store: RecoveryRecord;
  readonly landOne: (failure: Failure) => Promise<LandedFailure>;
  readonly onRow: (row: RecoveryAction) => void;
}

/** Waiting ones that one sweep looks at. */
const MOST_WAITING = 200;

export interface WaitingRepairs {
  /** Ends those for which no operator came in time; gives how many. */
  expireWaiting(): Promise<number>;
}

export function createOperatorControl(
  deps: OperatorControlDeps,
  options: RepairGateOptions,
): OperatorControl & WaitingRepairs {
  const { clock, ids, instance, settings, planning, registry, repairs, queue, store, landOne, onRow } = deps;

  const mayRun = (strategy: RecoveryStrategy, failure: Failure, by: string): ControlOutcome | undefined => {
    if (strategy.scope !== "service")
      return refused("not_a_repair", `${strategy.name} rescues calls and repairs nothing`);
    const now = clock.now();
    const described = planning.planConfig(failure, now, by).strategies.find(({ name }) => name === strategy.name);
    if (described?.enabled === false) return refused("disabled", `${strategy.name} is switched off`);
    const verdict: PolicyVerdict = planning.policyOf(strategy, failure.affectedService, now, by);
    if (verdict.type === "refused") {
      return refused(verdict.reason, `a policy keeps ${by} from ${strategy.name} of ${failure.affectedService} now`);
    }
    if (settings.stopped())
      return refused("stopped", "recovery is stopped: no repair begins until an operator clears it");
    if (queue.paused)
      return refused("stopped", `instance ${instance} shuts down and begins no repair: ask another one`);
    return undefined;
  };

  const mayHaveEffect = (strategy: RecoveryStrategy, failure: Failure, by: string): boolean =>
    mayCarryOut(strategy, planning.planConfig(failure, clock.now(), by).permits);

  /** Asked again when its turn has come: another repair may have taken long, and what held before may hold no more. */
  const refusalNow = (strategy: RecoveryStrategy, failure: Failure, by: string): ControlOutcome | undefined =>
    mayRun(strategy, failure, by) ??
    (mayHaveEffect(strategy, failure, by) ? undefined : refused("mode", "the mode decides and records only"));

  const rowOf = async (actionId: string, fallback: RecoveryAction): Promise<RecoveryAction> =>
    (await store.getRecovery(actionId)) ?? fallback;

  return Object.freeze<OperatorControl & WaitingRepairs>({
    async preview(about) {
      const failure = "failureEventId" in about ? await store.getFailure(about.failureEventId) : imagined(about, clock);
      if (failure === undefined) return undefined;
      const now = clock.now();
      const rows = await queue.rowsOf(failure);
      const ofService = rows.filter(({ target }) => target === failure.affectedService);
      const stopped = settings.stopped();
      return {
        service: failure.affectedService,
        failureType: failure.failureType,
        plan: planning.planRepair(failure, { rows, stopped }, now),
        gate: repairGate(ofService, now, options),
        stopped,
      };
    },

    async trigger({ service, strategy: name, by, reason }) {
      const strategy = registry.get(name);
      if (strategy === undefined) return refused("unknown", `there is no strategy ${JSON.stringify(name)}`);
      const failure = orderedFailure(strategy, service, { eventId: ids(), by, reason, now: clock.now() });
      const refusal = mayRun(strategy, failure, by);
      if (refusal) return refusal;
      const landed = await landOne(failure);
      if (!mayHaveEffect(strategy, failure, by)) {
        const planned = plan(landed.failure, NOTHING_DONE, planning.planConfig(landed.failure, clock.now(), by), 0);
        const origin = { actionId: ids(), failureEventId: landed.failure.eventId, instance };
        const row = {
          ...skippedRow(landed.failure, planned, landed, origin, strategy),
          triggeredBy: by,
          automated: false,
        };
        await store.recordRescues([{ ...row, dryRun: true }]);
        onRow(row);
        return { done: true, action: { ...row, dryRun: true } };
      }
      return queue.alone(service, async () => {
        const late = refusalNow(strategy, landed.failure, by);
        if (late) return late;
        const terms = { alone: true, endedBefore: clock.now() + 1 };
        const done = await repairs.carryOut(strategy, landed.failure, { terms, by, reason });
        return done ? { done: true, action: done.row } : refused("busy", `${service} is being repaired already`);
      });
    },

    async approve({ actionId, by }) {
      const row = await store.getRecovery(actionId);
      if (row === undefined) return refused("unknown", `there is no recovery action ${JSON.stringify(actionId)}`);
      if (row.status !== "pending_approval") return refused("not_pending", `it is ${row.status} and does not wait`);
      const [strategy, failure] = [registry.get(row.actionStrategy), await store.getFailure(row.failureEventId)];
      if (strategy === undefined || failure === undefined) {
        return refused("unknown", `this process has no strategy ${row.actionStrategy}, or the failure is gone`);
      }
      const refusal = refusalNow(strategy, failure, by);
      if (refusal) return refusal;
      const service = failure.affectedService;
      return queue.alone(service, async () => {
        const late = refusalNow(strategy, failure, by);
        if (late) return late;
        if (isOver(row, clock.now())) return refused("not_pending", "it expired: no operator came in time");
        const terms = { alone: true, endedBefore: clock.now() + 1 };
        const done = await repairs.carryOutApproved(strategy, failure, { actionId, approvedBy: by, terms });
        if ("row" in done) return { done: true, action: done.row };
        return done.reason === "barred"
          ? refused("busy", `${service} is being repaired already; it goes on waiting`)
          : refused("not_pending", "somebody else decided meanwhile");
      });
    },

    async cancel({ actionId, by, reason }) {
      const row = await store.getRecovery(actionId);
      if (row === undefined) return refused("unknown", `there is no recovery action ${JSON.stringify(actionId)}`);
      const message = safeText(`called off by ${by}: ${reason}`, MESSAGE_LENGTH);
      const decline = { actionId, status: "cancelled", at: clock.now(), result: { message } } as const;
      if (row.status === "pending_approval" && (await store.declineRepair(decline))) {
        const action = await rowOf(actionId, row);
        onRow(action);
        return { done: true, action };
      }
      if (await repairs.cancel(actionId, message)) return { done: true, action: await rowOf(actionId, row) };
      return row.status === "in_progress" || row.status === "initiated"
        ? refused("elsewhere", `instance ${row.instance} is carrying it out: call it off there`)
        : refused("not_pending", `it is ${row.status}: nothing is left to call off`);
    },

    async expireWaiting() {
      const now = clock.now();
      const { items } = await store.listRecoveries({ status: "pending_approval", limit: MOST_WAITING });
      const over = items.filter((row) => isOver(row, now));
      let expired = 0;
      for (const row of over) {
        const result = { message: "no operator came in time" };
        if (await store.declineRepair({ actionId: row.actionId, status: "expired", at: now, result })) {
          expired += 1;
          onRow({ ...row, status: "expired", completedAt: now });
        }
      }
      return expired;
    },
  });
}

const MESSAGE_LENGTH = 500;

function isOver(waiting: RecoveryAction, now: number): boolean {
  return (expiryOf(waiting) ?? now) <= now;
}

const NOTHING_DONE = { scope: "service", repairs: [], stopped: false } as const;

function refused(reason: ControlRefusal, message: string): ControlOutcome {
  return { done: false, reason, message };
}

function imagined(
  { service, failureType }: { readonly service: string; readonly failureType: FailureType },
  clock: Clock,
): Failure {
  return {
    eventId: "",
    timestamp: clock.now(),
    failureCategory: "internal_service",
    failureType,
    severity: "medium",
    affectedService: service,
    detectionMethod: "manual",
  };
}

/** What an operator wants mended is a sighting of its own, so that the repair has an event to belong to. */
function orderedFailure(
  { name, applicableFailureTypes: [failureType = "unknown"] }: RecoveryStrategy,
  service: string,
  { eventId, by, reason, now }: { eventId: string; by: string; reason: string; now: number },
): Failure {
  return {
    eventId,
    timestamp: now,
    failureCategory: "internal_service",
    failureType,
    severity: "low",
    affectedService: service,
    errorMessage: safeText(`${name} ordered by ${by}: ${reason}`, MESSAGE_LENGTH),
    context: { orderedBy: by },
    detectionMethod: "manual",
  };
}
