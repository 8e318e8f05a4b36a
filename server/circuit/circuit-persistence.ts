/**
 * Keeps circuits over restarts and in step with other instances, behind the calls: loads them before the first call is
 * admitted, writes transitions in their order, refreshes counts, follows what others did, and carries out control messages.
 *
 * The store is the truth and settles who was first: transitions are written when the stored version is the one they begin
 * from. An instance that was slower takes over what the faster one stored, except that its transitions still make sense from
 * the stored state: then they are written after it. What happens to one circuit while the store is down is written as one
 * step, so that nobody sees it flap. Messages of other instances are hints to read the store.
 *
 * It is one file because all of it is one order: what one step has seen of the store is what the next one builds on.
 */
import type { CircuitHold, CircuitSharing, CircuitTransition } from "../../shared/circuit.js";
import { isParamedicError } from "../../shared/errors.js";
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { ControlChannel, ControlMessage } from "../ports/control-channel.js";
import type { Journal } from "../ports/journal.js";
import type { Logger } from "../ports/logger.js";
import { type Random, systemRandom } from "../ports/random.js";
import type { CircuitStore, StoredCircuit } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import { createCircuitLedger, type SeenCircuit } from "./circuit-ledger.js";
import type { Instant } from "./circuit-restore.js";
import { createProbeTurns } from "./probe-turns.js";
import { createQuorum } from "./quorum.js";
import { stepFrom } from "./transition-step.js";

export interface CircuitPersistenceDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly store: CircuitStore;
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

/** How often one write gives way to other instances before it waits for the next flush. */
const MAX_CONFLICTS = 3;

/** Creating it writes nothing; calls through `registry` wait from now on for `restored`. */
export function createCircuitPersistence(
  deps: CircuitPersistenceDeps,
  options: CircuitPersistenceOptions = {},
): CircuitPersistence {
  const { registry, store, channel, clock, journal, logger, instance, onFault } = deps;
  const { sharing = () => "shared" } = options;
  const flushIntervalMs = options.flushIntervalMs ?? PERSISTENCE_DEFAULTS.flushIntervalMs;
  const syncIntervalMs = options.syncIntervalMs ?? PERSISTENCE_DEFAULTS.syncIntervalMs;

  const ledger = createCircuitLedger(
    Math.max(2, options.maxPendingTransitions ?? PERSISTENCE_DEFAULTS.maxPendingTransitions),
  );
  const quorum = createQuorum({
    registry,
    ledger,
    store,
    clock,
    logger,
    instance,
    decidesTogether: (name) => sharing(name) === "quorum",
    windowMs: options.quorumWindowMs ?? PERSISTENCE_DEFAULTS.quorumWindowMs,
  });
  const turns = createProbeTurns({
    registry,
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
  /** Circuits that others moved. */
  const hinted = new Set<string>();
  const written = new WeakMap<CircuitBreaker, string>();
  let merged = 0;
  let superseded = 0;
  let loaded = false;
  let inTouch = false;
  let allReadAt: number | undefined;
  let waiting = true;
  let syncDueAt = 0;
  let refreshDueAt = 0;
  let started = false;

  let admit: () => void = () => {};
  const restored = new Promise<void>((resolve) => {
    admit = () => {
      waiting = false;
      resolve();
    };
  });
  const restoreTimer = clock.setTimer(admit, options.restoreWaitMs ?? PERSISTENCE_DEFAULTS.restoreWaitMs);
  registry.waitFor(restored);
  const unsubscribe = [
    registry.subscribe({ created: onCreated, transitioned: onTransition, moved: turns.watch }),
    channel.subscribe(onMessage, syncSoon),
  ];
  for (const breaker of registry.getAll()) breaker.leaseProbes(sharing(breaker.name) !== "local");

  const loop = createLoop({
    clock,
    intervalMs: () => {
      if (!loaded && waiting) return Math.min(LOAD_RETRY_MS, flushIntervalMs);
      return inTouch ? Math.min(flushIntervalMs, Math.max(0, syncDueAt - clock.monotonic())) : flushIntervalMs;
    },
    run,
    onError: onFault,
  });

  async function run(): Promise<void> {
    try {
      if (!loaded) await load();
      await quorum.poll();
      for (const name of ledger.waiting()) if (!quorum.isAlone(name)) await write(name);
      if (clock.monotonic() >= refreshDueAt) await refresh();
      if (clock.monotonic() >= syncDueAt) await sync();
      else if (hinted.size > 0) await sync([...hinted]);
      inTouch = true;
    } catch (error) {
      inTouch = false;
      throw error;
    }
  }

  async function load(): Promise<void> {
    const rows = await store.loadCircuits();
    const now = clock.monotonic();
    for (const stored of rows) ledger.see(stored, now);
    loaded = true;
    allReadAt = now;
    syncDueAt = now + syncIntervalMs;
    for (const breaker of registry.getAll()) restore(breaker);
    restoreTimer.cancel();
    admit();
  }

  function onCreated(breaker: CircuitBreaker): void {
    breaker.leaseProbes(sharing(breaker.name) !== "local");
    restore(breaker);
  }

  function restore(breaker: CircuitBreaker): void {
    const seen = ledger.seen(breaker.name);
    if (seen === undefined) return;
    // A circuit that has moved already ran without the store: `write` settles which of the two holds.
    const isBehind = sharing(breaker.name) !== "local" && ledger.pending(breaker.name) === undefined;
    if (isBehind) registry.restore(breaker, seen.stored, seen.instant);
    else place(breaker, seen.stored.held, seen.instant);
  }

  function onTransition(transition: CircuitTransition, breaker: CircuitBreaker): void {
    const { name } = breaker;
    if (sharing(name) !== "local") {
      merged += ledger.pendingOf(name).push({ transition, snapshot: breaker.snapshot(), instant: instantNow() });
    }
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

  async function write(name: string): Promise<void> {
    let conflicts = 0;
    // Instances that overtake one another in turn: the next flush goes on.
    while (conflicts <= MAX_CONFLICTS) {
      const pending = ledger.pendingOf(name).take();
      if (pending.length === 0) break;
      const seen = ledger.seen(name);
      const now = instantNow();
      const step = stepFrom(seen?.stored, pending, now);
      if (step.type === "superseded") {
        giveWay(name, seen);
        break;
      }
      if (step.type === "write") {
        const { snapshot, transition, earlier } = step;
        const result = await commit(name, () =>
          store.commitTransition(snapshot, transition, { earlier, at: now.wall }),
        );
        if (result === undefined) break;
        if (!result.committed) {
          const { stored } = result;
          const barred = stored.version === seen?.stored.version;
          const met = see(stored);
          // Another instance probes: how that ends is its to say.
          if (barred) giveWay(name, met);
          conflicts += 1;
          continue;
        }
        const { held, probeLease } = seen?.stored ?? { held: undefined, probeLease: undefined };
        ledger.see({ ...snapshot, held, probeLease, updatedAt: transition.at, readAt: now.wall }, now.monotonic);
        channel.publish({ type: "circuit.transitioned", transition });
      }
      ledger.pending(name)?.confirm();
    }
    if (ledger.pending(name)?.size === 0) ledger.drop(name);
  }

  /** Undefined when the store can never take what was given: then it is dropped, and what is stored holds. */
  async function commit<T>(name: string, attempt: () => Promise<T>): Promise<T | undefined> {
    try {
      return await attempt();
    } catch (error) {
      if (!isParamedicError(error, "STORE_REQUEST_INVALID")) throw error;
      onFault(error);
      superseded += ledger.drop(name);
      return undefined;
    }
  }

  function giveWay(name: string, seen: SeenCircuit | undefined): void {
    superseded += ledger.drop(name);
    const breaker = registry.get(name);
    if (breaker !== undefined && seen !== undefined) follow(breaker, seen);
  }

  /** The number rises even where the store's does not: results of calls in flight must not count in what comes now. */
  function follow(breaker: CircuitBreaker, { stored, instant }: SeenCircuit): void {
    const { state, version: here } = breaker.snapshot();
    // Of an open circuit no call is in flight.
    const version = Math.max(stored.version, state === "open" ? here : here + 1);
    registry.adopt(breaker, { ...stored, version }, instant);
  }

  /** Takes note of a stored circuit, and of a hold that was placed or released elsewhere since it was last seen. */
  function see(stored: StoredCircuit): SeenCircuit {
    const before = ledger.seen(stored.name);
    const seen = ledger.see(stored, clock.monotonic());
    const breaker = registry.get(stored.name);
    if (breaker !== undefined && !sameHold(before?.stored.held, stored.held)) place(breaker, stored.held, seen.instant);
    return seen;
  }

  /** Circuits whose counts, or last results, are not those that were written last. */
  async function refresh(): Promise<void> {
    const changed = registry.getAll().flatMap((breaker) => {
      const { name } = breaker;
      if (sharing(name) === "local" || ledger.pending(name) !== undefined) return [];
      const snapshot = breaker.snapshot();
      if (snapshot.version === 0 && !breaker.wasUsed) return [];
      const mark = `${snapshot.version}:${snapshot.failureCount}:${snapshot.successCount}:${breaker.lastUsedAt}`;
      if (written.get(breaker) === mark) return [];
      return [
        { breaker, snapshot: { ...snapshot, version: ledger.seen(name)?.stored.version ?? snapshot.version }, mark },
      ];
    });
    if (changed.length > 0) {
      await store.refreshCircuits(
        changed.map(({ snapshot }) => snapshot),
        clock.now(),
      );
    }
    for (const { breaker, mark } of changed) written.set(breaker, mark);
    refreshDueAt = clock.monotonic() + flushIntervalMs;
  }

  /** @param names of the circuits to read. @default all */
  async function sync(names?: readonly string[]): Promise<void> {
    const askedAt = clock.monotonic();
    const asked = names ?? [...hinted, ...registry.getAll().flatMap(({ isClosed, name }) => (isClosed ? [] : [name]))];
    hinted.clear();
    const rows = await store.loadCircuits(names).catch((error: unknown) => {
      for (const name of asked) hinted.add(name);
      throw error;
    });
    for (const stored of rows) meet(stored);
    const found = new Set(rows.map(({ name }) => name));
    for (const name of asked) if (!found.has(name)) recreate(name);
    if (names !== undefined) return;
    allReadAt = askedAt;
    syncDueAt = clock.monotonic() + syncIntervalMs;
  }

  function meet(stored: StoredCircuit): void {
    const { name, version } = stored;
    const before = ledger.seen(name)?.stored.version ?? 0;
    const seen = see(stored);
    const breaker = registry.get(name);
    if (breaker === undefined || version === before || sharing(name) === "local") return;
    // What this instance did is settled when it is written; alone with it, it joins those who agree.
    if (ledger.pending(name) === undefined) follow(breaker, seen);
    else if (quorum.isAlone(name) && stored.state !== "closed") giveWay(name, seen);
  }

  /** Its row is gone: the next refresh makes it anew. */
  function recreate(name: string): void {
    const breaker = registry.get(name);
    if (breaker !== undefined) written.delete(breaker);
  }

  function storedVersion(name: string): number | undefined {
    if (ledger.pending(name) !== undefined) return undefined;
    const version = ledger.seen(name)?.stored.version;
    if (version === undefined) hint(name);
    return version;
  }

  function hint(name: string): void {
    hinted.add(name);
    if (started) loop.wake();
  }

  function syncSoon(): void {
    syncDueAt = 0;
    if (started) loop.wake();
  }

  function onMessage(message: ControlMessage, { remote }: { readonly remote: boolean }): void {
    switch (message.type) {
      case "circuit.open":
        registry.get(message.circuitName)?.forceOpen(reasonOf(message.reason), message.failureEventId);
        break;
      case "circuit.reset":
        registry.get(message.circuitName)?.reset(reasonOf(message.reason));
        break;
      case "circuit.hold":
        if (!remote) placeNow(message.circuitName, message.hold);
        hint(message.circuitName);
        break;
      case "circuit.release":
        if (!remote) placeNow(message.circuitName, undefined);
        hint(message.circuitName);
        break;
      case "circuit.transitioned": {
        const { circuitName, version } = message.transition;
        if ((ledger.seen(circuitName)?.stored.version ?? 0) < version) hint(circuitName);
        break;
      }
      case "settings.changed":
        break;
    }
  }

  function placeNow(name: string, hold: CircuitHold | undefined): void {
    const breaker = registry.get(name);
    if (breaker !== undefined) place(breaker, hold, instantNow());
  }

  function place(breaker: CircuitBreaker, hold: CircuitHold | undefined, instant: Instant): void {
    if (hold === undefined) breaker.release();
    else breaker.hold(hold, instant);
  }

  async function reset(name: string): Promise<{ readonly stored: boolean } | undefined> {
    if (registry.get(name) === undefined) return resetStored(name);
    channel.publish({ type: "circuit.reset", circuitName: name, reason: "operator" });
    // A run that was under way may have begun before the transition.
    await flush();
    if (ledger.pending(name) !== undefined) await flush();
    return { stored: ledger.pending(name) === undefined };
  }

  /** Of a circuit that only other instances use. */
  async function resetStored(name: string): Promise<{ readonly stored: boolean } | undefined> {
    const [stored] = await store.loadCircuits([name]);
    if (stored === undefined) return undefined;
    const { state: from, version: before } = stored;
    if (from === "closed") return { stored: true };
    const at = clock.now();
    const [version, failureEventId] = [before + 1, undefined];
    const moved = {
      circuitName: name,
      from,
      to: "closed",
      reason: "operator",
      version,
      at,
      instance,
      failureEventId,
    } as const;
    const closed = {
      state: "closed",
      failureCount: 0,
      successCount: 0,
      openedAt: undefined,
      nextRetryAt: undefined,
    } as const;
    const { committed } = await store.commitTransition({ ...stored, ...closed, version }, moved, { at });
    if (committed) channel.publish({ type: "circuit.transitioned", transition: moved });
    return { stored: committed };
  }

  function flush(): Promise<void> {
    refreshDueAt = 0;
    return loop.runOnce();
  }

  function instantNow(): Instant {
    return { monotonic: clock.monotonic(), wall: clock.now() };
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
      await turns.stop();
      await loop.stop();
      await flush();
      for (const breaker of registry.getAll()) breaker.leaseProbes(false);
    },
    flush,
    reset,
    stats: () => ({
      pending: ledger.size,
      merged,
      superseded,
      localProbes: turns.localProbes,
      poisoned: quorum.poisoned(),
      poisonings: quorum.poisonings,
      inTouch,
      ageMs: allReadAt === undefined ? undefined : Math.round(clock.monotonic() - allReadAt),
    }),
  });
}

/** Whatever does not say that a person did it was a repair. */
function reasonOf(reason: string): "operator" | "repair" {
  return reason === "operator" ? "operator" : "repair";
}

function sameHold(a: CircuitHold | undefined, b: CircuitHold | undefined): boolean {
  return a?.state === b?.state && a?.by === b?.by && a?.reason === b?.reason && a?.until === b?.until;
}
