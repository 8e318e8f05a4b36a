/**
 * Measures the stream that a call returned: its first event, its events, and its end, which is the end of the call. One that
 * nobody reads ends its call as `aborted`, or as what the adapter reports of it.
 */
import type { CallContext } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import type { CallRecorder } from "./call-recorder.js";
import { observeStream } from "./observe-stream.js";
import type { ProcedureCall } from "./procedure-call.js";

export interface StreamDeps {
  readonly recorder: CallRecorder;
  readonly callContext: CallContext;
  readonly clock: Clock;
}

/**
 * @param startedAt when the call began, monotonic milliseconds
 * @param onEnd told once, after the end is recorded. Must not throw
 */
export function measureStream<T extends object>(
  { recorder, callContext, clock }: StreamDeps,
  stream: T,
  { call, startedAt, onEnd }: { readonly call: ProcedureCall; readonly startedAt: number; readonly onEnd: () => void },
): T {
  let hasEvents = false;
  let isDropped = false;
  const givenAfterMs = clock.monotonic() - startedAt;
  const read = recorder.unread.watch(call.path, (isReported) => {
    isDropped = true;
    if (!isReported) recorder.streamEnded(call, { type: "aborted" }, givenAfterMs);
    onEnd();
  });
  return observeStream(stream, {
    signal: call.signal,
    run: (step) => callContext.run(call, step),
    onBegin: read,
    onEvent() {
      if (isDropped) return;
      recorder.streamed(call.path, hasEvents ? undefined : clock.monotonic() - startedAt);
      hasEvents = true;
    },
    onEnd(end) {
      read();
      if (isDropped) return;
      recorder.streamEnded(call, end, clock.monotonic() - startedAt);
      onEnd();
    },
    onLateError: (error) => recorder.failedLate(call, error),
  });
}
