/** The caller's work in the hands of one strategy: what it may ask for, for as long as it has not answered. */
import type { Failure } from "../../shared/failure.js";
import type { RecoveryStrategy, RescueOperation, StrategyResult } from "../../shared/recovery.js";
import { withDeadline } from "./deadline.js";
import { GuardError } from "./guard-error.js";
import type { RescuableCall } from "./rescuable-call.js";
import type { StepEnd } from "./rescue-record.js";

/** Attempts have their own deadlines; this is for a strategy that does not answer at all. */
const GRACE_MS = 50;

/** Why what a strategy has left behind need not go on. One for all: each would cost a stack. */
const SETTLED = Object.freeze(new Error("the strategy has answered"));

export class RescueStep implements RescueOperation {
  readonly #call: RescuableCall;
  readonly #failure: Failure;
  readonly #controller = new AbortController();
  #settled = false;
  #obtained = false;

  constructor(call: RescuableCall, failure: Failure) {
    this.#call = call;
    this.#failure = failure;
  }

  /** Lets a strategy try, within the caller's time and patience. */
  async take(strategy: RecoveryStrategy): Promise<StepEnd> {
    const call = this.#call;
    const { engine, info, work } = call;
    const gone = () => this.#controller.abort(call.gone?.reason);
    for (const signal of [info?.signal, work.signal]) signal?.addEventListener("abort", gone);
    if (call.gone !== undefined) gone();
    let tooLate: GuardError | undefined;
    try {
      const result = await withDeadline(engine.clock, this.#execute(strategy), {
        timeoutMs: call.graceMs() + GRACE_MS,
        onTimeout() {
          tooLate = new GuardError("deadline", call.service.name, `${strategy.name} did not answer in time`);
          return tooLate;
        },
        signal: this.signal,
      });
      // A value that no target gave is the strategy's own.
      if (result.success && !this.#obtained) call.answered();
      return { status: "answered", result };
    } catch (error) {
      if (call.gone !== undefined) return { status: "cancelled" };
      return tooLate === undefined ? { status: "threw", error } : { status: "timed_out" };
    } finally {
      this.#settled = true;
      for (const signal of [info?.signal, work.signal]) signal?.removeEventListener("abort", gone);
      this.#controller.abort(tooLate ?? SETTLED);
    }
  }

  again({ delayMs = 0, inTurn = false }: Parameters<RescueOperation["again"]>[0] = {}): Promise<unknown> {
    return this.#ask(() => this.#call.again({ delayMs, inTurn }, this.signal));
  }

  next(): Promise<unknown> {
    return this.#ask(() => this.#call.next(this.signal));
  }

  fallback(): Promise<unknown> {
    return this.#ask(() => this.#call.fallback(this.#failure));
  }

  get targetsLeft(): number {
    return this.#call.targetsLeft();
  }

  get targetsInTurn(): number {
    return this.#call.targetsInTurn();
  }

  get hasFallback(): boolean {
    return this.#call.work.fallback !== undefined;
  }

  get target(): string {
    return this.#call.service.name;
  }

  remainingMs(): number {
    return this.#call.remainingMs();
  }

  get attempts(): number {
    return this.#call.attempts;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async #execute(strategy: RecoveryStrategy): Promise<StrategyResult> {
    const result = await strategy.execute(this.#failure, this);
    if (result.success !== true || strategy.verify === undefined) return result;
    if (await strategy.verify(this.#failure)) return result;
    return { ...result, success: false, message: `${strategy.name} says it succeeded, but its verification does not` };
  }

  #ask(way: () => Promise<unknown>): Promise<unknown> {
    const asked = this.#settled
      ? Promise.reject(this.#call.refusal("settled", "is no longer in this strategy's hands"))
      : way();
    // A strategy that answers without waiting for what it asked leaves nobody to hear of it.
    asked.then(
      () => {
        this.#obtained = true;
      },
      () => {},
    );
    return asked;
  }
}
