/**
 * Decides what one circuit does, as a pure function of its status, an event and the time.
 *
 * closed     every call is admitted. Consecutive failures reach `failureThreshold`            → open
 * open       no call is admitted. The first call after `retryAt` is a probe                   → half_open
 * half_open  up to `halfOpenPermits` probes are in flight; every other call is refused.
 *            `successThreshold` probes succeeded                                              → closed
 *            one probe failed                                                                 → open
 *            a probe outlived its lease and none has succeeded since                          → open
 *
 * By hand, any state goes to open (`circuit.opened`) or closed (`circuit.reset`); nothing else reaches half_open.
 *
 * Probes may be `leased`: a fleet then probes by turns, and an open circuit stays open after `retryAt` until a grant comes.
 * A grant that ends while its probes are in flight, and is not renewed, opens the circuit again with the next call; one that
 * ends with none in flight waits for the next grant.
 *
 * Every transition raises `version`. A call carries the version it began in as its ticket, and its result counts only while
 * that version lasts: a late success never closes, a late failure never reopens, failures that end together open once.
 *
 * A hold stands beside the state and wins over it until it is released or expires: `forced_open` refuses every call,
 * `disabled` admits every call and counts nothing, `metrics_only` admits every call while the states move as if they bound.
 *
 * All times are monotonic milliseconds of this process; `circuit-restore.ts` turns stored times into them.
 */
import type { CircuitConfig, CircuitHold, CircuitState, TransitionReason } from "../../shared/circuit.js";
import type { Verdict } from "../../shared/classification.js";

interface StatusBase {
  /** Rises by one with every transition. */
  readonly version: number;
  /** Consecutive failures; once open, those that opened it. */
  readonly failureCount: number;
  readonly hold: PlacedHold | undefined;
}

export interface ClosedStatus extends StatusBase {
  readonly state: "closed";
}

export interface OpenStatus extends StatusBase {
  readonly state: "open";
  readonly retryAt: number;
}

export interface HalfOpenStatus extends StatusBase {
  readonly state: "half_open";
  readonly successCount: number;
  /** Probes in flight. */
  readonly probes: readonly Probe[];
  /** Probes admitted since this half-open began: the last probe's number. */
  readonly admitted: number;
  /** What the fleet's lease allows; undefined while this process probes by itself. */
  readonly grant: ProbeGrant | undefined;
}

export type CircuitStatus = ClosedStatus | OpenStatus | HalfOpenStatus;

export interface Probe {
  readonly id: number;
  readonly leaseUntil: number;
}

/** This process's part of the probes of a whole fleet. */
export interface ProbeGrant {
  /** Probes in flight at once. */
  readonly permits: number;
  readonly until: number;
}

export interface PlacedHold {
  readonly hold: CircuitHold;
  /** Infinity without an expiry. */
  readonly expiresAt: number;
}

/** What an admitted call brings back with its result. */
export interface Ticket {
  readonly version: number;
  /** The probe's number; 0 of a call that is none. */
  readonly probe: number;
}

/** The ticket of a call whose result counts for nothing. */
export const UNCOUNTED: Ticket = Object.freeze({ version: -1, probe: 0 });

export type CircuitEvent =
  /** `enforced: false` admits every call, as `metrics_only` does. `leased: true` waits for a grant instead of probing. */
  | { readonly type: "call.requested"; readonly enforced: boolean; readonly leased: boolean }
  /** The fleet's lease was won: probes may begin, or go on, for `leaseMs`. */
  | { readonly type: "probes.granted"; readonly permits: number; readonly leaseMs: number }
  | { readonly type: "call.ended"; readonly ticket: Ticket; readonly verdict: Verdict }
  | { readonly type: "circuit.opened"; readonly reason: ManualReason }
  | { readonly type: "circuit.reset"; readonly reason: ManualReason }
  | { readonly type: "hold.placed"; readonly hold: CircuitHold; readonly expiresAt: number }
  | { readonly type: "hold.released" };

type CallRequest = Extract<CircuitEvent, { type: "call.requested" }>;

export type ManualReason = Extract<TransitionReason, "children_open" | "repair" | "operator">;

export type CircuitEffect =
  | { readonly type: "admitted"; readonly ticket: Ticket }
  | { readonly type: "refused" }
  | {
      readonly type: "transitioned";
      readonly from: CircuitState;
      readonly to: CircuitState;
      readonly reason: TransitionReason;
      readonly version: number;
    };

export interface Step {
  readonly state: CircuitStatus;
  readonly effects: readonly CircuitEffect[];
}

const NOTHING: readonly CircuitEffect[] = Object.freeze([]);
const REFUSED: readonly CircuitEffect[] = Object.freeze([Object.freeze({ type: "refused" })]);
const ADMITTED_UNCOUNTED: readonly CircuitEffect[] = Object.freeze([
  Object.freeze({ type: "admitted", ticket: UNCOUNTED }),
]);

/** A circuit that has never moved. */
export const INITIAL_STATUS: CircuitStatus = Object.freeze({
  state: "closed",
  version: 0,
  failureCount: 0,
  hold: undefined,
});

/**
 * @param now monotonic milliseconds, never less than at an earlier step
 * @example
 * step(INITIAL_STATUS, { type: "call.requested", enforced: true }, now, config).effects
 * // [{ type: "admitted", ticket: { version: 0, probe: 0 } }]
 */
export function step(state: CircuitStatus, event: CircuitEvent, now: number, config: CircuitConfig): Step {
  const status = withoutExpiredHold(state, now);
  switch (event.type) {
    case "call.requested":
      return request(status, event, now, config);
    case "probes.granted":
      return grant(status, event.permits, event.leaseMs, now);
    case "call.ended":
      return end(status, event.ticket, event.verdict, now, config);
    case "circuit.opened":
      return status.state === "open" ? stay(status) : open(status, status.failureCount, event.reason, now, config);
    case "circuit.reset":
      return status.state === "closed" ? stay({ ...status, failureCount: 0 }) : close(status, event.reason);
    case "hold.placed":
      return stay({ ...status, hold: { hold: event.hold, expiresAt: event.expiresAt } });
    case "hold.released":
      return stay({ ...status, hold: undefined });
  }
}

/** Whether the next probe waits for nothing but a grant: its time has come, or the last grant ended without a verdict. */
export function wantsProbe(status: CircuitStatus, now: number): boolean {
  switch (status.state) {
    case "closed":
      return false;
    case "open":
      return now >= status.retryAt;
    case "half_open":
      return grantIsOver(status, now);
  }
}

/** The hold in force; undefined without one and after its expiry. */
export function holdOf(status: CircuitStatus, now: number): CircuitHold | undefined {
  return withoutExpiredHold(status, now).hold?.hold;
}

/**
 * How long a refused caller should wait: until probes are admitted, at the latest until a permit comes back, or until the
 * hold expires. Undefined while a hold without expiry refuses calls; 0 when a call may be admitted now.
 */
export function retryAfterMs(state: CircuitStatus, now: number): number | undefined {
  const status = withoutExpiredHold(state, now);
  if (status.hold?.hold.state === "forced_open") {
    return status.hold.expiresAt === Number.POSITIVE_INFINITY ? undefined : Math.ceil(status.hold.expiresAt - now);
  }
  switch (status.state) {
    case "closed":
      return 0;
    case "open":
      return Math.max(0, Math.ceil(status.retryAt - now));
    case "half_open":
      return Math.max(0, Math.ceil(earliestLeaseEnd(status.probes, now) - now));
  }
}

function earliestLeaseEnd(probes: readonly Probe[], now: number): number {
  const ends = probes.flatMap(({ leaseUntil }) => (now < leaseUntil ? [leaseUntil] : []));
  return ends.length === 0 ? now : Math.min(...ends);
}

function request(status: CircuitStatus, asked: CallRequest, now: number, config: CircuitConfig): Step {
  switch (status.hold?.hold.state) {
    case "forced_open":
      return { state: status, effects: REFUSED };
    case "disabled":
      return { state: status, effects: ADMITTED_UNCOUNTED };
    case "metrics_only":
      return admitAnyway(requestByState(status, asked, now, config));
    case undefined: {
      const answer = requestByState(status, asked, now, config);
      return asked.enforced ? answer : admitAnyway(answer);
    }
  }
}

function requestByState(status: CircuitStatus, asked: CallRequest, now: number, config: CircuitConfig): Step {
  switch (status.state) {
    case "closed":
      return { state: status, effects: [{ type: "admitted", ticket: { version: status.version, probe: 0 } }] };
    case "open":
      return asked.leased || now < status.retryAt
        ? { state: status, effects: REFUSED }
        : announce("open", "reset_timeout", admitProbe(halfOpen(status, undefined), now, config));
    case "half_open": {
      const inFlight = status.probes.filter((probe) => now < probe.leaseUntil);
      const expired = inFlight.length < status.probes.length && status.successCount === 0;
      const over = grantIsOver(status, now);
      if (expired || (over && inFlight.length > 0)) {
        const opened = open(status, status.failureCount, "half_open_expired", now, config);
        return { state: opened.state, effects: [...opened.effects, ...REFUSED] };
      }
      if (over && asked.leased) return { state: status, effects: REFUSED };
      const permits = over || status.grant === undefined ? config.halfOpenPermits : status.grant.permits;
      if (inFlight.length >= permits) return { state: status, effects: REFUSED };
      return admitProbe({ ...status, probes: inFlight }, now, config);
    }
  }
}

/** Begins to probe when the time has come, or prolongs what a grant began; any other grant comes too late, or too early. */
function grant(status: CircuitStatus, permits: number, leaseMs: number, now: number): Step {
  const granted: ProbeGrant = { permits, until: now + leaseMs };
  switch (status.state) {
    case "closed":
      return stay(status);
    case "open":
      return now < status.retryAt ? stay(status) : announce("open", "reset_timeout", stay(halfOpen(status, granted)));
    case "half_open":
      return stay({ ...status, grant: granted });
  }
}

function grantIsOver(status: HalfOpenStatus, now: number): boolean {
  return status.grant !== undefined && now >= status.grant.until;
}

function halfOpen({ version, failureCount, hold }: OpenStatus, granted: ProbeGrant | undefined): HalfOpenStatus {
  return {
    state: "half_open",
    version: version + 1,
    failureCount,
    hold,
    successCount: 0,
    probes: [],
    admitted: 0,
    grant: granted,
  };
}

function admitProbe(status: HalfOpenStatus, now: number, config: CircuitConfig): Step {
  const probe: Probe = { id: status.admitted + 1, leaseUntil: now + config.probeLeaseMs };
  return {
    state: { ...status, probes: [...status.probes, probe], admitted: probe.id },
    effects: [{ type: "admitted", ticket: { version: status.version, probe: probe.id } }],
  };
}

/** The states move as they would; only the refusal is not carried out. */
function admitAnyway({ state, effects }: Step): Step {
  return {
    state,
    effects: effects.flatMap((effect) => (effect.type === "refused" ? ADMITTED_UNCOUNTED : [effect])),
  };
}

function end(status: CircuitStatus, ticket: Ticket, verdict: Verdict, now: number, config: CircuitConfig): Step {
  if (ticket.version !== status.version) return stay(status);
  const counted = status.hold?.hold.state === "disabled" ? "ignored" : verdict;
  switch (status.state) {
    case "closed":
      return endClosed(status, counted, now, config);
    case "open":
      return stay(status);
    case "half_open":
      return endProbe(status, ticket.probe, counted, now, config);
  }
}

function endClosed(status: ClosedStatus, verdict: Verdict, now: number, config: CircuitConfig): Step {
  switch (verdict) {
    case "ignored":
      return stay(status);
    case "success":
      return stay({ ...status, failureCount: 0 });
    case "failure": {
      const failureCount = status.failureCount + 1;
      return failureCount >= config.failureThreshold
        ? open(status, failureCount, "failure_threshold", now, config)
        : stay({ ...status, failureCount });
    }
  }
}

function endProbe(status: HalfOpenStatus, id: number, verdict: Verdict, now: number, config: CircuitConfig): Step {
  const probes = status.probes.filter((probe) => probe.id !== id);
  if (probes.length === status.probes.length) return stay(status);
  switch (verdict) {
    case "ignored":
      return stay({ ...status, probes });
    case "success": {
      const successCount = status.successCount + 1;
      return successCount >= config.successThreshold
        ? close(status, "probes_succeeded")
        : stay({ ...status, probes, successCount });
    }
    case "failure":
      return open(status, status.failureCount, "probe_failed", now, config);
  }
}

function open(
  from: ClosedStatus | HalfOpenStatus,
  failureCount: number,
  reason: TransitionReason,
  now: number,
  config: CircuitConfig,
): Step {
  const state: OpenStatus = {
    state: "open",
    version: from.version + 1,
    failureCount,
    hold: from.hold,
    retryAt: now + config.resetTimeoutMs,
  };
  return announce(from.state, reason, stay(state));
}

function close(from: OpenStatus | HalfOpenStatus, reason: TransitionReason): Step {
  const state: ClosedStatus = { state: "closed", version: from.version + 1, failureCount: 0, hold: from.hold };
  return announce(from.state, reason, stay(state));
}

function stay(state: CircuitStatus): Step {
  return { state, effects: NOTHING };
}

/** Puts the transition before what else the step says. */
function announce(from: CircuitState, reason: TransitionReason, { state, effects }: Step): Step {
  return {
    state,
    effects: [{ type: "transitioned", from, to: state.state, reason, version: state.version }, ...effects],
  };
}

function withoutExpiredHold(status: CircuitStatus, now: number): CircuitStatus {
  return status.hold !== undefined && now >= status.hold.expiresAt ? { ...status, hold: undefined } : status;
}
