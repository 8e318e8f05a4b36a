/** One call of `execute`: settles once, by the function's result or by its deadline, and tells the circuit which. */
import { CircuitTimeoutError } from "./circuit-breaker-error.js";
import type { CircuitCore } from "./circuit-core.js";
import type { Ticket } from "./state-machine.js";
import { Deadline } from "./timer-wheel.js";

/** What the function of `execute` receives. */
export interface CircuitCallContext {
  /** Aborts at the call's deadline, with the error that the caller gets. Made when it is first read. */
  readonly signal: AbortSignal;
}

export class CircuitCall<T> extends Deadline implements CircuitCallContext {
  readonly #core: CircuitCore;
  readonly #ticket: Ticket;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #controller: AbortController | undefined = undefined;
  #settled = false;
  #timeout: CircuitTimeoutError | undefined = undefined;

  constructor(core: CircuitCore, ticket: Ticket, resolve: (value: T) => void, reject: (error: unknown) => void) {
    super();
    this.#core = core;
    this.#ticket = ticket;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#timeout !== undefined) this.#controller.abort(this.#timeout);
    }
    return this.#controller.signal;
  }

  run(fn: (context: CircuitCallContext) => T | PromiseLike<T>, now: number): void {
    const { timers } = this.#core.deps;
    timers.arm(this, now, this.#core.config.timeoutMs);
    try {
      // `resolve` adopts thenables and plain values alike, and returns a promise as it is.
      Promise.resolve(fn(this)).then(
        (value) => this.#succeed(value, now),
        (error: unknown) => this.#fail(error),
      );
    } catch (error) {
      this.#fail(error);
    }
  }

  override onDeadline(): void {
    if (this.#settled) return;
    this.#settled = true;
    const { name, config } = this.#core;
    const error = new CircuitTimeoutError({ circuitName: name, timeoutMs: config.timeoutMs });
    this.#timeout = error;
    this.#core.failed(this.#ticket, { error });
    this.#reject(error);
    this.#controller?.abort(error);
  }

  #succeed(value: T, startedAt: number): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#core.deps.timers.cancel(this);
    this.#core.succeeded(this.#ticket, startedAt);
    this.#resolve(value);
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#core.deps.timers.cancel(this);
    switch (this.#core.verdictOf(error)) {
      case "failure":
        this.#core.failed(this.#ticket, { error });
        break;
      case "success":
        this.#core.succeeded(this.#ticket, this.#core.deps.clock.monotonic());
        break;
      case "ignored":
        this.#core.ignored(this.#ticket);
        break;
    }
    this.#reject(error);
  }
}
