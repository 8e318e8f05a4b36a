/**
 * Keeps circuits over restarts and in step with other instances, behind the calls: loads them before the first call is
 * admitted, writes transitions in their order, refreshes counts, follows what others did, and carries out control messages.
 *
 * The store is the truth and settles who was first. What each part has seen of it is in one ledger, and one loop runs the parts
 * one after another, so that each builds on what the one before it saw.
 */
import type { CircuitSharing, CircuitTransition } from "../../shared/circuit.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { ControlChannel } from "../ports/control-channel.js";
import type { Journal } from "../ports/journal.js";
import type { Logger } from "../ports/logger.js";
import { type Random, systemRandom } from "../ports/random.js";
import type { CircuitStore, Store } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import { createCircuitLedger } from "./circuit-ledger.js";
import { createCircuitTakeover } from "./circuit-takeover.js";
import { createControlListener } from "./control-messages.js";
import { createCountRefresher } from "./count-refresher.js";
import { resetStored } from "./operator-reset.js";
import { createProbeTurns } from "./probe-turns.js";
import { createQuorum } from "./quorum.js";
import { createRestoreGate } from "./restore-gate.js";
import { createStoreReader } from "./store-reader.js";
import { createTransitionWriter } from "./transition-writer.js";

export interface CircuitPersistenceDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly store: CircuitStore & Pick<Store, "ping">;
  readonly channel: ControlChannel;
  readonly clock: Clock;
  /** @default the system's */
  readonly random?: Random;
  readonly journal: Journal;
  readonly logger: Logger;
  /** This instance's name, unique among those that share the store. */
  readonly instance: string;
  /** Told of every failed attempt to reach the store. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface CircuitPersistenceOptions {
  /** Whose failures move the circuit of that name. Must not throw. @default "shared" */
  readonly sharing?: ((name: string) => CircuitSharing) | undefined;
  /** How long an instance's opinion counts, where a quorum decides. @default 30_000 */
  readonly quorumWindowMs?: number | undefined;
  /** How often counts are refreshed and failed writes tried again. @default 1_000 */
  readonly flushIntervalMs?: number | undefined;
  /** How long calls wait for the stored circuits before they run without them. @default 1_000 */
  readonly restoreWaitMs?: number | undefined;
  /** How often the stored circuits are read again, for what other instances did unheard. @default 5_000 */
  readonly syncIntervalMs?: number | undefined;
  /** Transitions of one circuit that wait for the store; 2 or more. @default 100 */
  readonly maxPendingTransitions?: number | undefined;
}

/** How this instance and the others get along. */
export interface SharingStats {
  /** Transitions that the store has yet to hear of. */
  readonly pending: number;
  /** Transitions without a row of their own: too many waited. */
  readonly merged: number;
  /** Transitions without a row: another instance was faster. */
  readonly superseded: number;
  /** Probes that began without the store. */
  readonly localProbes: number;
  /** Circuits that this instance alone has seen failing for a window; they are open here and nowhere else. */
  readonly poisoned: readonly string[];
  /** How often a circuit became one of those. */
  readonly poisonings: number;
  /** The store answered last. */
  readonly inTouch: boolean;
  /** How long ago all circuits were read; undefined while they never were. */
  readonly ageMs: number | undefined;
}

export interface CircuitPersistence {
  /** Resolves when calls may be admitted: the circuits are loaded, or `restoreWaitMs` is over. Never rejects. */
  readonly restored: Promise<void>;
  /** Begins to load, write and listen. Call it once the store is open. */
  start(): void;
  /** Stops, after one last write. */
  stop(): Promise<void>;
  /** Writes what waits, now. Never rejects. */
  flush(): Promise<void>;
  /**
   * Closes a circuit for all instances, on behalf of an operator; says whether that is stored by now, or undefined when
   * nobody knows a circuit of that name. Rejects when the store cannot be asked about a circuit that is not known here.
   */
  reset(name: string): Promise<{ readonly stored: boolean } | undefined>;
  stats(): SharingStats;
}

export const PERSISTENCE_DEFAULTS = Object.freeze({
  quorumWindowMs: 30 * SECOND_MS,
  flushIntervalMs: SECOND_MS,
  restoreWaitMs: SECOND_MS,
  syncIntervalMs: 5 * SECOND_MS,
  maxPendingTransitions: 100,
}) satisfies Required<Omit<CircuitPersistenceOptions, "sharing">>;

/** How soon a failed first load is tried again while calls wait for it. */
const LOAD_RETRY_MS = 100;

/** Creating it writes nothing; calls through `registry` wait from now on for `restored`. */
export function createCircuitPersistence(
  deps: CircuitPersistenceDeps,
  options: CircuitPersistenceOptions = {},
): CircuitPersistence {
  const { registry, store, channel, clock, journal, logger, instance, onFault } = deps;
  const flushIntervalMs = options.flushIntervalMs ?? PERSISTENCE_DEFAULTS.flushIntervalMs;
  const isShared = (name: string): boolean => options.sharing?.(name) !== "local";
  let inTouch = false;
  let started = false;

  const ledger = createCircuitLedger(
    Math.max(2, options.maxPendingTransitions ?? PERSISTENCE_DEFAULTS.maxPendingTransitions),
  );
  const gate = createRestoreGate(clock, options.restoreWaitMs ?? PERSISTENCE_DEFAULTS.restoreWaitMs);
  const takeover = createCircuitTakeover({ registry, ledger, clock, isShared });
  const writer = createTransitionWriter({ ledger, takeover, store, channel, clock, onFault });
  const counts = createCountRefresher({ registry, ledger, store, clock, isShared, intervalMs: flushIntervalMs });
  const quorum = createQuorum({
    registry,
    ledger,
    store,
    clock,
    logger,
    instance,
    decidesTogether: (name) => options.sharing?.(name) === "quorum",
    windowMs: options.quorumWindowMs ?? PERSISTENCE_DEFAULTS.quorumWindowMs,
  });
  const reader = createStoreReader({
    registry,
    ledger,
    takeover,
    writer,
    quorum,
    store,
    clock,
    isShared,
    onMissing: counts.forget,
    intervalMs: options.syncIntervalMs ?? PERSISTENCE_DEFAULTS.syncIntervalMs,
  });
  const turns = createProbeTurns({
    store,
    clock,
    random: deps.random ?? systemRandom,
    instance,
    storedVersion,
    asksStore: (name) => inTouch && !quorum.isAlone(name),
    onBehind: hint,
    onAway(error) {
      inTouch = false;
      onFault(error);
    },
    onFault,
  });

  const loop = createLoop({
    clock,
    intervalMs() {
      if (!gate.isOpen) return LOAD_RETRY_MS;
      return inTouch ? Math.min(flushIntervalMs, reader.dueInMs()) : flushIntervalMs;
    },
    run,
    onError: onFault,
  });
  registry.waitFor(gate.opened);
  const unsubscribe = [
    registry.subscribe({ created: onCreated, transitioned: onTransition, moved: turns.watch }),
    channel.subscribe(createControlListener({ registry, ledger, takeover, clock, onHint: hint }), onGap),
  ];
  for (const breaker of registry.getAll()) breaker.leaseProbes(isShared(breaker.name));

  async function run(): Promise<void> {
    try {
      await reader.load();
      gate.open();
      await quorum.poll();
      const waiting = ledger.waiting().filter((name) => !quorum.isAlone(name));
      // A write that hung while the store was away must not be what gets through first: it would tell half of what happened.
      // Reads may be answered while writes hang; a ping is a write.
      if (!inTouch && waiting.length > 0) await store.ping();
      for (const name of waiting) await writer.write(name);
      await counts.refresh();
      await reader.read();
      inTouch = true;
    } catch (error) {
      inTouch = false;
      throw error;
    }
  }

  function onCreated(breaker: CircuitBreaker): void {
    breaker.leaseProbes(isShared(breaker.name));
    takeover.restore(breaker);
  }

  function onTransition(transition: CircuitTransition, breaker: CircuitBreaker): void {
    if (isShared(breaker.name)) writer.add(transition, breaker);
    journal.append({ type: "circuit.transitioned", transition });
    log(transition);
    wake();
  }

  function log({ circuitName, from, to, reason, version }: CircuitTransition): void {
    const fields = { event: "circuit", subject: circuitName, from, to, reason, version };
    try {
      if (to === "open") logger.warn(fields, `circuit "${circuitName}" opened`);
      else logger.info(fields, `circuit "${circuitName}" is ${to}`);
    } catch (error) {
      onFault(error);
    }
  }

  function storedVersion(name: string): number | undefined {
    if (ledger.pending(name) !== undefined) return undefined;
    const version = ledger.seen(name)?.stored.version;
    if (version === undefined) hint(name);
    return version;
  }

  function hint(name: string): void {
    reader.hint(name);
    wake();
  }

  function onGap(): void {
    reader.hintAll();
    wake();
  }

  function wake(): void {
    if (started) loop.wake();
  }

  function flush(): Promise<void> {
    counts.hurry();
    return loop.runOnce();
  }

  return Object.freeze({
    restored: gate.opened,
    start() {
      started = true;
      loop.start();
      wake();
    },
    async stop() {
      for (const end of unsubscribe) end();
      gate.open();
      await turns.stop();
      await loop.stop();
      await flush();
      for (const breaker of registry.getAll()) breaker.leaseProbes(false);
    },
    flush,
    async reset(name: string) {
      if (registry.get(name) === undefined) return resetStored(name, { store, channel, clock, instance });
      channel.publish({ type: "circuit.reset", circuitName: name, reason: "operator" });
      // A run that was under way may have begun before the transition: the second one has not.
      await flush();
      await flush();
      return { stored: ledger.pending(name) === undefined };
    },
    stats: () => ({
      pending: ledger.size,
      merged: writer.merged,
      superseded: writer.superseded,
      localProbes: turns.localProbes,
      poisoned: quorum.poisoned(),
      poisonings: quorum.poisonings,
      inTouch,
      ageMs: reader.ageMs(),
    }),
  });
}
