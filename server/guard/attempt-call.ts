/** The call as guards inside an attempt see it: with the attempt's deadline and signal, and with what stands around them. */
import type { ProcedureType } from "../../shared/outcome.js";
import type { CallInfo } from "../ports/call-context.js";
import type { GuardContext } from "./guard.js";

/** The attempt that the work inside runs in. */
export interface EnclosingAttempt extends GuardContext {
  readonly serviceName: string;
  /** Monotonic. */
  readonly endsAt: number;
  /** Whoever began it may run its work again. */
  readonly runsAgain: boolean;
}

/**
 * Retries multiply when they nest: three tries of three tries are nine. So the outermost guard that may run its work again
 * is the only one that does. Guards outside a call do not see each other; there the retry budget bounds them.
 */
export class AttemptCall implements CallInfo {
  readonly path: string;
  readonly type: ProcedureType;
  readonly requestId: string | undefined;
  readonly userId: string | undefined;
  readonly deadlineAt: number;
  readonly idempotent: boolean | undefined;
  readonly causes: string[];
  readonly attempt: EnclosingAttempt;
  readonly outer: AttemptCall | undefined;

  constructor(call: CallInfo, attempt: EnclosingAttempt) {
    this.path = call.path;
    this.type = call.type;
    this.requestId = call.requestId;
    this.userId = call.userId;
    this.idempotent = call.idempotent;
    this.causes = call.causes;
    this.deadlineAt = attempt.endsAt;
    this.attempt = attempt;
    this.outer = call instanceof AttemptCall ? call : undefined;
  }

  get signal(): AbortSignal {
    return this.attempt.signal;
  }

  /** Some attempt around this work may be run again. */
  get runsAgain(): boolean {
    return this.attempt.runsAgain || (this.outer?.runsAgain ?? false);
  }

  /** The attempt of `service` that this work runs in, if there is one. */
  within(service: string): AttemptCall | undefined {
    return this.attempt.serviceName === service ? this : this.outer?.within(service);
  }

  /** A part of the result has reached the caller: whoever began the attempt tells those around it. */
  delivered(): void {
    this.attempt.delivered();
  }
}
