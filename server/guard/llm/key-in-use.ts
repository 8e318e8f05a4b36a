/**
 * Finds out which key a request will use, so that a rotated key has circuits of its own at once. The key goes no further than
 * the request and its fingerprint; where it cannot be found out, requests share the circuits of `key:current`.
 */
import { readProperty } from "../../../shared/error-facts.js";
import { SECOND_MS } from "../../../shared/units.js";
import type { Clock } from "../../ports/clock.js";
import { withDeadline } from "../deadline.js";
import { linkedController } from "./linked-controller.js";
import type { LlmProvider } from "./provider.js";

const KEY_HEADERS = ["authorization", "x-api-key", "api-key", "x-goog-api-key"] as const;

/** A function that has given no key by then is asked again by the attempt itself, within the attempt's time. */
const LONGEST_WAIT_MS = SECOND_MS;

export function keyInHeaders(headers: Headers): string | undefined {
  const key = KEY_HEADERS.map((name) => headers.get(name)).find((value) => value !== null && value !== "");
  return key?.replace(/^Bearer /i, "");
}

/** How long whoever asks would wait for anything. */
export interface Patience {
  readonly timeoutMs: number;
  readonly signals: readonly (AbortSignal | undefined)[];
}

export async function keyOfProvider(
  { apiKey }: LlmProvider,
  clock: Clock,
  { timeoutMs, signals }: Patience,
): Promise<string | undefined> {
  if (typeof apiKey === "string") return apiKey;
  const waiting = linkedController(signals);
  try {
    const key: unknown = await withDeadline(clock, apiKey(), {
      timeoutMs: Math.min(LONGEST_WAIT_MS, timeoutMs),
      onTimeout: () => new Error("no key was given in time"),
      signal: waiting.signal,
    });
    return typeof key === "string" && key !== "" ? key : undefined;
  } catch {
    // What keeps it from giving a key fails the attempt, which asks it too, and is told there.
    return undefined;
  } finally {
    waiting.abort();
  }
}

/** A model of the AI SDK keeps its key to itself, but most know the headers that they will send. */
export function keyOfModel(model: unknown): string | undefined {
  try {
    const config = readProperty(model, "config");
    const headersOf = readProperty(config, "headers");
    const headers: unknown = typeof headersOf === "function" ? headersOf.call(config) : headersOf;
    if (typeof headers !== "object" || headers === null) return undefined;
    const plain = Object.entries(headers).filter((entry): entry is [string, string] => typeof entry[1] === "string");
    return keyInHeaders(new Headers(plain));
  } catch {
    return undefined;
  }
}
