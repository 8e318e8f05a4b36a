/** What user code sees of a guard: the object in front of one service. */
import type { CircuitSnapshot } from "../../shared/circuit.js";
import type { Failure } from "../../shared/failure.js";
import type { Rescue } from "../../shared/recovery.js";
import type { BudgetLimit, Usage } from "./rescue-budget.js";

/** What a guarded function is given. */
export interface GuardContext {
  /**
   * Aborts when the attempt's time is up or the caller is gone. It is made when it is first read, so work that cannot be
   * cancelled pays nothing for it.
   */
  readonly signal: AbortSignal;
  /**
   * Says that a part of the result has reached the caller: from now on nothing runs again and no fallback answers, because
   * the caller would get two halves of two answers.
   *
   * @param options.timeoutMs how long the rest may take, within the caller's deadline; `Infinity` leaves it to that alone.
   *   @default what the attempt has left
   */
  delivered(options?: { readonly timeoutMs?: number }): void;
  /**
   * Says what the attempt used, for budgets in tokens or money; of several calls the sum counts.
   *
   * @param usage.tokens of request and answer; 0 or more
   * @param usage.cost in the currency in which the budget is; 0 or more
   * @example context.used({ tokens: usage.total_tokens })
   */
  used(usage: Usage): void;
}

/** How one piece of guarded work differs from its guard's policy. */
export interface ExecuteOptions<T> {
  /** Running the work twice does no harm. @default the policy's, else true for `llm:*` and inside a query, else false */
  readonly idempotent?: boolean | undefined;
  /** Bounds everything, rescues too; 1 to 2^31-1 ms. @default the call's own deadline, if it has one */
  readonly timeoutMs?: number | undefined;
  /** Answers when nothing else can. It must be local and quick: it runs even when the deadline is all but spent. */
  readonly fallback?: ((failure: Failure) => T | Promise<T>) | undefined;
  /** The caller's own signal, beside the one of the tRPC call. */
  readonly signal?: AbortSignal | undefined;
}

/** A value and how it was obtained. */
export interface Detailed<T> {
  readonly value: T;
  readonly rescue: Rescue;
}

/** What anybody may know of one guard. */
export interface GuardSnapshot {
  readonly name: string;
  /** Undefined while circuit breakers are switched off. */
  readonly circuit: CircuitSnapshot | undefined;
  /** Attempts whose work has not ended, timed-out ones included. */
  readonly inFlight: number;
  /** Attempts that wait for a place. */
  readonly queued: number;
  /** How long the service still asked to be left alone; 0 when it did not. */
  readonly cooldownMs: number;
  /** Retries that the service may cost now. */
  readonly retryTokens: number;
  /** What is left of each limit of its rescue budget; undefined where it has none. */
  readonly rescueBudget:
    | { readonly name: string; readonly left: Readonly<Partial<Record<BudgetLimit, number>>> }
    | undefined;
}

/**
 * The object in front of one service: deadline, circuit, bulkhead and retry budget.
 *
 * @example
 * const billing = paramedic.guard("http:billing", { timeoutMs: 5_000 });
 * const invoice = await billing.execute(({ signal }) => fetchInvoice(id, { signal }));
 */
export interface Guard {
  /** The service: `llm:openai`, `db:main`, `http:billing`. */
  readonly name: string;
  /**
   * Runs `fn` and resolves with its value, rescued where that is safe.
   *
   * @throws what `fn` threw, by the same reference; or a `CircuitBreakerError` or `GuardError` when the guard refused it or
   * its time was up; or the reason of the caller's signal; or a ParamedicError `OPERATION_INVALID` for an option out of its
   * range, before `fn` is run.
   */
  execute<T>(fn: (context: GuardContext) => T | Promise<T>, options?: ExecuteOptions<T>): Promise<T>;
  /** As `execute`, and says how the value was obtained. */
  executeDetailed<T>(fn: (context: GuardContext) => T | Promise<T>, options?: ExecuteOptions<T>): Promise<Detailed<T>>;
  snapshot(): GuardSnapshot;
}
