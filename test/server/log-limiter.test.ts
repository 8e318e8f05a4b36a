import { describe, expect, it } from "vitest";
import { limitLogger } from "../../server/log-limiter.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { JsonObject } from "../../shared/failure.js";
import { createFakeClock } from "../support/fake-clock.js";

describe("a limited logger", () => {
  it("lets a bounded number of lines of one kind through and says how many it held back", async () => {
    const clock = createFakeClock();
    const lines: JsonObject[] = [];
    const logger = limitLogger(
      { clock, logger: { ...silentLogger, warn: (fields) => void lines.push(fields) } },
      { linesPerMinute: 2 },
    );
    for (let i = 0; i < 10; i += 1) logger.warn({ event: "store", subject: "away" }, "the store is away");
    logger.warn({ event: "store", subject: "back" }, "the store is back");
    expect(lines).toHaveLength(3);
    await clock.advance(60_000);
    logger.warn({ event: "store", subject: "away" }, "the store is away");
    expect(lines.at(-1)).toMatchObject({ heldBack: 8 });
  });

  it("ignores a logger that throws", () => {
    const logger = limitLogger({
      clock: createFakeClock(),
      logger: {
        ...silentLogger,
        error() {
          throw new Error("disk full");
        },
      },
    });
    expect(() => logger.error({ event: "fault", subject: "x" }, "y")).not.toThrow();
  });
});
