/**
 * Works behind the calls: turns the journal into rows, repairs what is broken under a lease, and ends what was left open.
 * `landing` writes, `repair-queue` decides, `repair` acts; the engine keeps them going and is the door to them, one object
 * with one life, which is why its wiring and its methods stand in one file.
 */
import type { Failure } from "../../shared/failure.js";
import { permitsOf } from "../../shared/mode.js";
import type { Plan } from "../../shared/plan.js";
import type { RecoveryAction, RecoveryStrategy, RescueOperation } from "../../shared/recovery.js";
import { assess, type Stake } from "../../shared/severity.js";
import { createLoop, type Loop } from "../loop.js";
import { type CallContext, noCallContext } from "../ports/call-context.js";
import { type Clock, systemClock } from "../ports/clock.js";
import { type Ids, systemIds } from "../ports/ids.js";
import { type Logger, silentLogger } from "../ports/logger.js";
import type { OperatorControl } from "../ports/operator-control.js";
import { type Random, systemRandom } from "../ports/random.js";
import type { Settings } from "../ports/settings.js";
import { settleWithin } from "./attempt-strategy.js";
import { backoffCeilingMs } from "./backoff.js";
import { type RecoveryEngineOptions, resolveEngineOptions } from "./engine-options.js";
import { createJournal, type SpoolingJournal } from "./journal.js";
import { createLanding, type LandedFailure, type Landing } from "./landing.js";
import { createLocalRecord, type RecoveryRecord } from "./local-record.js";
import { createOperatorControl, type WaitingRepairs } from "./operator-control.js";
import { logRecovery } from "./recovery-log.js";
import { storableFailure } from "./recovery-rows.js";
import { createRepairs, type Repairs } from "./repair.js";
import { createRepairPlanning } from "./repair-planning.js";
import { createRepairQueue, type HandledAction, type RepairQueue } from "./repair-queue.js";
import { rescue } from "./rescue.js";
import { isStoreAway } from "./store-away.js";
import { createStrategyRegistry } from "./strategy-registry.js";
import { takeOver } from "./take-over.js";

export interface RecoveryEngineDeps {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly ids?: Ids;
  readonly logger?: Logger;
  /** Where guards and middlewares append. @default one of its own */
  readonly journal?: SpoolingJournal;
  /** @default the rows of this process, bounded */
  readonly store?: RecoveryRecord;
  /** @default mode `full`, not stopped */
  readonly settings?: Settings;
  /** Lets guards that a repair uses know that it is one. @default none */
  readonly callContext?: CallContext;
  /** @default "local" */
  readonly instance?: string;
  /** What is the same in every life of this process; a restart that the last life began is ended by this one. @default none */
  readonly place?: string | undefined;
  /** The strategies' feature flags. @default all on */
  readonly isEnabled?: (strategyName: string) => boolean;
  /** How much the app needs a service, and which procedures use it: what is at stake when it fails. @default not known */
  readonly stakeOf?: (service: string) => Stake;
  /** Announced work is under way on a service: its repairs rest. @default never */
  readonly inMaintenance?: (service: string, now: number) => boolean;
  /** Told of each row that was written, folded rescues as one row with its occurrences. */
  readonly onRow?: (row: RecoveryAction) => void;
  /** Told of faults of our own; must not throw. @default ignores them */
  readonly onFault?: (error: unknown) => void;
}

export interface HandledFailure {
  /** Of the stored event into which the failure was folded; of the failure itself where it is not stored yet. */
  readonly eventId: string;
  readonly recovered: boolean;
  /** In the order in which they were tried. */
  readonly actions: readonly HandledAction[];
  /** What was to be tried, and why the rest was not. */
  readonly plan: Plan;
  /** What the operation gave in the end; only of a rescue. */
  readonly value?: unknown;
}

/** How the engine stands. */
export interface RecoveryEngineState {
  /** Journal entries that are not rows yet. */
  readonly spooled: number;
  /** What did not fit into the journal, by kind. */
  readonly dropped: SpoolingJournal["dropped"];
  /** Rescues whose failure was never stored. */
  readonly unlinked: number;
  /** Entries that the store refused for what they are. */
  readonly refused: number;
  readonly repairsWaiting: number;
  readonly repairsRunning: number;
  /** False while the store is away. */
  readonly storing: boolean;
}

/**
 * Decides about failures and carries repairs out. With nothing given it works alone, in this process.
 *
 * @throws ParamedicError `CONFIGURATION_INVALID` for an option outside its range
 * @example
 * const engine = new RecoveryEngine();
 * engine.registerStrategy({
 *   name: "reconnect_cache", scope: "service", priority: 10, applicableFailureTypes: ["redis_connection"], actionType: "reconnect",
 *   execute: async () => ({ success: await cache.reconnect(), actionType: "reconnect", actionStrategy: "reconnect_cache", durationMs: 0, message: "reconnected" }),
 *   verify: () => cache.answers(),
 * });
 * const { recovered, actions } = await engine.handleFailure(failure);
 */
export class RecoveryEngine {
  /** Where guards and middlewares append what they saw and did. */
  readonly journal: SpoolingJournal;
  /** Where the rows are: the store that was given, or the engine's own. */
  readonly store: RecoveryRecord;
  /** What operators do by hand: preview, trigger, approve, cancel. */
  readonly control: OperatorControl & WaitingRepairs;
  readonly #options: Required<RecoveryEngineOptions>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #settings: Settings;
  readonly #onFault: (error: unknown) => void;
  readonly #onRow: ((row: RecoveryAction) => void) | undefined;
  readonly #registry = createStrategyRegistry();
  readonly #landing: Landing;
  readonly #repairs: Repairs;
  readonly #queue: RepairQueue;
  readonly #loop: Loop;
  readonly #takeOver: () => Promise<void>;
  #failedRuns = 0;
  #tookOver = false;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(deps: RecoveryEngineDeps = {}, options: RecoveryEngineOptions = {}) {
    const { clock = systemClock, random = systemRandom, ids = systemIds, instance = "local" } = deps;
    const { callContext = noCallContext, isEnabled = () => true, inMaintenance = () => false } = deps;
    const { onFault = () => {} } = deps;
    this.#options = resolveEngineOptions(options);
    this.#clock = clock;
    this.#onFault = onFault;
    this.#onRow = deps.onRow;
    this.#logger = deps.logger ?? silentLogger;
    this.#settings = deps.settings ?? { mode: () => "full", stopped: () => false };
    this.journal = deps.journal ?? createJournal({ ids, onFault });
    this.store = deps.store ?? createLocalRecord();
    const permits = (service: string) => {
      const permitted = permitsOf(this.#settings.mode(), service, this.#options.limitedServices);
      return this.#settings.safety?.() ? { ...permitted, repairs: false } : permitted;
    };
    const onRow = (row: RecoveryAction) => this.#log(row);
    const { store, journal } = this;

    const registry = this.#registry;
    const planning = createRepairPlanning(
      { strategies: () => registry.all(), permits, isEnabled, inMaintenance, onFault },
      this.#options,
    );
    this.#repairs = createRepairs({ clock, ids, store, callContext, instance, onRow, onFault }, this.#options);
    this.#queue = createRepairQueue(
      {
        clock,
        ids,
        instance,
        settings: this.#settings,
        planning,
        registry,
        repairs: this.#repairs,
        store,
        onRow,
        onFault,
      },
      this.#options,
    );
    this.#landing = createLanding({
      journal,
      store,
      instance,
      circuitsPermitted: (circuitName) => permits(circuitName).circuits,
      assess(failure) {
        try {
          return deps.stakeOf === undefined ? failure : assess(failure, deps.stakeOf(failure.affectedService));
        } catch (error) {
          onFault(error);
          return failure;
        }
      },
      decide: (landed) => this.#queue.consider(landed),
      onRow,
      onFault,
    });
    this.control = createOperatorControl(
      {
        clock,
        ids,
        instance,
        settings: this.#settings,
        planning,
        registry,
        repairs: this.#repairs,
        queue: this.#queue,
        store,
        landOne: this.#landing.landOne,
        onRow,
      },
      this.#options,
    );
    const bornAt = clock.now();
    this.#takeOver = () => takeOver({ clock, store, instance, place: deps.place, bornAt, onRow });
    this.#loop = createLoop({
      clock,
      intervalMs: () => this.#nextRunMs(random),
      run: () => this.#run(),
      onError: onFault,
    });
  }

  /**
   * Adds a strategy; one of the same name takes the place of the one before.
   *
   * @throws ParamedicError `STRATEGY_INVALID` naming what is wrong and what is legal
   */
  registerStrategy(strategy: RecoveryStrategy): void {
    this.#registry.register(strategy);
  }

  /** All strategies in the order in which they run: by priority, then by name. */
  strategies(): readonly RecoveryStrategy[] {
    return this.#registry.all();
  }

  /**
   * Does what can be done about a failure, and records it. With the operation that failed, call-scoped strategies rescue it
   * and the rows follow; without one, service-scoped strategies repair the service. Never rejects for what a strategy or the
   * store does: while the store is away the failure waits in the journal, and nothing is repaired without its lease. Message,
   * stack and context are redacted and bounded first.
   */
  async handleFailure(failure: Failure, operation?: RescueOperation): Promise<HandledFailure> {
    const safe = storableFailure(failure);
    return operation ? this.#handleCall(safe, operation) : this.#handleService(safe);
  }

  /** Begins to drain the journal, to repair and to sweep. Starting twice is once. */
  start(): void {
    this.#queue.pause(false);
    this.#loop.start();
  }

  /** Begins no repair any more, waits a while for those under way, and writes what is in the journal once more. */
  async stop(): Promise<void> {
    this.#queue.pause(true);
    await this.#loop.stop();
    await settleWithin(this.#clock, this.#options.stopWaitMs, () => this.#queue.idle());
    await this.#loop.runOnce();
  }

  /** Turns what is in the journal into rows now; resolves once the repairs that follow have ended. Never rejects. */
  async drainOnce(): Promise<void> {
    await this.#loop.runOnce();
    if (this.journal.size > 0 && this.#failedRuns === 0) await this.#loop.runOnce();
    await this.#queue.idle();
  }

  state(): RecoveryEngineState {
    return {
      spooled: this.journal.size,
      dropped: this.journal.dropped,
      ...this.#landing.lost,
      repairsWaiting: this.#queue.waiting,
      repairsRunning: this.#queue.running,
      storing: this.#failedRuns === 0,
    };
  }

  async #run(): Promise<void> {
    try {
      await this.#repairs.completeLeftOver();
      if (!this.#tookOver) await this.#takeOver();
      this.#tookOver = true;
      // What is appended meanwhile is the next run's.
      let left = this.journal.size;
      let landed: number;
      do {
        landed = await this.#landing.land(this.#options.drainBatchSize);
        left -= landed;
      } while (landed > 0 && left > 0);
      await this.#sweepWhenDue();
      this.#failedRuns = 0;
    } catch (error) {
      this.#failedRuns += 1;
      throw error;
    }
    this.#queue.pump();
  }

  #nextRunMs(random: Random): number {
    const { drainIntervalMs, maxBackoffMs } = this.#options;
    if (this.#failedRuns === 0) return drainIntervalMs;
    const ceiling = backoffCeilingMs(this.#failedRuns, { baseDelayMs: drainIntervalMs, maxDelayMs: maxBackoffMs });
    return (ceiling * (1 + random())) / 2;
  }

  async #sweepWhenDue(): Promise<void> {
    const { sweepIntervalMs, resolveAfterMs } = this.#options;
    if (this.#clock.monotonic() - this.#sweptAt < sweepIntervalMs) return;
    const now = this.#clock.now();
    const count = await this.store.abandonExpired(now);
    if (count > 0) this.#logger.warn({ event: "recovery.abandoned", count }, "repairs outlived their lease: abandoned");
    await this.control.expireWaiting();
    await this.store.resolveQuietFailures(now - resolveAfterMs, now);
    this.#sweptAt = this.#clock.monotonic();
  }

  async #handleService(failure: Failure): Promise<HandledFailure> {
    let landed: LandedFailure;
    try {
      landed = await this.#landing.landOne(failure);
    } catch (error) {
      this.#onFault(error);
      this.journal.append({ type: "failure.observed", failure, rescued: false });
      landed = this.#landing.unstored(failure);
      return { eventId: failure.eventId, recovered: false, actions: [], plan: this.#queue.decide(landed).plan };
    }
    const { eventId } = landed.failure;
    const decision = this.#queue.decide(landed);
    switch (decision.type) {
      case "skip":
        await this.#keep(decision.row);
        return { eventId, recovered: false, actions: [skippedAction(decision.row)], plan: decision.plan };
      case "repair":
        return this.#repair(landed, decision.plan);
    }
  }

  async #repair(landed: LandedFailure, planned: Plan): Promise<HandledFailure> {
    const { eventId } = landed.failure;
    try {
      const { plan, actions } = await this.#queue.repairNow(landed);
      if (this.#settings.stopped()) this.#queue.enqueue(landed);
      return { eventId, recovered: actions.some(({ success }) => success), actions, plan };
    } catch (error) {
      this.#onFault(error);
      if (isStoreAway(error)) this.#queue.enqueue(landed);
      return { eventId, recovered: false, actions: [], plan: planned };
    }
  }

  async #keep(row: RecoveryAction): Promise<void> {
    try {
      await this.store.recordRescues([row]);
      this.#log(row);
    } catch (error) {
      this.#onFault(error);
      if (isStoreAway(error)) this.#landing.keep(row);
    }
  }

  async #handleCall(failure: Failure, operation: RescueOperation): Promise<HandledFailure> {
    const { plan, attempts } = await rescue(failure, operation, {
      clock: this.#clock,
      journal: this.journal,
      strategyOf: (name) => this.#registry.get(name),
      config: this.#queue.planConfig(failure),
    });
    if (this.#failedRuns === 0) this.#loop.wake();
    const actions = attempts.map(({ record: { status, target, dryRun }, result }) => ({
      ...result,
      status,
      target,
      dryRun,
    }));
    const last = actions.at(-1);
    const answered = last?.success === true;
    return {
      eventId: failure.eventId,
      recovered: answered,
      actions,
      plan,
      ...(answered && { value: last.value }),
    };
  }

  #log(row: RecoveryAction): void {
    try {
      logRecovery(this.#logger, row);
      this.#onRow?.(row);
    } catch (error) {
      this.#onFault(error);
    }
  }
}

function skippedAction({ actionType, actionStrategy, status, target, dryRun, result }: RecoveryAction): HandledAction {
  const message = typeof result?.message === "string" ? result.message : "";
  return { success: false, actionType, actionStrategy, durationMs: 0, message, status, target, dryRun };
}
