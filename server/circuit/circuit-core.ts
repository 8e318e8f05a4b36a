/**
 * Holds one circuit's status and applies the state machine to it: the shell that reads the clock, keeps what is only
 * reported, and tells of transitions. Calls and permits of one breaker share it.
 *
 * One file, because nothing else changes a status: what may skip the machine on the way of nearly every call can be held
 * against what the machine would say.
 */
import type { CircuitState, CircuitTransition, TransitionReason } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import type { Verdict } from "../../shared/classification.js";
import { SECOND_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import type { Random } from "../ports/random.js";
import type { CallTicket, CircuitAbove, FailureDetails, PermitAbove } from "./call-ticket.js";
import { CircuitBreakerError } from "./circuit-breaker-error.js";
import type { CircuitNotice } from "./circuit-notice.js";
import { refusalReason, retryAfterMs, wantsProbe } from "./circuit-reading.js";
import { type CircuitStatus, initialStatus, type PlacedHold, type Ticket } from "./circuit-status.js";
import { ShadowRule } from "./shadow-rule.js";
import { type CircuitEvent, quietUntil, step, withSuccesses } from "./state-machine.js";
import type { TimerWheel } from "./timer-wheel.js";
import { type Judgement, judge, type PlainJudgement } from "./verdict.js";

export interface CircuitCoreDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly timers: TimerWheel;
  readonly instance: string;
  /** `false`: calls are admitted whatever the state, as under `metrics_only`. Asked only when a call would be refused. */
  readonly enforce: () => boolean;
  /** The circuit of a more general name; undefined at the top. */
  readonly above: (() => CircuitAbove | undefined) | undefined;
  readonly classify: (error: unknown) => Judgement;
  /** Undefined where every value is a success. */
  readonly classifyResult: ((value: unknown) => Judgement) | undefined;
  readonly onTransition: (transition: CircuitTransition) => void;
  readonly onNotice: (notice: CircuitNotice) => void;
  readonly onFault: (error: unknown) => void;
  /** Errors of this circuit's own carry a stack. */
  readonly stacks: boolean;
}

/** A grant is sought in the background: whoever is refused meanwhile should not come back before that had its chance. */
const GRANT_WAIT_MS = SECOND_MS;

export class CircuitCore {
  readonly name: string;
  readonly deps: CircuitCoreDeps;
  #status: CircuitStatus;
  /** Monotonic; while the circuit is closed, no success before then can change what it does: they are counted, and told later. */
  #quietUntil = Number.NEGATIVE_INFINITY;
  #untold = 0;
  /** Monotonic. */
  lastFailureAt: number | undefined = undefined;
  /** Monotonic. */
  lastSuccessAt: number | undefined = undefined;
  /** UTC milliseconds; of the last opening. */
  openedAt: number | undefined = undefined;
  /** Probes wait for `probes.granted`. */
  leased = false;
  /** Monotonic; when a call was last refused that could have been a probe. */
  probeAskedAt: number | undefined = undefined;
  #config: CircuitConfig;
  #shadow: ShadowRule | undefined = undefined;
  /** The ticket of every call that begins now; undefined where each needs its own, or none may begin unasked. */
  #freeTicket: CallTicket | undefined = undefined;
  /** The hold under which an opening was told already. */
  #noticedHold: PlacedHold | undefined = undefined;
  #lastError: Error | undefined = undefined;

  constructor(name: string, config: CircuitConfig, deps: CircuitCoreDeps) {
    this.name = name;
    this.deps = deps;
    this.#config = config;
    this.#status = initialStatus(config);
    this.#retune(config, undefined);
  }

  get status(): CircuitStatus {
    if (this.#untold > 0) this.become(withSuccesses(this.#status, this.#untold));
    return this.#status;
  }

  get config(): CircuitConfig {
    return this.#config;
  }

  reconfigure(config: CircuitConfig): void {
    const before = this.#config;
    this.#retune(config, this.#shadow);
    this.apply({ type: "circuit.reconfigured", before }, this.deps.clock.monotonic());
  }

  get shadow(): ShadowRule | undefined {
    return this.#shadow;
  }

  /** Lets a second configuration look on; undefined ends it. */
  watch(config: CircuitConfig | undefined): void {
    const { clock, random } = this.deps;
    const onOpening = (reason: TransitionReason, failureCount: number) =>
      this.#notice({ rule: "shadow", reason, failureCount });
    this.#retune(this.#config, config && new ShadowRule(config, { clock, random, onOpening }));
  }

  /** The ticket of an admitted call; undefined when it is refused, here or above. */
  admit(now: number | undefined): CallTicket | undefined {
    const above = this.deps.above?.();
    if (above === undefined || above.admitsAll) return this.#admitHere(now);
    const permits = above.admitBelow(now);
    if (permits === undefined) return undefined;
    const ticket = this.#admitHere(now);
    if (ticket === undefined) {
      for (const permit of permits) permit.ignored();
      return undefined;
    }
    return { ...ticket, above: permits };
  }

  /** What `admit` gives without asking anybody; undefined where it has to ask. */
  get freeTicket(): CallTicket | undefined {
    const above = this.deps.above?.();
    return above === undefined || above.admitsAll ? this.#freeTicket : undefined;
  }

  get admitsAll(): boolean {
    return this.#isFree && (this.deps.above?.()?.admitsAll ?? true);
  }

  /** A call of a circuit below counts here as a probe only: how it fares says nothing of this circuit while it is closed. */
  admitBelow(now: number | undefined): readonly PermitAbove[] | undefined {
    const above = this.deps.above?.();
    const permits = above === undefined || above.admitsAll ? [] : above.admitBelow(now);
    if (permits === undefined) return undefined;
    const ticket = this.#admitHere(now);
    if (ticket === undefined) {
      for (const permit of permits) permit.ignored();
      return undefined;
    }
    return ticket.probe === 0 ? permits : [...permits, this.#permitOf(ticket)];
  }

  #permitOf(ticket: CallTicket): PermitAbove {
    return {
      success: (now) => this.succeeded(ticket, now),
      // How long the service asked to be left alone was said to the circuit below.
      failure: (details) => this.failed(ticket, { ...details, openForMs: undefined }),
      ignored: () => this.ignored(ticket),
    };
  }

  #admitHere(now: number | undefined): CallTicket | undefined {
    // What the machine would answer, without asking it, where nearly every call is.
    if (this.#freeTicket !== undefined) return this.#freeTicket;
    const at = now ?? this.deps.clock.monotonic();
    if (this.#isPlainlyOpen(at) && this.#enforced()) return undefined;
    const ticket = this.#ask(at);
    const rule = this.#shadow;
    if (rule === undefined) return ticket;
    if (ticket !== undefined) return { ...ticket, shadow: { rule, ticket: rule.admitted(at) } };
    rule.refused(at);
    return undefined;
  }

  /** The machine would refuse too, only later: in a storm of calls that matters. */
  #isPlainlyOpen(now: number): boolean {
    const status = this.#status;
    return status.state === "open" && now < status.retryAt && status.hold === undefined && this.#shadow === undefined;
  }

  #ask(now: number): Ticket | undefined {
    const effects = this.apply({ type: "call.requested", enforced: this.#enforced(), leased: this.leased }, now);
    for (const effect of effects) {
      if (effect.type === "admitted") return effect.ticket;
    }
    this.probeAskedAt = now;
    return undefined;
  }

  /** When a call ended: exactly, where that matters. */
  endTime(): number {
    return this.#freeTicket === undefined ? this.deps.clock.monotonic() : this.deps.timers.roughNow();
  }

  succeeded(ticket: CallTicket, at: number): void {
    this.lastSuccessAt = at;
    if (ticket === this.#freeTicket && at < this.#quietUntil) {
      this.#untold += 1;
      return;
    }
    if (ticket.above !== undefined) for (const permit of ticket.above) permit.success(at);
    this.#overlook(ticket, "success", undefined, at);
    this.apply({ type: "call.ended", ticket, verdict: "success" }, this.deps.clock.monotonic());
  }

  failed(ticket: CallTicket, details: FailureDetails | undefined): void {
    if (ticket.above !== undefined) for (const permit of ticket.above) permit.failure(details);
    const now = this.deps.clock.monotonic();
    const openForMs = details?.openForMs;
    this.lastFailureAt = now;
    this.#lastError = asError(details?.error);
    this.#overlook(ticket, "failure", openForMs, now);
    this.apply({ type: "call.ended", ticket, verdict: "failure", openForMs }, now, details?.failureEventId);
  }

  ignored(ticket: CallTicket): void {
    if (ticket.above !== undefined) for (const permit of ticket.above) permit.ignored();
    const now = this.deps.clock.monotonic();
    this.#overlook(ticket, "ignored", undefined, now);
    this.apply({ type: "call.ended", ticket, verdict: "ignored" }, now);
  }

  /** Tells the rule that looks on, if it did when the call began. */
  #overlook({ shadow }: CallTicket, verdict: Verdict, openForMs: number | undefined, now: number): void {
    if (shadow !== undefined && shadow.rule === this.#shadow) shadow.rule.ended(shadow.ticket, verdict, openForMs, now);
  }

  /** Tells the circuit how a call ended. An error that cannot be judged is a failure. */
  judgeError(ticket: CallTicket, error: unknown): void {
    this.#count(
      ticket,
      judge(this.deps.classify, error, "failure", (fault) => this.fault(fault)),
      { error },
    );
  }

  /** As for an error; a value that cannot be judged is a success. */
  judgeValue(ticket: CallTicket, value: unknown): void {
    const { classifyResult } = this.deps;
    if (classifyResult === undefined) this.succeeded(ticket, this.endTime());
    else
      this.#count(
        ticket,
        judge(classifyResult, value, "success", (fault) => this.fault(fault)),
      );
  }

  #count(ticket: CallTicket, { verdict, openForMs }: PlainJudgement, details?: FailureDetails): void {
    switch (verdict) {
      case "failure":
        this.failed(ticket, { ...details, openForMs });
        break;
      case "success":
        this.succeeded(ticket, this.endTime());
        break;
      case "ignored":
        this.ignored(ticket);
        break;
    }
  }

  apply(event: CircuitEvent, now: number, failureEventId?: string): ReturnType<typeof step>["effects"] {
    const { state, effects } = step(this.status, event, now, this.#config, this.deps.random());
    this.become(state);
    for (const effect of effects) {
      if (effect.type === "transitioned") this.#tell(effect.from, effect.to, effect.reason, failureEventId);
    }
    return effects;
  }

  become(status: CircuitStatus): void {
    const { version } = status;
    this.#untold = 0;
    this.#status = status;
    this.#quietUntil = quietUntil(status, this.#config);
    const isMeasured = this.#config.slowCallMs !== undefined || this.#shadow !== undefined;
    this.#freeTicket = this.#isFree && !isMeasured ? { version, probe: 0, beganAt: Number.NaN } : undefined;
  }

  /** The settings changed, or who looks on. */
  #retune(config: CircuitConfig, shadow: ShadowRule | undefined): void {
    const { status } = this;
    this.#config = config;
    this.#shadow = shadow;
    this.become(status);
  }

  refusal(now: number | undefined): CircuitBreakerError {
    const at = now ?? this.deps.clock.monotonic();
    const above = this.deps.above?.();
    if (above !== undefined && !above.admitsAll && retryAfterMs(this.status, at) === 0) return above.refusal(at);
    const waitMs = retryAfterMs(this.status, at);
    const forGrant = waitMs === 0 && this.leased && wantsProbe(this.status, at);
    return new CircuitBreakerError({
      circuitName: this.name,
      retryAfterMs: forGrant ? GRANT_WAIT_MS : waitMs,
      reason: refusalReason(this.status, at),
      cause: this.#lastError,
      stack: this.deps.stacks,
    });
  }

  /** Closed, and nothing else keeps a call away. */
  get #isFree(): boolean {
    const status = this.#status;
    return status.state === "closed" && status.rampUntil === undefined && status.hold === undefined;
  }

  #tell(from: CircuitState, to: CircuitState, reason: TransitionReason, failureEventId: string | undefined): void {
    const { status } = this;
    const { version, hold } = status;
    const { instance } = this.deps;
    const at = this.deps.clock.now();
    if (to === "open") this.openedAt = at;
    if (to === "closed") {
      this.openedAt = undefined;
      this.#lastError = undefined;
    }
    try {
      this.deps.onTransition({ circuitName: this.name, from, to, reason, version, at, instance, failureEventId });
    } catch (error) {
      this.fault(error);
    }
    if (status.state === "open" && hold?.hold.state === "metrics_only" && hold !== this.#noticedHold) {
      this.#noticedHold = hold;
      this.#notice({ rule: "metrics_only", reason, failureCount: status.failureCount });
    }
  }

  #notice(opening: Pick<CircuitNotice, "rule" | "reason" | "failureCount">): void {
    try {
      this.deps.onNotice({ type: "would_have_opened", circuitName: this.name, at: this.deps.clock.now(), ...opening });
    } catch (error) {
      this.fault(error);
    }
  }

  #enforced(): boolean {
    try {
      return this.deps.enforce();
    } catch (error) {
      this.fault(error);
      return true;
    }
  }

  fault(error: unknown): void {
    try {
      this.deps.onFault(error);
    } catch {
      // Whoever counts faults is at fault: there is nobody left to tell.
    }
  }
}

function asError(value: unknown): Error | undefined {
  try {
    if (value instanceof Error) return value;
  } catch {
    // Some proxies do not even say what they are.
  }
  return undefined;
}
