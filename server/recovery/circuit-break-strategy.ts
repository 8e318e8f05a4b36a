/** A repair: opens the circuit of a service that cannot succeed for anybody, before more callers pay for finding out. */
import type { CircuitState } from "../../shared/circuit.js";
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { type Clock, systemClock } from "../ports/clock.js";
import type { ControlChannel } from "../ports/control-channel.js";
import { circuitConfirmed } from "./circuit-confirmed.js";

export interface CircuitBreakStrategyDeps {
  readonly channel: ControlChannel;
  /** The state of a circuit by its name; undefined when there is none. */
  readonly circuitState: (circuitName: string) => CircuitState | undefined;
  /** Whose guard refuses what is impossible and lets the rest go on: an open circuit would end that too. @default none */
  readonly staysUsable?: (failure: Failure) => boolean;
  readonly clock?: Clock;
}

/**
 * For faults that no repeat can mend: a refused credential, a spent quota, a model that is gone, a database that takes no
 * writes. The circuit's own probes close it again.
 *
 * @example
 * engine.registerStrategy(new CircuitBreakStrategy({ channel, circuitState: (name) => registry.get(name)?.snapshot().state }));
 */
export class CircuitBreakStrategy implements RecoveryStrategy {
  readonly name = "circuit_break";
  readonly scope = "service";
  readonly actionType = "circuit_break";
  readonly priority = 5;
  readonly applicableFailureTypes: readonly FailureType[] = [
    "auth_failed",
    "quota_exceeded",
    "model_unavailable",
    "database_readonly",
    "disk_full",
  ];
  readonly #channel: ControlChannel;
  readonly #circuitState: CircuitBreakStrategyDeps["circuitState"];
  readonly #staysUsable: (failure: Failure) => boolean;
  readonly #clock: Clock;

  constructor({ channel, circuitState, staysUsable = () => false, clock = systemClock }: CircuitBreakStrategyDeps) {
    this.#channel = channel;
    this.#circuitState = circuitState;
    this.#staysUsable = staysUsable;
    this.#clock = clock;
  }

  appliesTo(failure: Failure): boolean {
    return this.#circuitState(circuitOf(failure)) !== undefined && !this.#staysUsable(failure);
  }

  async execute(failure: Failure): Promise<StrategyResult> {
    const startedAt = this.#clock.monotonic();
    const circuitName = circuitOf(failure);
    const from = this.#circuitState(circuitName);
    const ended = (success: boolean, message: string): StrategyResult => ({
      success,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: this.#clock.monotonic() - startedAt,
      message,
      metadata: { circuitName, from: from ?? null },
    });
    if (from === undefined) return ended(false, `there is no circuit ${circuitName}`);
    if (from === "open") return ended(true, `circuit ${circuitName} is already open`);
    this.#channel.publish({
      type: "circuit.open",
      circuitName,
      reason: failure.failureType,
      failureEventId: failure.eventId,
    });
    return ended(true, `circuit ${circuitName} was told to open`);
  }

  /** True once the circuit is open; a hold by hand keeps it as it is, and then the repair did not succeed. */
  verify(failure: Failure): Promise<boolean> {
    return circuitConfirmed(this.#clock, () => this.#circuitState(circuitOf(failure)), "open");
  }
}

/** A refused key has a circuit of its own, and the service's stays as it is. */
function circuitOf({ affectedService, context }: Failure): string {
  const circuit = context?.circuit;
  return typeof circuit === "string" ? circuit : affectedService;
}
