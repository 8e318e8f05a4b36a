import { describe, expect, it } from "vitest";
import { createFaults } from "../../server/faults.js";
import type { JsonObject } from "../../shared/failure.js";
import { MINUTE_MS, SECOND_MS } from "../../shared/units.js";
import { createFakeClock } from "../support/fake-clock.js";

function setUp() {
  const clock = createFakeClock();
  const lines: { readonly message: string; readonly count: unknown }[] = [];
  const write = ({ count }: JsonObject, message: string) => void lines.push({ message, count });
  const logger = { debug: write, info: write, warn: write, error: write };
  return { clock, lines, faults: createFaults({ clock, logger }) };
}

describe("a fault of our own", () => {
  it("is counted each time, and written every five minutes while a place says the same", async () => {
    const { clock, lines, faults } = setUp();
    const report = faults.at("collector");
    for (let second = 0; second < 600; second += 1) {
      report(new Error("Redis is away"));
      await clock.advance(SECOND_MS);
    }
    expect(lines).toEqual([
      { message: "collector: Redis is away", count: 1 },
      { message: "collector: Redis is away", count: 301 },
    ]);
    expect(faults.counts()).toEqual({ collector: 600 });
  });

  it("is written at once when it is another than before, or another place's", async () => {
    const { clock, lines, faults } = setUp();
    faults.at("collector")(new Error("Redis is away"));
    await clock.advance(MINUTE_MS);
    faults.at("collector")(new Error("Redis is full"));
    faults.at("aggregator")(new Error("Redis is full"));
    expect(lines.map(({ message }) => message)).toEqual([
      "collector: Redis is away",
      "collector: Redis is full",
      "aggregator: Redis is full",
    ]);
  });
});
