/**
 * Lets most of the instances that use a circuit decide whether it opens for all. An instance that trips it refuses its own
 * calls at once; the others hear of it when more than half of the instances whose opinion counts see it failing. One that
 * stays alone with that for a whole window is poisoned: what it sees says more of itself than of the service.
 *
 * An opinion counts for `windowMs` and is repeated while the circuit is used, so the instances that count are those that used
 * it within about that time. An instance that is alone in using it decides alone.
 */
import type { Clock } from "../ports/clock.js";
import type { Logger } from "../ports/logger.js";
import type { CircuitStore, OpinionTally } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitBreakerRegistry } from "./circuit-breaker-registry.js";
import type { CircuitLedger } from "./circuit-ledger.js";
import type { PendingTransition } from "./pending-transitions.js";

export interface QuorumDeps {
  readonly registry: CircuitBreakerRegistry;
  readonly ledger: CircuitLedger;
  readonly store: Pick<CircuitStore, "recordOpinions">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly instance: string;
  /** Whether the circuit of that name opens by quorum. */
  readonly decidesTogether: (name: string) => boolean;
  readonly windowMs: number;
}

export interface Quorum {
  /** Tells the others what this instance thinks, hears what they think, and lets go of openings that are over. */
  poll(): Promise<void>;
  /** This instance tripped the circuit and the others do not agree, or not yet: its transitions stay here. */
  isAlone(name: string): boolean;
  /** Circuits that this instance alone sees failing, for a window by now. */
  poisoned(): readonly string[];
  /** How often one was found to be so. */
  readonly poisonings: number;
}

/** More than half. */
export function carries({ failing, total }: Pick<OpinionTally, "failing" | "total">): boolean {
  return failing * 2 > total;
}

/** What is repeated so often does not lapse between two of them. */
const OPINIONS_PER_WINDOW = 3;

interface ToldOpinion {
  readonly failing: boolean;
  /** Monotonic. */
  readonly at: number;
}

const NEVER_TOLD: ToldOpinion = { failing: false, at: Number.NEGATIVE_INFINITY };

interface Opening {
  readonly since: number;
  carried: boolean;
  poisoned: boolean;
}

export function createQuorum(deps: QuorumDeps): Quorum {
  const { registry, ledger, store, clock, logger, instance, decidesTogether, windowMs } = deps;
  const openings = new Map<string, Opening>();
  const told = new WeakMap<CircuitBreaker, ToldOpinion>();
  let poisonings = 0;

  const isAlone = (name: string): boolean => {
    const pending = decidesTogether(name) ? ledger.pending(name) : undefined;
    if (pending === undefined || !needsAgreement(pending.first)) return false;
    // Once they agree it opens for all, but not while this instance tries the service by itself.
    return openings.get(name)?.carried !== true || pending.last?.transition.to !== "open";
  };

  const review = (breaker: CircuitBreaker, now: number): boolean => {
    const { name } = breaker;
    if (needsAgreement(ledger.pending(name)?.first) && breaker.isClosed) ledger.drop(name);
    const failing = needsAgreement(ledger.pending(name)?.first);
    if (!failing) openings.delete(name);
    else if (!openings.has(name)) openings.set(name, { since: now, carried: false, poisoned: false });
    return failing;
  };

  const isDue = (breaker: CircuitBreaker, failing: boolean, now: number): boolean => {
    const last = told.get(breaker) ?? NEVER_TOLD;
    if (failing !== last.failing) return true;
    if (now - last.at < windowMs / OPINIONS_PER_WINDOW) return false;
    return failing || (breaker.wasUsed && now - breaker.lastUsedAt < windowMs);
  };

  const hear = (tally: OpinionTally, now: number) => {
    const opening = openings.get(tally.circuitName);
    if (opening === undefined) return;
    opening.carried = carries(tally);
    if (opening.carried || opening.poisoned || now - opening.since < windowMs) return;
    opening.poisoned = true;
    poisonings += 1;
    logger.warn(
      { event: "circuit", subject: tally.circuitName, failing: tally.failing, instances: tally.total },
      `circuit "${tally.circuitName}" is open in this instance alone: ${tally.failing} of ${tally.total} instances see it failing`,
    );
  };

  return {
    async poll() {
      const now = clock.monotonic();
      const opinions = registry.getAll().flatMap((breaker) => {
        if (!decidesTogether(breaker.name)) return [];
        const failing = review(breaker, now);
        return isDue(breaker, failing, now) ? [{ breaker, opinion: { circuitName: breaker.name, failing } }] : [];
      });
      if (opinions.length === 0) return;
      const tallies = await store.recordOpinions({
        instance,
        opinions: opinions.map(({ opinion }) => opinion),
        keepMs: windowMs,
      });
      for (const { breaker, opinion } of opinions) told.set(breaker, { failing: opinion.failing, at: now });
      for (const tally of tallies) hear(tally, now);
    },
    isAlone,
    poisoned: () => [...openings].flatMap(([name, { poisoned }]) => (poisoned ? [name] : [])),
    get poisonings() {
      return poisonings;
    },
  };
}

/** It tripped by itself; an operator needs nobody's agreement. */
function needsAgreement(first: PendingTransition | undefined): boolean {
  return first !== undefined && first.transition.from === "closed" && first.transition.reason !== "operator";
}
