/**
 * What a circuit's row becomes: by a transition, by a refresh of its counts, by a hold or a lease, when it is new. Deadlines
 * come by the clock of the instance that gives them and are kept by the database's, so that clocks need not agree.
 */
import type { CircuitHold, CircuitSnapshot, CircuitTransition } from "../../shared/circuit.js";
import { CIRCUIT_DEFAULTS } from "../../shared/circuit-config.js";
import type { CircuitStore, StoredCircuit } from "../ports/store.js";

/** One instant on the clock of an instance and on that of the database. */
export interface WriteInstant {
  readonly at: number;
  /** The database's. */
  readonly now: number;
}

/** A transition takes over everything but the hold, which only its owner moves; with half-open the lease to probe ends. */
export function transitioned(
  stored: StoredCircuit | undefined,
  snapshot: CircuitSnapshot,
  transition: CircuitTransition,
  instant: WriteInstant,
): StoredCircuit {
  return {
    ...snapshot,
    // With the deadline: how long it is open in all is their difference.
    openedAt: onDatabaseClock(snapshot.openedAt, instant),
    nextRetryAt: onDatabaseClock(snapshot.nextRetryAt, instant),
    lastFailureAt: latest(stored?.lastFailureAt, snapshot.lastFailureAt),
    lastSuccessAt: latest(stored?.lastSuccessAt, snapshot.lastSuccessAt),
    held: stored?.held,
    updatedAt: transition.at,
    probeLease: snapshot.state === "half_open" ? stored?.probeLease : undefined,
    readAt: instant.now,
  };
}

/** Counts belong to a generation: those of another one are left where they are. */
export function refreshed(stored: StoredCircuit, snapshot: CircuitSnapshot, at: number): StoredCircuit {
  const counts = stored.version === snapshot.version ? snapshot : stored;
  return {
    ...stored,
    failureCount: counts.failureCount,
    successCount: counts.successCount,
    lastFailureAt: latest(stored.lastFailureAt, snapshot.lastFailureAt),
    lastSuccessAt: latest(stored.lastSuccessAt, snapshot.lastSuccessAt),
    config: snapshot.config,
    updatedAt: at,
  };
}

/** The first row of a circuit. */
export function unseen(snapshot: CircuitSnapshot, { at, now }: WriteInstant): StoredCircuit {
  return {
    ...snapshot,
    openedAt: onDatabaseClock(snapshot.openedAt, { at, now }),
    nextRetryAt: onDatabaseClock(snapshot.nextRetryAt, { at, now }),
    held: undefined,
    updatedAt: at,
    probeLease: undefined,
    readAt: now,
  };
}

/** A circuit that is held before any instance has met it gets a row: its configuration follows with the first refresh. */
export function held(
  name: string,
  stored: StoredCircuit | undefined,
  hold: CircuitHold | undefined,
  instant: WriteInstant,
): StoredCircuit {
  return {
    ...(stored ?? heldAlone(name, instant)),
    held: hold && { ...hold, until: onDatabaseClock(hold.until, instant) },
    updatedAt: instant.at,
  };
}

function heldAlone(name: string, { at, now }: WriteInstant): StoredCircuit {
  return {
    name,
    state: "closed",
    version: 0,
    failureCount: 0,
    successCount: 0,
    lastFailureAt: undefined,
    lastSuccessAt: undefined,
    openedAt: undefined,
    nextRetryAt: undefined,
    held: undefined,
    config: CIRCUIT_DEFAULTS,
    updatedAt: at,
    probeLease: undefined,
    readAt: now,
  };
}

/** The circuit with the lease; undefined when it is not to be had. */
export function leased(
  stored: StoredCircuit | undefined,
  { owner, version, leaseMs }: Parameters<CircuitStore["leaseProbes"]>[0],
  now: number,
): StoredCircuit | undefined {
  if (stored === undefined || stored.version !== version || stored.state === "closed") return undefined;
  // A lease that ends so late was given before the database's clock stepped back.
  const isCredible = stored.probeLease === undefined || stored.probeLease.until - now <= 2 * leaseMs;
  if (isCredible && isLeasedByOther(stored, owner, now)) return undefined;
  return { ...stored, probeLease: { owner, until: now + leaseMs } };
}

/** Another instance probes, so that this one has no say in how that ends. */
export function isBarred(stored: StoredCircuit, transition: CircuitTransition, now: number): boolean {
  const touchesProbes = stored.state === "half_open" || transition.to === "half_open";
  return touchesProbes && transition.reason !== "operator" && isLeasedByOther(stored, transition.instance, now);
}

function isLeasedByOther({ probeLease }: StoredCircuit, owner: string, now: number): boolean {
  return probeLease !== undefined && probeLease.owner !== owner && now < probeLease.until;
}

/** The rows of one step. It is repeated when its answer was lost, and may have grown meanwhile. */
export interface CircuitStep {
  /** The last row that the store has, if this instance wrote what is stored. */
  readonly told: CircuitTransition | undefined;
  readonly untold: readonly CircuitTransition[];
}

export function stepOf(rows: readonly CircuitTransition[], stored: StoredCircuit | undefined): CircuitStep {
  const reached = stored?.version ?? Number.NEGATIVE_INFINITY;
  return {
    told: rows.findLast(({ version }) => version <= reached),
    untold: rows.filter(({ version }) => version > reached),
  };
}

/** @param already the stored row of the version of `told` */
export function follows(
  { told, untold }: CircuitStep,
  stored: StoredCircuit,
  already: CircuitTransition | undefined,
): boolean {
  return told === undefined ? untold[0]?.version === stored.version + 1 : isSameTransition(already, told);
}

/** Tells what this instance wrote from another instance's transition to the same version. */
function isSameTransition(a: CircuitTransition | undefined, b: CircuitTransition): boolean {
  return (
    a?.circuitName === b.circuitName &&
    a.version === b.version &&
    a.instance === b.instance &&
    a.from === b.from &&
    a.to === b.to &&
    a.at === b.at
  );
}

function onDatabaseClock(time: number | undefined, { at, now }: WriteInstant): number | undefined {
  return time === undefined ? undefined : now + (time - at);
}

function latest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.max(a, b);
}
