/** An instance of recovery that kills itself, as kill -9 does, before or after one of its writes, or around an effect. */
import { appendFileSync } from "node:fs";
import { storeTargetOf } from "../../server/options.js";
import { systemClock as clock } from "../../server/ports/clock.js";
import { silentLogger } from "../../server/ports/logger.js";
import type { Store } from "../../server/ports/store.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { createStore } from "../../server/store-target.js";
import type { Failure } from "../../shared/failure.js";
import type { RecoveryStrategy } from "../../shared/recovery.js";

export interface KillTask {
  readonly instance: string;
  /** The step, counted over all writes and effects from 1; 0 for none. */
  readonly at: number;
  readonly moment: "before" | "under_way" | "after";
  /** Where each effect is written down as it happens: one line `strategy eventId`. */
  readonly effects: string;
}

const WRITES = [
  "recordFailures",
  "recordRescues",
  "leaseRepair",
  "approveRepair",
  "declineRepair",
  "completeRepair",
  "abandonExpired",
  "resolveQuietFailures",
] as const satisfies readonly (keyof Store)[];

/** The repairs that both instances know; only the effect tells them apart from real ones. */
export function killStrategies(effect: (strategy: string, eventId: string) => void): readonly RecoveryStrategy[] {
  const strategy = (name: string, given: Partial<RecoveryStrategy>, success = true): RecoveryStrategy => ({
    name,
    scope: "service",
    priority: 1,
    actionType: "reconnect",
    applicableFailureTypes: ["service_unavailable"],
    async execute({ eventId }) {
      effect(name, eventId);
      return { success, actionType: "reconnect", actionStrategy: name, durationMs: 0, message: name };
    },
    ...given,
  });
  return [
    strategy("fails", { priority: 1 }, false),
    strategy("mends", { priority: 2, verify: async () => true }),
    strategy("doubtful", {
      applicableFailureTypes: ["dns_error"],
      verify: async () => false,
      rollback: async ({ eventId }) => effect("undo", eventId),
    }),
    strategy("dangerous", { applicableFailureTypes: ["disk_full"], needsApproval: true }),
  ];
}

export function killFailure(affectedService: string, failureType: Failure["failureType"], instance: string): Failure {
  return {
    eventId: `${instance}-${affectedService}-${clock.now()}`,
    timestamp: clock.now(),
    failureCategory: "external_dependency",
    failureType,
    severity: "high",
    affectedService,
    errorMessage: "away",
    detectionMethod: "exception",
  };
}

/** Every kind of write that the engine makes. */
export async function liveThrough(engine: RecoveryEngine, store: Store, instance: string): Promise<void> {
  const { journal, control } = engine;
  const failure = killFailure("llm:a", "service_unavailable", instance);
  journal.append({ type: "failure.observed", failure, rescued: false });
  journal.append({
    type: "rescue.ended",
    rescue: {
      failureEventId: failure.eventId,
      timestamp: clock.now(),
      actionType: "retry",
      actionStrategy: "exponential_backoff_retry",
      status: "failed",
      target: "llm:a",
      durationMs: 5,
      message: "failed once more",
      metadata: undefined,
      dryRun: false,
    },
  });
  await engine.drainOnce();
  await engine.handleFailure(killFailure("llm:b", "dns_error", instance));
  for (const service of ["disk:c", "disk:d"]) await engine.handleFailure(killFailure(service, "disk_full", instance));
  const { items } = await store.listRecoveries({ status: "pending_approval", limit: 10 });
  const by = "ada";
  for (const { actionId, target } of items) {
    if (target === "disk:c") await control.approve({ actionId, by });
    else await control.cancel({ actionId, by, reason: "no" });
  }
  await control.trigger({ service: "llm:e", strategy: "mends", by, reason: "to be sure" });
  await engine.drainOnce();
}

async function run({ instance, at, moment, effects }: KillTask, database: string): Promise<void> {
  let step = 0;
  const die = (reached: KillTask["moment"], of: number) => {
    if (of === at && reached === moment) process.kill(process.pid, "SIGKILL");
  };
  const inner = createStore({ clock, logger: silentLogger, onFault: () => undefined }, storeTargetOf(database));
  await inner.open();
  const told = (name: (typeof WRITES)[number]) => {
    const write: unknown = inner[name];
    return async (...args: unknown[]) => {
      step += 1;
      const own = step;
      die("before", own);
      const writing: unknown = typeof write === "function" ? Reflect.apply(write, inner, args) : undefined;
      // About when the transaction is open; whichever moment it is, the promise is the same.
      clock.setTimer(() => die("under_way", own), 1, true);
      const result = await writing;
      die("after", own);
      return result;
    };
  };
  const store: Store = { ...inner, ...Object.fromEntries(WRITES.map((name) => [name, told(name)])) };
  const engine = new RecoveryEngine({ clock, store, instance }, { drainIntervalMs: 50 });
  const strategies = killStrategies((strategy, eventId) => {
    step += 1;
    const own = step;
    die("before", own);
    appendFileSync(effects, `${strategy} ${eventId}\n`);
    die("after", own);
  });
  for (const strategy of strategies) engine.registerStrategy(strategy);
  await liveThrough(engine, store, instance);
  await engine.stop();
  await inner.close();
  process.stdout.write(`${step}\n`);
}

const [, script = "", task = "", database = ""] = process.argv;
if (/kill-points\.child\.[jt]s$/.test(script)) await run(JSON.parse(task), database);
