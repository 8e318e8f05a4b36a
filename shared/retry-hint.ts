/** How long a service asked to be left alone: the many forms of Retry-After as one number with its source. */
import type { ErrorFacts } from "./error-facts.js";
import { readProperty } from "./error-facts.js";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "./units.js";

export interface RetryHint {
  /** From now on; 0 to one day. */
  readonly holdMs: number;
  readonly source: "retry-after-ms" | "retry-after" | "retry-info" | "message" | "ratelimit-reset";
}

/** Longer than a day a hint is a mistake, and a target would rest until somebody notices. */
const MAX_HOLD_MS = DAY_MS;

/**
 * The most exact hint of an error, asked in this order: `retry-after-ms`, `retry-after` (seconds or a date), Google's
 * RetryInfo, "try again in 494ms", then the reset of a rate limit that the headers show as used up. Undefined without one.
 *
 * @param now UTC milliseconds for hints that name a time of day; the response's own `date` wins, because hint and date come
 *   from one clock. Without both, such a hint is not read.
 * @example retryHintOf(facts, clock.now()) // { holdMs: 494, source: "retry-after-ms" }
 */
export function retryHintOf(facts: ErrorFacts, now?: number): RetryHint | undefined {
  const answeredAt = parseDate(facts.header("date")) ?? now;
  const candidates: readonly (readonly [RetryHint["source"], () => number | undefined])[] = [
    ["retry-after-ms", () => parseDecimal(facts.header("retry-after-ms"))],
    ["retry-after", () => parseRetryAfter(facts.header("retry-after"), answeredAt)],
    ["retry-info", () => parseRetryInfo(facts.body?.details ?? [])],
    ["message", () => parseMessage(facts.body?.message ?? "") ?? parseMessage(facts.message)],
    ["ratelimit-reset", () => parseResets(facts, answeredAt)],
  ];
  for (const [source, parse] of candidates) {
    const ms = parse();
    if (ms !== undefined) return { holdMs: Math.min(Math.max(Math.ceil(ms), 0), MAX_HOLD_MS), source };
  }
  return undefined;
}

function parseDecimal(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : undefined;
}

function parseDate(text: string | undefined): number | undefined {
  // A year with four digits and a time: Date.parse alone takes "5" for a month.
  if (text === undefined || !/\d{4}.*\d\d:\d\d/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at;
}

function parseRetryAfter(text: string | undefined, now: number | undefined): number | undefined {
  const seconds = parseDecimal(text);
  if (seconds !== undefined) return seconds * SECOND_MS;
  return parseTimeOfDay(text, now);
}

function parseTimeOfDay(text: string | undefined, now: number | undefined): number | undefined {
  const at = parseDate(text);
  return at === undefined || now === undefined ? undefined : Math.max(at - now, 0);
}

function parseRetryInfo(details: readonly unknown[]): number | undefined {
  for (const detail of details) {
    const type = readProperty(detail, "@type");
    if (typeof type !== "string" || !type.endsWith("google.rpc.RetryInfo")) continue;
    const retryDelay = readProperty(detail, "retryDelay");
    if (typeof retryDelay === "string") return parseDuration(retryDelay);
  }
  return undefined;
}

function parseMessage(message: string): number | undefined {
  const found =
    /(?:try again in|retry after|retry in)\s+((?:\d+(?:\.\d+)?\s*(?:milliseconds?|seconds?|minutes?|hours?|ms|m|s|h)\s*)+)/i.exec(
      message,
    );
  return found?.[1] === undefined ? undefined : parseDuration(found[1]);
}

/** OpenAI sends what is left and a Go duration on every answer; Anthropic a time of day. Only a used-up limit is a hint. */
function parseResets(facts: ErrorFacts, now: number | undefined): number | undefined {
  const found: number[] = [];
  for (const resource of ["requests", "tokens"]) {
    if (facts.header(`x-ratelimit-remaining-${resource}`) !== "0") continue;
    const reset = parseDuration(facts.header(`x-ratelimit-reset-${resource}`) ?? "");
    if (reset !== undefined) found.push(reset);
  }
  for (const resource of ["requests", "tokens", "input-tokens", "output-tokens"]) {
    if (facts.header(`anthropic-ratelimit-${resource}-remaining`) !== "0") continue;
    const reset = parseTimeOfDay(facts.header(`anthropic-ratelimit-${resource}-reset`), now);
    if (reset !== undefined) found.push(reset);
  }
  return found.length === 0 ? undefined : Math.max(...found);
}

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["ms", 1],
  ["s", SECOND_MS],
  ["m", MINUTE_MS],
  ["h", HOUR_MS],
]);

/**
 * A duration as Go, protobuf or prose writes it, in milliseconds; undefined when the text is none.
 *
 * @example parseDuration("1m0.052s") // 60_052
 */
export function parseDuration(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)\s*(milliseconds?|seconds?|minutes?|hours?|ns|us|µs|ms|s|m|h)\s*/gi)];
  if (parts.length === 0 || parts.map((part) => part[0]).join("") !== text.trimStart()) return undefined;
  let total = 0;
  for (const [, amount, unit] of parts) total += Number(amount) * (UNIT_MS.get(shortUnit(unit ?? "")) ?? 0);
  return total;
}

function shortUnit(unit: string): string {
  const lower = unit.toLowerCase();
  if (lower.startsWith("milli")) return "ms";
  return lower.length > 2 ? lower.slice(0, 1) : lower;
}
