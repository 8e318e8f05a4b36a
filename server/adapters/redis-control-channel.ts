/**
 * The control channel between processes, on Redis publish and subscribe: what is published reaches who listens at that moment
 * and nobody else. A listener that may have missed something is told to look at the store.
 */
import type { ControlChannel, ControlMessage } from "../ports/control-channel.js";
import { decodeControlMessage, encodeControlMessage } from "./control-messages.js";
import { createLocalControlChannel } from "./local-control-channel.js";
import type { RedisConnection } from "./redis-connection.js";

export interface RedisControlChannelDeps {
  readonly redis: RedisConnection;
  /** Told of what could not be sent or read, and of what a listener threw. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface RedisControlChannelOptions {
  /** Apps that share a Redis differ in it: `<key of the metrics stream>:control`. */
  readonly channel: string;
  /** Who publishes here, unique among all that share the channel: the instance and its boot. */
  readonly sender: string;
}

/** What a Redis user needs to say and hear something here, beside the channel itself (`&metrics:stream:control`). */
export const REDIS_CONTROL_PERMISSIONS = Object.freeze(["+publish", "+subscribe"] as const);

/** @example createRedisControlChannel({ redis, onFault }, { channel: "metrics:stream:control", sender: `${instance}:${boot}` }) */
export function createRedisControlChannel(
  { redis, onFault }: RedisControlChannelDeps,
  { channel: name, sender }: RedisControlChannelOptions,
): ControlChannel {
  const channel = redis.keyPrefix + name;
  const here = createLocalControlChannel({ onFault });
  const gapListeners = new Set<() => void>();

  redis.listen(channel, {
    onMessage(received) {
      try {
        const decoded = decodeControlMessage(received);
        if (decoded !== undefined && decoded.from !== sender) here.deliver(decoded.message, { remote: true });
      } catch (error) {
        onFault(error);
      }
    },
    onListening() {
      for (const onGap of gapListeners) {
        try {
          onGap();
        } catch (error) {
          onFault(error);
        }
      }
    },
  });

  return Object.freeze<ControlChannel>({
    publish(message: ControlMessage) {
      here.publish(message);
      redis
        .command(`tell others on ${channel}`, "PUBLISH", channel, encodeControlMessage(sender, message))
        .catch(onFault);
    },
    subscribe(listener, onGap) {
      const end = here.subscribe(listener);
      if (onGap !== undefined) gapListeners.add(onGap);
      return () => {
        end();
        if (onGap !== undefined) gapListeners.delete(onGap);
      };
    },
  });
}
