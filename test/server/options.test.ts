import { describe, expect, it } from "vitest";
import { readEnvironment } from "../../server/env.js";
import { type ParamedicOptions, settleOptions } from "../../server/options.js";

/** As JavaScript, or a configuration file, may say it. */
const settle = (options: Record<string, unknown>) =>
  settleOptions<object>(options as ParamedicOptions, readEnvironment({}));

describe("the options", () => {
  it("leave the failures that open a circuit to what is guarded, unless the environment or code says them", () => {
    const thresholdOf = (variables: Record<string, string>, options: ParamedicOptions = {}) =>
      settleOptions(options, readEnvironment(variables)).failureThreshold;
    expect(thresholdOf({})).toBeUndefined();
    expect(thresholdOf({ CIRCUIT_BREAKER_FAILURE_THRESHOLD: "5" })).toBe(5);
    expect(thresholdOf({ CIRCUIT_BREAKER_FAILURE_THRESHOLD: "5" }, { failureThreshold: 7 })).toBe(7);
  });

  it("leave to the default what is undefined, also of retention", () => {
    const retention = { recordsMs: undefined, minutesMs: undefined, tables: { failure_events: undefined } };
    expect(settle({ retention }).retention).toStrictEqual(settle({}).retention);
    expect(settle({ retention: { tables: undefined } }).retention).toStrictEqual(settle({}).retention);
  });

  it.each([
    ["redis", {}, "redis: a redis:// or rediss:// URL, a client of ioredis, or false"],
    ["redis", { duplicate() {}, sendCommand() {} }, "a client of ioredis"],
    ["redis", "http://localhost", "redis: a redis:// or rediss:// URL"],
    ["logger", {}, "logger: an object with the methods debug, info, warn and error, or false"],
    ["logger", { error() {} }, "logger: an object with the methods"],
    ["metricsBatchSize", 0, "metricsBatchSize"],
    ["instance", "a b", "instance: 1 to 100 of"],
    ["retryBaseDelayMs", 40_000, "must be at most retryMaxDelayMs"],
    ["circuitSharing", "everywhere", "circuitSharing: local, shared, quorum, or a function of the name"],
    ["circuitQuorumWindowMs", 999, "circuitQuorumWindowMs"],
    ["circuitSyncIntervalMs", 99, "circuitSyncIntervalMs"],
    ["circuitPanicShare", 1.1, "circuitPanicShare"],
    ["circuitParentShare", 0, "circuitParentShare"],
    ["circuitParentMinimum", 0, "circuitParentMinimum"],
    ["nope", 1, "nope"],
    ["database", "mysql://user:secret@host/db", "scheme mysql"],
  ])("refuse %s: %j", (name, value, says) => {
    expect(() => settle({ [name]: value })).toThrow(
      expect.objectContaining({ code: "CONFIGURATION_INVALID", message: expect.stringContaining(says) }),
    );
  });

  it("say everything that is wrong at once, and no secret", () => {
    let said = "";
    try {
      settle({ mode: "crazy", timeoutMs: 0, redis: "http://user:secret@host" });
    } catch (error) {
      said = String(error);
    }
    for (const name of ["mode", "timeoutMs", "redis"]) expect(said).toContain(`  ${name}: `);
    expect(said).not.toContain("secret");
  });

  it("take a console for a logger, and come before the environment, whose mode is a ceiling", () => {
    expect(settle({ logger: console, metricsBatchSize: 7, mode: "shadow" })).toMatchObject({
      metricsBatchSize: 7,
      mode: "shadow",
    });
    const capped = settleOptions({ mode: "full" }, readEnvironment({ SELF_HEALING_MODE: "monitor" }));
    expect(capped.mode).toBe("monitor");
  });

  it("share circuits as they say, else by one default each", () => {
    expect(settle({})).toMatchObject({
      circuitSharing: "shared",
      circuitQuorumWindowMs: 30_000,
      circuitSyncIntervalMs: 5_000,
      circuitPanicShare: 0.5,
      circuitParentShare: 0.75,
      circuitParentMinimum: 2,
    });
    const byName = () => "quorum" as const;
    expect(settle({ circuitSharing: byName, circuitPanicShare: 1 })).toMatchObject({
      circuitSharing: byName,
      circuitPanicShare: 1,
    });
  });
});
