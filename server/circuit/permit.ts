/** One admitted call in the hands of whoever runs it. Its result counts once, the first one. */
import type { CallTicket, FailureDetails } from "./call-ticket.js";
import type { CircuitCore } from "./circuit-core.js";

/**
 * @example
 * const permit = circuit.tryAcquire();
 * if (permit === undefined) throw circuit.refusal();
 * try { const value = await ask(); permit.success(); return value; } catch (error) { permit.failure({ error }); throw error; }
 */
export class Permit {
  readonly #core: CircuitCore;
  #ticket: CallTicket | undefined;

  constructor(core: CircuitCore, ticket: CallTicket) {
    this.#core = core;
    this.#ticket = ticket;
  }

  /** @param now monotonic milliseconds, when the caller has just read them */
  success(now?: number): void {
    const ticket = this.spend();
    if (ticket !== undefined) this.#core.succeeded(ticket, now ?? this.#core.endTime());
  }

  /** With `openForMs` it opens the circuit at once and for that time, whatever the window says. */
  failure(details?: FailureDetails): void {
    const ticket = this.spend();
    if (ticket !== undefined) this.#core.failed(ticket, details);
  }

  /** Neither counts nor clears a streak; a probe's permit comes back. Also for a call that was never made. */
  ignored(): void {
    const ticket = this.spend();
    if (ticket !== undefined) this.#core.ignored(ticket);
  }

  // Private by its type alone: the brand of a `#` method would be put on every permit.
  private spend(): CallTicket | undefined {
    const ticket = this.#ticket;
    this.#ticket = undefined;
    return ticket;
  }
}
