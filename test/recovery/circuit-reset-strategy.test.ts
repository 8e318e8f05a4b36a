/** The reset of a circuit whose service answers again, on an engine that writes rows and a circuit that listens to the channel. */
import { describe, expect, it } from "vitest";
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import { CircuitResetStrategy } from "../../server/recovery/circuit-reset-strategy.js";
import { RecoveryEngine } from "../../server/recovery/recovery-engine.js";
import type { Mode } from "../../shared/mode.js";
import { createFakeClock } from "../support/fake-clock.js";
import { aFailure, aStrategy } from "./a-failure.js";

const SERVICE = "db:main";
const refusal = (at: number) =>
  aFailure({ failureType: "service_unavailable", affectedService: SERVICE, timestamp: at });

interface Situation {
  readonly mode?: Mode;
  /** Whether the service answers when it is asked for the nth time, from 1. */
  readonly answers?: (nth: number) => boolean;
  readonly listens?: boolean;
}

function setUp({ mode = "full", answers = () => true, listens = true }: Situation = {}) {
  const clock = createFakeClock();
  const store = createMemoryStore({ clock });
  const channel = createLocalControlChannel({ onFault: () => undefined });
  const registry = new CircuitBreakerRegistry({ clock });
  const circuit = registry.getOrCreate(SERVICE, { resetTimeoutMs: 600_000 });
  circuit.forceOpen("repair");
  channel.subscribe((message) => {
    if (message.type === "circuit.open") circuit.forceOpen("repair");
    if (message.type === "circuit.reset" && listens) circuit.reset("repair");
  });
  let asked = 0;
  const engineOf = (instance: string) => {
    const engine = new RecoveryEngine({ clock, store, instance, settings: { mode: () => mode, stopped: () => false } });
    engine.registerStrategy(
      new CircuitResetStrategy({
        clock,
        channel,
        circuitState(name) {
          const known = registry.get(name)?.snapshot();
          return known?.held === undefined ? known?.state : undefined;
        },
        probe: (service) =>
          service === SERVICE
            ? () => {
                asked += 1;
                if (!answers(asked)) throw new Error("connection refused");
              }
            : undefined,
      }),
    );
    return engine;
  };
  const rows = async () => (await store.listRecoveries({ limit: 100 })).items;
  const handle = async (engine = engineOf("a")) => {
    const handled = engine.handleFailure(refusal(clock.now()));
    await clock.advance(30_000);
    return handled;
  };
  return { clock, circuit, engineOf, handle, rows, asked: () => asked };
}

describe("circuit_reset", () => {
  it("closes an open circuit once its service has answered several times in a row, and says so after one more answer", async () => {
    const { circuit, handle, rows, asked } = setUp();
    expect((await handle()).recovered).toBe(true);
    expect(circuit.getState().state).toBe("closed");
    expect(asked()).toBe(4);
    expect(await rows()).toMatchObject([
      {
        actionStrategy: "circuit_reset",
        actionType: "reset",
        status: "succeeded",
        target: SERVICE,
        result: { verified: true, circuitName: SERVICE, from: "open" },
      },
    ]);
  });

  it("leaves the circuit open while its service answers only now and then, and fails", async () => {
    const { circuit, handle, rows } = setUp({ answers: (nth) => nth % 3 !== 0 });
    expect((await handle()).recovered).toBe(false);
    expect(circuit.getState().state).toBe("open");
    expect(await rows()).toMatchObject([{ status: "failed", result: { message: "connection refused" } }]);
  });

  it("waits for a service that comes back within seconds", async () => {
    const { circuit, handle } = setUp({ answers: (nth) => nth > 20 });
    expect((await handle()).recovered).toBe(true);
    expect(circuit.getState().state).toBe("closed");
  });

  it("opens the circuit again when the service falls silent before the repair is verified", async () => {
    const { circuit, handle, rows } = setUp({ answers: (nth) => nth <= 3 });
    expect((await handle()).recovered).toBe(false);
    expect(circuit.getState().state).toBe("open");
    expect(await rows()).toMatchObject([{ status: "rolled_back" }]);
  });

  it("does not succeed where no circuit heard of it", async () => {
    const { circuit, handle, rows } = setUp({ listens: false });
    expect((await handle()).recovered).toBe(false);
    expect(circuit.getState().state).toBe("open");
    expect(await rows()).toMatchObject([{ status: "rolled_back" }]);
  });

  it("is for no circuit that is closed, or held by hand, and for no service that cannot be asked", async () => {
    const closed = setUp();
    closed.circuit.reset("repair");
    await closed.handle();
    const held = setUp();
    held.circuit.hold(
      { state: "forced_open", by: "ada", reason: "drill", until: undefined },
      { wall: 0, monotonic: 0 },
    );
    await held.handle();
    for (const { rows, asked } of [closed, held]) {
      expect(asked()).toBe(0);
      expect(await rows()).toMatchObject([{ actionStrategy: "none", status: "skipped" }]);
    }
    expect(held.circuit.getState().state).toBe("open");
    const { engineOf } = setUp();
    const { actions } = await engineOf("a").handleFailure({ ...refusal(0), affectedService: "llm:openai" });
    expect(actions).toMatchObject([{ actionStrategy: "none" }]);
  });

  it("need not wait until a connection that was just replaced has settled", async () => {
    const { clock, circuit, engineOf, handle, rows } = setUp();
    const engine = engineOf("a");
    engine.registerStrategy(
      aStrategy({
        name: "database_reconnect",
        actionType: "reconnect",
        applicableFailureTypes: ["database_connection"],
      }),
    );
    await engine.handleFailure(
      aFailure({ failureType: "database_connection", affectedService: SERVICE, timestamp: clock.now() }),
    );
    await handle(engine);
    expect(circuit.getState().state).toBe("closed");
    expect((await rows()).map(({ actionStrategy, status }) => `${actionStrategy} ${status}`)).toEqual([
      "circuit_reset succeeded",
      "database_reconnect succeeded",
    ]);
  });

  it("is done once when two instances want it", async () => {
    const { clock, engineOf, rows, asked } = setUp();
    const [one, other] = [engineOf("a"), engineOf("b")];
    const both = Promise.all([one, other].map((engine) => engine.handleFailure(refusal(clock.now()))));
    await clock.advance(30_000);
    await both;
    expect((await rows()).filter(({ status }) => status === "succeeded")).toHaveLength(1);
    expect(asked()).toBe(4);
  });

  it.each(["shadow", "monitor", "limited"] as const)("asks nobody and closes nothing in %s", async (mode) => {
    const { circuit, handle, rows, asked } = setUp({ mode });
    await handle();
    expect(asked()).toBe(0);
    expect(circuit.getState().state).toBe("open");
    expect(await rows()).toMatchObject([{ actionStrategy: "circuit_reset", status: "skipped", dryRun: true }]);
  });
});
