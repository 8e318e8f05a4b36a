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

  run(fn: (context: CircuitCallContext) => T | PromiseLike<T>): void {
    this.#core.deps.timers.armLoosely(this, this.#core.config.timeoutMs);
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
    const { name, config } = this.#core;
    const error = new CircuitTimeoutError({ circuitName: name, timeoutMs: config.timeoutMs });
    this.#timeout = error;
    this.#core.failed(this.#ticket, { error });
    this.#reject(error);
    this.#controller?.abort(error);
  }

  #succeed(value: T): void {
    if (this.#settled) return;
    this.#settled = true;
    const { timers } = this.#core.deps;
    const now = timers.roughNow();
    timers.cancel(this);
    this.#core.succeeded(this.#ticket, now);
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
