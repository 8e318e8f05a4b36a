/** Refreshes the counts and last times of circuits in the store, where they are not what was written last. */
import type { Clock } from "../ports/clock.js";
import type { CircuitStore } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import type { CircuitLedger } from "./circuit-ledger.js";

export interface CountRefresherDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly ledger: CircuitLedger;
  readonly store: Pick<CircuitStore, "refreshCircuits">;
  readonly clock: Clock;
  readonly isShared: (name: string) => boolean;
  readonly intervalMs: number;
}

export interface CountRefresher {
  /** Writes what changed, when `intervalMs` have passed since it last did. Rejects when the store is away. */
  refresh(): Promise<void>;
  /** The next refresh waits for nothing. */
  hurry(): void;
  /** Its row is gone: the next refresh makes it anew. */
  forget(breaker: CircuitBreaker): void;
}

export function createCountRefresher(deps: CountRefresherDeps): CountRefresher {
  const { registry, ledger, store, clock, isShared, intervalMs } = deps;
  const written = new WeakMap<CircuitBreaker, string>();
  let dueAt = 0;

  /** A circuit whose transitions wait is refreshed after them: its counts are of a state that the store does not know. */
  const changeOf = (breaker: CircuitBreaker) => {
    const { name, lastUsedAt, wasUsed } = breaker;
    const snapshot = breaker.snapshot();
    const { version, failureCount, successCount } = snapshot;
    if (!isShared(name) || ledger.pending(name) !== undefined || (version === 0 && !wasUsed)) return [];
    const mark = `${version}:${failureCount}:${successCount}:${lastUsedAt}`;
    if (written.get(breaker) === mark) return [];
    return [{ breaker, snapshot: { ...snapshot, version: ledger.seen(name)?.stored.version ?? version }, mark }];
  };

  return {
    async refresh() {
      const now = clock.monotonic();
      if (now < dueAt) return;
      dueAt = now + intervalMs;
      const changed = registry.getAll().flatMap(changeOf);
      const snapshots = changed.map(({ snapshot }) => snapshot);
      if (snapshots.length > 0) await store.refreshCircuits(snapshots, clock.now());
      for (const { breaker, mark } of changed) written.set(breaker, mark);
    },
    hurry() {
      dueAt = 0;
    },
    forget(breaker) {
      written.delete(breaker);
    },
  };
}
