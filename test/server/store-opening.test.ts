import { describe, expect, it } from "vitest";
import { silentLogger } from "../../server/ports/logger.js";
import { openStore } from "../../server/store-opening.js";
import { ParamedicError } from "../../shared/errors.js";
import { createFakeClock } from "../support/fake-clock.js";

function harness(failures: number) {
  const clock = createFakeClock();
  const lines: string[] = [];
  let attempts = 0;
  let opened = 0;
  const opening = openStore({
    clock,
    logger: { ...silentLogger, error: (_fields, message) => void lines.push(message) },
    store: {
      async open() {
        attempts += 1;
        if (attempts <= failures)
          throw new ParamedicError("STORE_CORRUPT", "paramedic.db is no database: restore a backup");
      },
    },
    onOpen: () => {
      opened += 1;
    },
  });
  return { clock, opening, lines, attempts: () => attempts, opened: () => opened };
}

describe("opening the store", () => {
  it("tells once that it is open", async () => {
    const { opening, opened } = harness(0);
    expect(opening.attempted()).toBe(false);
    expect(await opening.first).toEqual({ store: "open" });
    expect([opening.isOpen(), opened()]).toEqual([true, 1]);
  });

  it("resolves, not rejects, when it cannot be opened; says why in one line, and goes on trying ever more seldom", async () => {
    const { clock, opening, lines, attempts, opened } = harness(3);
    expect(await opening.first).toMatchObject({ store: "unavailable", code: "STORE_CORRUPT" });
    expect(lines).toEqual(["paramedic.db is no database: restore a backup (working without the store, trying again)"]);
    await clock.advance(1_000);
    expect(attempts()).toBe(2);
    await clock.advance(1_999);
    expect(attempts()).toBe(2);
    await clock.advance(1 + 4_000);
    expect([attempts(), opening.isOpen(), opened()]).toEqual([4, true, 1]);
  });

  it("tries no more once it was stopped", async () => {
    const { clock, opening, attempts } = harness(9);
    await opening.first;
    await opening.stop();
    await clock.advance(60_000);
    expect([attempts(), clock.pendingTimers]).toEqual([1, 0]);
  });
});
