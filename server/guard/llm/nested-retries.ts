/**
 * Notices a client that retries by itself inside a guard: its tries and the guard's multiply, and it knows neither the circuit
 * nor the budget. It shows by what the SDKs of OpenAI and Anthropic say of themselves, and by a second request to the same
 * address after a failed one, all within one attempt.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { readProperty } from "../../../shared/error-facts.js";
import type { CallContext } from "../../ports/call-context.js";
import type { Logger } from "../../ports/logger.js";
import { AttemptCall, type EnclosingAttempt } from "../attempt-call.js";

export interface NestedRetries {
  /** Begins to watch the process's requests through undici. */
  start(): void;
  stop(): void;
  /** A retry was seen inside the guard of `service`: warns once for each. */
  found(service: string): void;
}

/** What Node's `fetch` tells of each request, in the async context of whoever made it. */
const CREATED = "undici:request:create";
const ANSWERED = "undici:request:headers";
const FAILED = "undici:request:error";

interface Sent {
  readonly failures: Set<string>;
  readonly address: string;
}

export function createNestedRetries(deps: {
  readonly callContext: CallContext;
  readonly logger: Logger;
  readonly onFault: (error: unknown) => void;
}): NestedRetries {
  const { callContext, logger, onFault } = deps;
  const warned = new Set<string>();
  /** Addresses that failed, by the attempt that asked them. */
  const failures = new WeakMap<EnclosingAttempt, Set<string>>();
  const sent = new WeakMap<object, Sent>();
  let started = false;

  const found = (service: string): void => {
    if (warned.has(service)) return;
    warned.add(service);
    try {
      logger.warn(
        { event: "nested_retries", service },
        `a client inside the guard "${service}" retries by itself, and its tries multiply with the guard's: set its maxRetries to 0`,
      );
    } catch (error) {
      onFault(error);
    }
  };

  const onCreated = (message: unknown): void => {
    const call = callContext.current();
    const request = readProperty(message, "request");
    if (!(call instanceof AttemptCall) || typeof request !== "object" || request === null) return;
    const { attempt } = call;
    const address = `${String(readProperty(request, "method"))} ${String(readProperty(request, "origin"))}${String(readProperty(request, "path"))}`;
    const failed = failures.get(attempt) ?? new Set();
    failures.set(attempt, failed);
    sent.set(request, { failures: failed, address });
    if (failed.has(address) || retryCountOf(readProperty(request, "headers")) > 0) found(attempt.serviceName);
  };
  const onAnswered = (message: unknown): void => {
    const status = readProperty(readProperty(message, "response"), "statusCode");
    if (typeof status === "number" && (status >= 500 || RETRIED_STATUSES.has(status))) onFailed(message);
  };
  const onFailed = (message: unknown): void => {
    const request = readProperty(message, "request");
    const known = typeof request === "object" && request !== null ? sent.get(request) : undefined;
    known?.failures.add(known.address);
  };
  const guarded =
    (listen: (message: unknown) => void) =>
    (message: unknown): void => {
      try {
        listen(message);
      } catch (error) {
        onFault(error);
      }
    };
  const listeners = [
    [CREATED, guarded(onCreated)],
    [ANSWERED, guarded(onAnswered)],
    [FAILED, guarded(onFailed)],
  ] as const;

  return {
    start() {
      if (started) return;
      started = true;
      for (const [channel, listener] of listeners) subscribe(channel, listener);
    },
    stop() {
      for (const [channel, listener] of listeners) unsubscribe(channel, listener);
    },
    found,
  };
}

/** What clients retry besides failures of the server. */
const RETRIED_STATUSES: ReadonlySet<number> = new Set([408, 409, 425, 429]);

/** Node gives headers as a flat list of names and values, older ones as text. */
function retryCountOf(headers: unknown): number {
  const text = Array.isArray(headers) ? headers.join("\n") : String(headers ?? "");
  return Number(/x-stainless-retry-count[\n:]\s*(\d+)/i.exec(text)?.[1] ?? 0);
}
