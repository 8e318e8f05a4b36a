/**
 * Watches one stream of one attempt: holds back what comes before the first content, so that another provider may still
 * answer; then passes on, and measures silence by content, because bytes prove nothing: providers send comments for minutes.
 */
import { readProperty } from "../../../../shared/error-facts.js";
import { type Clock, setPatientTimer, type Timer } from "../../../ports/clock.js";
import type { GuardContext } from "../../guard.js";
import { StreamFault } from "./stream-fault.js";
import type { StreamReader } from "./stream-reader.js";

export interface WatchedStream<T> {
  readonly service: string;
  readonly source: AsyncIterable<T>;
  readonly reader: StreamReader<T>;
  readonly context: GuardContext;
  /** Resolves when the caller took the item; with `false` when the caller is gone. */
  readonly give: (item: T) => Promise<boolean>;
  /** Items that the caller did not ask for stay here. @default all are passed on */
  readonly passes?: ((item: T) => boolean) | undefined;
  /** Longest silence between two pieces of content. */
  readonly stallTimeoutMs: number;
  /** The first content is about to reach the caller. */
  readonly onFirstContent: () => void;
  /** Ends the request; also where its end was noticed here first. */
  readonly hangUp: () => void;
}

/** What comes before the first content is a handful; a provider that sends more is out of order. */
const MAX_HELD = 1_000;

/**
 * Resolves when the stream was whole and all of it was taken, or the caller is gone.
 *
 * @throws StreamFault when it was cut, stalled or cannot be read; else what the source raised or the reader read
 */
export function watchStream<T>(clock: Clock, stream: WatchedStream<T>): Promise<void> {
  return new Promise((resolve, reject) => {
    const { service, reader, stallTimeoutMs, hangUp } = stream;
    const silence = new Silence(clock, stallTimeoutMs, () => {
      // What is whole may end as it likes.
      if (reader.finished) resolve();
      else reject(new StreamFault("stalled", `${service} sent no content for ${Math.round(stallTimeoutMs)} ms`));
      hangUp();
    });
    passOn(stream, silence)
      .finally(() => silence.end())
      .then(resolve, reject);
  });
}

async function passOn<T>(stream: WatchedStream<T>, silence: Silence): Promise<void> {
  const { service, source, reader, context, hangUp } = stream;
  const passes = stream.passes ?? (() => true);
  const held: T[] = [];
  let begun = false;

  const give = async (item: T): Promise<boolean> => {
    if (!passes(item)) return true;
    silence.pause();
    const taken = await stream.give(item);
    silence.resume();
    return taken;
  };
  /** The caller took no more. Where he left, that is how it ended. */
  const left = (): void => {
    if (context.signal.aborted && !reader.finished) throw context.signal.reason;
  };
  const begin = async (): Promise<boolean> => {
    begun = true;
    context.delivered({ timeoutMs: Number.POSITIVE_INFINITY });
    stream.onFirstContent();
    for (const item of held.splice(0)) if (!(await give(item))) return false;
    return true;
  };

  try {
    for await (const item of source) {
      if (context.signal.aborted) throw context.signal.reason;
      if (silence.isOver) return;
      const hasContent = reader.read(item);
      if (hasContent) silence.broken();
      if (begun) {
        if (!(await give(item))) return left();
        continue;
      }
      held.push(item);
      if (hasContent && !(await begin())) return left();
      if (held.length > MAX_HELD) {
        throw new StreamFault("malformed", `${service} sent ${MAX_HELD} events without content`);
      }
    }
  } catch (error) {
    // Once it has said that it is whole, nothing that happens to the connection takes it back.
    if (!reader.finished) throw isCut(error) ? cut(service, error) : error;
  } finally {
    hangUp();
  }
  if (context.signal.aborted) throw context.signal.reason;
  if (!reader.finished && reader.endsWithConnection !== true) throw cut(service);
  if (!begun) await begin();
}

function cut(service: string, cause?: unknown): StreamFault {
  return new StreamFault("cut", `${service} ended its stream before it was whole`, { cause });
}

/** What `fetch` says when the connection goes down while a body is read. */
function isCut(error: unknown): boolean {
  return readProperty(error, "message") === "terminated";
}

/** How long it is since the last content. One timer for the whole stream: an event costs no timer of its own. */
class Silence {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onOver: () => void;
  #timer: Timer | undefined = undefined;
  /** Monotonic; undefined before the first content, which is the attempt's own time. */
  #since: number | undefined = undefined;
  /** Monotonic; since when the caller is waited for. */
  #pausedAt: number | undefined = undefined;
  isOver = false;

  constructor(clock: Clock, limitMs: number, onOver: () => void) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#onOver = onOver;
  }

  broken(): void {
    this.#since = this.#clock.monotonic();
    if (this.#timer === undefined && !this.isOver) this.#wait(this.#limitMs);
  }

  /** While the caller is slow, nobody can tell whether the provider is. */
  pause(): void {
    this.#pausedAt = this.#clock.monotonic();
  }

  resume(): void {
    const pausedAt = this.#pausedAt;
    this.#pausedAt = undefined;
    if (this.#since !== undefined && pausedAt !== undefined) this.#since += this.#clock.monotonic() - pausedAt;
  }

  end(): void {
    this.isOver = true;
    this.#timer?.cancel();
  }

  #wait(delayMs: number): void {
    this.#timer = setPatientTimer(this.#clock, () => this.#look(), delayMs);
  }

  #look(): void {
    if (this.isOver) return;
    const until = this.#pausedAt ?? this.#clock.monotonic();
    const leftMs = (this.#since ?? 0) + this.#limitMs - until;
    if (leftMs > 0 || this.#pausedAt !== undefined) {
      this.#wait(leftMs > 0 ? leftMs : this.#limitMs);
      return;
    }
    this.end();
    this.#onOver();
  }
}
