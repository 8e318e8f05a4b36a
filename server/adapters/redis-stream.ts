/**
 * The metric stream on Redis Streams: one key, one consumer group, entries of dead consumers claimed after a while. It is one
 * file because it is one protocol: what one command leaves behind is what the next one expects.
 *
 * Needs Redis 6.2; what newer versions tell beyond that is used where it is there.
 */
import { encodeBatch } from "../../shared/batch-codec.js";
import { ParamedicError } from "../../shared/errors.js";
import { DAY_MS, MINUTE_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { MetricStream, StreamEntry } from "../ports/metric-stream.js";
import type { RedisArgument, RedisConnection } from "./redis-connection.js";
import { replyCode } from "./redis-failure.js";
import { type Claimed, claimedOf, entriesOf, groupsOf, idsWithoutContent, nextId, pairsOf } from "./redis-replies.js";

export interface RedisStreamDeps {
  readonly redis: RedisConnection;
  readonly clock: Clock;
}

export interface RedisStreamOptions {
  /** @default "metrics:stream" */
  readonly key?: string | undefined;
  /** @default "paramedic" */
  readonly group?: string | undefined;
  /** Unique among those who read now: the instance and its boot. */
  readonly consumer: string;
  /** About how many entries Redis keeps at most, read or not; 1 or more. @default 10_000 */
  readonly maxLength?: number | undefined;
  /** An entry not acknowledged for this long is given to whoever asks; 1 or more. @default 60_000 */
  readonly claimAfterMs?: number | undefined;
}

export const REDIS_STREAM_DEFAULTS = Object.freeze({
  key: "metrics:stream",
  group: "paramedic",
  maxLength: 10_000,
  claimAfterMs: MINUTE_MS,
}) satisfies Required<Omit<RedisStreamOptions, "consumer">>;

/** A consumer without pending entries that was not heard of for this long is forgotten. */
const CONSUMER_IDLE_MS = DAY_MS;

/** @example const stream = createRedisStream({ redis, clock }, { consumer: `${instance}:${boot}` }); */
export function createRedisStream({ redis, clock }: RedisStreamDeps, options: RedisStreamOptions): MetricStream {
  const key = redis.keyPrefix + (options.key ?? REDIS_STREAM_DEFAULTS.key);
  const group = options.group ?? REDIS_STREAM_DEFAULTS.group;
  const maxLength = options.maxLength ?? REDIS_STREAM_DEFAULTS.maxLength;
  const claimAfterMs = options.claimAfterMs ?? REDIS_STREAM_DEFAULTS.claimAfterMs;
  const { consumer } = options;

  let groupExists = false;
  let claimFrom = "0-0";
  let claimDueAt = clock.monotonic();
  let closed = false;

  const ask = (doing: string, name: string, ...args: readonly RedisArgument[]) =>
    redis.command(`${doing} ${key}`, name, ...args);

  /** Makes the group and does `work`; once more when the key, and the group with it, was deleted in between. */
  const inGroup = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      await ensureGroup();
      return await work();
    } catch (error) {
      if (!isReply(error, "NOGROUP") && !isReply(error, "UNBLOCKED")) throw error;
      groupExists = false;
      claimFrom = "0-0";
      await ensureGroup();
      return work();
    }
  };

  const ensureGroup = async () => {
    if (groupExists) return;
    try {
      // From 0, not $: what was appended before the first reader came is to be read too.
      await ask("make a group on", "XGROUP", "CREATE", key, group, "0", "MKSTREAM");
    } catch (error) {
      if (!isReply(error, "BUSYGROUP")) throw error;
    }
    groupExists = true;
  };

  /** Takes over what others left behind, one page at a time; a full pass every half claim time. */
  const claim = async (count: number): Promise<readonly StreamEntry[]> => {
    if (claimFrom === "0-0" && clock.monotonic() < claimDueAt) return [];
    const from = claimFrom;
    const reply = await ask("claim from", "XAUTOCLAIM", key, group, consumer, claimAfterMs, from, "COUNT", count);
    const claimed = claimedOf(reply);
    claimFrom = claimed.next;
    if (claimFrom === "0-0") claimDueAt = clock.monotonic() + claimAfterMs / 2;
    const lost = [...claimed.lost, ...(await lostBehind(claimed, count))];
    return [
      ...lost.map((id): StreamEntry => ({ id, fields: undefined, deliveries: 1 })),
      ...(await Promise.all(
        claimed.entries.map(async ({ id, fields }) => ({ id, fields, deliveries: await deliveriesOf(id) })),
      )),
    ];
  };

  /** Redis 6.2 gives nothing for a trimmed entry, not even its id; reading one's own pending entries again tells it. */
  const lostBehind = async ({ nameless }: Claimed, count: number): Promise<readonly string[]> => {
    if (nameless === 0) return [];
    const own = ["GROUP", group, consumer, "COUNT", count + nameless, "STREAMS", key, "0"] as const;
    return idsWithoutContent(await ask("read again from", "XREADGROUP", ...own));
  };

  const deliveriesOf = async (id: string): Promise<number> => {
    const [pending] = pairsOf(await ask("look at", "XPENDING", key, group, id, id, 1));
    const deliveries = Number(pending?.[3]);
    return Number.isSafeInteger(deliveries) && deliveries > 0 ? deliveries : 1;
  };

  /** The first id that some group still needs; undefined while nobody has read anything. */
  const neededFrom = async (): Promise<string | undefined> => {
    let oldest: string | undefined;
    for (const { name, lastDelivered, pending } of groupsOf(await ask("look at", "XINFO", "GROUPS", key))) {
      const first = pending > 0 ? await firstPending(name) : undefined;
      const needed = first ?? nextId(lastDelivered);
      if (oldest === undefined || isEarlier(needed, oldest)) oldest = needed;
    }
    return oldest;
  };

  const firstPending = async (name: string): Promise<string | undefined> => {
    const [pending] = pairsOf(await ask("look at", "XPENDING", key, name, "-", "+", 1));
    return typeof pending?.[0] === "string" ? pending[0] : undefined;
  };

  const forgetDeadConsumers = async () => {
    const reply = await ask("look at", "XINFO", "CONSUMERS", key, group);
    for (const { name, pending, idle } of groupsOf(reply)) {
      // With pending entries it must stay: they could not be claimed any more.
      if (name === consumer || pending > 0 || idle < CONSUMER_IDLE_MS) continue;
      await ask("tidy up", "XGROUP", "DELCONSUMER", key, group, name);
    }
  };

  return Object.freeze<MetricStream>({
    async append(batch) {
      const fields = Object.entries(encodeBatch(batch)).flat();
      await ask("append to", "XADD", key, "MAXLEN", "~", maxLength, "*", ...fields);
    },
    async read({ count, waitMs, signal }) {
      if (closed || signal.aborted) return [];
      return inGroup(async () => {
        const claimed = await claim(count);
        if (claimed.length > 0) return claimed;
        const head = ["GROUP", group, consumer, "COUNT", count] as const;
        const tail = ["STREAMS", key, ">"] as const;
        const reply =
          waitMs > 0
            ? await redis.blocking(
                { doing: `read from ${key}`, waitMs, signal },
                "XREADGROUP",
                ...head,
                "BLOCK",
                Math.ceil(waitMs),
                ...tail,
              )
            : await ask("read from", "XREADGROUP", ...head, ...tail);
        return entriesOf(reply).map(({ id, fields }) => ({ id, fields, deliveries: 1 }));
      });
    },
    async acknowledge(ids) {
      if (ids.length > 0) await ask("acknowledge in", "XACK", key, group, ...ids);
    },
    async backlog() {
      try {
        const own = groupsOf(await ask("look at", "XINFO", "GROUPS", key)).find(({ name }) => name === group);
        // Redis 6.2 does not know the lag; then what was acknowledged since the last trim is counted too.
        if (own?.lag !== undefined) return own.pending + own.lag;
        return Number(await ask("look at", "XLEN", key));
      } catch (error) {
        if (isMissingKey(error)) return 0;
        throw error;
      }
    },
    async trim() {
      try {
        const from = await neededFrom();
        if (from !== undefined) await ask("trim", "XTRIM", key, "MINID", from);
        await forgetDeadConsumers();
      } catch (error) {
        if (!isMissingKey(error) && !isReply(error, "NOGROUP")) throw error;
      }
    },
    /** Leaves the group if nothing of it is pending; the connection is its owner's to close. */
    async close() {
      if (closed) return;
      closed = true;
      if (!groupExists) return;
      try {
        const pending = pairsOf(await ask("look at", "XPENDING", key, group, "-", "+", 1, consumer));
        if (pending.length === 0) await ask("leave", "XGROUP", "DELCONSUMER", key, group, consumer);
      } catch {
        // The next trim of anybody forgets this consumer when its time is over.
      }
    },
  });
}

function isReply(error: unknown, code: string): boolean {
  return error instanceof ParamedicError && error.cause instanceof Error && replyCode(error.cause.message) === code;
}

function isMissingKey(error: unknown): boolean {
  return error instanceof ParamedicError && error.cause instanceof Error && /no such key/i.test(error.cause.message);
}

function isEarlier(a: string, b: string): boolean {
  const [aTime = 0n, aSeq = 0n] = a.split("-").map(BigInt);
  const [bTime = 0n, bSeq = 0n] = b.split("-").map(BigInt);
  return aTime < bTime || (aTime === bTime && aSeq < bSeq);
}
