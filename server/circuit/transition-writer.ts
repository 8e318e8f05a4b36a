/**
 * Writes what circuits of this process did, in its order, where the store is still at what it begins from. An instance that was
 * slower takes over what the faster one stored, except that its transitions still make sense from there: then they are written
 * after it. What happens to one circuit while the store is away is written as one step, so that nobody sees it flap.
 */
import type { CircuitTransition } from "../../shared/circuit.js";
import { isParamedicError } from "../../shared/errors.js";
import type { Clock } from "../ports/clock.js";
import type { ControlChannel } from "../ports/control-channel.js";
import type { CircuitStore, TransitionCommit } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";
import type { CircuitLedger, SeenCircuit } from "./circuit-ledger.js";
import { instantOf } from "./circuit-restore.js";
import type { CircuitTakeover } from "./circuit-takeover.js";
import { stepFrom, type TransitionStep } from "./transition-step.js";

export interface TransitionWriterDeps {
  readonly ledger: CircuitLedger;
  readonly takeover: CircuitTakeover;
  readonly store: Pick<CircuitStore, "commitTransition">;
  readonly channel: Pick<ControlChannel, "publish">;
  readonly clock: Clock;
  readonly onFault: (error: unknown) => void;
}

export interface TransitionWriter {
  /** Keeps a transition until it is written. */
  add(transition: CircuitTransition, breaker: CircuitBreaker): void;
  /** Writes those of one circuit that wait. Rejects when the store is away. */
  write(name: string): Promise<void>;
  /** Drops those that wait, because another instance was faster. */
  giveWay(seen: SeenCircuit): void;
  /** Transitions without a row of their own: too many waited. */
  readonly merged: number;
  /** Transitions without a row: another instance was faster. */
  readonly superseded: number;
}

/** How often one write gives way to other instances before it waits for the next flush. */
const MAX_CONFLICTS = 3;

export function createTransitionWriter(deps: TransitionWriterDeps): TransitionWriter {
  const { ledger, takeover, store, channel, clock, onFault } = deps;
  let merged = 0;
  let superseded = 0;

  const drop = (name: string): void => {
    superseded += ledger.drop(name);
  };

  const giveWay = (seen: SeenCircuit): void => {
    drop(seen.stored.name);
    takeover.follow(seen);
  };

  /** Whether it is written. What the store can never take is dropped: then what is stored holds. */
  const commit = async (name: string, step: Extract<TransitionStep, { type: "write" }>): Promise<boolean> => {
    const { snapshot, transition, earlier } = step;
    const now = instantOf(clock);
    const before = ledger.seen(name)?.stored;
    let result: TransitionCommit;
    try {
      result = await store.commitTransition(snapshot, transition, { earlier, at: now.wall });
    } catch (error) {
      if (!isParamedicError(error, "STORE_REQUEST_INVALID")) throw error;
      onFault(error);
      drop(name);
      return false;
    }
    if (result.committed) {
      const row = { held: before?.held, probeLease: undefined, updatedAt: transition.at, readAt: now.wall };
      ledger.see({ ...snapshot, ...row }, now.monotonic);
      channel.publish({ type: "circuit.transitioned", transition });
      return true;
    }
    const seen = takeover.see(result.stored);
    // Another instance probes: how that ends is its to say.
    if (seen.stored.version === before?.version) giveWay(seen);
    return false;
  };

  return {
    add(transition, breaker) {
      const pending = { transition, snapshot: breaker.snapshot(), instant: instantOf(clock) };
      merged += ledger.pendingOf(breaker.name).push(pending);
    },
    async write(name) {
      const queue = ledger.pendingOf(name);
      // Instances that overtake one another in turn: the next flush goes on.
      for (let conflicts = 0; conflicts <= MAX_CONFLICTS && queue.size > 0; ) {
        const step = stepFrom(ledger.seen(name), queue.take(), instantOf(clock));
        if (step.type === "superseded") giveWay(step.by);
        else if (step.type === "joined" || (await commit(name, step))) queue.confirm();
        else conflicts += 1;
      }
      if (queue.size === 0) ledger.drop(name);
    },
    giveWay,
    get merged() {
      return merged;
    },
    get superseded() {
      return superseded;
    },
  };
}
