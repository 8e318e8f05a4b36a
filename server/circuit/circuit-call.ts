/** One call of `execute`: settles once, by the function's result or by its deadline, and tells the circuit which. */

import { isOwnDelay } from "../../shared/own-delay.js";
import type { CallTicket } from "./call-ticket.js";
import { CircuitTimeoutError } from "./circuit-breaker-error.js";
import type { CircuitCore } from "./circuit-core.js";
import { type Deadline, UNARMED } from "./timer-wheel.js";

/** What the function of `execute` receives. */
export interface CircuitCallContext {
  /** Aborts at the call's deadline, or when the caller is gone, with the error that the caller gets. Made when it is first read. */
  readonly signal: AbortSignal;
}

export interface CircuitCallOptions {
  /** The caller's own. Once it has aborted, the call ends with its reason and counts for nothing, however it would have ended. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Every call makes one: it extends nothing, has no `#` methods and assigns its fields in the constructor, because a chain of
 * constructors, the brand of `#` methods and initialisers of fields cost as much as all the rest.
 */
export class CircuitCall<T> implements Deadline, CircuitCallContext {
  deadlineAt: number;
  lateBefore: number;
  slot: number;
  previous: Deadline | undefined;
  next: Deadline | undefined;
  readonly #core: CircuitCore;
  /** Undefined once the call has settled. */
  #ticket: CallTicket | undefined;
  readonly #timeoutMs: number;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #controller: AbortController | undefined;

  constructor(core: CircuitCore, ticket: CallTicket, resolve: (value: T) => void, reject: (error: unknown) => void) {
    this.deadlineAt = 0;
    this.lateBefore = 0;
    this.slot = UNARMED;
    this.previous = undefined;
    this.next = undefined;
    this.#core = core;
    this.#ticket = ticket;
    this.#timeoutMs = core.config.timeoutMs;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#controller = undefined;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  run(fn: (context: CircuitCallContext) => T | PromiseLike<T>): void {
    this.#core.deps.timers.armLoosely(this, this.#timeoutMs);
    try {
      const result = fn(this);
      // What is no promise may be a thenable or a plain value: `resolve` adopts both.
      (result instanceof Promise ? result : Promise.resolve(result)).then(
        (value) => this.succeed(value),
        (error: unknown) => this.fail(error),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  onDeadline(lateMs: number): void {
    const ticket = this.settle();
    // A deadline that was cancelled does not fire: only the type asks.
    if (ticket === undefined) return;
    const { name, deps } = this.#core;
    const error = new CircuitTimeoutError({ circuitName: name, timeoutMs: this.#timeoutMs, stack: deps.stacks });
    if (isOwnDelay(lateMs, this.#timeoutMs)) this.#core.ignored(ticket);
    else this.#core.failed(ticket, { error });
    this.leave(error);
  }

  /** The caller is gone: what becomes of the work counts for nothing. */
  abandon(reason: unknown): void {
    const ticket = this.settle();
    if (ticket === undefined) return;
    this.#core.ignored(ticket);
    this.leave(reason);
  }

  private succeed(value: T): void {
    const ticket = this.settle();
    if (ticket === undefined) return;
    this.#core.judgeValue(ticket, value);
    this.#resolve(value);
  }

  private fail(error: unknown): void {
    const ticket = this.settle();
    if (ticket === undefined) return;
    this.#core.judgeError(ticket, error);
    this.#reject(error);
  }

  /** The ticket, the first time. */
  private settle(): CallTicket | undefined {
    const ticket = this.#ticket;
    this.#ticket = undefined;
    this.#core.deps.timers.cancel(this);
    return ticket;
  }

  /** The function may be at work still. */
  private leave(reason: unknown): void {
    this.#reject(reason);
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }
}

/** Runs `fn` under its deadline. */
export function runCall<T>(
  core: CircuitCore,
  ticket: CallTicket,
  fn: (context: CircuitCallContext) => T | PromiseLike<T>,
): Promise<T> {
  return new Promise((resolve, reject) => new CircuitCall<T>(core, ticket, resolve, reject).run(fn));
}

/** Runs `fn` for a caller who may leave before it ends. Nothing stays on the caller's signal afterwards. */
export function runForCaller<T>(
  core: CircuitCore,
  ticket: CallTicket,
  fn: (context: CircuitCallContext) => T | PromiseLike<T>,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = () => signal.removeEventListener("abort", abandon);
    const call = new CircuitCall<T>(
      core,
      ticket,
      (value) => {
        forget();
        resolve(value);
      },
      (error) => {
        forget();
        reject(error);
      },
    );
    function abandon(): void {
      call.abandon(signal.reason);
    }
    signal.addEventListener("abort", abandon);
    call.run(fn);
  });
}
