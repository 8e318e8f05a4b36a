/** The same chaos in `full` and in `shadow`: what acts in the one only writes down in the other what it would have done. */
import { describe, expect, it } from "vitest";
import { seededRandom } from "../../examples/seeded-random.js";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { AlertOperatorStrategy } from "../../server/recovery/alert-operator-strategy.js";
import { CircuitBreakStrategy } from "../../server/recovery/circuit-break-strategy.js";
import { CircuitResetStrategy } from "../../server/recovery/circuit-reset-strategy.js";
import { createFeatures } from "../../server/recovery/features.js";
import { ReconnectStrategy } from "../../server/recovery/reconnect-strategy.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import { RestartStrategy } from "../../server/recovery/restart-strategy.js";
import { ScaleStrategy } from "../../server/recovery/scale-strategy.js";
import { StateMachineStrategy } from "../../server/recovery/state-machine-strategy.js";
import type { CircuitState } from "../../shared/circuit.js";
import { FAILURE_TYPES } from "../../shared/failure.js";
import type { Mode } from "../../shared/mode.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure, aStrategy } from "./a-failure.js";

const SERVICES = ["llm:openai", "db:main", "redis:cache", "machine:orders", "process:a", "http:billing"];

async function chaos(mode: Mode, seed: number) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const effects: string[] = [];
  const effect = (name: string): void => void effects.push(name);
  const channel = createLocalControlChannel({ onFault: () => effect("fault") });
  let circuit: CircuitState = "closed";
  channel.subscribe(({ type }) => {
    effect(`channel ${type}`);
    circuit = type === "circuit.reset" ? "closed" : "open";
  });
  const settings = { mode: () => mode, stopped: () => false };
  const engine = new RecoveryEngine({ clock, store, settings, instance: "a" }, { approvalTimeoutMs: 30_000 });
  const features = createFeatures({
    clock,
    store,
    journal: engine.journal,
    registerStrategy: (strategy) => engine.registerStrategy(strategy),
    isHealthy: () => true,
    onFault: () => effect("fault"),
  });
  const feature = features.feature("teaser", { dependsOn: ["http:*"] });
  const connection = { reconnect: async () => effect("reconnect"), ping: async () => effect("ping") };
  let state = "stuck";
  for (const strategy of [
    new ReconnectStrategy({ clock, reconnectable: () => connection }),
    new ReconnectStrategy({ clock, kind: "redis", reconnectable: () => connection }),
    new CircuitBreakStrategy({ clock, channel, circuitState: () => circuit }),
    new CircuitResetStrategy({ clock, channel, circuitState: () => circuit, probe: () => () => effect("probe") }),
    new ScaleStrategy(
      {
        clock,
        instance: "a",
        post: async () => {
          effect("post");
          return { status: 202 };
        },
      },
      { url: "http://127.0.0.1:1/" },
    ),
    new RestartStrategy({ clock, place: "a", restart: () => effect("restart") }),
    new StateMachineStrategy(
      "orders",
      {
        service: "machine:orders",
        states: ["idle", "running", "stuck"],
        safeState: "idle",
        state: () => state,
        enterSafeState() {
          effect("safe state");
          state = "idle";
        },
        initialise() {
          effect("initialise");
          state = "running";
        },
      },
      { clock },
    ),
    new AlertOperatorStrategy({ clock, store, alert: () => effect("alert") }),
    aStrategy({
      name: "dangerous",
      needsApproval: true,
      applicableFailureTypes: ["unknown"],
      async execute() {
        effect("dangerous");
        throw new Error("no");
      },
    }),
  ]) {
    engine.registerStrategy(strategy);
  }
  engine.start();
  features.start();
  const random = seededRandom(seed);
  const pick = <T>(from: readonly T[]): T | undefined => from[Math.floor(random() * from.length)];
  for (let round = 0; round < 500; round += 1) {
    const affectedService = pick(SERVICES) ?? "llm:openai";
    const failureType = pick(FAILURE_TYPES) ?? "unknown";
    const failure = aFailure({ affectedService, failureType, timestamp: clock.now(), errorMessage: failureType });
    if (random() < 0.2) void engine.handleFailure(failure);
    else engine.journal.append({ type: "failure.observed", failure, rescued: false });
    if (random() < 0.05) {
      const strategy = pick(engine.strategies())?.name ?? "";
      void engine.control.trigger({ service: affectedService, strategy, by: "ada", reason: "chaos" });
    }
    await clock.advance(random() * 2_000);
    if (!feature.isOn() && !effects.includes("feature off")) effect("feature off");
  }
  await engine.stop();
  await features.stop();
  const rows = (await store.listRecoveries({ limit: 1_000 })).items;
  return { effects, rows, failures: (await store.listFailures({ limit: 1_000 })).items.length };
}

describe("shadow mode", () => {
  it("has no effect at all under the chaos in which full does everything that it can", async () => {
    const acted = new Set<string>();
    for (const seed of [1, 2, 3]) {
      const full = await chaos("full", seed);
      for (const name of full.effects) acted.add(name);
      expect(full.rows.some(({ status, dryRun }) => status === "succeeded" && !dryRun)).toBe(true);

      const shadow = await chaos("shadow", seed);
      expect(shadow.effects).toEqual([]);
      const acts = shadow.rows.filter(({ actionStrategy }) => actionStrategy !== "none");
      expect(acts.length).toBeGreaterThan(10);
      for (const row of acts) expect(row).toMatchObject({ status: "skipped", dryRun: true, leaseUntil: undefined });
      expect(shadow.failures).toBeGreaterThan(50);
    }
    const circuits = ["channel circuit.open", "channel circuit.reset", "probe"];
    const services = ["feature off", "initialise", "safe state", "ping", "post", "reconnect"];
    expect([...acted]).toEqual(expect.arrayContaining([...circuits, ...services, "restart", "alert", "dangerous"]));
  }, 120_000);

  it.each(["monitor", "limited"] as const)(
    "%s repairs nothing either",
    async (mode) => {
      const { effects } = await chaos(mode, 1);
      expect(effects).toEqual([]);
    },
    60_000,
  );
});
