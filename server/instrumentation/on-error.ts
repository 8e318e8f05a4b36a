/** The adapter's `onError`: counts the calls that failed where no middleware could see them. */
import { trpcCodeOf } from "../../shared/describe-error.js";
import { PROCEDURE_TYPES, type ProcedureType, UNKNOWN_PATH } from "../../shared/outcome.js";
import type { CallRecorder, EndedCall } from "./call-recorder.js";
import { alwaysOn, type Power } from "./middleware.js";

/** What is read of the adapter's report; inputs and requests are not. */
export interface ErrorReport {
  readonly error: unknown;
  readonly type: ProcedureType | "unknown";
  readonly path?: string | undefined;
  readonly ctx?: unknown;
}

export type OnError = (report: ErrorReport) => void;

/**
 * Procedures that fail before every middleware are not known from the middleware. Some adapters pass on the path and type
 * that the client sent, so no more than this many are believed.
 */
const MOST_PATHS = 1_000;
const PATH_LENGTH = 256;

/**
 * For unknown procedures, input that is refused before the middleware, a failing `createContext`, and errors of the
 * transport. Skips what the middleware has counted, by the error's identity. Never throws.
 *
 * @example createExpressMiddleware({ router, createContext, onError: createOnError({ recorder, onFault }) })
 */
export function createOnError({
  recorder,
  power = alwaysOn,
  onFault,
}: {
  readonly recorder: CallRecorder;
  readonly power?: Power | undefined;
  readonly onFault: (error: unknown) => void;
}): OnError {
  const believed = new Set<string>();

  const believe = (path: string): boolean => {
    if (believed.has(path)) return true;
    if (believed.size >= MOST_PATHS || path.length > PATH_LENGTH) return false;
    believed.add(path);
    return true;
  };

  return function onError(report) {
    if (!power.isOn) return;
    try {
      const { error, type, path, ctx } = report;
      if (recorder.seen.has(error, path)) return;
      const known = path !== undefined && isProcedureType(type) && trpcCodeOf(error) !== "NOT_FOUND" && believe(path);
      const call: EndedCall = known ? { path, type, ctx } : { path: UNKNOWN_PATH, type: "unknown", ctx };
      recorder.reported(call, error);
    } catch (fault) {
      onFault(fault);
    }
  };
}

function isProcedureType(type: string): type is ProcedureType {
  return PROCEDURE_TYPES.some((known) => known === type);
}
