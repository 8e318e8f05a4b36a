/**
 * Decides what one circuit does, as a pure function of its status, an event, the time and a number drawn by chance.
 *
 * closed     every call is admitted; after a closing by probes, with `rampMs`, a growing share of them.
 *            A result brings the window to one of its thresholds (`trip-rule.ts`), or asks for a wait   → open
 * open       no call is admitted. The first call after `retryAt` is a probe                             → half_open
 * half_open  up to `halfOpenPermits` probes are in flight; every other call is refused.
 *            Enough probes succeeded                                                                    → closed
 *            too many failed (by default one), or one asks for a wait                                   → open
 *            a probe outlived its lease and none has succeeded since                                    → open
 *            `halfOpenMaxMs` are over                                                                   → `halfOpenTarget`
 *
 * By hand, any state goes to open (`circuit.opened`) or closed (`circuit.reset`); nothing else reaches half_open. The waits
 * of openings without a closing in between may grow (`open-time.ts`).
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
 *
 * One file, because every way from one state to another stands here and nowhere else; what a window, a rule, a probe or a
 * wait is stands beside it.
 */
import type { CircuitHold, CircuitState, TransitionReason } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import type { Verdict } from "../../shared/classification.js";
import { failuresOf } from "./circuit-reading.js";
import {
  type CircuitStatus,
  type ClosedStatus,
  type HalfOpenStatus,
  type OpenStatus,
  type ProbeGrant,
  type Ticket,
  UNCOUNTED,
  withoutExpiredHold,
} from "./circuit-status.js";
import { addSuccesses, calmUntil, countsIn, EMPTY_WINDOWS, record, refit } from "./circuit-window.js";
import { admitProbe, beginProbing, endProbe, isOverdue, judge } from "./half-open.js";
import { askedTimeMs, openTimeMs } from "./open-time.js";
import { tripReason } from "./trip-rule.js";

export type CircuitEvent =
  /** `enforced: false` admits every call, as `metrics_only` does. `leased: true` waits for a grant instead of probing. */
  | { readonly type: "call.requested"; readonly enforced: boolean; readonly leased: boolean }
  /** A failure with `openForMs` opens the circuit for that time, whatever the window says. */
  | {
      readonly type: "call.ended";
      readonly ticket: Ticket;
      readonly verdict: Verdict;
      readonly openForMs?: number | undefined;
    }
  /** The fleet's lease was won: probes may begin, or go on, for `leaseMs`. */
  | { readonly type: "probes.granted"; readonly permits: number; readonly leaseMs: number }
  | { readonly type: "circuit.opened"; readonly reason: ManualReason }
  | { readonly type: "circuit.reset"; readonly reason: ManualReason }
  /** From this step on another configuration is given: what was seen is judged by it. */
  | { readonly type: "circuit.reconfigured"; readonly before: CircuitConfig }
  | { readonly type: "hold.placed"; readonly hold: CircuitHold; readonly expiresAt: number }
  | { readonly type: "hold.released" };

type CallRequest = Extract<CircuitEvent, { type: "call.requested" }>;
type CallEnd = Extract<CircuitEvent, { type: "call.ended" }>;

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

/** What every step is given beside the status and the event. */
interface Terms {
  readonly now: number;
  readonly config: CircuitConfig;
  readonly chance: number;
}

/** Of the calls, right after probes closed the circuit; then it grows to all of them. */
const RAMP_FROM = 0.1;

const NOTHING: readonly CircuitEffect[] = Object.freeze([]);
const REFUSED: readonly CircuitEffect[] = Object.freeze([Object.freeze({ type: "refused" })]);
const ADMITTED_UNCOUNTED: readonly CircuitEffect[] = Object.freeze([
  Object.freeze({ type: "admitted", ticket: UNCOUNTED }),
]);

/**
 * @param now monotonic milliseconds, never less than at an earlier step
 * @param chance in [0, 1), drawn for this step: for the jitter of a wait, and for who is admitted while traffic grows
 * @example
 * step(initialStatus(config), { type: "call.requested", enforced: true, leased: false }, now, config).effects
 * // [{ type: "admitted", ticket: { version: 0, probe: 0, beganAt: NaN } }]
 */
export function step(state: CircuitStatus, event: CircuitEvent, now: number, config: CircuitConfig, chance = 0): Step {
  const status = withoutExpiredHold(state, now);
  const terms = { now, config, chance };
  switch (event.type) {
    case "call.requested":
      return request(status, event, terms);
    case "call.ended":
      return end(status, event, terms);
    case "probes.granted":
      return grant(status, { permits: event.permits, until: now + event.leaseMs }, terms);
    case "circuit.opened":
      return status.state === "open" ? stay(status) : open(status, event.reason, undefined, terms);
    case "circuit.reset":
      return status.state === "closed"
        ? stay({ ...status, window: EMPTY_WINDOWS[config.window], rampUntil: undefined })
        : announce(status, event.reason, stay(closedFrom(status, undefined, config)));
    case "circuit.reconfigured":
      return reconfigure(status, event.before, terms);
    case "hold.placed":
      return stay({ ...status, hold: { hold: event.hold, expiresAt: event.expiresAt } });
    case "hold.released":
      return stay({ ...status, hold: undefined });
  }
}

function request(status: CircuitStatus, asked: CallRequest, terms: Terms): Step {
  switch (status.hold?.hold.state) {
    case "forced_open":
      return refuse(status);
    case "disabled":
      return { state: status, effects: ADMITTED_UNCOUNTED };
    case "metrics_only":
      return admitAnyway(requestByState(status, asked, terms));
    case undefined: {
      const answer = requestByState(status, asked, terms);
      return asked.enforced ? answer : admitAnyway(answer);
    }
  }
}

function requestByState(status: CircuitStatus, asked: CallRequest, terms: Terms): Step {
  switch (status.state) {
    case "closed":
      return requestClosed(status, terms);
    case "open": {
      if (asked.leased || terms.now < status.retryAt) return refuse(status);
      const probing = beginProbing(status, undefined, terms.now);
      return announce(status, "reset_timeout", requestProbe(probing, asked, terms));
    }
    case "half_open":
      return isOverdue(status, terms.now, terms.config)
        ? requestOverdue(status, terms)
        : requestProbe(status, asked, terms);
  }
}

function requestClosed(status: ClosedStatus, terms: Terms): Step {
  const { rampUntil } = status;
  if (rampUntil === undefined) return admit(status, terms);
  if (terms.now >= rampUntil) return admit({ ...status, rampUntil: undefined }, terms);
  return terms.chance < rampShare(rampUntil, terms.now, terms.config) ? admit(status, terms) : refuse(status);
}

function admit(state: ClosedStatus, { now, config }: Terms): Step {
  const beganAt = config.slowCallMs === undefined ? Number.NaN : now;
  return { state, effects: [{ type: "admitted", ticket: { version: state.version, probe: 0, beganAt } }] };
}

function rampShare(rampUntil: number, now: number, { rampMs }: CircuitConfig): number {
  return rampMs === undefined ? 1 : 1 - (1 - RAMP_FROM) * ((rampUntil - now) / rampMs);
}

function requestProbe(status: HalfOpenStatus, { leased }: CallRequest, terms: Terms): Step {
  const state = admitProbe(status, leased, terms.now, terms.config);
  if (state === "full") return refuse(status);
  if (state === "expired") {
    return announce(status, "half_open_expired", refuse(openFrom(status, undefined, terms)));
  }
  const ticket = { version: state.version, probe: state.admitted, beganAt: terms.now };
  return { state, effects: [{ type: "admitted", ticket }] };
}

function requestOverdue(status: HalfOpenStatus, terms: Terms): Step {
  const ended = endOverdue(status, terms);
  return announce(status, "half_open_expired", ended.state === "closed" ? requestClosed(ended, terms) : refuse(ended));
}

/** Begins to probe when the time has come, or prolongs what a grant began; any other grant comes too late, or too early. */
function grant(status: CircuitStatus, granted: ProbeGrant, { now }: Terms): Step {
  switch (status.state) {
    case "closed":
      return stay(status);
    case "open":
      return now < status.retryAt
        ? stay(status)
        : announce(status, "reset_timeout", stay(beginProbing(status, granted, now)));
    case "half_open":
      return stay({ ...status, grant: granted });
  }
}

/** The states move as they would; only the refusal is not carried out. */
function admitAnyway({ state, effects }: Step): Step {
  return {
    state,
    effects: effects.flatMap((effect) => (effect.type === "refused" ? ADMITTED_UNCOUNTED : [effect])),
  };
}

function end(status: CircuitStatus, event: CallEnd, terms: Terms): Step {
  if (event.ticket.version !== status.version) return stay(status);
  const verdict = status.hold?.hold.state === "disabled" ? "ignored" : event.verdict;
  const askedMs = verdict === "failure" ? askedTimeMs(event.openForMs, terms.config) : undefined;
  switch (status.state) {
    case "closed":
      return verdict === "ignored" ? stay(status) : endClosed(status, event.ticket, verdict, askedMs, terms);
    case "open":
      return stay(status);
    case "half_open":
      return endHalfOpen(status, event.ticket, verdict, askedMs, terms);
  }
}

function endClosed(
  { version, hold, rampUntil, window }: ClosedStatus,
  { beganAt }: Ticket,
  verdict: Exclude<Verdict, "ignored">,
  askedMs: number | undefined,
  terms: Terms,
): Step {
  const { now, config } = terms;
  const slow = now - beganAt >= (config.slowCallMs ?? Number.POSITIVE_INFINITY);
  // A literal, not a spread, which costs ten times more: this is every call of most circuits with a window.
  const state: ClosedStatus = {
    state: "closed",
    version,
    hold,
    window: record(window, verdict === "failure", slow, now, config),
    rampUntil,
  };
  if (askedMs !== undefined) return open(state, "asked_to_wait", askedMs, terms);
  const reason = tripReason(state.window, config);
  return reason === undefined ? stay(state) : open(state, reason, undefined, terms);
}

/**
 * Until when successes of calls that were admitted in this state move it nowhere: `withSuccesses` may tell it of all of them
 * at once. Never, where one could.
 */
export function quietUntil(status: CircuitStatus, config: CircuitConfig): number {
  return status.state === "closed" ? calmUntil(status.window, config) : Number.NEGATIVE_INFINITY;
}

/** The status after that many successes before `quietUntil`. */
export function withSuccesses(status: CircuitStatus, successes: number): CircuitStatus {
  return status.state === "closed" ? { ...status, window: addSuccesses(status.window, successes) } : status;
}

function endHalfOpen(
  status: HalfOpenStatus,
  { probe }: Ticket,
  verdict: Verdict,
  askedMs: number | undefined,
  terms: Terms,
): Step {
  if (isOverdue(status, terms.now, terms.config)) {
    return announce(status, "half_open_expired", stay(endOverdue(status, terms)));
  }
  const state = endProbe(status, probe, verdict);
  if (state === undefined) return stay(status);
  return askedMs === undefined ? settle(state, terms) : open(state, "asked_to_wait", askedMs, terms);
}

/** Ends probing once the probes have shown enough. */
function settle(status: HalfOpenStatus, terms: Terms): Step {
  switch (judge(status, terms.config)) {
    case undefined:
      return stay(status);
    case "good":
      return announce(status, "probes_succeeded", stay(closedFrom(status, terms.now, terms.config)));
    case "bad":
      return open(status, "probe_failed", undefined, terms);
  }
}

function endOverdue(status: HalfOpenStatus, terms: Terms): OpenStatus | ClosedStatus {
  return terms.config.halfOpenTarget === "closed"
    ? closedFrom(status, terms.now, terms.config)
    : openFrom(status, undefined, terms);
}

function reconfigure(status: CircuitStatus, before: CircuitConfig, terms: Terms): Step {
  switch (status.state) {
    case "closed": {
      const window = refit(status.window, terms.now, before, terms.config);
      const reason = tripReason(window, terms.config);
      const state = { ...status, window };
      return reason === undefined ? stay(state) : open(state, reason, undefined, terms);
    }
    case "open":
      return stay(status);
    case "half_open":
      return settle(status, terms);
  }
}

function open(
  from: ClosedStatus | HalfOpenStatus,
  reason: TransitionReason,
  askedMs: number | undefined,
  terms: Terms,
): Step {
  return announce(from, reason, stay(openFrom(from, askedMs, terms)));
}

/** @param askedMs how long it stays open; undefined for as long as its configuration says */
function openFrom(
  from: ClosedStatus | HalfOpenStatus,
  askedMs: number | undefined,
  { now, config, chance }: Terms,
): OpenStatus {
  const openings = from.state === "closed" ? 1 : from.openings + 1;
  const opened = from.state === "closed" ? countsIn(from.window, now, config) : from.opened;
  return {
    state: "open",
    version: from.version + 1,
    hold: from.hold,
    failureCount: failuresOf(from, now, config),
    opened,
    openings,
    retryAt: now + (askedMs ?? openTimeMs(openings, config, chance)),
  };
}

/** @param provenAt when probes, or their time, have closed it; undefined when somebody says that all is well */
function closedFrom(
  from: OpenStatus | HalfOpenStatus,
  provenAt: number | undefined,
  { window, rampMs }: CircuitConfig,
): ClosedStatus {
  const rampUntil = provenAt === undefined || rampMs === undefined ? undefined : provenAt + rampMs;
  return { state: "closed", version: from.version + 1, hold: from.hold, window: EMPTY_WINDOWS[window], rampUntil };
}

function refuse(state: CircuitStatus): Step {
  return { state, effects: REFUSED };
}

function stay(state: CircuitStatus): Step {
  return { state, effects: NOTHING };
}

/** Puts the transition before what else the step says. */
function announce(from: CircuitStatus, reason: TransitionReason, { state, effects }: Step): Step {
  return {
    state,
    effects: [{ type: "transitioned", from: from.state, to: state.state, reason, version: state.version }, ...effects],
  };
}
