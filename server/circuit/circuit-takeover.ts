/**
 * Brings circuits of this process to where the store has them: after a restart, when another instance moved one, and when
 * somebody placed a hold or released it.
 */
import type { CircuitHold } from "../../shared/circuit.js";
import type { Clock } from "../ports/clock.js";
import type { StoredCircuit } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import type { CircuitLedger, SeenCircuit } from "./circuit-ledger.js";
import type { Instant } from "./circuit-restore.js";

export interface CircuitTakeoverDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly ledger: CircuitLedger;
  readonly clock: Clock;
  /** Whether the state of the circuit of that name is shared; a hold always is. */
  readonly isShared: (name: string) => boolean;
}

export interface CircuitTakeover {
  /** For a circuit that is new here. Does nothing where nothing is stored of it. */
  restore(breaker: CircuitBreaker): void;
  /** Takes note of a stored circuit, and of a hold that was placed or released elsewhere since it was last seen. */
  see(stored: StoredCircuit): SeenCircuit;
  /** Another living instance moved it. */
  follow(seen: SeenCircuit): void;
  /** @param hold undefined releases it */
  place(name: string, hold: CircuitHold | undefined, instant: Instant): void;
}

export function createCircuitTakeover({ registry, ledger, clock, isShared }: CircuitTakeoverDeps): CircuitTakeover {
  const place = (name: string, hold: CircuitHold | undefined, instant: Instant): void => {
    const breaker = registry.get(name);
    if (hold === undefined) breaker?.release();
    else breaker?.hold(hold, instant);
  };
  return {
    restore(breaker) {
      const { name } = breaker;
      const seen = ledger.seen(name);
      if (seen === undefined) return;
      // A circuit that has moved already ran without the store: writing that settles which of the two holds.
      const isBehind = isShared(name) && ledger.pending(name) === undefined;
      if (isBehind) registry.restore(breaker, seen.stored, seen.instant);
      else place(name, seen.stored.held, seen.instant);
    },
    see(stored) {
      const before = ledger.seen(stored.name)?.stored.held;
      const seen = ledger.see(stored, clock.monotonic());
      if (!isSameHold(before, stored.held)) place(stored.name, stored.held, seen.instant);
      return seen;
    },
    follow({ stored, instant }) {
      const breaker = registry.get(stored.name);
      if (breaker === undefined) return;
      const { state, version: here } = breaker.snapshot();
      // Results of calls in flight must not count in what comes now, also where the store's version does not rise. Of an open
      // circuit none is in flight.
      const version = Math.max(stored.version, state === "open" ? here : here + 1);
      registry.adopt(breaker, { ...stored, version }, instant);
    },
    place,
  };
}

function isSameHold(a: CircuitHold | undefined, b: CircuitHold | undefined): boolean {
  return a?.state === b?.state && a?.by === b?.by && a?.reason === b?.reason && a?.until === b?.until;
}
