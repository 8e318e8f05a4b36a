/** Instances of Paramedic's circuits over one store, as a fleet has them, each with a clock and a channel that a test can bend. */
import { createLocalControlChannel } from "../../server/adapters/local-control-channel.js";
import { createMemoryStore } from "../../server/adapters/memory/memory-store.js";
import { CircuitBreakerRegistry } from "../../server/circuit/circuit-breaker-registry.js";
import type { CircuitBreakerOptions } from "../../server/circuit/circuit-config.js";
import {
  type CircuitPersistenceDeps,
  type CircuitPersistenceOptions,
  createCircuitPersistence,
} from "../../server/circuit/circuit-persistence.js";
import type { Permit } from "../../server/circuit/permit.js";
import type { Clock } from "../../server/ports/clock.js";
import type { ControlChannel } from "../../server/ports/control-channel.js";
import type { JournalEntry } from "../../server/ports/journal.js";
import { type Logger, silentLogger } from "../../server/ports/logger.js";
import type { Random } from "../../server/ports/random.js";
import { type FakeClock, settle } from "../support/fake-clock.js";

const stops: (() => Promise<void>)[] = [];

/** For `afterEach`. */
export async function stopFleet(): Promise<void> {
  await Promise.all(stops.splice(0).map((stop) => stop()));
}

/** A memory store that can be unreachable, slow, and tells what was asked of it. */
export function createFleetStore(clock: Clock) {
  const store = createMemoryStore({ clock });
  const asked: string[] = [];
  const control = {
    down: false,
    gate: undefined as Promise<void> | undefined,
    /** An instance whose requests for a turn do not arrive, as if it were stopped. */
    unheard: undefined as string | undefined,
    asked,
    inner: store,
  };
  const through = async <T>(name: string, run: () => Promise<T>, owner?: string): Promise<T> => {
    asked.push(name);
    await control.gate;
    if (owner !== undefined && owner === control.unheard) return new Promise(() => undefined);
    if (control.down) throw new Error("store is down");
    return run();
  };
  const circuits: CircuitPersistenceDeps["store"] = {
    loadCircuits: (names) => through("load", () => store.loadCircuits(names)),
    commitTransition: (...change) => through("commit", () => store.commitTransition(...change)),
    refreshCircuits: (snapshots, at) => through("refresh", () => store.refreshCircuits(snapshots, at)),
    holdCircuit: (name, hold, at) => through("hold", () => store.holdCircuit(name, hold, at)),
    leaseProbes: (lease) => through("lease", () => store.leaseProbes(lease), lease.owner),
    recordOpinions: (report) => through("opinions", () => store.recordOpinions(report)),
    listTransitions: (query) => through("list", () => store.listTransitions(query)),
    ping: () => through("ping", () => store.ping()),
  };
  const rows = async (circuitName = "svc") =>
    (await store.listTransitions({ circuitName, limit: 1_000 })).items.toSorted((a, b) => a.version - b.version);
  const row = async (name = "svc") => (await store.loadCircuits([name]))[0];
  return { ...control, control, circuits, rows, row };
}

export interface InstanceOptions extends CircuitPersistenceOptions {
  readonly name?: string;
  readonly channel?: ControlChannel;
  readonly logger?: Logger;
  readonly maxCircuits?: number;
  readonly random?: Random;
  readonly circuit?: CircuitBreakerOptions;
}

/** One instance, not started. Its circuit `svc` opens after two failures for 10 s and closes after one probe. */
export function createInstance(
  clock: Clock,
  store: { circuits: CircuitPersistenceDeps["store"] },
  options: InstanceOptions = {},
) {
  const journal: JournalEntry[] = [];
  const faults: unknown[] = [];
  const onFault = (fault: unknown) => void faults.push(fault);
  const {
    name = "a",
    channel = createLocalControlChannel({ onFault }),
    logger = silentLogger,
    maxCircuits = 100,
    random = () => 0,
    circuit = { failureThreshold: 2, resetTimeoutMs: 10_000, successThreshold: 1 },
    ...settings
  } = options;
  const registry = new CircuitBreakerRegistry({ clock, instance: name, random, onFault }, { maxCircuits });
  const persistence = createCircuitPersistence(
    {
      registry,
      store: store.circuits,
      channel,
      clock,
      random,
      instance: name,
      journal: { append: (entry) => journal.push(entry) },
      logger,
      onFault,
    },
    settings,
  );
  stops.push(() => persistence.stop());
  const svc = () => registry.getOrCreate("svc", circuit);
  const fail = (times: number) => {
    for (let i = 0; i < times; i += 1) svc().tryAcquire()?.failure();
  };
  return { name, registry, persistence, channel, journal, faults, svc, fail };
}

export type Instance = ReturnType<typeof createInstance>;

export async function startInstance(...given: Parameters<typeof createInstance>): Promise<Instance> {
  const made = createInstance(...given);
  made.persistence.start();
  await made.persistence.restored;
  await settle();
  return made;
}

/** Lets time pass in small steps and calls the service through each instance in each of them, as traffic would. */
export async function callUntil(
  clock: FakeClock,
  ms: number,
  instances: readonly Instance[],
  onCall: (permit: Permit, instance: Instance) => void,
  stepMs = 10,
): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await clock.advance(stepMs);
    for (const instance of instances) {
      const permit = instance.svc().tryAcquire();
      if (permit !== undefined) onCall(permit, instance);
    }
  }
}

/** The same time on another wall: minutes ahead or behind, and steps of its own. */
export function skewedClock(clock: Clock, skewMs: number): Clock & { stepWall(ms: number): void } {
  let skew = skewMs;
  return {
    now: () => clock.now() + skew,
    monotonic: clock.monotonic,
    setTimer: clock.setTimer,
    stepWall(ms) {
      skew += ms;
    },
  };
}
