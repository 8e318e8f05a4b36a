/** Which call is running, so that guards below it know its deadline, its signal and whether it may run again. */
import type { ProcedureType } from "../../shared/outcome.js";

export interface CallInfo {
  readonly path: string;
  readonly type: ProcedureType;
  readonly requestId: string | undefined;
  readonly userId: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** Monotonic milliseconds; undefined without a deadline. */
  readonly deadlineAt: number | undefined;
  /** What the procedure says of running its work twice; undefined where it says nothing. */
  readonly idempotent: boolean | undefined;
  /** Event ids of the failures that guards saw during this call, in order; guards append. */
  readonly causes: string[];
}

export interface CallContext {
  current(): CallInfo | undefined;
  /** Runs `fn` with `call` as the current one. Passes through while linking is off. */
  run<T>(call: CallInfo, fn: () => T): T;
  /**
   * Switches linking on. The first `run` in a process makes every await about 0.16 µs slower (async hooks of Node 20), so
   * it is off until the first guard exists.
   */
  enable(): void;
  readonly enabled: boolean;
}

export const noCallContext: CallContext = Object.freeze({
  current: () => undefined,
  run: <T>(_call: CallInfo, fn: () => T) => fn(),
  enable() {},
  enabled: false,
});
