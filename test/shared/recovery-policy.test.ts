import { describe, expect, it } from "vitest";
import {
  judgePolicy,
  type PolicyQuestion,
  type RecoveryPolicy,
  recoveryPolicies,
} from "../../shared/recovery-policy.js";

const noon = Date.UTC(2026, 0, 1, 12);
const ask = (policies: readonly RecoveryPolicy[], more: Partial<PolicyQuestion> = {}) =>
  judgePolicy(policies, {
    service: "db:main",
    strategy: "database_reconnect",
    by: "engine",
    inMaintenance: false,
    now: noon,
    ...more,
  });

describe("policies", () => {
  it("allow everything where no rule fits, and let repairs rest in maintenance", () => {
    expect(ask([])).toEqual({ type: "allowed", limit: undefined });
    expect(ask([], { inMaintenance: true })).toEqual({ type: "refused", reason: "maintenance" });
    expect(ask([], { inMaintenance: true, by: "ada" })).toMatchObject({ type: "allowed" });
  });

  it("decide by the first rule that fits service, strategy and hand", () => {
    const policies: RecoveryPolicy[] = [
      { services: ["db:*"], strategies: ["database_reconnect"], by: ["ada"], allow: "yes" },
      { services: ["db:main"], allow: "no" },
      { allow: "yes" },
    ];
    expect(ask(policies)).toEqual({ type: "refused", reason: "policy" });
    expect(ask(policies, { by: "ada" })).toMatchObject({ type: "allowed" });
    expect(ask(policies, { service: "db:other" })).toMatchObject({ type: "allowed" });
    expect(ask(policies, { by: "bob" })).toEqual({ type: "refused", reason: "policy" });
  });

  it("ask for approval when rule or strategy say so, but not whoever would give it", () => {
    expect(ask([{ allow: "approval" }])).toMatchObject({ type: "needs_approval" });
    expect(ask([{ allow: "approval" }], { by: "ada" })).toMatchObject({ type: "allowed" });
    expect(ask([], { asksForApproval: true })).toMatchObject({ type: "needs_approval" });
    expect(ask([{ allow: "yes" }], { asksForApproval: true })).toMatchObject({ type: "allowed" });
  });

  it("keep to hours of the day, also over midnight", () => {
    const nights: RecoveryPolicy[] = [{ allow: "yes", hoursUtc: { from: "22:00", to: "05:00" } }];
    const at = (hour: number, minute = 0) => ask(nights, { now: Date.UTC(2026, 0, 1, hour, minute) }).type;
    expect([at(21, 59), at(22), at(0), at(4, 59), at(5)]).toEqual([
      "refused",
      "allowed",
      "allowed",
      "allowed",
      "refused",
    ]);
    const days: RecoveryPolicy[] = [{ allow: "yes", hoursUtc: { from: "09:00", to: "17:00" } }];
    expect(ask(days).type).toBe("allowed");
    expect(ask(days, { now: Date.UTC(2026, 0, 1, 17) })).toEqual({ type: "refused", reason: "outside_hours" });
  });

  it("keep to maintenance where a rule says so", () => {
    const inside: RecoveryPolicy[] = [{ allow: "yes", when: "in_maintenance" }];
    expect(ask(inside)).toEqual({ type: "refused", reason: "maintenance" });
    expect(ask(inside, { inMaintenance: true }).type).toBe("allowed");
    expect(ask([{ allow: "yes", when: "always" }], { inMaintenance: true }).type).toBe("allowed");
  });

  it("say how often", () => {
    expect(ask([{ allow: "yes", mostPerWindow: 2, windowMs: 1_000 }])).toMatchObject({
      limit: { most: 2, windowMs: 1_000 },
    });
    expect(ask([{ allow: "yes", mostPerWindow: 2 }])).toMatchObject({ limit: { most: 2, windowMs: 600_000 } });
  });

  it.each([
    [{ allow: "maybe" }],
    [{ allow: "yes", hoursUtc: { from: "24:00", to: "05:00" } }],
    [{ allow: "yes", services: [] }],
    [{ allow: "yes", unknown: true }],
    [{ allow: "yes", mostPerWindow: 0 }],
  ])("refuse what is not legal: %o", (policy) => {
    expect(recoveryPolicies.safeParse([policy]).success).toBe(false);
  });
});
