/**
 * Reads the stored circuits: all of them at first and each `intervalMs`, for what other instances did unheard, and at once
 * those of which somebody says that they moved.
 */
import type { Clock } from "../ports/clock.js";
import type { CircuitStore, StoredCircuit } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import type { CircuitLedger } from "./circuit-ledger.js";
import type { CircuitTakeover } from "./circuit-takeover.js";
import type { Quorum } from "./quorum.js";
import type { TransitionWriter } from "./transition-writer.js";

export interface StoreReaderDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly ledger: CircuitLedger;
  readonly takeover: CircuitTakeover;
  readonly writer: Pick<TransitionWriter, "giveWay">;
  readonly quorum: Pick<Quorum, "isAlone">;
  readonly store: Pick<CircuitStore, "loadCircuits">;
  readonly clock: Clock;
  readonly isShared: (name: string) => boolean;
  /** Told of a circuit that the store does not have. */
  readonly onMissing: (breaker: CircuitBreaker) => void;
  readonly intervalMs: number;
}

export interface StoreReader {
  /** The first read; does nothing once that has succeeded. Rejects when the store is away. */
  load(): Promise<void>;
  /** Reads what is due. Rejects when the store is away. */
  read(): Promise<void>;
  /** The circuit of that name may have moved. */
  hint(name: string): void;
  /** Any circuit may have moved. */
  hintAll(): void;
  /** How long until all are read again. */
  dueInMs(): number;
  /** How long ago all were read; undefined while they never were. */
  ageMs(): number | undefined;
}

export function createStoreReader(deps: StoreReaderDeps): StoreReader {
  const { registry, ledger, takeover, writer, quorum, store, clock, isShared, onMissing, intervalMs } = deps;
  const hinted = new Set<string>();
  let dueAt = 0;
  let allReadAt: number | undefined;

  const meet = (stored: StoredCircuit): void => {
    const { name, version, state } = stored;
    const before = ledger.seen(name)?.stored.version ?? 0;
    const seen = takeover.see(stored);
    if (version === before || !isShared(name)) return;
    // What this instance did is settled when it is written; alone with it, it joins those who agree.
    if (ledger.pending(name) === undefined) takeover.follow(seen);
    else if (quorum.isAlone(name) && state !== "closed") writer.giveWay(seen);
  };

  return {
    async load() {
      if (allReadAt !== undefined) return;
      const rows = await store.loadCircuits();
      const now = clock.monotonic();
      for (const stored of rows) ledger.see(stored, now);
      allReadAt = now;
      dueAt = now + intervalMs;
      for (const breaker of registry.getAll()) takeover.restore(breaker);
    },
    async read() {
      const now = clock.monotonic();
      const names = now < dueAt ? [...hinted] : undefined;
      if (names?.length === 0) return;
      hinted.clear();
      if (names === undefined) dueAt = now + intervalMs;
      const rows = await store.loadCircuits(names).catch((error: unknown) => {
        dueAt = 0;
        throw error;
      });
      if (names === undefined) allReadAt = now;
      for (const stored of rows) meet(stored);
      const found = new Set(rows.map(({ name }) => name));
      for (const breaker of registry.getAll()) {
        const isAsked = names?.includes(breaker.name) ?? true;
        if (isAsked && !found.has(breaker.name)) onMissing(breaker);
      }
    },
    hint(name) {
      hinted.add(name);
    },
    hintAll() {
      dueAt = 0;
    },
    dueInMs: () => dueAt - clock.monotonic(),
    ageMs: () => (allReadAt === undefined ? undefined : Math.round(clock.monotonic() - allReadAt)),
  };
}
