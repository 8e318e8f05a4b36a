/** Carries out what operators and repairs ask of circuits, and takes what other instances tell as hints to read the store. */
import type { Clock } from "../ports/clock.js";
import type { ControlListener } from "../ports/control-channel.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import type { CircuitLedger } from "./circuit-ledger.js";
import { instantOf } from "./circuit-restore.js";
import type { CircuitTakeover } from "./circuit-takeover.js";
import type { ManualReason } from "./state-machine.js";

export interface ControlMessagesDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly ledger: CircuitLedger;
  readonly takeover: CircuitTakeover;
  readonly clock: Clock;
  /** The circuit of that name may have moved in the store. */
  readonly onHint: (name: string) => void;
}

export function createControlListener(deps: ControlMessagesDeps): ControlListener {
  const { registry, ledger, takeover, clock, onHint } = deps;
  return (message, { remote }) => {
    switch (message.type) {
      case "circuit.open":
        registry.get(message.circuitName)?.forceOpen(reasonOf(message.reason), message.failureEventId);
        break;
      case "circuit.reset":
        registry.get(message.circuitName)?.reset(reasonOf(message.reason));
        break;
      case "circuit.hold":
      case "circuit.release": {
        const hold = message.type === "circuit.hold" ? message.hold : undefined;
        // Times of another process are by another clock.
        if (!remote) takeover.place(message.circuitName, hold, instantOf(clock));
        onHint(message.circuitName);
        break;
      }
      case "circuit.transitioned": {
        const { circuitName, version } = message.transition;
        if ((ledger.seen(circuitName)?.stored.version ?? 0) < version) onHint(circuitName);
        break;
      }
      case "settings.changed":
        break;
    }
  };
}

/** Whatever does not say that a person did it was a repair. */
function reasonOf(reason: string): ManualReason {
  return reason === "operator" ? "operator" : "repair";
}
