/**
 * A candidate configuration beside the live one: it sees the same calls and results, refuses nobody, and counts what it would
 * have done. A call that it would have refused tells it nothing, as if it had; how that call ended is counted beside.
 */
import type { CircuitState, TransitionReason } from "../../shared/circuit.js";
import type { CircuitConfig } from "../../shared/circuit-config.js";
import type { Verdict } from "../../shared/classification.js";
import type { Clock } from "../ports/clock.js";
import type { Random } from "../ports/random.js";
import { type CircuitStatus, initialStatus, type Ticket, UNCOUNTED } from "./circuit-status.js";
import { type CircuitEvent, step } from "./state-machine.js";

/** What a candidate configuration would have done since it began to look on. */
export interface ShadowReport {
  readonly config: CircuitConfig;
  /** UTC milliseconds; when it began. */
  readonly since: number;
  readonly state: CircuitState;
  /** How often it would have opened. */
  readonly openings: number;
  /** UTC milliseconds. */
  readonly lastOpenedAt: number | undefined;
  /** Calls that the live circuit admitted. */
  readonly calls: number;
  /** Those of them that it would have refused, and how they ended: `succeeded` were refused without need. */
  readonly refused: { readonly calls: number; readonly succeeded: number; readonly failed: number };
  /** Calls that the live circuit refused and it would have admitted. */
  readonly admittedInstead: number;
}

export interface ShadowRuleDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of each opening that would have been. */
  readonly onOpening: (reason: TransitionReason, failureCount: number) => void;
}

const REQUEST: CircuitEvent = Object.freeze({ type: "call.requested", enforced: true, leased: false });

export class ShadowRule {
  readonly config: CircuitConfig;
  readonly #deps: ShadowRuleDeps;
  readonly #since: number;
  #status: CircuitStatus;
  #openings = 0;
  #lastOpenedAt: number | undefined = undefined;
  #calls = 0;
  #refused = 0;
  #refusedSucceeded = 0;
  #refusedFailed = 0;
  #admittedInstead = 0;

  constructor(config: CircuitConfig, deps: ShadowRuleDeps) {
    this.config = config;
    this.#deps = deps;
    this.#since = deps.clock.now();
    this.#status = initialStatus(config);
  }

  /** A call that the live circuit admitted. Gives what to bring back with its result. */
  admitted(now: number): Ticket {
    this.#calls += 1;
    const ticket = this.#ask(now);
    if (ticket === undefined) this.#refused += 1;
    return ticket ?? UNCOUNTED;
  }

  /** A call that the live circuit refused. */
  refused(now: number): void {
    const ticket = this.#ask(now);
    if (ticket === undefined) return;
    this.#admittedInstead += 1;
    this.#apply({ type: "call.ended", ticket, verdict: "ignored" }, now);
  }

  ended(ticket: Ticket, verdict: Verdict, openForMs: number | undefined, now: number): void {
    if (ticket !== UNCOUNTED) this.#apply({ type: "call.ended", ticket, verdict, openForMs }, now);
    else if (verdict === "success") this.#refusedSucceeded += 1;
    else if (verdict === "failure") this.#refusedFailed += 1;
  }

  report(): ShadowReport {
    return {
      config: this.config,
      since: this.#since,
      state: this.#status.state,
      openings: this.#openings,
      lastOpenedAt: this.#lastOpenedAt,
      calls: this.#calls,
      refused: { calls: this.#refused, succeeded: this.#refusedSucceeded, failed: this.#refusedFailed },
      admittedInstead: this.#admittedInstead,
    };
  }

  #ask(now: number): Ticket | undefined {
    for (const effect of this.#apply(REQUEST, now)) {
      if (effect.type === "admitted") return effect.ticket;
    }
    return undefined;
  }

  #apply(event: CircuitEvent, now: number): ReturnType<typeof step>["effects"] {
    const { state, effects } = step(this.#status, event, now, this.config, this.#deps.random());
    this.#status = state;
    for (const effect of effects) {
      if (effect.type === "transitioned" && state.state === "open") {
        this.#openings += 1;
        this.#lastOpenedAt = this.#deps.clock.now();
        this.#deps.onOpening(effect.reason, state.failureCount);
      }
    }
    return effects;
  }
}
