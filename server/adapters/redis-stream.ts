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
import { claimedOf, entriesOf, groupsOf, nextId, pairsOf, type RawEntry } from "./redis-replies.js";

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

/**
 * Every command that this stream and its connection send, as rules of a Redis ACL; they all name one key. `ping` answers the
 * health check, `info` greets. A Cluster also needs `+cluster|slots +cluster|info`.
 *
 * @example ACL SETUSER paramedic on >secret ~metrics:stream resetchannels -@all +xadd …
 */
export const REDIS_STREAM_PERMISSIONS = Object.freeze([
  "+xadd",
  "+xgroup|create",
  "+xgroup|delconsumer",
  "+xreadgroup",
  "+xack",
  "+xautoclaim",
  "+xpending",
  "+xinfo|groups",
  "+xinfo|consumers",
  "+xrange",
  "+xlen",
  "+xtrim",
  "+eval",
  "+ping",
  "+info",
] as const);

/** A consumer without pending entries that was not heard of for this long is forgotten. */
const CONSUMER_IDLE_MS = DAY_MS;

/** Entries of its own that a consumer looks through at once. */
const OWN_PAGE = 100;

/** Entries pending for a consumer that is deleted are given to nobody any more, so none may come in between. */
const FORGET_IF_IDLE = `
if #redis.call("XPENDING", KEYS[1], ARGV[1], "-", "+", 1, ARGV[2]) > 0 then return 0 end
redis.call("XGROUP", "DELCONSUMER", KEYS[1], ARGV[1], ARGV[2])
return 1`;

/** @example const stream = createRedisStream({ redis, clock }, { consumer: `${instance}:${boot}` }); */
export function createRedisStream({ redis, clock }: RedisStreamDeps, options: RedisStreamOptions): MetricStream {
  const key = redis.keyPrefix + (options.key ?? REDIS_STREAM_DEFAULTS.key);
  const group = options.group ?? REDIS_STREAM_DEFAULTS.group;
  const maxLength = options.maxLength ?? REDIS_STREAM_DEFAULTS.maxLength;
  const claimAfterMs = options.claimAfterMs ?? REDIS_STREAM_DEFAULTS.claimAfterMs;
  const { consumer } = options;

  let groupExists = false;
  /** Redis tells of trimmed entries once: they are kept until a reader has them. */
  const lost = new Set<string>();
  let claimFrom = "0-0";
  let claimDueAt = clock.monotonic();
  /** After a read without an answer: what Redis gave it is pending for us, beyond this id, and nobody has it. */
  let unansweredFrom: string | undefined;
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
    for (const id of claimed.lost) lost.add(id);
    if (claimed.nameless > 0) for (const id of await ownWithoutContent()) lost.add(id);
    const there = await withDeliveries(claimed.entries);
    const gone = [...lost].map((id): StreamEntry => ({ id, fields: undefined, deliveries: 1 }));
    lost.clear();
    return [...gone, ...there];
  };

  /** What Redis has given to this consumer and nobody has acknowledged, beyond an id. */
  const ownPending = async (after: string, count: number): Promise<readonly RawEntry[]> => {
    const own = ["GROUP", group, consumer, "COUNT", count, "STREAMS", key, after] as const;
    return entriesOf(await ask("read again from", "XREADGROUP", ...own));
  };

  /** Redis 6.2 gives nothing for a trimmed entry, not even its id; reading one's own pending entries again tells it. */
  const ownWithoutContent = async (): Promise<readonly string[]> => {
    const found: string[] = [];
    let after: string | undefined = "0";
    while (after !== undefined) {
      const page: readonly RawEntry[] = await ownPending(after, OWN_PAGE);
      found.push(...page.flatMap(({ id, fields }) => (fields === undefined ? [id] : [])));
      after = page.at(-1)?.id;
    }
    return found;
  };

  /** Redis may have given entries to a read that was given up, or whose connection ended, before it knew of that. */
  const answerTo = async (reading: Promise<unknown>): Promise<unknown> => {
    let reply: unknown;
    try {
      reply = await reading;
    } finally {
      if (reply === undefined) unansweredFrom = "0";
    }
    return reply;
  };

  const withDeliveries = (entries: readonly RawEntry[]): Promise<readonly StreamEntry[]> =>
    Promise.all(entries.map(async ({ id, fields }) => ({ id, fields, deliveries: await deliveriesOf(id) })));

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
    for (const { name, idle } of groupsOf(reply)) {
      if (name !== consumer && idle >= CONSUMER_IDLE_MS) await forgetConsumer(name);
    }
  };

  /** Whoever may not run scripts keeps the names of its dead consumers, and nothing else. */
  const forgetConsumer = async (name: string) => {
    try {
      await ask("tidy up", "EVAL", FORGET_IF_IDLE, 1, key, group, name);
    } catch (error) {
      if (!(error instanceof ParamedicError && error.code === "STREAM_MISCONFIGURED")) throw error;
    }
  };

  /** Whether an entry waits that no consumer of the group has been given. */
  const hasUndelivered = async (lastDelivered: string): Promise<boolean> =>
    pairsOf(await ask("look at", "XRANGE", key, nextId(lastDelivered), "+", "COUNT", 1)).length > 0;

  return Object.freeze<MetricStream>({
    async append(batch) {
      const fields = Object.entries(encodeBatch(batch)).flat();
      // A Redis before 6.2 knows no LIMIT and refuses: nobody could read there what it would take.
      await ask("append to", "XADD", key, "MAXLEN", "~", maxLength, "LIMIT", 0, "*", ...fields);
    },
    async read({ count, waitMs, signal }) {
      if (closed || signal.aborted) return [];
      return inGroup(async () => {
        const claimed = await claim(count);
        if (claimed.length > 0) return claimed;
        if (unansweredFrom !== undefined) {
          const given = await ownPending(unansweredFrom, count);
          unansweredFrom = given.at(-1)?.id;
          if (given.length > 0) return withDeliveries(given);
        }
        const head = ["GROUP", group, consumer, "COUNT", count] as const;
        const tail = ["STREAMS", key, ">"] as const;
        const reply = await answerTo(
          waitMs > 0
            ? redis.blocking(
                { doing: `read from ${key}`, waitMs, signal },
                "XREADGROUP",
                ...head,
                "BLOCK",
                Math.ceil(waitMs),
                ...tail,
              )
            : ask("read from", "XREADGROUP", ...head, ...tail),
        );
        return entriesOf(reply).map(({ id, fields }) => ({ id, fields, deliveries: 1 }));
      });
    },
    async acknowledge(ids) {
      if (ids.length > 0) await ask("acknowledge in", "XACK", key, group, ...ids);
    },
    async backlog() {
      try {
        const own = groupsOf(await ask("look at", "XINFO", "GROUPS", key)).find(({ name }) => name === group);
        if (own?.lag === 0) return own.pending;
        // Redis 6.2 knows no lag, and 7.0 counts entries into it for ever that were trimmed before anybody read them.
        if (own !== undefined && !(await hasUndelivered(own.lastDelivered))) return own.pending;
        const length = Number(await ask("look at", "XLEN", key));
        return own?.lag === undefined ? length : own.pending + Math.min(own.lag, length);
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
        await forgetConsumer(consumer);
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
