/** Wraps the procedures of a finished router: the middleware's measurements without a `.use()` and without its cost. */
import { type AnyTRPCProcedure, type AnyTRPCRouter, initTRPC, type TRPCCreateRouterOptions } from "@trpc/server";
import { openGate } from "../ports/load-gate.js";
import type { Activity } from "./in-flight.js";
import { measureStream } from "./measure-stream.js";
import { alwaysOn, type Middleware, type MiddlewareCall, type MiddlewareDeps } from "./middleware.js";
import { refuseOverload } from "./overload.js";
import { ProcedureCall } from "./procedure-call.js";
import { isStream } from "./procedure-result.js";

/** Gives back a router of the type it got; the one it got stays as it was. */
export type InstrumentRouter = <R extends AnyTRPCRouter>(router: R) => R;

export interface InstrumentRouterDeps extends MiddlewareDeps {
  /** A procedure that has this in its chain is measured there. */
  readonly middleware: Middleware;
}

/** As tRPC calls a procedure of a router; further fields pass through untouched. */
type Procedure = (opts: MiddlewareCall) => Promise<unknown>;
type Records = { [key: string]: AnyTRPCProcedure | Records };
type LazyLoader = AnyTRPCRouter["_def"]["lazy"][string];

/**
 * A wrapped procedure sees its whole call, input parsing included. Lazy routers are wrapped when they load. Left as they are:
 * procedures that have the middleware, those that are wrapped already, and those with an `experimental_caller`, which are
 * called around the router.
 *
 * @example const appRouter = createInstrumentRouter(deps)(t.router({ … }));
 */
export function createInstrumentRouter(deps: InstrumentRouterDeps): InstrumentRouter {
  const { recorder, inFlight, callContext, clock, middleware, onFault, power = alwaysOn, loadGate = openGate } = deps;
  const t = initTRPC.create();
  const wrapped = new WeakSet<object>();

  /** A router hands no meta to its procedures: it is on the procedure itself. */
  const callOf = ({ path, type, signal, ctx }: MiddlewareCall, meta: unknown, startedAt: number) =>
    new ProcedureCall({ path, type, signal, ctx, meta }, startedAt, deps);

  /** Apart from the call itself, because a closure there would cost every call, linked or not. */
  const linked = (call: ProcedureCall, procedure: Procedure, opts: MiddlewareCall) =>
    callContext.run(call, () => procedure(opts));

  const observe = (procedure: Procedure, meta: unknown): Procedure => {
    /** Of the last call. A procedure has one path, as a rule, and comparing that costs less than looking it up. */
    let last: Activity | undefined;
    // Two callbacks, because an async function of our own costs every call a little more.
    return function paramedic(opts) {
      // Called by hand, without a router: tRPC refuses that with an error of its own.
      if (!power.isOn || !isRouterCall(opts)) return procedure(opts);
      if (loadGate.level > 0 && callContext.current() === undefined) refuseOverload(loadGate, opts, meta, recorder);
      const startedAt = clock.monotonic();
      const call = callContext.enabled ? callOf(opts, meta, startedAt) : undefined;
      const running = call === undefined ? procedure(opts) : linked(call, procedure, opts);
      const activity = last?.path === opts.path ? last : inFlight.of(opts.path);
      last = activity;
      activity.enter();
      return running.then(
        (data) => {
          try {
            if (isStream(data, opts.type)) {
              const of = call ?? callOf(opts, undefined, startedAt);
              return measureStream(deps, data, { call: of, startedAt, onEnd: () => activity.leave() });
            }
            activity.leave();
            activity.series.succeeded(clock.monotonic() - startedAt);
          } catch (fault) {
            onFault(fault);
          }
          return data;
        },
        (error) => {
          activity.leave();
          recorder.failed(call ?? opts, error, clock.monotonic() - startedAt);
          throw error;
        },
      );
    };
  };

  const wrapProcedure = (procedure: AnyTRPCProcedure): AnyTRPCProcedure => {
    if (wrapped.has(procedure) || isMeasuredOtherwise(procedure, middleware)) return procedure;
    const observed = asProcedure(observe(asCallable(procedure), procedure.meta), procedure);
    wrapped.add(observed);
    return observed;
  };

  const wrapLazy = (load: LazyLoader["ref"]): LazyLoader["ref"] =>
    // tRPC knows a lazy router by a mark on its function, which goes along.
    Object.assign(async () => instrument(await load()), load);

  const wrapRecords = (records: Records, lazy: readonly LazyLoader[], at: readonly string[]) => {
    const copies: TRPCCreateRouterOptions = {};
    for (const [key, value] of Object.entries(records)) {
      copies[key] = typeof value === "function" ? wrapProcedure(value) : wrapRecords(value, lazy, [...at, key]);
    }
    for (const { path, key, ref } of lazy) {
      if (path.length === at.length && path.every((part, index) => part === at[index])) copies[key] = wrapLazy(ref);
    }
    return copies;
  };

  const instrument: InstrumentRouter = (router) => {
    const { record, lazy, _config } = router._def;
    const copy = t.router(wrapRecords(record, Object.values(lazy), []));
    // Transformer, error formatter and the rest are the app's; the router's callers and adapters read them here.
    copy._def._config = _config;
    return asRouterLike(router, copy);
  };
  return instrument;
}

function isRouterCall(opts: Partial<MiddlewareCall> | undefined): boolean {
  return typeof opts?.path === "string";
}

function isMeasuredOtherwise(procedure: AnyTRPCProcedure, middleware: Middleware): boolean {
  const def: object = procedure._def;
  if ("experimental_caller" in def && def.experimental_caller === true) return true;
  return "middlewares" in def && Array.isArray(def.middlewares) && def.middlewares.includes(middleware);
}

/** A router calls each of its procedures with the options of one call. */
function asCallable(procedure: AnyTRPCProcedure): Procedure {
  return procedure as unknown as Procedure;
}

/** All that tRPC reads of a procedure beside calling it (`_def`, `meta`, `procedure`) is an own property, and is copied. */
function asProcedure(observed: Procedure, original: AnyTRPCProcedure): AnyTRPCProcedure {
  return Object.assign(observed, original) as unknown as AnyTRPCProcedure;
}

/** The copy has the records of the original, key by key, with procedures of the same types: it is of the same type. */
function asRouterLike<R extends AnyTRPCRouter>(_original: R, copy: AnyTRPCRouter): R {
  return copy as R;
}
