/** One call of `execute`: settles once, by the function's result or by its deadline, and tells the circuit which. */

import type { CallTicket } from "./call-ticket.js";
import { CircuitTimeoutError } from "./circuit-breaker-error.js";
import type { CircuitCore } from "./circuit-core.js";
import { Deadline } from "./timer-wheel.js";

/** What the function of `execute` receives. */
export interface CircuitCallContext {
  /** Aborts at the call's deadline, or when the caller is gone, with the error that the caller gets. Made when it is first read. */
  readonly signal: AbortSignal;
}

export interface CircuitCallOptions {
  /** The caller's own. Once it has aborted, the call ends with its reason and counts for nothing, however it would have ended. */
  readonly signal?: AbortSignal | undefined;
}

export class CircuitCall<T> extends Deadline implements CircuitCallContext {
  readonly #core: CircuitCore;
  readonly #ticket: CallTicket;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #controller: AbortController | undefined = undefined;
  #settled = false;
  #timeoutMs = 0;
  /** Why it ended before its function did. */
  #left: { readonly reason: unknown } | undefined = undefined;

  constructor(core: CircuitCore, ticket: CallTicket, resolve: (value: T) => void, reject: (error: unknown) => void) {
    super();
    this.#core = core;
    this.#ticket = ticket;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#left !== undefined) this.#controller.abort(this.#left.reason);
    }
    return this.#controller.signal;
  }

  run(fn: (context: CircuitCallContext) => T | PromiseLike<T>): void {
    const { deps, config } = this.#core;
    this.#timeoutMs = config.timeoutMs;
    deps.timers.armLoosely(this, config.timeoutMs);
    try {
      const result = fn(this);
      // What is no promise may be a thenable or a plain value: `resolve` adopts both.
      (result instanceof Promise ? result : Promise.resolve(result)).then(
        (value) => this.#succeed(value),
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  override onDeadline(): void {
    if (this.#settled) return;
    this.#settled = true;
    const { name, deps } = this.#core;
    const error = new CircuitTimeoutError({ circuitName: name, timeoutMs: this.#timeoutMs, stack: deps.stacks });
    this.#core.failed(this.#ticket, { error });
    this.#leave(error);
  }

  /** The caller is gone: what becomes of the work counts for nothing. */
  abandon(reason: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#core.deps.timers.cancel(this);
    this.#core.ignored(this.#ticket);
    this.#leave(reason);
  }

  #succeed(value: T): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#core.deps.timers.cancel(this);
    this.#core.judgeValue(this.#ticket, value);
    this.#resolve(value);
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#core.deps.timers.cancel(this);
    this.#core.judgeError(this.#ticket, error);
    this.#reject(error);
  }

  /** The function may be at work still. */
  #leave(reason: unknown): void {
    this.#left = { reason };
    this.#reject(reason);
    this.#controller?.abort(reason);
  }
}

/** Runs `fn` for a caller who may leave before it ends. Nothing stays on the caller's signal afterwards. */
export function runForCaller<T>(
  signal: AbortSignal,
  core: CircuitCore,
  ticket: CallTicket,
  caller: { readonly resolve: (value: T) => void; readonly reject: (error: unknown) => void },
  fn: (context: CircuitCallContext) => T | PromiseLike<T>,
): void {
  const forget = () => signal.removeEventListener("abort", abandon);
  const call = new CircuitCall<T>(
    core,
    ticket,
    (value) => {
      forget();
      caller.resolve(value);
    },
    (error) => {
      forget();
      caller.reject(error);
    },
  );
  function abandon(): void {
    call.abandon(signal.reason);
  }
  signal.addEventListener("abort", abandon);
  call.run(fn);
}
