/**
 * Histories that were recorded in real runs, decided once more: what was decided then is decided now. Where a decision is to
 * change, look at what else comes out otherwise, and record anew: `RECORD_HISTORY=storm npx vitest run test/recovery/storm.test.ts`.
 */
import { readdirSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { decide, describeDecision, historyFromJson } from "./decisions.js";

const FOLDER = new URL("histories/", import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

describe.each(files)("%s", (file) => {
  const history = historyFromJson(readFileSync(new URL(file, FOLDER), "utf8"));

  it("comes out as it did when it was recorded", () => {
    expect(history.story).not.toBe("");
    expect(history.decisions.length).toBeGreaterThan(0);
    const otherwise = history.decisions.flatMap((decision, index) => {
      const now: unknown = JSON.parse(JSON.stringify(decide(decision, history)));
      const what = `decision ${index}, ${describeDecision(decision, history)}`;
      return isDeepStrictEqual(now, decision.follows) ? [] : [{ what, before: decision.follows, now }];
    });
    expect(otherwise, history.story).toEqual([]);
  });
});
