import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GEMINI, OPENAI } from "../../server/testing/provider-bodies.js";
import { factsOf } from "../../shared/error-facts.js";
import { parseDuration, type RetryHint, retryHintOf } from "../../shared/retry-hint.js";

const NOW = Date.UTC(2026, 0, 1);

function hint(headers: Record<string, string>, rest: object = {}): RetryHint | undefined {
  const [facts] = factsOf(Object.assign(new Error(""), { headers: new Headers(headers) }, rest));
  return facts && retryHintOf(facts, NOW);
}

describe("a retry hint", () => {
  it.each([
    [{ "retry-after": "2" }, 2_000],
    [{ "retry-after": "0.5" }, 500],
    [{ "retry-after": "0" }, 0],
    [{ "retry-after": "Thu, 01 Jan 2026 00:00:07 GMT" }, 7_000],
    [{ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, 0],
    [{ "retry-after": "99999999999" }, 86_400_000],
    [{ "retry-after-ms": "494", "retry-after": "1" }, 494],
    [{ "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m0.052s" }, 60_052],
    [
      {
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "2s",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "6ms",
      },
      2_000,
    ],
    [
      { "anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:30Z" },
      30_000,
    ],
  ])("is read from %j", (headers, holdMs) => {
    expect(hint(headers as Record<string, string>)?.holdMs).toBe(holdMs);
  });

  it("is measured by the clock of the answer where the answer shows it", () => {
    expect(
      hint({ date: "Thu, 01 Jan 2026 01:00:00 GMT", "retry-after": "Thu, 01 Jan 2026 01:00:05 GMT" })?.holdMs,
    ).toBe(5_000);
  });

  it.each([
    {},
    { "retry-after": "soon" },
    { "retry-after": "-5" },
    { "retry-after": "NaN" },
    { "retry-after": "" },
    { "x-ratelimit-remaining-tokens": "120", "x-ratelimit-reset-tokens": "1m0s" },
  ])("is absent from %j", (headers) => {
    expect(hint(headers as Record<string, string>)).toBeUndefined();
  });

  it("of a time of day is not read without a clock", () => {
    const [facts] = factsOf({ headers: { "Retry-After": "Thu, 01 Jan 2026 00:00:07 GMT" } });
    expect(facts && retryHintOf(facts)).toBeUndefined();
  });

  it("is found in the body and in words", () => {
    expect(hint({}, { error: GEMINI.perMinute })).toEqual({ holdMs: 34_400, source: "retry-info" });
    expect(hint({}, { error: OPENAI.rateLimit })).toEqual({ holdMs: 494, source: "message" });
    expect(hint({}, { message: "Please retry after 1 minute 30 seconds." })?.holdMs).toBe(90_000);
    expect(hint({}, { message: "try again in 7m12.5s." })?.holdMs).toBe(432_500);
  });

  it("is a finite time within a day, whatever the headers hold", () => {
    fc.assert(
      fc.property(
        fc.string({ size: "max", maxLength: 5_000 }),
        fc.constantFrom("retry-after", "retry-after-ms"),
        (value, name) => {
          const [facts] = factsOf({ headers: { [name]: value }, message: value });
          const found = facts && retryHintOf(facts, NOW);
          if (found) {
            expect(found.holdMs).toBeGreaterThanOrEqual(0);
            expect(found.holdMs).toBeLessThanOrEqual(86_400_000);
          }
        },
      ),
    );
  });
});

describe("a duration", () => {
  it.each([
    ["6ms", 6],
    ["1m0.052s", 60_052],
    ["1h2m3s", 3_723_000],
    ["34.4s", 34_400],
    ["500us", 0.5],
    ["2 minutes", 120_000],
  ])("%s", (text, ms) => {
    expect(parseDuration(text)).toBeCloseTo(ms, 6);
  });

  it.each(["", "5", "s", "1x", "1m and more", "-1s"])("is not %j", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});
