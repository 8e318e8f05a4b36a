/** How the circuits of a fleet are shared, one by one. */
import { CIRCUIT_SHARINGS, type CircuitSharing } from "../shared/circuit.js";
import { OPTION_DEFAULTS, type Settled } from "./options.js";

/** What a user's function says, where it says something; its faults are ours to bear. */
export function sharingBy(
  given: Settled["circuitSharing"],
  onFault: (error: unknown) => void,
): (circuitName: string) => CircuitSharing {
  if (typeof given !== "function") return () => given;
  return (circuitName) => {
    try {
      const said = given(circuitName);
      if (CIRCUIT_SHARINGS.includes(said)) return said;
      throw new TypeError(`circuitSharing("${circuitName}") gave ${String(said)}, not ${CIRCUIT_SHARINGS.join(", ")}`);
    } catch (error) {
      onFault(error);
      return OPTION_DEFAULTS.circuitSharing;
    }
  };
}
