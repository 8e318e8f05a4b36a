import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { changeStored, describeStored, parseChange } from "../../server/cli/settings-command.js";
import { createFakeClock } from "../support/fake-clock.js";

const rest = ["--by", "ada", "--reason", "a look first"];

describe("the commands about settings", () => {
  it("store a change with who and why, leave its audit rows, and show it with its age", async () => {
    const clock = createFakeClock();
    const store = createMemoryStore({ clock });
    expect(describeStored(await store.loadSettings(), clock.now())).toContain("nothing is stored");
    const asked = parseChange(["mode", "shadow", ...rest]);
    if (!asked.ok) throw new Error(asked.problem);
    expect(await changeStored({ store, clock }, asked)).toContain("mode is shadow, version 1");
    await clock.advance(7_000);
    expect(describeStored(await store.loadSettings(), clock.now())).toBe(
      "mode = shadow  (version 1, by ada 7 s ago: a look first)",
    );
    expect((await store.listAudit({ limit: 9 })).items).toMatchObject([
      { actor: "ada", action: "settings.set", subject: "mode", outcome: "succeeded" },
      { outcome: "requested" },
    ]);
    const back = parseChange(["mode", "default", ...rest]);
    if (!back.ok) throw new Error(back.problem);
    expect(await changeStored({ store, clock }, back)).toContain("mode is at its default");
    expect(await store.loadSettings()).toEqual([]);
  });

  it("read switches as such", () => {
    expect(parseChange(["emergency_stop", "true", ...rest])).toMatchObject({ ok: true, value: true });
    expect(parseChange(["RETRY_STRATEGY_ENABLED", "false", ...rest])).toMatchObject({ ok: true, value: false });
  });

  it.each([
    [["moon_phase", "full", ...rest], "no setting"],
    [["mode", "godlike", ...rest], "cannot be"],
    [["mode", "true", ...rest], "cannot be"],
    [["emergency_stop", "default", ...rest], "cannot be"],
    [["RETRY_STRATEGY_ENABLED", "maybe", ...rest], "cannot be"],
    [["mode", "shadow"], "--by and --reason"],
    [["mode", "shadow", "--by", "ada", "--reason", " "], "--by and --reason"],
    [["mode", "shadow", "--by", "ada", "--why", "because"], "--by and --reason"],
    [[], "no setting"],
  ])("refuse %j", (words, problem) => {
    expect(parseChange(words)).toMatchObject({ ok: false, problem: expect.stringContaining(problem) });
  });
});
