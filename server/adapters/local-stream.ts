/** The metric stream inside one process: the same promises as Redis, for as long as the process lives. */
import { encodeBatch } from "../../shared/batch-codec.js";
import { ParamedicError } from "../../shared/errors.js";
import type { Batch } from "../../shared/series.js";
import { SECOND_MS } from "../../shared/units.js";
import { type Clock, delay } from "../ports/clock.js";
import type { MetricStream, StreamEntry } from "../ports/metric-stream.js";

export interface LocalStreamOptions {
  /** Entries kept; beyond it `append` rejects and the collector merges. 1 or more. @default 256 */
  readonly capacity?: number | undefined;
  /** An entry that was read and not acknowledged is given out again after this long. @default 30_000 */
  readonly visibilityMs?: number | undefined;
}

export const LOCAL_STREAM_DEFAULTS = Object.freeze({
  capacity: 256,
  visibilityMs: 30 * SECOND_MS,
}) satisfies Required<LocalStreamOptions>;

interface Held {
  readonly id: string;
  readonly fields: Readonly<Record<string, string>>;
  deliveries: number;
  /** When it may be given out; monotonic milliseconds. */
  visibleAt: number;
}

/** @example const stream = createLocalStream({ clock: systemClock }); */
export function createLocalStream(
  { clock }: { readonly clock: Clock },
  options: LocalStreamOptions = {},
): MetricStream {
  const capacity = options.capacity ?? LOCAL_STREAM_DEFAULTS.capacity;
  const visibilityMs = options.visibilityMs ?? LOCAL_STREAM_DEFAULTS.visibilityMs;
  /** Before each number, as in Redis: dead batches are kept by id, and those of an earlier life are still there. */
  const begunAt = clock.now();
  const entries = new Map<string, Held>();
  const waiting = new Set<AbortController>();
  let lastId = 0;
  let closed = false;

  const wakeReaders = () => {
    for (const reader of waiting) reader.abort();
    waiting.clear();
  };

  const visible = (count: number): StreamEntry[] => {
    const now = clock.monotonic();
    const found: StreamEntry[] = [];
    for (const entry of entries.values()) {
      if (found.length >= count) break;
      if (entry.visibleAt > now) continue;
      entry.visibleAt = now + visibilityMs;
      entry.deliveries += 1;
      found.push({ id: entry.id, fields: entry.fields, deliveries: entry.deliveries });
    }
    return found;
  };

  /** Until something is appended, becomes visible again, the time is over or the caller aborts. */
  const wait = async (waitMs: number, signal: AbortSignal) => {
    const woken = new AbortController();
    waiting.add(woken);
    const wake = () => woken.abort();
    signal.addEventListener("abort", wake, { once: true });
    let nextVisibleIn = waitMs;
    for (const entry of entries.values()) {
      nextVisibleIn = Math.min(nextVisibleIn, Math.max(entry.visibleAt - clock.monotonic(), 0));
    }
    await delay(clock, nextVisibleIn, woken.signal).catch(() => undefined);
    signal.removeEventListener("abort", wake);
    waiting.delete(woken);
  };

  return Object.freeze<MetricStream>({
    async append(batch: Batch) {
      if (closed) throw new ParamedicError("CLOSED", "the in-process metric stream is closed");
      if (entries.size >= capacity) {
        throw new ParamedicError(
          "STREAM_UNAVAILABLE",
          `the in-process metric stream is full (${capacity} batches): the store takes none at present`,
        );
      }
      lastId += 1;
      const id = `${begunAt}-${lastId}`;
      entries.set(id, { id, fields: encodeBatch(batch), deliveries: 0, visibleAt: 0 });
      wakeReaders();
    },
    async read({ count, waitMs, signal }) {
      const until = clock.monotonic() + waitMs;
      for (;;) {
        if (signal.aborted || closed) return [];
        const found = visible(count);
        const left = until - clock.monotonic();
        if (found.length > 0 || left <= 0) return found;
        await wait(left, signal);
      }
    },
    async acknowledge(ids) {
      for (const id of ids) entries.delete(id);
    },
    async backlog() {
      return entries.size;
    },
    async trim() {},
    async close() {
      closed = true;
      wakeReaders();
    },
  });
}
