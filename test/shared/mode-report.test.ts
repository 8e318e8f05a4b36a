import { describe, expect, it } from "vitest";
import { type ModeFacts, modeReport } from "../../shared/mode-report.js";
import type { ActionCount } from "../../shared/reports.js";
import { DAY_MS, HOUR_MS } from "../../shared/units.js";

const action = (overrides: Partial<ActionCount> = {}): ActionCount => ({
  actionStrategy: "exponential_backoff_retry",
  scope: "call",
  status: "succeeded",
  dryRun: false,
  byGuard: true,
  rows: 1,
  occurrences: 30,
  ...overrides,
});
const facts = (overrides: Partial<ModeFacts> = {}): ModeFacts => ({
  mode: "limited",
  ceiling: "full",
  from: 0,
  to: 2 * DAY_MS,
  since: 0,
  actions: [action()],
  failures: 100,
  falseAlarms: 5,
  ...overrides,
});

describe("the report on a mode", () => {
  it("says what was done by each strategy, and what would have been", () => {
    const actions = [
      action({ occurrences: 8 }),
      action({ status: "failed", occurrences: 2 }),
      action({ actionStrategy: "reconnect", scope: "service", status: "rolled_back", occurrences: 1 }),
      action({ actionStrategy: "reconnect", scope: "service", status: "skipped", dryRun: true, occurrences: 4 }),
      action({ actionStrategy: "none", status: "skipped", occurrences: 1_000 }),
      action({ actionStrategy: "provider_failover", status: "cancelled" }),
    ];
    expect(modeReport(facts({ actions }))).toMatchObject({
      did: [
        { strategy: "exponential_backoff_retry", succeeded: 8, failed: 2, successRate: 0.8 },
        { strategy: "reconnect", scope: "service", succeeded: 0, failed: 1, successRate: 0 },
      ],
      wouldHaveDone: [{ strategy: "reconnect", scope: "service", times: 4 }],
      decisions: 15,
    });
  });

  it("calls the next mode earned once enough was decided, long enough, rightly and with success", () => {
    expect(modeReport(facts()).next).toEqual({ mode: "full", earned: true, missing: [] });
  });

  it.each([
    ["time", { since: 2 * DAY_MS - HOUR_MS }, "in force for 1 of 24 hours"],
    ["decisions", { actions: [action({ occurrences: 19 })] }, "19 of 20 decisions"],
    ["trust", { falseAlarms: 6 }, "6 false alarms of 100 failures; at most 5 %"],
    [
      "success",
      { actions: [action({ occurrences: 79 }), action({ status: "timed_out", occurrences: 21 })] },
      "exponential_backoff_retry succeeds in 79 %; at least 80 %",
    ],
  ] as const)("names the %s that is missing", (_, overrides, missing) => {
    expect(modeReport(facts(overrides)).next).toEqual({ mode: "full", earned: false, missing: [missing] });
  });

  it("lets shadow earn monitor by decisions alone: nothing was carried out", () => {
    const actions = [action({ dryRun: true, status: "skipped" })];
    expect(modeReport(facts({ mode: "shadow", actions })).next).toEqual({ mode: "monitor", earned: true, missing: [] });
  });

  it("knows no mode above the environment's", () => {
    expect(modeReport(facts({ ceiling: "limited" })).next).toEqual({ mode: undefined, earned: false, missing: [] });
    expect(modeReport(facts({ mode: "full" })).next.mode).toBeUndefined();
  });
});
