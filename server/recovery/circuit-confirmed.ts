/** Whether a circuit became what it was told to be. */
import type { CircuitState } from "../../shared/circuit.js";
import { SECOND_MS } from "../../shared/units.js";
import { type Clock, delay } from "../ports/clock.js";

/** The message reaches the circuit in this process at once; a channel that hands over later gets this long. */
const CONFIRM_WITHIN_MS = SECOND_MS;
const CONFIRM_EVERY_MS = 50;

/** @param stateNow the circuit's state; undefined when there is none, or a hold by hand wins over it */
export async function circuitConfirmed(
  clock: Clock,
  stateNow: () => CircuitState | undefined,
  wanted: CircuitState,
): Promise<boolean> {
  for (let waitedMs = 0; stateNow() !== wanted; waitedMs += CONFIRM_EVERY_MS) {
    if (waitedMs >= CONFIRM_WITHIN_MS) return false;
    await delay(clock, CONFIRM_EVERY_MS);
  }
  return true;
}
