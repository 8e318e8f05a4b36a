/** Turns what ended a stream into the one error that its caller gets. */
import { classify } from "../../../../shared/classify.js";
import type { ErrorClass } from "../../../../shared/error-classes.js";
import { readProperty } from "../../../../shared/error-facts.js";
import { STREAM_FAULT, STREAM_FAULTS } from "../../../../shared/llm-errors.js";
import { GuardError } from "../../guard-error.js";
import { type StreamBreak, StreamBrokenError } from "./stream-broken-error.js";
import type { Received } from "./stream-reader.js";

/** Whose content has begun to reach the caller, and what came so far. */
export interface BegunStream {
  readonly service: string;
  readonly received: () => Received;
}

/**
 * A caller's own abort stays what it is, and so does an error before any content: then nothing was received.
 *
 * @param begun undefined while no content came
 * @param signals by which the caller may have left
 */
export function brokenStream(
  error: unknown,
  begun: BegunStream | undefined,
  signals: readonly (AbortSignal | undefined)[],
): unknown {
  if (signals.some((signal) => signal?.aborted && error === signal.reason)) return error;
  const name = readProperty(error, "name");
  if (begun === undefined && name !== STREAM_FAULT && name !== "SyntaxError") return error;
  const service = begun?.service ?? "the provider";
  const how = breakOf(error, service);
  return new StreamBrokenError({
    how,
    service,
    message: `the stream of ${service} broke ${begun === undefined ? "before" : "after"} its first content: ${WORDS[how]}`,
    delivered: begun !== undefined,
    received: begun?.received() ?? { text: "", toolCalls: false },
    cause: error,
  });
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
