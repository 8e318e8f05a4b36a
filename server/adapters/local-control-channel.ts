/** The control channel of one process: repairs and operators reach its guards at once. */
import type { ControlChannel, ControlMessage } from "../ports/control-channel.js";

/**
 * @param onFault told of what a listener threw; the other listeners hear the message all the same
 */
export function createLocalControlChannel({ onFault }: { readonly onFault: (error: unknown) => void }): ControlChannel {
  const listeners = new Set<(message: ControlMessage) => void>();
  return Object.freeze({
    publish(message: ControlMessage) {
      for (const listener of listeners) {
        try {
          listener(message);
        } catch (error) {
          onFault(error);
        }
      }
    },
    subscribe(listener: (message: ControlMessage) => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  });
}
