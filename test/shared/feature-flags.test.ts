import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FEATURE_FLAG_DEFAULTS, parseFeatureFlags, SELF_HEALING_FEATURE_FLAGS } from "../../shared/feature-flags.js";

describe("feature flags", () => {
  it("have the documented defaults when the environment says nothing", () => {
    const { values, problems } = parseFeatureFlags({});
    expect(problems).toEqual([]);
    expect(values).toEqual(FEATURE_FLAG_DEFAULTS);
    expect(values).toMatchObject({
      SELF_HEALING_ENABLED: true,
      SELF_HEALING_MODE: "full",
      METRICS_BATCH_SIZE: 100,
      METRICS_FLUSH_INTERVAL_MS: 1_000,
      METRICS_REDIS_STREAM_KEY: "metrics:stream",
      HEALTH_CHECK_INTERVAL_MS: 30_000,
      HEALTH_CHECK_TIMEOUT_MS: 5_000,
      CIRCUIT_BREAKER_FAILURE_THRESHOLD: 5,
      CIRCUIT_BREAKER_SUCCESS_THRESHOLD: 2,
      CIRCUIT_BREAKER_TIMEOUT_MS: 30_000,
      CIRCUIT_BREAKER_RESET_TIMEOUT_MS: 60_000,
      RECOVERY_MAX_RETRY_ATTEMPTS: 3,
      RECOVERY_RETRY_BASE_DELAY_MS: 1_000,
      RECOVERY_RETRY_MAX_DELAY_MS: 30_000,
      ALERT_EMAIL_ENABLED: false,
      ALERT_WEBHOOK_URL: undefined,
    });
  });

  it.each(["", " 12 ", "1e3", "0x10", "12abc", "1_000", "-1", "1.5", "NaN", "Infinity", "99999999999", "0"])(
    "refuse %j as a number of milliseconds",
    (raw) => {
      const { values, problems } = parseFeatureFlags({ METRICS_FLUSH_INTERVAL_MS: raw });
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatch(
        /^METRICS_FLUSH_INTERVAL_MS: got .*; legal: a whole number in \[1, 2147483647\]; example: /,
      );
      expect(values.METRICS_FLUSH_INTERVAL_MS).toBe(1_000);
    },
  );

  it.each([
    ["true", true],
    ["1", true],
    ["false", false],
    ["0", false],
  ])("read the boolean %s", (raw, value) => {
    expect(parseFeatureFlags({ CIRCUIT_BREAKERS_ENABLED: raw }).values.CIRCUIT_BREAKERS_ENABLED).toBe(value);
  });

  it.each(["yes", "TRUE", "off", "", " true"])("refuse %j as a boolean", (raw) => {
    expect(parseFeatureFlags({ CIRCUIT_BREAKERS_ENABLED: raw }).problems).toHaveLength(1);
  });

  it("report every problem at once, each as one line, and mask secrets", () => {
    const { problems } = parseFeatureFlags({
      SELF_HEALING_MODE: "everything",
      METRICS_BATCH_SIZE: "many",
      ALERT_WEBHOOK_URL: "ftp://user:hunter2@example.org",
    });
    expect(problems).toHaveLength(3);
    expect(problems.join("\n")).not.toContain("hunter2");
    expect(problems.every((problem) => !problem.includes("\n"))).toBe(true);
  });

  it("refuse a smallest delay above the largest", () => {
    const { problems } = parseFeatureFlags({ RECOVERY_RETRY_BASE_DELAY_MS: "31000" });
    expect(problems[0]).toContain("at most RECOVERY_RETRY_MAX_DELAY_MS (30000)");
  });

  it("are never outside their range, whatever the environment holds", () => {
    const name = fc.constantFrom(...Object.keys(SELF_HEALING_FEATURE_FLAGS));
    fc.assert(
      fc.property(fc.dictionary(name, fc.oneof(fc.string(), fc.integer().map(String))), (source) => {
        const { values } = parseFeatureFlags(source);
        for (const [key, spec] of Object.entries(SELF_HEALING_FEATURE_FLAGS)) {
          const value = Object.entries(values).find(([found]) => found === key)?.[1];
          if (spec.kind === "integer") {
            expect(value).toBeGreaterThanOrEqual(spec.min);
            expect(value).toBeLessThanOrEqual(spec.max);
          }
          if (spec.kind === "boolean") expect(typeof value).toBe("boolean");
        }
      }),
    );
  });
});
