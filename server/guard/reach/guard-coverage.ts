/**
 * Knows what guards cover: which procedures ask which services, told by the guards, and what goes out past every guard, told
 * by the channels on which Node and drivers tell of what they send.
 *
 * What is sent inside of a call is guarded when it is sent inside of an attempt. Outside of calls nothing links work to its
 * attempt; but where no guarded work is under way outside of calls, what is sent there is surely unguarded.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Coverage } from "../../../shared/coverage.js";
import type { CallContext } from "../../ports/call-context.js";
import type { Clock } from "../../ports/clock.js";
import { AttemptCall } from "../attempt-call.js";
import { readHttpRequest, readUndiciRequest, type SeenRequest } from "./request-origin.js";
import type { ServiceReach } from "./service-reach.js";
import { createUnguardedList } from "./unguarded-traffic.js";

export interface GuardCoverage {
  /** Begins to watch what the process sends. */
  start(): void;
  stop(): void;
  read(): Coverage;
}

/** Each message is given in the async context of whoever sends. */
const CHANNELS: ReadonlyMap<string, (message: unknown) => SeenRequest> = new Map([
  ["undici:request:create", readUndiciRequest],
  ["http.client.request.start", readHttpRequest],
]);

export function createGuardCoverage(deps: {
  readonly clock: Clock;
  readonly callContext: CallContext;
  readonly reach: ServiceReach;
  /** Told of faults of our own; must not throw. */
  readonly onFault: (error: unknown) => void;
}): GuardCoverage {
  const { clock, callContext, reach, onFault } = deps;
  const since = clock.now();
  const unguarded = createUnguardedList();
  let undecided = 0;
  let watching = false;

  const sent = (read: () => SeenRequest): void => {
    const call = callContext.current();
    if (call instanceof AttemptCall) return;
    const { origin, isOwn } = read();
    if (isOwn) return;
    if (call === undefined && reach.unlinked > 0) undecided += 1;
    else unguarded.add(origin, call?.path, clock.now());
  };

  const listeners = Array.from(CHANNELS, ([channel, read]) => {
    const listen = (message: unknown): void => {
      try {
        sent(() => read(message));
      } catch (error) {
        onFault(error);
      }
    };
    return [channel, listen] as const;
  });

  return Object.freeze({
    start() {
      if (watching) return;
      watching = true;
      for (const [channel, listen] of listeners) subscribe(channel, listen);
    },
    stop() {
      watching = false;
      for (const [channel, listen] of listeners) unsubscribe(channel, listen);
    },
    read: () => ({
      watching,
      since,
      reaches: reach.uses(clock),
      unguarded: unguarded.list(),
      undecided,
      unlisted: { reaches: reach.unlisted, unguarded: unguarded.unlisted },
    }),
  });
}
