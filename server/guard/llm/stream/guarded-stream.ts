/**
 * One stream for one caller, asked of the first target that can give it: begins when it is first read, moves on to the next
 * target until content came, and ends with the stream's own end or one error that says what was received.
 */
import type { Rescue } from "../../../../shared/recovery.js";
import type { CallContext } from "../../../ports/call-context.js";
import type { Detailed } from "../../guard.js";
import { type BegunStream, brokenStream } from "./broken-stream.js";
import { Handover } from "./handover.js";

/** What a run of the stream is given, and what it tells. */
export interface StreamRun<T> {
  /** Aborts when the caller leaves. */
  readonly signal: AbortSignal;
  readonly give: (item: T) => Promise<boolean>;
  /** Called when content is about to reach the caller, with whose it is and where its progress can be read. */
  readonly begun: (stream: BegunStream) => void;
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
  #begun: BegunStream | undefined = undefined;

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
        begun: (stream) => {
          this.#begun = stream;
        },
      });
      this.rescue = rescue;
      for (const item of value) if (!(await this.#handover.give(item))) break;
      this.#handover.end();
    } catch (error) {
      this.#handover.fail(brokenStream(error, this.#begun, [this.#controller.signal, this.#call?.signal]));
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }
}
