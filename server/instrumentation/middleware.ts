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

/** A switch that an operator may turn at any time: a plain property, because every call reads it. */
export interface Power {
  readonly isOn: boolean;
}

export const alwaysOn: Power = Object.freeze({ isOn: true });

export interface MiddlewareDeps {
  readonly recorder: CallRecorder;
  readonly inFlight: InFlight;
  readonly callContext: CallContext;
  readonly clock: Clock;
  readonly identify?: Identify | undefined;
  /** Whether calls are measured. Read at the begin of each; one that began is measured to its end. @default always */
  readonly power?: Power | undefined;
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
  const { recorder, inFlight, callContext, clock, onFault, power = alwaysOn, loadGate = openGate } = deps;

  /** What an admitted call calls itself is part of its work. */
  const isOutermost = () => callContext.current() === undefined;

  const settle = <R>(
    opts: MiddlewareCall,
    call: ProcedureCall | undefined,
    result: R,
    startedAt: number,
    activity: Activity,
  ): R => {
    if (isSuccess(result)) {
      if (isStream(result.data, opts.type)) {
        const of = call ?? new ProcedureCall(opts, startedAt, deps);
        const onEnd = () => activity.leave();
        return withData(result, measureStream(deps, result.data, { call: of, startedAt, onEnd }));
      }
      activity.leave();
      activity.series.succeeded(clock.monotonic() - startedAt);
    } else {
      activity.leave();
      // What is neither tRPC reports itself, and `onError` counts it.
      if (isFailure(result)) recorder.failed(call ?? opts, result.error, clock.monotonic() - startedAt);
    }
    return result;
  };

  return async function paramedic(opts) {
    if (!power.isOn) return opts.next();
    if (loadGate.level > 0 && isOutermost()) refuseOverload(loadGate, opts, opts.meta, recorder);
    const startedAt = clock.monotonic();
    const activity = inFlight.of(opts.path);
    activity.enter();
    const call = callContext.enabled ? new ProcedureCall(opts, startedAt, deps) : undefined;
    let result: Awaited<ReturnType<typeof opts.next>>;
    try {
      result = call === undefined ? await opts.next() : await callContext.run(call, opts.next);
    } catch (error) {
      activity.leave();
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
