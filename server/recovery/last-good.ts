/**
 * The last good answers of operations, to fall back on: as text, so that nobody changes them afterwards, with their age, within
 * bounds of number, size and time. Kept over a restart only where an operation opts in.
 */
import { createHash } from "node:crypto";
import { ParamedicError } from "../../shared/errors.js";
import type { Failure } from "../../shared/failure.js";
import { isPlainObject } from "../../shared/plain-object.js";
import { MAX_TIMER_MS, MINUTE_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { LastGoodStore } from "../ports/store.js";

export interface LastGoodOptions {
  /** How old an answer may be; 1 to 2^31-1 ms. @default 300_000 */
  readonly ttlMs?: number | undefined;
  /** Also stored, so that a new process has it: inputs are not, but the answers are. @default false */
  readonly persist?: boolean | undefined;
}

export interface RememberedValue<T> {
  readonly value: T;
  readonly ageMs: number;
}

/** One operation's answers, by its arguments. Answers and arguments are JSON; what JSON says nothing of is not remembered. */
export interface LastGood<Args extends readonly unknown[], T> {
  /** Costs what turning the answer into text costs. Never throws. */
  remember(args: Args, value: T): void;
  recall(args: Args): Promise<RememberedValue<T> | undefined>;
  /** A target that remembers what it answers. */
  keeping<Context>(
    target: (context: Context, ...args: Args) => Promise<T>,
  ): (context: Context, ...args: Args) => Promise<T>;
  /**
   * For an operation's `fallback`: rejects when nothing is remembered, and then the caller gets the service's own error. By
   * its `detailed` the operation says how old the answer is: `rescue.kind` is `stale`, with `rescue.ageMs`.
   */
  readonly fallback: ((failure: Failure, ...args: Args) => Promise<T>) & {
    readonly detailed: (failure: Failure, ...args: Args) => Promise<RememberedValue<T>>;
  };
}

export interface LastGoodDeps {
  readonly clock: Clock;
  /** @default nothing outlives the process */
  readonly store?: LastGoodStore | undefined;
  readonly onFault: (error: unknown) => void;
}

export interface LastGoodLimits {
  /** Of all operations together; the one not asked for longest goes first. @default 1_000 */
  readonly maxEntries?: number;
  /** @default 50 MB */
  readonly maxBytes?: number;
}

export interface LastGoodValues {
  of<Args extends readonly unknown[], T>(operation: string, options?: LastGoodOptions): LastGood<Args, T>;
  readonly entries: number;
  readonly bytes: number;
}

const DEFAULTS = { ttlMs: 5 * MINUTE_MS, maxEntries: 1_000, maxBytes: 50 * 1_024 * 1_024 } as const;

interface Entry {
  readonly text: string;
  readonly storedAt: number;
  readonly bytes: number;
}

/**
 * @throws ParamedicError `CONFIGURATION_INVALID`, from `of`, for a time out of its range
 * @example
 * const lastGood = createLastGood({ clock, onFault }).of<[string], string>("summarise");
 * paramedic.operation("summarise", { targets: { "llm:openai": lastGood.keeping(summarise) }, fallback: lastGood.fallback });
 */
export function createLastGood(
  { clock, store, onFault }: LastGoodDeps,
  { maxEntries = DEFAULTS.maxEntries, maxBytes = DEFAULTS.maxBytes }: LastGoodLimits = {},
): LastGoodValues {
  // In the order in which they were last used.
  const kept = new Map<string, Entry>();
  let bytes = 0;

  const drop = (key: string) => {
    bytes -= kept.get(key)?.bytes ?? 0;
    kept.delete(key);
  };

  const put = (key: string, text: string, storedAt: number) => {
    drop(key);
    // A string takes up to two bytes for each of its units.
    const size = 2 * (text.length + key.length);
    if (size > maxBytes) return;
    kept.set(key, { text, storedAt, bytes: size });
    bytes += size;
    for (const oldest of kept.keys()) {
      if (kept.size <= maxEntries && bytes <= maxBytes) break;
      drop(oldest);
    }
  };

  return Object.freeze<LastGoodValues>({
    of<Args extends readonly unknown[], T>(operation: string, options: LastGoodOptions = {}): LastGood<Args, T> {
      const { ttlMs = DEFAULTS.ttlMs, persist = false } = options;
      if (!(ttlMs >= 1 && ttlMs <= MAX_TIMER_MS)) {
        throw new ParamedicError(
          "CONFIGURATION_INVALID",
          `last good values of "${operation}": ttlMs is ${ttlMs}; legal is [1, ${MAX_TIMER_MS}]`,
        );
      }
      const keyOf = (args: Args) => digest(args);
      const entryKey = (key: string) => `${operation}\u0000${key}`;

      const remember = (args: Args, value: T) => {
        try {
          const text = textOf(value);
          if (text === undefined) return;
          const [key, storedAt] = [keyOf(args), clock.now()];
          put(entryKey(key), text, storedAt);
          if (!persist || store === undefined) return;
          store
            .putLastGood(
              { operation, key, value: JSON.parse(text), storedAt, expiresAt: storedAt + ttlMs },
              { maxEntries },
            )
            .catch(onFault);
        } catch (error) {
          onFault(error);
        }
      };

      const find = async (args: Args): Promise<{ readonly value: T; readonly storedAt: number } | undefined> => {
        const key = keyOf(args);
        const entry = kept.get(entryKey(key));
        if (entry !== undefined) {
          kept.delete(entryKey(key));
          kept.set(entryKey(key), entry);
          return { value: JSON.parse(entry.text), storedAt: entry.storedAt };
        }
        if (!persist || store === undefined) return undefined;
        const stored = await store.getLastGood(operation, key).catch((error: unknown) => {
          onFault(error);
          return undefined;
        });
        return stored && { value: asAnswer<T>(stored.value), storedAt: stored.storedAt };
      };

      const recall = async (args: Args): Promise<RememberedValue<T> | undefined> => {
        const found = await find(args).catch((error: unknown) => {
          onFault(error);
          return undefined;
        });
        if (found === undefined) return undefined;
        const ageMs = Math.max(0, clock.now() - found.storedAt);
        return ageMs <= ttlMs ? { value: found.value, ageMs } : undefined;
      };

      const detailed = async (_failure: Failure, ...args: Args): Promise<RememberedValue<T>> => {
        const remembered = await recall(args);
        if (remembered !== undefined) return remembered;
        throw new ParamedicError(
          "FALLBACK_EMPTY",
          `no good answer of "${operation}" is remembered that is young enough`,
        );
      };
      const fallback = async (failure: Failure, ...args: Args) => (await detailed(failure, ...args)).value;

      return Object.freeze<LastGood<Args, T>>({
        remember,
        recall,
        keeping:
          (target) =>
          async (context, ...args) => {
            const value = await target(context, ...args);
            remember(args, value);
            return value;
          },
        fallback: Object.assign(fallback, { detailed }),
      });
    },
    get entries() {
      return kept.size;
    },
    get bytes() {
      return bytes;
    },
  });
}

/** Arguments may be secret: only their digest is kept. */
function digest(args: readonly unknown[]): string {
  return createHash("sha256")
    .update(textOf(args) ?? "")
    .digest("base64url");
}

/** Throws for what JSON makes nothing of, such as a `Map`: it would pass for any other of its kind. */
function textOf(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (isOpaque(part)) throw new TypeError(`${Object.prototype.toString.call(part)} is no JSON: it is not remembered`);
    return part;
  });
}

function isOpaque(part: unknown): boolean {
  if (typeof part !== "object" || part === null || Array.isArray(part)) return false;
  return !isPlainObject(part) && Object.keys(part).length === 0;
}

/** It was written as an answer of this very operation. */
function asAnswer<T>(value: unknown): T {
  return value as T;
}
