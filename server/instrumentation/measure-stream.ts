/** Measures the stream that a call returned: its first event, its events, and its end, which is the end of the call. */
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
  let begun = false;
  return observeStream(stream, {
    signal: call.signal,
    run: (step) => callContext.run(call, step),
    onEvent() {
      recorder.streamed(call.path, begun ? undefined : clock.monotonic() - startedAt);
      begun = true;
    },
    onEnd(end) {
      recorder.streamEnded(call, end, clock.monotonic() - startedAt);
      onEnd();
    },
    onLateError: (error) => recorder.failedLate(call, error),
  });
}
