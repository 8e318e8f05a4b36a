/**
 * Holds one circuit's status and applies the state machine to it: the shell that reads the clock, keeps what is only
 * reported, and tells of transitions. Calls and permits of one breaker share it.
 */
import type { CircuitConfig, CircuitState, CircuitTransition, TransitionReason } from "../../shared/circuit.js";
import type { Verdict } from "../../shared/classification.js";
import { SECOND_MS } from "../../shared/units.js";
import type { Clock } from "../ports/clock.js";
import { CircuitBreakerError } from "./circuit-breaker-error.js";
import {
  type CircuitEvent,
  type CircuitStatus,
  INITIAL_STATUS,
  retryAfterMs,
  step,
  type Ticket,
  wantsProbe,
} from "./state-machine.js";
import type { TimerWheel } from "./timer-wheel.js";

export interface CircuitCoreDeps {
  readonly clock: Clock;
  readonly timers: TimerWheel;
  readonly instance: string;
  /** `false`: calls are admitted whatever the state, as under `metrics_only`. Asked only when a call would be refused. */
  readonly enforce: () => boolean;
  /** The circuit of a more general name; undefined at the top. */
  readonly above: (() => CircuitAbove | undefined) | undefined;
  readonly classify: (error: unknown) => Verdict;
  readonly onTransition: (transition: CircuitTransition) => void;
  readonly onFault: (error: unknown) => void;
}

/** What a failure's reporter may add to it. */
export interface FailureDetails {
  /** Kept as the cause of the refusals that follow. */
  readonly error?: unknown;
  /** Of the failure's row; linked from the transition that it causes. */
  readonly failureEventId?: string | undefined;
}

/** A permit of a circuit above: what came of the call is told to it too. */
export interface PermitAbove {
  success(now?: number): void;
  failure(details?: FailureDetails): void;
  ignored(): void;
}

/** What a circuit asks of the one above it. */
export interface CircuitAbove {
  /** Neither it nor one above it keeps calls away. */
  readonly admitsAll: boolean;
  /** Permits of it and those above, as far as the call is a probe of them; undefined when one of them refuses. */
  admitBelow(now: number): readonly PermitAbove[] | undefined;
  refusal(now?: number): CircuitBreakerError;
}

/** A ticket of a call that also is a probe of circuits above. */
interface TicketBelow extends Ticket {
  readonly above: readonly PermitAbove[];
}

/** A grant is sought in the background: whoever is refused meanwhile should not come back before that had its chance. */
const GRANT_WAIT_MS = SECOND_MS;

export class CircuitCore {
  status: CircuitStatus = INITIAL_STATUS;
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
  /** The ticket of every call that begins while the circuit is closed. */
  #closedTicket: Ticket = { version: 0, probe: 0 };
  #lastError: Error | undefined = undefined;

  constructor(
    readonly name: string,
    readonly config: CircuitConfig,
    readonly deps: CircuitCoreDeps,
  ) {}

  /** The ticket of an admitted call; undefined when it is refused, here or above. */
  admit(now: number | undefined): Ticket | undefined {
    const above = this.deps.above?.();
    if (above === undefined || above.admitsAll) return this.#admitHere(now);
    const at = now ?? this.deps.clock.monotonic();
    const permits = above.admitBelow(at);
    if (permits === undefined) return undefined;
    const ticket = this.#admitHere(at);
    if (ticket === undefined) {
      for (const permit of permits) permit.ignored();
      return undefined;
    }
    const below: TicketBelow = { ...ticket, above: permits };
    return permits.length === 0 ? ticket : below;
  }

  get admitsAll(): boolean {
    const { state, hold } = this.status;
    return state === "closed" && hold === undefined && (this.deps.above?.()?.admitsAll ?? true);
  }

  /** A call of a circuit below counts here as a probe only: how it fares says nothing of this circuit while it is closed. */
  admitBelow(now: number): readonly PermitAbove[] | undefined {
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

  #permitOf(ticket: Ticket): PermitAbove {
    return {
      success: (now) => this.succeeded(ticket, now ?? this.deps.timers.roughNow()),
      failure: (details) => this.failed(ticket, details),
      ignored: () => this.ignored(ticket),
    };
  }

  #admitHere(now: number | undefined): Ticket | undefined {
    const { status } = this;
    // What the machine would answer, without asking it, where nearly every call is: closed, or open in a storm of calls.
    if (status.hold === undefined) {
      if (status.state === "closed") return this.#closedTicket;
      if (status.state === "open") {
        const at = now ?? this.deps.clock.monotonic();
        if ((this.leased || at < status.retryAt) && this.#enforced()) {
          if (at >= status.retryAt) this.probeAskedAt = at;
          return undefined;
        }
        return this.#admitByMachine(at);
      }
    }
    return this.#admitByMachine(now ?? this.deps.clock.monotonic());
  }

  #admitByMachine(now: number): Ticket | undefined {
    const effects = this.apply({ type: "call.requested", enforced: this.#enforced(), leased: this.leased }, now);
    for (const effect of effects) {
      if (effect.type === "admitted") return effect.ticket;
    }
    this.probeAskedAt = now;
    return undefined;
  }

  succeeded(ticket: Ticket, at: number): void {
    if (isBelow(ticket)) for (const permit of ticket.above) permit.success(at);
    this.lastSuccessAt = at;
    // A success without a streak to clear changes no closed circuit, whatever generation it began in.
    if (this.status.state === "closed" && this.status.failureCount === 0) return;
    this.apply({ type: "call.ended", ticket, verdict: "success" }, this.deps.clock.monotonic());
  }

  failed(ticket: Ticket, details: FailureDetails | undefined): void {
    if (isBelow(ticket)) for (const permit of ticket.above) permit.failure(details);
    const now = this.deps.clock.monotonic();
    this.lastFailureAt = now;
    this.#lastError = asError(details?.error);
    this.apply({ type: "call.ended", ticket, verdict: "failure" }, now, details?.failureEventId);
  }

  ignored(ticket: Ticket): void {
    if (isBelow(ticket)) for (const permit of ticket.above) permit.ignored();
    if (this.status.state !== "half_open") return;
    this.apply({ type: "call.ended", ticket, verdict: "ignored" }, this.deps.clock.monotonic());
  }

  apply(event: CircuitEvent, now: number, failureEventId?: string): ReturnType<typeof step>["effects"] {
    const { state, effects } = step(this.status, event, now, this.config);
    this.become(state);
    for (const effect of effects) {
      if (effect.type === "transitioned") this.#tell(effect.from, effect.to, effect.reason, failureEventId);
    }
    return effects;
  }

  become(status: CircuitStatus): void {
    if (status.version !== this.status.version) this.#closedTicket = { version: status.version, probe: 0 };
    this.status = status;
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
      cause: this.#lastError,
    });
  }

  #tell(from: CircuitState, to: CircuitState, reason: TransitionReason, failureEventId: string | undefined): void {
    const at = this.deps.clock.now();
    if (to === "open") this.openedAt = at;
    if (to === "closed") {
      this.openedAt = undefined;
      this.#lastError = undefined;
    }
    const { version } = this.status;
    const { instance } = this.deps;
    try {
      this.deps.onTransition({ circuitName: this.name, from, to, reason, version, at, instance, failureEventId });
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

  verdictOf(error: unknown): Verdict {
    try {
      return this.deps.classify(error);
    } catch (fault) {
      this.fault(fault);
      return "failure";
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
    return value instanceof Error ? value : undefined;
  } catch {
    return undefined;
  }
}

function isBelow(ticket: Ticket): ticket is TicketBelow {
  return "above" in ticket;
}
