/** A repair: puts a state machine of the app's back into its safe state and starts it anew from there. */
import { ParamedicError } from "../../shared/errors.js";
import { FAILURE_TYPES, type Failure, type FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { type Clock, systemClock } from "../ports/clock.js";

/** A machine that can be put back into a state in which nothing it does can do harm. */
export interface HealableMachine<State extends string = string> {
  /** The service whose failures mean it, such as `machine:orders`. */
  readonly service: string;
  readonly states: readonly State[];
  /** One of `states`. */
  readonly safeState: State;
  /** States in which it works as it should; it is healed once it is in one of them. @default all but `safeState` */
  readonly healthyStates?: readonly State[] | undefined;
  /** @default every type */
  readonly failureTypes?: readonly FailureType[] | undefined;
  state(): State | Promise<State>;
  /** Leaves whatever state it is in for the safe one. */
  enterSafeState(): void | Promise<void>;
  /** Starts from the safe state. */
  initialise(): void | Promise<void>;
}

/**
 * Succeeds only once the machine is in a healthy state again. One that cannot be started goes back into its safe state, and
 * its row says `rolled_back`.
 *
 * @throws ParamedicError `STRATEGY_INVALID` for a safe or healthy state that is none of its states
 * @example
 * engine.registerStrategy(new StateMachineStrategy("orders", {
 *   service: "machine:orders", states: ["idle", "running", "stuck"], safeState: "idle", healthyStates: ["running"],
 *   state: () => orders.state, enterSafeState: () => orders.reset(), initialise: () => orders.start(),
 * }));
 */
export class StateMachineStrategy<State extends string = string> implements RecoveryStrategy {
  readonly name: string;
  readonly scope = "service";
  readonly actionType = "reset";
  readonly priority = 10;
  readonly applicableFailureTypes: readonly FailureType[];
  readonly #machine: HealableMachine<State>;
  readonly #healthy: readonly State[];
  readonly #clock: Clock;

  constructor(name: string, machine: HealableMachine<State>, { clock = systemClock }: { readonly clock?: Clock } = {}) {
    const { states, safeState, failureTypes = FAILURE_TYPES } = machine;
    this.#healthy = machine.healthyStates ?? states.filter((state) => state !== safeState);
    for (const state of [safeState, ...this.#healthy]) {
      if (states.includes(state)) continue;
      throw new ParamedicError(
        "STRATEGY_INVALID",
        `state machine "${name}": ${JSON.stringify(state)} is none of its states (${states.join(", ")})`,
      );
    }
    this.name = `heal:${name}`;
    this.applicableFailureTypes = failureTypes;
    this.#machine = machine;
    this.#clock = clock;
  }

  appliesTo({ affectedService }: Failure): boolean {
    return affectedService === this.#machine.service;
  }

  async execute(): Promise<StrategyResult> {
    const startedAt = this.#clock.monotonic();
    const { safeState } = this.#machine;
    const from = await this.#machine.state();
    const ended = (success: boolean, message: string): StrategyResult => ({
      success,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: this.#clock.monotonic() - startedAt,
      message,
      metadata: { from, safeState },
    });
    await this.#machine.enterSafeState();
    const reached = await this.#machine.state();
    if (reached !== safeState) return ended(false, `it went from ${from} to ${reached}, not to ${safeState}`);
    await this.#machine.initialise();
    return ended(true, `it went from ${from} to ${safeState} and was started anew`);
  }

  async verify(): Promise<boolean> {
    const state = await this.#machine.state();
    return this.#healthy.some((healthy) => healthy === state);
  }

  async rollback(): Promise<void> {
    await this.#machine.enterSafeState();
    const state = await this.#machine.state();
    if (state !== this.#machine.safeState) throw new Error(`it is ${state}, not ${this.#machine.safeState}`);
  }
}
