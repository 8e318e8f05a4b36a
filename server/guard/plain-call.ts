/**
 * A guard's own work as most of it goes: without options, outside a tRPC call, of a service at whose door nothing waits, and
 * with a value. One object is the call, its attempt and its deadline. It knows no rule: whatever else becomes of the work, an
 * error, a deadline or a word of the work itself, a {@link GuardedCall} goes on with it.
 *
 * outer promise ◄── gate ◄── work        the gate is settled by the work, or by the call that goes on with it
 */
import type { CallTicket } from "../circuit/call-ticket.js";
import type { CircuitBreaker } from "../circuit/circuit-breaker.js";
import { type Deadline, UNARMED } from "../circuit/timer-wheel.js";
import { hearAnswer } from "./accounting.js";
import { Attempt } from "./attempt.js";
import type { GuardContext } from "./guard.js";
import type { GuardEngine } from "./guard-engine.js";
import { GuardedCall } from "./guarded-call.js";
import type { GuardedService } from "./guarded-service.js";
import type { Work } from "./rescuable-call.js";
import type { Usage } from "./rescue-budget.js";

type PlainFunction = (context: GuardContext) => unknown;

/**
 * Runs `fn` where its call is plain; undefined, and nothing has happened, where it is not.
 *
 * @param work of one service, without options
 * @param now monotonic milliseconds
 */
export function runPlainly(
  engine: GuardEngine,
  work: Work,
  fn: PlainFunction,
  now: number,
): Promise<unknown> | undefined {
  try {
    const service = work.services[0];
    if (!service.beginsAtOnce || service.restsForMs(now) > 0 || service.network?.isWatching) return undefined;
    const circuit = service.circuit(now);
    if (circuit === undefined || circuit.ready !== undefined) return undefined;
    const ticket = circuit.freeTicket;
    return ticket && new PlainCall(engine, work, fn, circuit, ticket, now).run();
  } catch (fault) {
    engine.onFault(fault);
    return undefined;
  }
}

/** As for attempts: fields are assigned in the constructor, and methods are private by their type alone. */
class PlainCall implements Deadline, GuardContext {
  deadlineAt: number;
  lateBefore: number;
  slot: number;
  previous: Deadline | undefined;
  next: Deadline | undefined;
  readonly #engine: GuardEngine;
  readonly #work: Work;
  readonly #fn: PlainFunction;
  readonly #service: GuardedService;
  readonly #circuit: CircuitBreaker;
  readonly #ticket: CallTicket;
  readonly #startedAt: number;
  #resolve: (value: unknown) => void;
  #reject: (error: unknown) => void;
  #given: Promise<unknown> | undefined;
  #controller: AbortController | undefined;
  #ended: boolean;
  /** What goes on with it, once anything does. */
  #general: { readonly call: GuardedCall; readonly attempt: Attempt } | undefined;

  constructor(
    engine: GuardEngine,
    work: Work,
    fn: PlainFunction,
    circuit: CircuitBreaker,
    ticket: CallTicket,
    startedAt: number,
  ) {
    this.deadlineAt = 0;
    this.lateBefore = 0;
    this.slot = UNARMED;
    this.previous = undefined;
    this.next = undefined;
    this.#engine = engine;
    this.#work = work;
    this.#fn = fn;
    this.#service = work.services[0];
    this.#circuit = circuit;
    this.#ticket = ticket;
    this.#startedAt = startedAt;
    this.#resolve = ignore;
    this.#reject = ignore;
    this.#given = undefined;
    this.#controller = undefined;
    this.#ended = false;
    this.#general = undefined;
  }

  /** A deadline passes in a timer, whose async context is another call's; in the gate's `then` it is this caller's again. */
  run(): Promise<unknown> {
    return new Promise((resolve, reject) => this.begin(resolve, reject)).then(
      (value) => this.succeeded(value),
      (error: unknown) => this.failed(error),
    );
  }

  get signal(): AbortSignal {
    if (this.#general !== undefined) return this.#general.attempt.signal;
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  delivered(options?: { readonly timeoutMs?: number }): void {
    if (!this.#ended) this.general.attempt.delivered(options);
  }

  used(usage: Usage): void {
    if (!this.#ended) this.general.attempt.used(usage);
  }

  onDeadline(lateMs: number): void {
    this.general.attempt.onDeadline(lateMs);
  }

  private begin(resolve: (value: unknown) => void, reject: (error: unknown) => void): void {
    const service = this.#service;
    this.#resolve = resolve;
    this.#reject = reject;
    service.budget.earn();
    service.inFlight += 1;
    this.#engine.reach.unlinked += 1;
    this.#engine.timers.armLoosely(this, service.policy.timeoutMs);
    this.#given = this.invoke();
    this.#given.then(resolve, reject);
  }

  private invoke(): Promise<unknown> {
    try {
      const given = this.#fn(this);
      // What is no promise may be a thenable or a plain value: `resolve` adopts both.
      return given instanceof Promise ? given : Promise.resolve(given);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  private succeeded(value: unknown): unknown {
    const service = this.#service;
    if (this.#general !== undefined) this.#general.attempt.workSucceeded(value);
    else {
      this.#ended = true;
      this.leave();
      try {
        const endedAt = this.#engine.clock.monotonic();
        hearAnswer(service, endedAt);
        this.#circuit.succeeded(this.#ticket, endedAt);
        service.record("success", endedAt - this.#startedAt);
      } catch (fault) {
        this.#engine.onFault(fault);
      }
    }
    return value;
  }

  private failed(error: unknown): Promise<unknown> {
    const { call, attempt } = this.general;
    if (attempt.state === "running") attempt.workFailed(error);
    else {
      const workEnded = () => attempt.workEnded();
      this.#given?.then(workEnded, workEnded);
    }
    return call.rescue(undefined);
  }

  private get general(): { readonly call: GuardedCall; readonly attempt: Attempt } {
    this.#general ??= this.handOver();
    return this.#general;
  }

  private handOver(): { readonly call: GuardedCall; readonly attempt: Attempt } {
    this.leave();
    const service = this.#service;
    const call = new GuardedCall(this.#engine, this.#work, [this.#fn], NOTHING, undefined, this.#startedAt);
    const attempt = new Attempt(
      this.#engine,
      0,
      service,
      this.#circuit.permitOf(this.#ticket),
      service.policy.timeoutMs,
      this.#startedAt,
    );
    call.goOn(this.#resolve, this.#reject);
    attempt.goOn(call, this.#controller);
    return { call, attempt };
  }

  /** Takes back what stands for it while it is under way. */
  private leave(): void {
    this.#service.inFlight -= 1;
    this.#engine.reach.unlinked -= 1;
    this.#engine.timers.cancel(this);
  }
}

const NOTHING: readonly unknown[] = Object.freeze([]);

function ignore(): void {}
