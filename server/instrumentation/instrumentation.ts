/** Middleware, router instrumentation and adapter hook of one Paramedic: what one has counted, the others leave alone. */
import { type CallRecorderDeps, createCallRecorder } from "./call-recorder.js";
import { createInstrumentRouter, type InstrumentRouter } from "./instrument-router.js";
import { createMiddleware, type Middleware } from "./middleware.js";
import { createOnError, type OnError } from "./on-error.js";

export interface Instrumentation {
  /** For `t.procedure.use(…)`. */
  readonly middleware: Middleware;
  /** For a finished router, instead of the middleware. */
  readonly instrument: InstrumentRouter;
  /** For the adapter's `onError`. */
  readonly onError: OnError;
}

/**
 * @example
 * const { middleware, onError } = createInstrumentation({ sink, journal, callContext, clock, ids, onFault });
 * const procedure = t.procedure.use(middleware);
 */
export function createInstrumentation(deps: CallRecorderDeps): Instrumentation {
  const recorder = createCallRecorder(deps);
  const middleware = createMiddleware({ ...deps, recorder });
  return Object.freeze({
    middleware,
    instrument: createInstrumentRouter({ ...deps, recorder, middleware }),
    onError: createOnError({ recorder, onFault: deps.onFault }),
  });
}
