/**
 * One stream for one caller, asked of the first target that can give it: begins when it is first read, moves on to the next
 * target until content came, and ends with the stream's own end or one error that says what was received.
 */
import { classify } from "../../../../shared/classify.js";
import type { ErrorClass } from "../../../../shared/error-classes.js";
import { readProperty } from "../../../../shared/error-facts.js";
import { STREAM_FAULT, STREAM_FAULTS } from "../../../../shared/llm-errors.js";
import type { Rescue } from "../../../../shared/recovery.js";
import type { CallContext } from "../../../ports/call-context.js";
import type { Detailed } from "../../guard.js";
import { GuardError } from "../../guard-error.js";
import { Handover } from "./handover.js";
import { type StreamBreak, StreamBrokenError } from "./stream-broken-error.js";
import type { Received } from "./stream-reader.js";

/** What a run of the stream is given, and what it tells. */
export interface StreamRun<T> {
  /** Aborts when the caller leaves. */
  readonly signal: AbortSignal;
  readonly give: (item: T) => Promise<boolean>;
  /** Called when content is about to reach the caller, with whose it is and where its progress can be read. */
  readonly begun: (service: string, received: () => Received) => void;
}

export interface GuardedStreamDeps<T> {
  readonly callContext: CallContext;
  /** The caller's own. */
  readonly signal?: AbortSignal | undefined;
  /** Runs the whole stream; resolves with items that a fallback gave instead. */
  readonly run: (run: StreamRun<T>) => Promise<Detailed<readonly T[]>>;
}

export class GuardedStream<T> implements AsyncIterableIterator<T, undefined> {
  /** How it was obtained; known once it has ended. */
  rescue: Rescue | undefined = undefined;
  readonly #handover = new Handover<T>();
  readonly #controller = new AbortController();
  readonly #deps: GuardedStreamDeps<T>;
  readonly #call: ReturnType<CallContext["current"]>;
  #started = false;
  #source: { readonly service: string; readonly received: () => Received } | undefined = undefined;

  constructor(deps: GuardedStreamDeps<T>) {
    this.#deps = deps;
    // The call that asked for the stream, whoever reads it.
    this.#call = deps.callContext.current();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (!this.#started) this.#start();
    return this.#handover.take();
  }

  /** Ends the request: what was read until then was all the caller wanted. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#started = true;
    this.#handover.leave();
    this.#controller.abort(new DOMException("the caller left the stream", "AbortError"));
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    await this.return();
    throw error;
  }

  #start(): void {
    this.#started = true;
    const { callContext } = this.#deps;
    const run = () => void this.#run();
    if (this.#call === undefined) run();
    else callContext.run(this.#call, run);
  }

  async #run(): Promise<void> {
    const { signal, run } = this.#deps;
    const leave = () => this.#controller.abort(signal?.reason);
    signal?.addEventListener("abort", leave, { once: true });
    if (signal?.aborted) leave();
    try {
      const { value, rescue } = await run({
        signal: this.#controller.signal,
        give: (item) => this.#handover.give(item),
        begun: (service, received) => {
          this.#source = { service, received };
        },
      });
      this.rescue = rescue;
      for (const item of value) if (!(await this.#handover.give(item))) break;
      this.#handover.end();
    } catch (error) {
      this.#handover.fail(this.#broken(error));
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  /** The caller's own abort stays what it is, and so does an error before any content: then nothing was received. */
  #broken(error: unknown): unknown {
    for (const signal of [this.#controller.signal, this.#call?.signal]) {
      if (signal?.aborted && error === signal.reason) return error;
    }
    const source = this.#source;
    const isFault = readProperty(error, "name") === STREAM_FAULT || readProperty(error, "name") === "SyntaxError";
    if (source === undefined && !isFault) return error;
    const service = source?.service ?? "the provider";
    const how = breakOf(error, service);
    return new StreamBrokenError({
      how,
      service,
      message: `the stream of ${service} broke ${source === undefined ? "before" : "after"} its first content: ${WORDS[how]}`,
      delivered: source !== undefined,
      received: source?.received() ?? { text: "", toolCalls: false },
      cause: error,
    });
  }
}

const WORDS = {
  cut: "it ended before it was whole",
  stalled: "no more content came",
  malformed: "it sent what cannot be read",
  failed: "the provider failed",
  timed_out: "the time was up",
} as const satisfies Record<StreamBreak, string>;

function breakOf(error: unknown, service: string): StreamBreak {
  if (error instanceof GuardError) return "timed_out";
  const how = readProperty(error, "how");
  const fault = readProperty(error, "name") === STREAM_FAULT ? STREAM_FAULTS.find((kind) => kind === how) : undefined;
  return fault ?? BREAK_BY_CLASS.get(classify(error, service).reason) ?? "failed";
}

/** A line that went down in the middle is a stream that was cut, whatever the platform says of it. */
const BREAK_BY_CLASS: ReadonlyMap<string, StreamBreak> = new Map<ErrorClass, StreamBreak>([
  ["stream_broken", "cut"],
  ["connection_reset", "cut"],
  ["network", "cut"],
  ["malformed_response", "malformed"],
]);
