import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BACKEND_VARIABLES, PLACE_VARIABLES, readBackendEnvironment, readEnvironment } from "../../server/env.js";
import { SELF_HEALING_FEATURE_FLAGS } from "../../shared/feature-flags.js";

const SECRET = "postgres://paramedic:hunter2@db/paramedic with space";

describe("the environment", () => {
  it("is usable when it is empty", () => {
    expect(readEnvironment({})).toMatchObject({
      databaseUrl: "file:./paramedic.db",
      redisUrl: undefined,
      aggregate: true,
      instance: undefined,
    });
  });

  it("prefers PARAMEDIC_REDIS_URL to REDIS_URL", () => {
    expect(readEnvironment({ REDIS_URL: "redis://a" }).redisUrl).toBe("redis://a");
    expect(readEnvironment({ REDIS_URL: "redis://a", PARAMEDIC_REDIS_URL: "rediss://b" }).redisUrl).toBe("rediss://b");
  });

  it("never touches a host app's DATABASE_URL, which the standalone backend reads where its own is unset", () => {
    expect(readEnvironment({ DATABASE_URL: "file:./app.db" }).databaseUrl).toBe("file:./paramedic.db");
    expect(readBackendEnvironment({ DATABASE_URL: "file:./app.db" }).databaseUrl).toBe("file:./app.db");
    expect(
      readBackendEnvironment({ DATABASE_URL: "file:./app.db", PARAMEDIC_DATABASE_URL: "file:./own.db" }).databaseUrl,
    ).toBe("file:./own.db");
  });

  it("reports all problems at once with one error, masked, and names the nearest variable for a typing error", () => {
    const read = () =>
      readBackendEnvironment({
        PARAMEDIC_DATABASE_URL: SECRET,
        PARAMEDIC_READ_TOKEN: "short",
        PARAMEDIC_REDIS_URI: "redis://x",
        PORT: "70000",
        METRICS_BATCH_SIZE: "0",
      });
    expect(read).toThrowError(expect.objectContaining({ code: "CONFIGURATION_INVALID" }));
    const message = messageOf(read);
    expect(message).toContain("5 problems");
    expect(message).toContain("PARAMEDIC_REDIS_URI: no such variable; did you mean PARAMEDIC_REDIS_URL?");
    expect(message).toContain('PORT: got "70000"');
    expect(message).not.toContain("hunter2");
    expect(message).not.toContain("short");
  });

  it.each(["localhost:6379", "http://redis", ""])("refuses %j as a Redis URL", (url) => {
    expect(() => readEnvironment({ PARAMEDIC_REDIS_URL: url })).toThrowError(/PARAMEDIC_REDIS_URL/);
  });

  it("is mirrored by .env.example, name by name and default by default", () => {
    const example = readFileSync(new URL("../../.env.example", import.meta.url), "utf8");
    const specs = { ...PLACE_VARIABLES, ...SELF_HEALING_FEATURE_FLAGS, ...BACKEND_VARIABLES };
    for (const [name, spec] of Object.entries(specs)) {
      const line = spec.default === undefined ? `# ${name}=` : `${name}=${String(spec.default)}\n`;
      expect(`${example}\n`, name).toContain(line);
    }
    const named = [...example.matchAll(/^(?:# )?([A-Z][A-Z_]+)=/gm)].map((match) => match[1]);
    expect(named.toSorted()).toEqual(Object.keys(specs).toSorted());
  });
});

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  return "";
}
