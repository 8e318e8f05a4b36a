/**
 * Connections to Redis on which every command settles: answered, refused at once while there is no connection, or given up
 * after a time. A command is never sent a second time behind our back, and an idle connection keeps no process alive.
 */
import { type Cluster, Redis, type RedisOptions } from "ioredis";
import { ParamedicError } from "../../shared/errors.js";
import { SECOND_MS } from "../../shared/units.js";
import type { Clock, Timer } from "../ports/clock.js";
import type { Random } from "../ports/random.js";
import { redisFailure } from "./redis-failure.js";

export interface RedisDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of every connection error. Must not throw. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

export interface RedisConnectionOptions {
  /** How long one command may take; 1 to 2^31-1. @default 2_000 */
  readonly commandTimeoutMs?: number | undefined;
  /** How long connecting may take; 1 to 2^31-1. @default 5_000 */
  readonly connectTimeoutMs?: number | undefined;
}

export const REDIS_DEFAULTS = Object.freeze({
  commandTimeoutMs: 2 * SECOND_MS,
  connectTimeoutMs: 5 * SECOND_MS,
}) satisfies Required<RedisConnectionOptions>;

export type RedisArgument = string | number;

export interface RedisConnection {
  /** What the given client puts in front of its keys; this connection does not do so by itself. */
  readonly keyPrefix: string;
  /**
   * Sends one command; rejects with `STREAM_UNAVAILABLE` or `STREAM_MISCONFIGURED`.
   * @param doing for the message, as "append to metrics:stream"
   */
  command(doing: string, name: string, ...args: readonly RedisArgument[]): Promise<unknown>;
  /**
   * Sends one command that waits in Redis, on a connection of its own; undefined when `signal` aborts. The connection is
   * given up when no answer comes within `waitMs` and a second.
   */
  blocking(
    wait: { readonly doing: string; readonly waitMs: number; readonly signal: AbortSignal },
    name: string,
    ...args: readonly RedisArgument[]
  ): Promise<unknown>;
  /**
   * Hears what is published on a channel, on a connection of its own, again whenever that was lost.
   *
   * @param listener `onListening`: each time it begins to hear, so that what was said before may have been missed. Neither
   *   may throw
   */
  listen(channel: string, listener: { onMessage(text: string): void; onListening(): void }): void;
  /** Round trip in milliseconds. */
  ping(): Promise<number>;
  close(): Promise<void>;
}

/** How soon the machine asks whether an idle connection still has another end. */
const KEEP_ALIVE_MS = 10 * SECOND_MS;
const FIRST_RECONNECT_MS = 50;
const LAST_RECONNECT_MS = 5 * SECOND_MS;
const BLOCKING_GRACE_MS = SECOND_MS;

/**
 * Connects in the background and again whenever the connection ends. To a Cluster it keeps the process alive until `close`.
 *
 * @param target `redis://…`, `rediss://…`, `unix:/…`, or a client of yours, which is duplicated and otherwise left alone
 * @throws ParamedicError CONFIGURATION_INVALID for anything else
 * @example const redis = connectRedis("redis://127.0.0.1:6379", { clock: systemClock, random: systemRandom });
 */
export function connectRedis(
  target: string | Redis | Cluster,
  deps: RedisDeps,
  options: RedisConnectionOptions = {},
): RedisConnection {
  const commandTimeoutMs = options.commandTimeoutMs ?? REDIS_DEFAULTS.commandTimeoutMs;
  const connectTimeoutMs = options.connectTimeoutMs ?? REDIS_DEFAULTS.connectTimeoutMs;
  const commands = keepConnected(openClient(target, { connectTimeoutMs, commandTimeoutMs }), deps, commandTimeoutMs);
  const listening: Link[] = [];
  let reads: Link | undefined;
  let closed = false;

  return Object.freeze<RedisConnection>({
    keyPrefix: typeof target === "string" ? "" : (target.options.keyPrefix ?? ""),
    command: (doing, name, ...args) => commands.run(doing, (client) => client.call(name, [...args])),
    async blocking({ doing, waitMs, signal }, name, ...args) {
      if (closed || signal.aborted) return undefined;
      reads ??= keepConnected(openClient(target, { connectTimeoutMs }), deps, commandTimeoutMs);
      const link = reads;
      return new Promise((resolve, reject) => {
        // Dropping the connection is what tells Redis that nobody waits any more.
        const giveUp = (settle: () => void) => () => {
          settle();
          link.drop();
        };
        const onAbort = giveUp(() => resolve(undefined));
        const timer = deps.clock.setTimer(
          giveUp(() => reject(redisFailure(new Error("no answer to a waiting read"), doing))),
          waitMs + BLOCKING_GRACE_MS,
        );
        signal.addEventListener("abort", onAbort, { once: true });
        link
          .run(doing, (client) => client.call(name, [...args]))
          .then(resolve, reject)
          .finally(() => {
            timer.cancel();
            signal.removeEventListener("abort", onAbort);
          });
      });
    },
    listen(channel, { onMessage, onListening }) {
      if (closed) return;
      const client = openClient(target, { connectTimeoutMs, commandTimeoutMs });
      client.on("message", (from: string, text: string) => {
        if (from === channel) onMessage(text);
      });
      const link = keepConnected(client, deps, commandTimeoutMs);
      client.on("ready", () => {
        link
          .run(`listen on ${channel}`, () => client.subscribe(channel))
          .then(onListening)
          .catch((error: unknown) => deps.onFault?.(error));
      });
      listening.push(link);
    },
    async ping() {
      const start = deps.clock.monotonic();
      await commands.run("ping Redis", (client) => client.call("PING"));
      return deps.clock.monotonic() - start;
    },
    async close() {
      closed = true;
      commands.close();
      reads?.close();
      for (const link of listening) link.close();
    },
  });
}

/** A client of ours on the same server, whatever we were given. */
function openClient(
  target: string | Redis | Cluster,
  { connectTimeoutMs, commandTimeoutMs }: { connectTimeoutMs: number; commandTimeoutMs?: number },
): Redis | Cluster {
  const settling = {
    connectTimeout: connectTimeoutMs,
    ...(commandTimeoutMs === undefined ? {} : { commandTimeout: commandTimeoutMs }),
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    keepAlive: KEEP_ALIVE_MS,
    maxRetriesPerRequest: 0,
    protocol: 2,
    // Two commands that an ACL would have to allow, for nothing of ours.
    disableClientInfo: true,
  } as const;
  const alone = {
    ...settling,
    keyPrefix: "",
    lazyConnect: true,
    enableOfflineQueue: false,
    // We reconnect ourselves: the client's own timer would keep the process alive while Redis is away.
    retryStrategy: () => null,
    // After a failover the old address may answer, but only to reads.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    // Sentinels that are away are asked again by us too, and one that is silent is given up like any command.
    sentinelRetryStrategy: () => null,
    sentinelCommandTimeout: commandTimeoutMs ?? connectTimeoutMs,
  } as const satisfies RedisOptions;
  if (typeof target === "string") {
    try {
      if (/^(rediss?:\/\/|unix:\/)\S+$/.test(target)) return new Redis(target.replace(/^unix:/, ""), alone);
    } catch {
      // What is thrown for a URL that cannot be read quotes all of it, password included.
    }
    throw noRedis();
  }
  if (typeof target?.duplicate !== "function") throw noRedis();
  if (!("nodes" in target)) return target.duplicate(alone);
  return target.duplicate([], {
    keyPrefix: "",
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: () => null,
    redisOptions: settling,
  });
}

function noRedis(): ParamedicError {
  return new ParamedicError(
    "CONFIGURATION_INVALID",
    "Redis is a client of ioredis, or a URL that begins with redis://, rediss:// or unix:/; example: redis://:password@127.0.0.1:6379 (percent-encode what is special)",
  );
}

interface Link {
  run<T>(doing: string, send: (client: Redis | Cluster) => Promise<T>): Promise<T>;
  /** Ends the connection and makes a new one. */
  drop(): void;
  close(): void;
}

function keepConnected(client: Redis | Cluster, { clock, random, onFault }: RedisDeps, patienceMs: number): Link {
  let closed = false;
  let attempts = 0;
  let retry: Timer | undefined;
  let greeting: Timer | undefined;
  let lastError: unknown;

  const connect = async () => {
    if (closed) return;
    try {
      await client.connect();
    } catch (error) {
      lastError ??= error;
    }
  };
  client.on("error", (error: unknown) => {
    lastError = error;
    onFault?.(error);
    // The client listens to a socket's first error only, and TLS has a second one, which would end the process.
    if (!("nodes" in client)) client.stream?.on("error", () => undefined);
  });
  // A command under way keeps the process alive by its time limit; a connection by itself does not.
  client.on("connect", () => {
    if (!("nodes" in client)) client.stream.unref();
    greeting?.cancel();
    // Until it is ready no command of ours is on it that could notice how silent it is.
    greeting = clock.setTimer(() => client.disconnect(true), patienceMs);
  });
  client.on("ready", () => {
    greeting?.cancel();
    attempts = 0;
    lastError = undefined;
  });
  client.on("end", () => {
    greeting?.cancel();
    if (closed) return;
    attempts += 1;
    const longest = Math.min(FIRST_RECONNECT_MS * 2 ** (attempts - 1), LAST_RECONNECT_MS);
    retry?.cancel();
    retry = clock.setTimer(() => void connect(), longest * (0.5 + random() / 2));
  });
  /** Commands wait for the first attempt, so that a process that has just begun finds its Redis. */
  let firstAttempt: Promise<void> | undefined = Promise.race([
    connect(),
    new Promise<void>((resolve) => void clock.setTimer(resolve, patienceMs)),
  ]).then(() => {
    firstAttempt = undefined;
  });

  return {
    async run(doing, send) {
      if (closed) throw new ParamedicError("CLOSED", `cannot ${doing}: the connection to Redis was closed`);
      try {
        if (firstAttempt) await firstAttempt;
        return await send(client);
      } catch (error) {
        // What stayed silent once may be half open; and a late reply must not be taken for that of a later command.
        if (isTimeout(error)) client.disconnect(true);
        // While there is no connection the client only says so; why there is none says more.
        throw redisFailure(client.status === "ready" ? error : (lastError ?? error), doing);
      }
    },
    drop: () => client.disconnect(true),
    close() {
      closed = true;
      retry?.cancel();
      greeting?.cancel();
      client.disconnect();
    },
  };
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === "Command timed out";
}
