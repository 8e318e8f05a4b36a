/** A repair: drains this process and ends it, so that its supervisor starts a fresh one. Never without an explicit yes. */
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { HOUR_MS } from "../../shared/units.js";
import { type Clock, systemClock } from "../ports/clock.js";

export interface RestartOptions {
  /** Restarts of one place in the window, over all lives of the process; 1 to 100. @default 3 */
  readonly mostPerWindow?: number | undefined;
  /** 1 to 2^31-1 ms. @default 3_600_000 */
  readonly windowMs?: number | undefined;
}

export interface RestartStrategyDeps extends RestartOptions {
  /** What is restarted, the same in every life of it, such as the instance's name or the host's. */
  readonly place: string;
  /** Drains and ends the process. Called after the row is written; what it does is not waited for. */
  readonly restart: (failure: Failure) => void;
  readonly clock?: Clock;
}

export const RESTART_STRATEGY = "graceful_restart";

const DEFAULTS = { mostPerWindow: 3, windowMs: HOUR_MS } as const;

/**
 * For what only a new process mends: a memory that fills, an event loop that stays late. Its row stays in progress while the
 * process ends; the life that takes over writes that it succeeded. Restarts are counted in the store, so that a process that
 * crashes again and again is let be after a few of them.
 *
 * @example engine.registerStrategy(new RestartStrategy({ place: "web-1", restart: () => void drainAndExit() }));
 */
export class RestartStrategy implements RecoveryStrategy {
  readonly name = RESTART_STRATEGY;
  readonly scope = "service";
  readonly actionType = "restart";
  readonly level = "process";
  readonly priority = 40;
  readonly applicableFailureTypes: readonly FailureType[] = ["memory_pressure", "event_loop_blocked"];
  readonly target: string;
  readonly limit: { readonly most: number; readonly windowMs: number };
  readonly #deps: RestartStrategyDeps;

  constructor(deps: RestartStrategyDeps) {
    this.#deps = deps;
    this.target = restartTarget(deps.place);
    this.limit = {
      most: deps.mostPerWindow ?? DEFAULTS.mostPerWindow,
      windowMs: deps.windowMs ?? DEFAULTS.windowMs,
    };
  }

  async execute(failure: Failure): Promise<StrategyResult> {
    const { restart, clock = systemClock } = this.#deps;
    // After the engine has let go of the repair: ending the process waits for what is under way.
    clock.setTimer(() => restart(failure), 0, true);
    return {
      success: true,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: 0,
      message: `${this.target} drains and is started anew`,
      handsOver: true,
    };
  }
}

export function restartTarget(place: string): string {
  return `process:${place}`;
}
