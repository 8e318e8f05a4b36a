import { describe, expect, it } from "vitest";
import { redisFailure, replyCode } from "../../server/adapters/redis-failure.js";
import { ParamedicError } from "../../shared/errors.js";

describe("what a Redis error means", () => {
  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'."],
    ["READONLY You can't write against a read only replica."],
    ["LOADING Redis is loading the dataset in memory"],
    ["MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."],
    ["MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."],
    ["NOREPLICAS Not enough good replicas to write."],
    ["BUSY Redis is busy running a script."],
    ["ERR max number of clients reached"],
    ["connect ECONNREFUSED 127.0.0.1:6379"],
    ["Command timed out"],
    ["Connection is closed."],
    [""],
  ])("waits for %s to pass", (message) => {
    expect(redisFailure(new Error(message), "append to s")).toMatchObject({ code: "STREAM_UNAVAILABLE" });
  });

  it.each([
    ["NOAUTH Authentication required.", "password"],
    ["WRONGPASS invalid username-password pair or user is disabled.", "URL"],
    ["NOPERM User app has no permissions to run the 'xadd' command", "allow"],
    ["WRONGTYPE Operation against a key holding the wrong kind of value", "METRICS_REDIS_STREAM_KEY"],
    ["ERR unknown command 'XAUTOCLAIM', with args beginning with: ", "6.2"],
    ["ERR Invalid stream ID specified as stream command argument", "6.2"],
    ["ERR syntax error", "6.2"],
  ])("asks somebody to act on %s", (message, remedy) => {
    const failure = redisFailure(new Error(message), "append to s");
    expect(failure).toMatchObject({ code: "STREAM_MISCONFIGURED", cause: { message } });
    expect(failure.message).toContain(remedy);
    expect(failure.message).toMatch(/^cannot append to s: .+$/);
  });

  it("does not take an inherited name for a reply code", () => {
    expect(redisFailure(new Error("CONSTRUCTOR x"), "x").code).toBe("STREAM_UNAVAILABLE");
    expect(redisFailure("constructor", "x").code).toBe("STREAM_UNAVAILABLE");
    expect(replyCode("no reply at all")).toBe("");
  });

  it("leaves our own errors as they are, and keeps long messages short", () => {
    const own = new ParamedicError("CLOSED", "closed");
    expect(redisFailure(own, "x")).toBe(own);
    expect(redisFailure(new Error("E".repeat(10_000)), "x").message.length).toBeLessThan(300);
    expect(redisFailure(new Error("first\nsecond"), "x").message).not.toContain("second");
  });
});
