/** How long a request may take in all, what comes before its guards included. */
import type { CallInfo } from "../../ports/call-context.js";
import type { Clock } from "../../ports/clock.js";
import type { Patience } from "./key-in-use.js";
import type { ChatOptions } from "./llm-requests.js";

export interface RequestBounds {
  readonly patience: Patience;
  /** Its options for the guards: what came before them took its part of the time. */
  left(): Pick<ChatOptions, "timeoutMs" | "signal">;
}

/** As from now, of the request itself and of the call that it is made in. */
export function requestBounds(
  clock: Clock,
  call: CallInfo | undefined,
  { timeoutMs, signal }: ChatOptions,
): RequestBounds {
  const startedAt = clock.monotonic();
  const callsMs = (call?.deadlineAt ?? Number.POSITIVE_INFINITY) - startedAt;
  return {
    patience: {
      timeoutMs: Math.min(timeoutMs ?? Number.POSITIVE_INFINITY, callsMs),
      signals: [signal, call?.signal],
    },
    left() {
      const passedMs = clock.monotonic() - startedAt;
      // What is out of its range is the guards' to refuse.
      const isLegal = timeoutMs !== undefined && timeoutMs >= 1;
      return { signal, timeoutMs: isLegal ? Math.max(timeoutMs - passedMs, 1) : timeoutMs };
    },
  };
}
