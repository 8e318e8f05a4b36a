/** A repair: closes the circuit of a service that was seen to answer again, so that callers need not wait until its time is over. */
import type { CircuitState } from "../../shared/circuit.js";
import { describeError } from "../../shared/describe-error.js";
import type { Failure, FailureType } from "../../shared/failure.js";
import type { RecoveryStrategy, StrategyResult } from "../../shared/recovery.js";
import { SECOND_MS } from "../../shared/units.js";
import { type Clock, delay, systemClock } from "../ports/clock.js";
import type { ControlChannel } from "../ports/control-channel.js";
import { circuitConfirmed } from "./circuit-confirmed.js";

export interface CircuitResetStrategyDeps {
  readonly channel: ControlChannel;
  /** The state of a circuit by its name; undefined when there is none, or a hold by hand wins over it. */
  readonly circuitState: (circuitName: string) => CircuitState | undefined;
  /** A question that costs the service nothing and that it answers only when it works; undefined where there is none. */
  readonly probe: (service: string) => (() => unknown) | undefined;
  readonly clock?: Clock;
}

/** One answer may be luck. */
const ANSWERS_IN_A_ROW = 3;
const ASK_EVERY_MS = 250;
/** What restarts is back within seconds; a repair may take 30. */
const TRY_FOR_MS = 20 * SECOND_MS;

/**
 * The other half of `circuit_break`. It follows from a circuit that opened and from the calls that it refuses, asks the service
 * past the circuit, and tells the circuit to close once it has answered several times in a row. When it does not answer once
 * more after that, the circuit is opened again.
 *
 * @example
 * engine.registerStrategy(new CircuitResetStrategy({ channel, circuitState, probe: (service) => pools.get(service)?.ping }));
 */
export class CircuitResetStrategy implements RecoveryStrategy {
  readonly name = "circuit_reset";
  readonly scope = "service";
  readonly actionType = "reset";
  readonly priority = 6;
  /** A connection that was just replaced is of use to nobody behind an open circuit. */
  readonly completes = true;
  readonly applicableFailureTypes: readonly FailureType[] = ["service_unavailable"];
  readonly #channel: ControlChannel;
  readonly #circuitState: CircuitResetStrategyDeps["circuitState"];
  readonly #probe: CircuitResetStrategyDeps["probe"];
  readonly #clock: Clock;

  constructor({ channel, circuitState, probe, clock = systemClock }: CircuitResetStrategyDeps) {
    this.#channel = channel;
    this.#circuitState = circuitState;
    this.#probe = probe;
    this.#clock = clock;
  }

  appliesTo({ affectedService }: Failure): boolean {
    const state = this.#circuitState(affectedService);
    return state !== undefined && state !== "closed" && this.#probe(affectedService) !== undefined;
  }

  async execute({ affectedService: circuitName }: Failure): Promise<StrategyResult> {
    const startedAt = this.#clock.monotonic();
    const from = this.#circuitState(circuitName);
    const ended = (success: boolean, message: string): StrategyResult => ({
      success,
      actionType: this.actionType,
      actionStrategy: this.name,
      durationMs: this.#clock.monotonic() - startedAt,
      message,
      metadata: { circuitName, from: from ?? null },
    });
    const probe = this.#probe(circuitName);
    if (from === undefined || probe === undefined)
      return ended(false, `${circuitName} has no circuit that could close`);
    let silence = "it did not answer";
    for (let answers = 0; answers < ANSWERS_IN_A_ROW; ) {
      if (this.#circuitState(circuitName) === "closed") return ended(true, `circuit ${circuitName} closed by itself`);
      try {
        await probe();
        answers += 1;
      } catch (error) {
        answers = 0;
        silence = describeError(error).message;
      }
      if (answers === ANSWERS_IN_A_ROW) break;
      if (this.#clock.monotonic() - startedAt + ASK_EVERY_MS > TRY_FOR_MS) return ended(false, silence);
      await delay(this.#clock, ASK_EVERY_MS);
    }
    this.#channel.publish({ type: "circuit.reset", circuitName, reason: "repair" });
    return ended(true, `${circuitName} answers, and its circuit was told to close`);
  }

  /** True once the circuit is closed and the service has answered once more. */
  async verify({ affectedService }: Failure): Promise<boolean> {
    if (!(await circuitConfirmed(this.#clock, () => this.#circuitState(affectedService), "closed"))) return false;
    const probe = this.#probe(affectedService);
    if (probe === undefined) return false;
    await probe();
    return true;
  }

  /** Opens it again: callers had better be refused than wait for a service that is silent. */
  async rollback({ affectedService: circuitName, eventId: failureEventId }: Failure): Promise<void> {
    if (this.#circuitState(circuitName) !== "closed") return;
    this.#channel.publish({ type: "circuit.open", circuitName, reason: "repair", failureEventId });
  }
}
