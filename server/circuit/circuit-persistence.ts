/**
 * Keeps circuits over restarts and in step with other instances, behind the calls: loads them before the first call is
 * admitted, writes transitions in their order, refreshes counts, and carries out what control messages say.
 *
 * The store settles who was first: a transition is written when the stored version is the one it began from. An instance that
 * was slower takes over what the faster one stored, except that its transition still makes sense from the stored state:
 * then it is written after it. While the store is down, circuits work locally and their transitions wait, bounded by circuit.
 */
import type { CircuitHold, CircuitTransition } from "../../shared/circuit.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { ControlChannel, ControlMessage } from "../ports/control-channel.js";
import type { Journal } from "../ports/journal.js";
import type { Logger } from "../ports/logger.js";
import type { CircuitStore, StoredCircuit } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import { createPendingTransitions, type PendingTransition, type PendingTransitions } from "./pending-transitions.js";

export interface CircuitPersistenceDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly store: CircuitStore;
  readonly channel: ControlChannel;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly logger: Logger;
  /** Told of every failed attempt to reach the store. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

export interface CircuitPersistenceOptions {
  /** How often counts are refreshed and failed writes tried again. @default 1_000 */
  readonly flushIntervalMs?: number;
  /** How long calls wait for the stored circuits before they run without them. @default 1_000 */
  readonly restoreWaitMs?: number;
  /** How often the stored circuits are read again, for what other instances did unheard. @default 5_000 */
  readonly syncIntervalMs?: number;
  /** Transitions of one circuit that wait for the store; 2 or more. @default 100 */
  readonly maxPendingTransitions?: number;
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
  /** `merged` and `superseded` transitions have no row of their own: too many waited, or another instance was faster. */
  stats(): { readonly pending: number; readonly merged: number; readonly superseded: number };
}

const DEFAULTS = {
  flushIntervalMs: SECOND_MS,
  restoreWaitMs: SECOND_MS,
  syncIntervalMs: 5 * SECOND_MS,
  maxPendingTransitions: 100,
} as const satisfies Required<CircuitPersistenceOptions>;

/** How soon a failed first load is tried again: calls are waiting. */
const LOAD_RETRY_MS = 100;

/** How often one write gives way to other instances before it waits for the next flush. */
const MAX_CONFLICTS = 3;

/** Creating it writes nothing; calls through `registry` wait from now on for `restored`. */
export function createCircuitPersistence(
  deps: CircuitPersistenceDeps,
  options: CircuitPersistenceOptions = {},
): CircuitPersistence {
  const { registry, store, channel, clock, journal, logger, onFault } = deps;
  const flushIntervalMs = options.flushIntervalMs ?? DEFAULTS.flushIntervalMs;
  const syncIntervalMs = options.syncIntervalMs ?? DEFAULTS.syncIntervalMs;
  const maxPending = Math.max(2, options.maxPendingTransitions ?? DEFAULTS.maxPendingTransitions);

  /** What the store was last seen to hold. */
  const known = new Map<string, StoredCircuit>();
  /** Holds that arrived for circuits that do not exist here yet. */
  const holdsAhead = new Map<string, CircuitHold>();
  const pending = new Map<string, PendingTransitions>();
  const written = new WeakMap<CircuitBreaker, string>();
  let merged = 0;
  let superseded = 0;
  let loaded = false;
  let syncedAt = 0;
  let started = false;

  let admit: () => void = () => {};
  const restored = new Promise<void>((resolve) => {
    admit = resolve;
  });
  const restoreTimer = clock.setTimer(admit, options.restoreWaitMs ?? DEFAULTS.restoreWaitMs);
  registry.waitFor(restored);
  const unsubscribe = [
    registry.subscribe({ created: restore, transitioned: onTransition }),
    channel.subscribe(onMessage),
  ];

  const loop = createLoop({
    clock,
    intervalMs: () => (loaded ? flushIntervalMs : Math.min(LOAD_RETRY_MS, flushIntervalMs)),
    run,
    onError: onFault,
  });

  async function run(): Promise<void> {
    if (!loaded) await load();
    for (const [name, queue] of pending) await write(name, queue);
    await refresh();
    if (clock.monotonic() - syncedAt >= syncIntervalMs) await sync();
  }

  async function load(): Promise<void> {
    for (const stored of await store.loadCircuits()) known.set(stored.name, stored);
    loaded = true;
    syncedAt = clock.monotonic();
    for (const breaker of registry.getAll()) restore(breaker);
    restoreTimer.cancel();
    admit();
  }

  function restore(breaker: CircuitBreaker): void {
    const stored = known.get(breaker.name);
    // A circuit that has moved already ran without the store: `write` settles which of the two holds.
    if (stored !== undefined && !pending.has(breaker.name)) breaker.restore(stored);
    const hold = holdsAhead.get(breaker.name);
    if (hold !== undefined) breaker.hold(hold);
    holdsAhead.delete(breaker.name);
  }

  function onTransition(transition: CircuitTransition, breaker: CircuitBreaker): void {
    const queue = pending.get(breaker.name) ?? createPendingTransitions(maxPending);
    pending.set(breaker.name, queue);
    merged += queue.push({ transition, snapshot: breaker.snapshot() });
    journal.append({ type: "circuit.transitioned", transition });
    log(transition);
    if (started) loop.wake();
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

  async function write(name: string, queue: PendingTransitions): Promise<void> {
    let conflicts = 0;
    for (let next = queue.first; next !== undefined; next = queue.first) {
      // Instances that overtake one another in turn: the next flush goes on.
      if (conflicts > MAX_CONFLICTS) return;
      const result = await store.commitTransition(next.snapshot, next.transition);
      if (queue.first !== next) continue;
      if (result.committed) {
        queue.confirm(next);
        known.set(name, storedFrom(next, known.get(name)));
        channel.publish({ type: "circuit.transitioned", transition: next.transition });
      } else {
        conflicts += 1;
        settle(name, queue, next, result.stored);
      }
    }
    pending.delete(name);
  }

  /** Another instance was faster, or the store has fallen behind. */
  function settle(name: string, queue: PendingTransitions, next: PendingTransition, stored: StoredCircuit): void {
    const breaker = registry.get(name);
    if (stored.version < next.transition.version) {
      queue.rejoin(stored.version);
    } else if (
      breaker !== undefined &&
      stored.state === next.transition.from &&
      // Probes in flight would lose their ticket to another number: better begin anew.
      queue.last?.transition.to !== "half_open"
    ) {
      breaker.renumber(queue.renumber(stored.version + 1));
    } else {
      superseded += queue.clear();
      breaker?.adopt(stored);
    }
    see(stored);
  }

  /** Takes note of a stored circuit, and of a hold that was placed or released elsewhere since it was last seen. */
  function see(stored: StoredCircuit): void {
    const before = known.get(stored.name);
    known.set(stored.name, stored);
    if (!sameHold(before?.held, stored.held)) setHold(stored.name, stored.held);
  }

  /** Circuits whose counts, or last results, are not those that were written last. */
  async function refresh(): Promise<void> {
    const changed = registry.getAll().flatMap((breaker) => {
      const snapshot = breaker.snapshot();
      const mark = `${snapshot.version}:${snapshot.failureCount}:${snapshot.successCount}:${breaker.lastUsedAt}`;
      return written.get(breaker) === mark ? [] : [{ breaker, snapshot, mark }];
    });
    if (changed.length === 0) return;
    await store.refreshCircuits(
      changed.map(({ snapshot }) => snapshot),
      clock.now(),
    );
    for (const { breaker, mark } of changed) written.set(breaker, mark);
  }

  async function sync(): Promise<void> {
    for (const stored of await store.loadCircuits()) {
      const breaker = registry.get(stored.name);
      const behind = breaker !== undefined && stored.version > breaker.snapshot().version;
      if (behind && !pending.has(stored.name)) breaker.adopt(stored);
      see(stored);
    }
    syncedAt = clock.monotonic();
  }

  function onMessage(message: ControlMessage): void {
    switch (message.type) {
      case "circuit.open":
        registry.get(message.circuitName)?.forceOpen(reasonOf(message.reason), message.failureEventId);
        break;
      case "circuit.reset":
        registry.get(message.circuitName)?.reset(reasonOf(message.reason));
        break;
      case "circuit.hold":
        setHold(message.circuitName, message.hold);
        break;
      case "circuit.release":
        setHold(message.circuitName, undefined);
        break;
      case "circuit.transitioned":
        if (registry.get(message.transition.circuitName)?.follow(message.transition) === true) {
          superseded += pending.get(message.transition.circuitName)?.clear() ?? 0;
        }
        break;
      case "mode.set":
        break;
    }
  }

  function setHold(name: string, hold: CircuitHold | undefined): void {
    const breaker = registry.get(name);
    const stored = known.get(name);
    if (stored !== undefined) known.set(name, { ...stored, held: hold });
    if (hold === undefined) {
      holdsAhead.delete(name);
      breaker?.release();
    } else if (breaker !== undefined) breaker.hold(hold);
    else holdsAhead.set(name, hold);
  }

  return Object.freeze({
    restored,
    start() {
      if (started) return;
      started = true;
      loop.start();
      loop.wake();
    },
    async stop() {
      for (const end of unsubscribe) end();
      started = false;
      restoreTimer.cancel();
      admit();
      await loop.stop();
      await loop.runOnce();
    },
    flush: loop.runOnce,
    stats: () => ({
      pending: [...pending.values()].reduce((sum, queue) => sum + queue.size, 0),
      merged,
      superseded,
    }),
  });
}

/** Whatever does not say that a person did it was a repair. */
function reasonOf(reason: string): "operator" | "repair" {
  return reason === "operator" ? "operator" : "repair";
}

function storedFrom({ snapshot, transition }: PendingTransition, before: StoredCircuit | undefined): StoredCircuit {
  return { ...snapshot, held: before?.held, updatedAt: transition.at };
}

function sameHold(a: CircuitHold | undefined, b: CircuitHold | undefined): boolean {
  return a?.state === b?.state && a?.by === b?.by && a?.reason === b?.reason && a?.until === b?.until;
}
