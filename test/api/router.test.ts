import { initTRPC } from "@trpc/server";
import { describe, expect, it } from "vitest";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { createRouter } from "../../server/api/router.js";
import type { Store } from "../../server/ports/store.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import type { Role } from "../../shared/access.js";
import { NO_COVERAGE } from "../../shared/coverage.js";
import { ParamedicError } from "../../shared/errors.js";
import { type Failure, fingerprintOf } from "../../shared/failure.js";
import { rescueOf } from "../conformance/store-fixtures.js";
import { createFakeClock } from "../support/fake-clock.js";
import { fixedSettings, noMaintenance, sleepingWatchdog } from "../support/fixed-settings.js";

const failure: Failure = {
  eventId: "event-1",
  timestamp: Date.UTC(2026, 0, 1),
  failureCategory: "external_dependency",
  failureType: "api_timeout",
  severity: "high",
  affectedService: "llm:openai",
  errorMessage: "no answer",
  detectionMethod: "exception",
};

function harness(changes: Partial<Store> = {}) {
  const clock = createFakeClock();
  const store: Store = { ...createMemoryStore({ clock }), ...changes };
  const faults: unknown[] = [];
  const held: unknown[] = [];
  const engine = new RecoveryEngine({ clock, store, instance: "test" });
  const executed: string[] = [];
  engine.registerStrategy({
    name: "flush_cache",
    scope: "service",
    priority: 1,
    applicableFailureTypes: ["malformed_response"],
    needsApproval: true,
    async execute({ affectedService }) {
      executed.push(affectedService);
      const actionStrategy = "flush_cache";
      return { success: true, actionType: "custom", actionStrategy, durationMs: 0, message: "flushed" };
    },
  });
  const router = createRouter({
    clock,
    store,
    recovery: engine.control,
    onFault: (error) => faults.push(error),
    access: async (ctx) => ({ role: roleIn(ctx), actor: "ada" }),
    circuits: () => [],
    control: {
      hold: async (name, hold) => void held.push([name, hold]),
      reset: async (name) => (name === "llm:openai" ? { stored: true } : undefined),
    },
    maintenance: noMaintenance,
    settings: fixedSettings,
    watchdog: sleepingWatchdog,
    accounting: async () => ({ recorded: 3, rolledUp: 3, dropped: {}, lost: 0, inFlight: 0, gaps: [] }),
    health: () => ({ overall: "unknown", checks: [], timestamp: clock.now() }),
    coverage: () => NO_COVERAGE,
    status: () => ({ instance: "test", mode: "full", storeOpen: true, settingsAgeMs: 500, circuitsAgeMs: 500 }),
  });
  const caller = (role: Role | undefined) => initTRPC.context<object>().create().createCallerFactory(router)({ role });
  return { clock, store, engine, executed, router, caller, faults, held };
}

function roleIn(ctx: object): Role | undefined {
  const role = "role" in ctx ? ctx.role : undefined;
  return role === "read" || role === "operate" ? role : undefined;
}

async function withFailure(store: Store) {
  await store.recordFailures([
    { failure, fingerprint: fingerprintOf(failure), occurrences: 1, lastSeenAt: failure.timestamp, instance: "test" },
  ]);
}

describe("the API", () => {
  it("denies every procedure without a role", async () => {
    const { router, caller } = harness();
    const paths = Object.keys(router._def.procedures);
    expect(paths.length).toBeGreaterThan(10);
    for (const path of paths) {
      const call = path.split(".").reduce<unknown>((node, key) => property(node, key), caller(undefined));
      if (typeof call !== "function") throw new Error(`${path} is no procedure`);
      await expect(call(inputs[path]), path).rejects.toMatchObject({ code: "FORBIDDEN" });
    }
  });

  it("lists failures with filters and reads one with what was done about it", async () => {
    const { store, caller } = harness();
    await withFailure(store);
    const api = caller("read");
    expect((await api.failures.list()).items).toHaveLength(1);
    expect((await api.failures.list({ affectedService: "db:main" })).items).toEqual([]);
    expect(await api.failures.get({ eventId: "event-1" })).toMatchObject({ eventId: "event-1", recoveryActions: [] });
    await expect(api.failures.get({ eventId: "event-2" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("tells an incident as one story, and computes how well recoveries went", async () => {
    const { clock, store, caller } = harness();
    await withFailure(store);
    const at = failure.timestamp;
    await store.recordRescues([
      rescueOf("event-1", { timestamp: at + 10, status: "failed", occurrences: 1 }),
      rescueOf("event-1", {
        timestamp: at + 20,
        status: "succeeded",
        occurrences: 3,
        actionStrategy: "provider_failover",
      }),
    ]);
    clock.stepWall(90_000);
    const api = caller("read").incidents;
    expect((await api.list({ status: "open" })).items).toMatchObject([
      { incidentId: "incident-event-1", affectedService: "llm:openai", title: "llm:openai: api_timeout, no answer" },
    ]);
    const told = {
      rule: "alert_operator",
      subject: "llm:openai",
      severity: "high",
      summary: "it fails still",
    } as const;
    const incidentId = "incident-event-1";
    await store.raiseAlert({
      alertId: "alert-1",
      dedupeKey: "told",
      ...told,
      detail: undefined,
      incidentId,
      at: at + 30,
    });
    await store.resolveFailure("event-1", at + 60_000);
    const { incident, failures, recoveryActions, alerts } = await api.get({ incidentId });
    expect(alerts).toMatchObject([{ ...told, status: "resolved", firedAt: at + 30, resolvedAt: at + 60_000 }]);
    expect(incident).toMatchObject({ status: "resolved", resolvedAt: at + 60_000 });
    expect(failures).toMatchObject([{ eventId: "event-1", incidentId: "incident-event-1" }]);
    expect(recoveryActions.map(({ status }) => status)).toEqual(["failed", "succeeded"]);
    await expect(api.get({ incidentId: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await api.figures()).toMatchObject({
      incidents: 1,
      open: 0,
      meanTimeToDetectMs: 0,
      meanTimeToRecoverMs: 60_000,
      rescues: 4,
      rescueRate: 0.75,
      repairs: 0,
      repairRate: undefined,
      complete: true,
    });
  });

  it("gives what was done about a repeat under the repeat's own id too", async () => {
    const { store, caller } = harness();
    await withFailure(store);
    const repeat = { ...failure, eventId: "event-2" };
    await store.recordFailures([
      { failure: repeat, fingerprint: fingerprintOf(repeat), occurrences: 1, lastSeenAt: 0, instance: "test" },
    ]);
    const rescue = rescueOf("event-1");
    await store.recordRescues([rescue]);
    expect(await caller("read").failures.get({ eventId: "event-2" })).toMatchObject({
      eventId: "event-1",
      recoveryActions: [{ actionId: rescue.actionId }],
    });
  });

  it.each([0, -1, 1_000_000_000, Number.NaN, 1.5])("refuses the limit %d", async (limit) => {
    await expect(harness().caller("read").failures.list({ limit })).rejects.toMatchObject({ code: "BAD_REQUEST" });
  });

  it("lets only an operator resolve, with a reason, and audits request and outcome", async () => {
    const { store, caller } = harness();
    await withFailure(store);
    const resolve = { eventId: "event-1", reason: "provider confirmed" };
    await expect(caller("read").failures.resolve(resolve)).rejects.toMatchObject({ code: "FORBIDDEN" });
    await expect(caller("operate").failures.resolve({ ...resolve, reason: " " })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
    await expect(caller("operate").failures.resolve(resolve)).resolves.toMatchObject({ eventId: "event-1" });
    await expect(caller("operate").failures.resolve(resolve)).rejects.toMatchObject({ code: "NOT_FOUND" });
    const audit = await caller("read").audit.list();
    expect(audit.items.map((entry) => entry.outcome)).toEqual([
      "failed",
      "requested",
      "succeeded",
      "requested",
      "refused",
    ]);
    expect(audit.items[0]).toMatchObject({
      actor: "ada",
      action: "failure.resolve",
      subject: "event-1",
      reason: resolve.reason,
    });
    expect((await caller("read").failures.list({ resolved: true })).items).toHaveLength(1);
  });

  it("lets operators alone hold, release and reset circuits, with a reason, an owner and an audit row", async () => {
    const { clock, store, caller, held } = harness();
    const name = "llm:openai";
    const operator = caller("operate").circuits;
    const hold = { name, state: "forced_open", reason: "provider migration", forMs: 60_000 } as const;
    await expect(caller("read").circuits.hold(hold)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const until = clock.now() + 60_000;
    const placed = { state: "forced_open", by: "ada", reason: "provider migration", until };
    expect(await operator.hold(hold)).toEqual({ name, held: placed });
    expect(await operator.hold({ name, state: "disabled", reason: "noise" })).toMatchObject({
      held: { until: undefined },
    });
    await operator.release({ name, reason: "done" });
    expect(held).toEqual([
      [name, placed],
      [name, { state: "disabled", by: "ada", reason: "noise", until: undefined }],
      [name, undefined],
    ]);
    expect(await operator.reset({ name, reason: "provider says so" })).toEqual({ name, stored: true });
    await expect(operator.reset({ name: "llm:nobody", reason: "x" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    for (const wrong of [{ state: "open" }, { state: "disabled", forMs: 0 }, { state: "disabled", forMs: 4e10 }]) {
      const input = { name, reason: "x", ...wrong } as Parameters<typeof operator.hold>[0];
      await expect(operator.hold(input)).rejects.toMatchObject({ code: "BAD_REQUEST" });
    }
    await expect(operator.hold({ name, state: "disabled", reason: "" })).rejects.toMatchObject({ code: "BAD_REQUEST" });
    const audit = (await store.listAudit({ limit: 100 })).items.toReversed();
    const told = audit.map(({ action, subject, outcome, reason }) => [action, subject, outcome, reason].join(" "));
    expect(told.slice(0, 3)).toEqual([
      "circuit.hold llm:openai refused provider migration",
      "circuit.hold llm:openai requested provider migration",
      "circuit.hold llm:openai succeeded provider migration",
    ]);
    expect(told).toContain("circuit.release llm:openai succeeded done");
    expect(told).toContain("circuit.reset llm:openai succeeded provider says so");
    expect(told).toContain("circuit.reset llm:nobody failed x");
  });

  it("lets operators alone preview, trigger, approve and call off repairs, each with a reason and an audit row with its outcome", async () => {
    const { store, engine, executed, caller } = harness();
    const api = caller("operate").recoveries;
    const reason = "support ticket 12";
    const malformed: Failure = { ...failure, failureType: "malformed_response" };
    await expect(
      caller("read").recoveries.trigger({ service: "llm:openai", strategy: "flush_cache", reason }),
    ).rejects.toMatchObject({ code: "FORBIDDEN" });
    expect(executed).toEqual([]);

    const preview = await api.preview({ service: "llm:openai", failureType: "malformed_response", reason });
    expect(preview).toMatchObject({ plan: { steps: ["flush_cache"], approvals: ["flush_cache"] }, gate: "free" });
    const triggered = await api.trigger({ service: "db:main", strategy: "flush_cache", reason });
    expect(triggered).toMatchObject({ status: "succeeded", triggeredBy: "ada", automated: false });
    expect(executed).toEqual(["db:main"]);
    await expect(api.trigger({ service: "db:main", strategy: "none", reason })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });

    const { actions } = await engine.handleFailure(malformed);
    const actionId = actions[0]?.actionId ?? "";
    expect(await caller("read").recoveries.get({ actionId })).toMatchObject({ status: "pending_approval" });
    expect(await api.approve({ actionId, reason })).toMatchObject({ status: "succeeded" });
    expect(executed).toEqual(["db:main", "llm:openai"]);
    await expect(api.cancel({ actionId, reason })).rejects.toMatchObject({ code: "CONFLICT" });

    const audit = (await store.listAudit({ limit: 100 })).items.toReversed();
    expect(audit.map(({ action, subject, outcome }) => [action, subject, outcome].join(" | "))).toEqual([
      "recovery.trigger | flush_cache of llm:openai | refused",
      "recovery.preview | llm:openai malformed_response | requested",
      "recovery.preview | llm:openai malformed_response | succeeded",
      "recovery.trigger | flush_cache of db:main | requested",
      "recovery.trigger | flush_cache of db:main | succeeded",
      "recovery.trigger | none of db:main | requested",
      "recovery.trigger | none of db:main | failed",
      `recovery.approve | ${actionId} | requested`,
      `recovery.approve | ${actionId} | succeeded`,
      `recovery.cancel | ${actionId} | requested`,
      `recovery.cancel | ${actionId} | failed`,
    ]);
    for (const entry of audit) expect(entry).toMatchObject({ actor: "ada", reason });
  });

  it("does not begin an operation that cannot be audited", async () => {
    const { store, caller } = harness({
      recordAudit: () => Promise.reject(new ParamedicError("STORE_UNAVAILABLE", "the store is away")),
    });
    await withFailure(store);
    await expect(caller("operate").failures.resolve({ eventId: "event-1", reason: "x" })).rejects.toThrow();
    expect((await caller("read").failures.list({ resolved: false })).items).toHaveLength(1);
  });

  it("refuses a cursor it did not hand out", async () => {
    await expect(harness().caller("read").failures.list({ cursor: "rubbish" })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
  });

  it.each(["STORE_UNAVAILABLE", "STORE_CORRUPT", "STORE_SCHEMA_NEWER", "CLOSED"] as const)(
    "answers SERVICE_UNAVAILABLE while the store is away: %s",
    async (code) => {
      const { caller } = harness({
        listFailures: () => Promise.reject(new ParamedicError(code, "the store is away")),
      });
      await expect(caller("read").failures.list()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    },
  );

  it("refuses a metric range that is reversed or has too many points", async () => {
    const api = harness().caller("read");
    await expect(api.metrics.series({ metricName: "x", from: 2, to: 1 })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
    await expect(api.metrics.series({ metricName: "x", from: 0, to: 1e12, stepMs: 10_000 })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
    expect(await api.metrics.series({ metricName: "x", from: 0, to: 86_400_000 })).toMatchObject({
      stepMs: 600_000,
      points: [],
    });
  });
});

/** Valid inputs, so that only the role can be what is refused. */
const inputs: Readonly<Record<string, unknown>> = {
  "failures.get": { eventId: "event-1" },
  "failures.resolve": { eventId: "event-1", reason: "because" },
  "recoveries.get": { actionId: "action-1" },
  "recoveries.preview": { failureEventId: "event-1", reason: "because" },
  "recoveries.trigger": { service: "llm:openai", strategy: "flush_cache", reason: "because" },
  "recoveries.approve": { actionId: "action-1", reason: "because" },
  "recoveries.cancel": { actionId: "action-1", reason: "because" },
  "incidents.get": { incidentId: "incident-event-1" },
  "maintenance.announce": { services: ["db:main"], forMs: 60_000, reason: "because" },
  "maintenance.end": { windowId: "window-1", reason: "because" },
  "circuits.get": { name: "llm:openai" },
  "circuits.hold": { name: "llm:openai", state: "disabled", reason: "because" },
  "circuits.release": { name: "llm:openai", reason: "because" },
  "settings.set": { name: "mode", value: "shadow", reason: "because" },
  "watchdog.markFalseAlarm": { eventId: "event-1", reason: "because" },
  "watchdog.healEverything": { reason: "because" },
  "circuits.reset": { name: "llm:openai", reason: "because" },
  "metrics.series": { metricName: "x", from: 0, to: 1 },
  "metrics.heatMap": { metricName: "x", from: 0, to: 1 },
  "metrics.topProcedures": { from: 0, to: 1 },
};

function property(node: unknown, key: string): unknown {
  return (typeof node === "object" || typeof node === "function") && node !== null ? Reflect.get(node, key) : undefined;
}
