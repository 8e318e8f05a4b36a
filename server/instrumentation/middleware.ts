/** The tRPC middleware: sees every call of a procedure, measures it and tells guards below which call they work for. */
import type { ProcedureType } from "../../shared/outcome.js";
import type { CallContext } from "../ports/call-context.js";
import type { Clock } from "../ports/clock.js";
import { type LoadGate, openGate } from "../ports/load-gate.js";
import type { CallRecorder } from "./call-recorder.js";
import type { Activity, InFlight } from "./in-flight.js";
import { measureStream } from "./measure-stream.js";
import { refuseOverload } from "./overload.js";
import { type Identify, ProcedureCall } from "./procedure-call.js";
import { isFailure, isStream, isSuccess, withData } from "./procedure-result.js";

/** What the middleware reads of tRPC's options: a structure, so that every 11.x fits and no type of tRPC's leaks out. */
export interface MiddlewareCall {
  readonly path: string;
  readonly type: ProcedureType;
  readonly ctx: unknown;
  readonly signal: AbortSignal | undefined;
  readonly meta?: unknown;
}

/**
 * Fits `t.procedure.use(…)` at every place of a chain. Generic only in what `next()` gives, so that ctx, meta and input keep
 * the types they had.
 */
export type Middleware = <R>(opts: MiddlewareCall & { readonly next: () => Promise<R> }) => Promise<R>;

export interface MiddlewareDeps {
  readonly recorder: CallRecorder;
  readonly inFlight: InFlight;
  readonly callContext: CallContext;
  readonly clock: Clock;
  readonly identify?: Identify | undefined;
  /** Asked at the begin of each call; one that began is measured to its end. @default always */
  readonly isOn?: (() => boolean) | undefined;
  /** Refuses calls while the process is overloaded. @default none */
  readonly loadGate?: LoadGate | undefined;
  /** Told of every fault of our own. Must not throw. */
  readonly onFault: (error: unknown) => void;
}

/**
 * Gives back the very object that `next()` gave and throws the very error it threw. The one exception is a stream: its result
 * is copied, as tRPC's own middlewares do, with the stream behind an observing proxy, and measured when it really ended.
 */
export function createMiddleware(deps: MiddlewareDeps): Middleware {
  const { recorder, inFlight, callContext, clock, isOn, onFault, loadGate = openGate } = deps;

  /** What an admitted call calls itself is part of its work. */
  const isOutermost = () => callContext.current() === undefined;

  const settle = <R>(
    opts: MiddlewareCall,
    call: ProcedureCall | undefined,
    result: R,
    startedAt: number,
    activity: Activity,
  ): R => {
    if (isSuccess(result) && isStream(result.data, opts.type)) {
      const onEnd = () => inFlight.leave(activity);
      return withData(
        result,
        measureStream(deps, result.data, { call: call ?? new ProcedureCall(opts, startedAt, deps), startedAt, onEnd }),
      );
    }
    inFlight.leave(activity);
    const durationMs = clock.monotonic() - startedAt;
    if (isFailure(result)) recorder.failed(call ?? opts, result.error, durationMs);
    // What is neither tRPC reports itself, and `onError` counts it.
    else if (isSuccess(result)) recorder.succeeded(activity, durationMs);
    return result;
  };

  return async function paramedic(opts) {
    if (isOn?.() === false) return opts.next();
    if (loadGate.level > 0 && isOutermost()) refuseOverload(loadGate, opts, opts.meta, recorder);
    const startedAt = clock.monotonic();
    const activity = inFlight.of(opts.path);
    inFlight.enter(activity);
    const call = callContext.enabled ? new ProcedureCall(opts, startedAt, deps) : undefined;
    let result: Awaited<ReturnType<typeof opts.next>>;
    try {
      result = call === undefined ? await opts.next() : await callContext.run(call, opts.next);
    } catch (error) {
      inFlight.leave(activity);
      recorder.failed(call ?? opts, error, clock.monotonic() - startedAt);
      throw error;
    }
    try {
      return settle(opts, call, result, startedAt, activity);
    } catch (fault) {
      onFault(fault);
      return result;
    }
  };
}
