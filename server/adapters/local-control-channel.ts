/** The control channel of one process: repairs and operators reach its guards at once. */
import type { ControlChannel, ControlListener, ControlMessage } from "../ports/control-channel.js";

/**
 * @param onFault told of what a listener threw; the other listeners hear the message all the same
 */
export function createLocalControlChannel({ onFault }: { readonly onFault: (error: unknown) => void }): ControlChannel {
  const listeners = new Set<ControlListener>();
  return Object.freeze({
    publish(message: ControlMessage) {
      for (const listener of listeners) {
        try {
          listener(message, { remote: false });
        } catch (error) {
          onFault(error);
        }
      }
    },
    subscribe(listener: ControlListener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  });
}
