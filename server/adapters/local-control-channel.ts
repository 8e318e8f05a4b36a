/** The control channel of one process: repairs and operators reach its guards at once. */
import type { ControlChannel, ControlListener, ControlMessage } from "../ports/control-channel.js";

export interface LocalControlChannel extends ControlChannel {
  /** Tells the listeners here of what came from `origin`. */
  deliver(message: ControlMessage, origin: Parameters<ControlListener>[1]): void;
}

/**
 * @param onFault told of what a listener threw; the other listeners hear the message all the same
 */
export function createLocalControlChannel({
  onFault,
}: {
  readonly onFault: (error: unknown) => void;
}): LocalControlChannel {
  const listeners = new Set<ControlListener>();
  const deliver: LocalControlChannel["deliver"] = (message, origin) => {
    for (const listener of listeners) {
      try {
        listener(message, origin);
      } catch (error) {
        onFault(error);
      }
    }
  };
  return Object.freeze<LocalControlChannel>({
    deliver,
    publish: (message) => deliver(message, { remote: false }),
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  });
}
