import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { connectRedis } from "../../server/adapters/redis-connection.js";
import { systemClock } from "../../server/ports/clock.js";

const connect = (target: unknown) => connectRedis(target as string, { clock: systemClock, random: Math.random });

describe("where Redis is", () => {
  it.each([
    ["a port that is none", "redis://:hunter2@cache:99999"],
    ["a password that was not percent-encoded", "redis://:hunter2#x/y@cache:6379"],
    ["an escape that is none", "redis://:hunter2%zz@cache:6379"],
    ["a host that is none", "rediss://app:hunter2@[cache"],
    ["another scheme", "http://app:hunter2@cache"],
    ["nothing", undefined],
    ["no client", { password: "hunter2" }],
  ])("is refused for %s, without a word of the password", (_what, target) => {
    let thrown: unknown;
    try {
      connect(target);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: "CONFIGURATION_INVALID", message: expect.stringContaining("redis://") });
    expect(inspect(thrown, { depth: 10, showHidden: true })).not.toContain("hunter2");
  });
});
