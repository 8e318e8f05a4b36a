/** What a caller gets when a stream breaks: what had come until then, and whether asking again is safe. */
import { TRPCError } from "@trpc/server";
import type { StreamFaultKind } from "../../../../shared/llm-errors.js";
import type { Received } from "./stream-reader.js";

/**
 * cut        the provider ended it before it was whole
 * stalled    it stayed open, and no content came
 * malformed  it sent what cannot be read
 * failed     the provider said that it failed
 * timed_out  the caller's time was up
 */
export type StreamBreak = StreamFaultKind | "failed" | "timed_out";

/**
 * A stream that broke. Nothing is asked again once content was delivered, because the caller would get two halves of two
 * answers; whether to do so is for the caller to decide.
 *
 * `name` stays `TRPCError`: by it a second copy of `@trpc/server` knows the error and sends its status. What was received is
 * not enumerable, so that no logger prints what a model said.
 *
 * @example
 * try {
 *   for await (const chunk of llm.stream({ messages })) show(chunk);
 * } catch (error) {
 *   if (error instanceof StreamBrokenError && error.safeToRetry) startOver();
 * }
 */
export class StreamBrokenError extends TRPCError {
  readonly how: StreamBreak;
  /** The provider's service. */
  readonly service: string;
  /** Content had reached the caller. */
  readonly delivered: boolean;
  /** Asking again does no harm: no part of a tool call had reached the caller, who might have acted on it. */
  readonly safeToRetry: boolean;
  readonly #received: string;

  constructor(options: {
    readonly how: StreamBreak;
    readonly service: string;
    readonly message: string;
    readonly delivered: boolean;
    readonly received: Received;
    readonly cause: unknown;
  }) {
    const { how, service, message, delivered, received, cause } = options;
    super({ code: how === "timed_out" || how === "stalled" ? "GATEWAY_TIMEOUT" : "BAD_GATEWAY", message, cause });
    this.how = how;
    this.service = service;
    this.delivered = delivered;
    this.safeToRetry = !received.toolCalls;
    this.#received = received.text;
  }

  /** The text that came before it broke. */
  get received(): string {
    return this.#received;
  }
}
