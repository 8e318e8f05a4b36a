/** Middleware, router instrumentation and adapter hook of one Paramedic: what one has counted, the others leave alone. */
import { SECOND_MS } from "../../shared/units.js";
import { createLoop } from "../loop.js";
import { type CallRecorderDeps, createCallRecorder } from "./call-recorder.js";
import { createInFlight } from "./in-flight.js";
import { createInstrumentRouter, type InstrumentRouter } from "./instrument-router.js";
import { createMiddleware, type Middleware, type MiddlewareDeps } from "./middleware.js";
import { createOnError, type OnError } from "./on-error.js";
import { createOperationSeries } from "./operation-series.js";

export interface Instrumentation {
  /** For `t.procedure.use(…)`. */
  readonly middleware: Middleware;
  /** For a finished router, instead of the middleware. */
  readonly instrument: InstrumentRouter;
  /** For the adapter's `onError`. */
  readonly onError: OnError;
  /** Calls in flight are sampled from now on. */
  start(): void;
  /** Samples once more. */
  stop(): Promise<void>;
}

export interface InstrumentationOptions {
  /** How often the calls in flight are sampled; 1 to 2^31-1. @default 1_000 */
  readonly sampleIntervalMs?: number | undefined;
}

/**
 * @example
 * const { middleware, onError } = createInstrumentation({ sink, journal, callContext, clock, ids, onFault });
 * const procedure = t.procedure.use(middleware);
 */
export function createInstrumentation(
  deps: Omit<CallRecorderDeps, "seriesOf"> & Pick<MiddlewareDeps, "power">,
  { sampleIntervalMs = SECOND_MS }: InstrumentationOptions = {},
): Instrumentation {
  const seriesOf = createOperationSeries(deps.sink, "trpc.");
  const recorder = createCallRecorder({ ...deps, seriesOf });
  const inFlight = createInFlight(deps.sink, seriesOf);
  const middleware = createMiddleware({ ...deps, recorder, inFlight });
  const sampling = createLoop({
    clock: deps.clock,
    intervalMs: sampleIntervalMs,
    run: async () => inFlight.sample(),
    onError: deps.onFault,
  });
  return Object.freeze({
    middleware,
    instrument: createInstrumentRouter({ ...deps, recorder, inFlight, middleware }),
    onError: createOnError({ recorder, power: deps.power, onFault: deps.onFault }),
    start: () => sampling.start(),
    async stop() {
      await sampling.runOnce();
      await sampling.stop();
    },
  });
}
