/** How repairs and operators reach guards and other instances: as data. Delivery is best effort; the store is the truth. */
import type { CircuitHold, CircuitTransition } from "../../shared/circuit.js";

export type ControlMessage =
  | {
      readonly type: "circuit.open";
      readonly circuitName: string;
      readonly reason: string;
      readonly failureEventId: string | undefined;
    }
  | { readonly type: "circuit.reset"; readonly circuitName: string; readonly reason: string }
  | { readonly type: "circuit.hold"; readonly circuitName: string; readonly hold: CircuitHold }
  | { readonly type: "circuit.release"; readonly circuitName: string }
  | { readonly type: "circuit.transitioned"; readonly transition: CircuitTransition }
  | { readonly type: "settings.changed"; readonly name: string };

/**
 * @param origin `remote` when another process sent it: it is a hint to look at the store, and its times are by another clock
 */
export type ControlListener = (message: ControlMessage, origin: { readonly remote: boolean }) => void;

export interface ControlChannel {
  /** Tells the listeners of this process at once, and those of others that share the channel as soon as may be. Never throws. */
  publish(message: ControlMessage): void;
  /**
   * Returns how to stop listening. A listener that throws disturbs no other.
   *
   * @param onGap told whenever messages of others may have passed unheard
   */
  subscribe(listener: ControlListener, onGap?: () => void): () => void;
}
