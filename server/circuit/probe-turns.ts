/**
 * Lets a fleet probe an open circuit by turns. One instance at a time holds the right to, as a lease in the store that is won
 * and prolonged here, behind the calls; calls spend the permits of the grant that follows. So at most `halfOpenPermits` probes
 * are in flight over all instances.
 *
 * An instance that refused a call tries for the next turn at once; an idle one lets those go first. A turn in which a probe is
 * in flight is prolonged; one that is not used ends, and its owner steps back for a moment. An owner that died is replaced
 * when its turn is over.
 *
 * Without the store, and where this instance alone sees the circuit failing, it probes by itself: one at a time, after a
 * random wait, counted.
 */
import { MAX_TIMER_MS, SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import type { Clock } from "../ports/clock.js";
import type { Random } from "../ports/random.js";
import type { CircuitStore, StoredCircuit } from "../ports/store.js";
import type { CircuitBreaker } from "./circuit-breaker.js";

export interface ProbeTurnsDeps {
  readonly store: Pick<CircuitStore, "leaseProbes">;
  readonly clock: Clock;
  readonly random: Random;
  readonly instance: string;
  /** The version that the store was last seen to have; undefined while it has no row, or has yet to hear of a transition. */
  readonly storedVersion: (name: string) => number | undefined;
  /** Whether the store may be asked about this circuit. */
  readonly asksStore: (name: string) => boolean;
  /** Told that the store knows of something that this instance does not. */
  readonly onBehind: (name: string) => void;
  /** Told that the store could not be asked. */
  readonly onAway: (error: unknown) => void;
  readonly onFault: (error: unknown) => void;
}

export interface ProbeTurns {
  /** Looks after a circuit from now on, until it is closed. */
  watch(breaker: CircuitBreaker): void;
  stop(): Promise<void>;
  /** Probes that began without the store. */
  readonly localProbes: number;
}

/** How long one turn lasts, and so how soon an owner that died is replaced. */
export const PROBE_TURN_MS = 5 * SECOND_MS;

const TICK_MS = 50;
/** A store that does not answer for so long is away: a call that could be a probe waits for the answer. */
const ANSWER_MS = SECOND_MS;
/** How long the owner of a turn that it did not use steps back, and at least what an idle instance waits. */
const STEP_BACK_MS = 250;
/** Over which idle instances spread. */
const IDLE_SPREAD_MS = SECOND_MS;
/** Over which instances spread that have calls. */
const BUSY_SPREAD_MS = 25;
/** The longest random wait of a probe without the store; a tenth of the open time where that is less. */
const MOST_LOCAL_WAIT_MS = SECOND_MS;

/** Times are monotonic. */
interface Turn {
  /** Since when a refused call says that this instance has any. */
  since: number;
  /** When this instance may try next if it has calls, and if it has none. */
  busyAt: number;
  idleAt: number;
  own: OwnTurn | undefined;
  /** When a probe without the store may begin. */
  localAt: number | undefined;
  asking: boolean;
}

/** This instance probes. */
interface OwnTurn {
  readonly until: number;
  readonly renewAt: number;
  /** Probes admitted when it began, or was prolonged. */
  readonly admitted: number;
  /** By the store's lease. */
  readonly leased: boolean;
}

/** @example const turns = createProbeTurns(deps); turns.watch(breaker) // once it is not closed any more */
export function createProbeTurns(deps: ProbeTurnsDeps): ProbeTurns {
  const { store, clock, random, instance, storedVersion, asksStore, onBehind, onAway, onFault } = deps;
  const watched = new Map<CircuitBreaker, Turn>();
  let localProbes = 0;
  let stopped = false;

  const loop = createLoop({
    clock,
    intervalMs: () => (watched.size > 0 ? TICK_MS : MAX_TIMER_MS),
    async run() {
      const now = clock.monotonic();
      for (const [breaker, turn] of watched) {
        if (breaker.isClosed) watched.delete(breaker);
        else if (!turn.asking) look(breaker, turn, now);
      }
    },
    onError: onFault,
  });
  loop.start();

  function look(breaker: CircuitBreaker, turn: Turn, now: number): void {
    if (turn.own !== undefined && breaker.state === "half_open") {
      const { inFlight, admitted } = breaker.probes;
      const isUsed = inFlight > 0 || admitted > turn.own.admitted;
      const isOver = now >= turn.own.until || (!turn.own.leased && inFlight === 0 && asksStore(breaker.name));
      if (!isOver) {
        if (isUsed && now >= turn.own.renewAt) take(breaker, turn, now);
        return;
      }
      breaker.grantProbes({ permits: 0, leaseMs: 0 });
      if (!isUsed) waitUntil(turn, now, now);
    }
    turn.own = undefined;
    if (!breaker.wantsProbe(now) || letsNobodyProbe(breaker)) return;
    const isBusy = (breaker.probeAskedAt ?? Number.NEGATIVE_INFINITY) >= turn.since;
    if (now >= (isBusy ? turn.busyAt : turn.idleAt)) take(breaker, turn, now);
  }

  function waitUntil(turn: Turn, until: number, now: number): void {
    turn.since = now;
    turn.busyAt = until + random() * BUSY_SPREAD_MS;
    turn.idleAt = until + STEP_BACK_MS + random() * IDLE_SPREAD_MS;
  }

  function take(breaker: CircuitBreaker, turn: Turn, now: number): void {
    if (!asksStore(breaker.name)) {
      probeAlone(breaker, turn, now);
      return;
    }
    turn.localAt = undefined;
    const version = storedVersion(breaker.name);
    if (version === undefined) return;
    turn.asking = true;
    void ask(breaker, turn, version, now);
  }

  async function ask(breaker: CircuitBreaker, turn: Turn, version: number, askedAt: number): Promise<void> {
    try {
      const { name: circuitName } = breaker;
      const answer = await answerOf({ circuitName, owner: instance, version, leaseMs: PROBE_TURN_MS });
      const now = clock.monotonic();
      if (stopped) return;
      if (answer.leased) {
        // Counted from before the question: here the turn ends before it does in the store.
        const until = askedAt + PROBE_TURN_MS;
        const { halfOpenPermits: permits } = breaker.config;
        if (now >= until || !breaker.grantProbes({ permits, leaseMs: until - now })) return;
        turn.own = { until, renewAt: now + PROBE_TURN_MS / 3, admitted: breaker.probes.admitted, leased: true };
      } else {
        waitUntil(turn, now + waitOf(answer.stored, version), now);
        turn.own = undefined;
        if (answer.stored?.version !== version) onBehind(circuitName);
      }
    } catch (error) {
      onAway(error);
    } finally {
      turn.asking = false;
    }
  }

  function answerOf(lease: Parameters<CircuitStore["leaseProbes"]>[0]): ReturnType<CircuitStore["leaseProbes"]> {
    return new Promise((resolve, reject) => {
      const timer = clock.setTimer(
        () => reject(new Error(`the store did not answer within ${ANSWER_MS} ms who may probe "${lease.circuitName}"`)),
        ANSWER_MS,
      );
      store
        .leaseProbes(lease)
        .then(resolve, reject)
        .finally(() => timer.cancel());
    });
  }

  function probeAlone(breaker: CircuitBreaker, turn: Turn, now: number): void {
    const { resetTimeoutMs, probeLeaseMs } = breaker.config;
    turn.localAt ??= now + random() * Math.min(MOST_LOCAL_WAIT_MS, resetTimeoutMs / 10);
    if (now < turn.localAt) return;
    turn.localAt = undefined;
    if (!breaker.grantProbes({ permits: 1, leaseMs: probeLeaseMs })) return;
    localProbes += 1;
    const until = now + probeLeaseMs;
    turn.own = { until, renewAt: until, admitted: breaker.probes.admitted, leased: false };
  }

  return {
    watch(breaker) {
      if (stopped || !breaker.probesLeased) return;
      if (!watched.has(breaker)) {
        const since = clock.monotonic();
        const turn = { since, busyAt: since, idleAt: since, own: undefined, localAt: undefined, asking: false };
        watched.set(breaker, turn);
      }
      loop.wake();
    },
    async stop() {
      stopped = true;
      watched.clear();
      await loop.stop();
    },
    get localProbes() {
      return localProbes;
    },
  };
}

/** By hand, its calls are refused, or pass and count for nothing. */
function letsNobodyProbe(breaker: CircuitBreaker): boolean {
  const held = breaker.snapshot().held?.state;
  return held === "forced_open" || held === "disabled";
}

/** How long to wait before the next try makes sense. */
function waitOf(stored: StoredCircuit | undefined, version: number): number {
  if (stored?.version !== version || stored.probeLease === undefined) return TICK_MS;
  return Math.min(Math.max(TICK_MS, stored.probeLease.until - stored.readAt), 2 * PROBE_TURN_MS);
}
