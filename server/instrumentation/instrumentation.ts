/** Middleware and adapter hook of one Paramedic: what one has counted, the other leaves alone. */
import { type CallRecorderDeps, createCallRecorder } from "./call-recorder.js";
import { createMiddleware, type Middleware } from "./middleware.js";
import { createOnError, type OnError } from "./on-error.js";

export interface Instrumentation {
  /** For `t.procedure.use(…)`. */
  readonly middleware: Middleware;
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
  return Object.freeze({
    middleware: createMiddleware({ ...deps, recorder }),
    onError: createOnError({ recorder, onFault: deps.onFault }),
  });
}
