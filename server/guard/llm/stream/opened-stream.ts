/** A guarded run whose stream its caller holds before the run is over: as soon as the first content came. */
import { type BegunStream, brokenStream } from "./broken-stream.js";
import { Handover } from "./handover.js";

export interface OpenedRun<T, Head> {
  /** Aborts when the caller leaves. */
  readonly signal: AbortSignal;
  readonly give: (item: T) => Promise<boolean>;
  /** Called when content is about to reach the caller. */
  readonly begun: (head: Head, stream: BegunStream) => void;
}

export interface OpenedStream<T, Head> {
  /** What was known of the answer before its content. */
  readonly head: Head;
  readonly stream: ReadableStream<T>;
}

/**
 * Rejects as `run` does while no content came. Later the stream ends with one error; `lastWords` may turn it into items that
 * the stream's reader understands.
 *
 * @param signal the caller's own
 * @param run resolves when all was given; with a value, where the answer turned out to be no stream
 */
export function openStream<T, Head, Whole>(
  signal: AbortSignal | undefined,
  run: (run: OpenedRun<T, Head>) => Promise<Whole>,
  lastWords?: (error: unknown) => readonly T[],
): Promise<OpenedStream<T, Head> | Whole> {
  const handover = new Handover<T>();
  const controller = new AbortController();
  const leave = () => controller.abort(signal?.reason);
  if (signal?.aborted) leave();
  else signal?.addEventListener("abort", leave, { once: true });

  return new Promise((resolve, reject) => {
    /** Let go of once it is settled: by them, what the caller was given would live as long as the run. */
    let caller: { readonly resolve: typeof resolve; readonly reject: typeof reject } | undefined = { resolve, reject };
    let stream: BegunStream | undefined;
    const broken = (error: unknown) => brokenStream(error, stream, [controller.signal, signal]);
    const fail = async (error: unknown): Promise<void> => {
      if (stream === undefined || lastWords === undefined || controller.signal.aborted) {
        handover.fail(broken(error));
        return;
      }
      for (const item of lastWords(broken(error))) if (!(await handover.give(item))) return;
      handover.end();
    };
    run({
      signal: controller.signal,
      give: (item) => handover.give(item),
      begun(head, begun) {
        stream = begun;
        caller?.resolve({ head, stream: readableOf(handover, () => controller.abort(LEFT)) });
        caller = undefined;
      },
    })
      .then(
        (whole) => {
          handover.end();
          caller?.resolve(whole);
        },
        (error: unknown) => {
          caller?.reject(broken(error));
          return fail(error);
        },
      )
      .finally(() => signal?.removeEventListener("abort", leave));
  });
}

const LEFT = new DOMException("the caller left the stream", "AbortError");

/** Who neither reads on nor cancels has left, as soon as nobody can any more: else his place would be taken for ever. */
const FORGOTTEN = new FinalizationRegistry<() => void>((leave) => leave());

function readableOf<T>(handover: Handover<T>, onLeave: () => void): ReadableStream<T> {
  const leave = () => {
    handover.leave();
    onLeave();
  };
  const readable = new ReadableStream<T>(
    {
      async pull(stream) {
        const result = await handover.take();
        if (result.done) stream.close();
        else stream.enqueue(result.value);
      },
      cancel: leave,
    },
    // Nothing is asked of the provider that the caller did not ask for.
    { highWaterMark: 0 },
  );
  FORGOTTEN.register(readable, leave);
  return readable;
}
